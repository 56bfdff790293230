"""That a driver's `facts(options)` is true: what it declares without a connection, the connected instrument tells."""

# ruff: noqa: D102, S101

from drivers.conformance.bench import Bench, on_bench
from drivers.contract import Microscope
from drivers.declared import Declared, by_name, is_missing
from engine.clock import Clock


class DeclaredConformance:
    """The promise of `drivers.declared.Declared`.

    Takes, beside `bench`, a fixture `declared`: what the driver's `facts` gives for the options with which the bench
    connects it.
    """

    @on_bench
    async def test_what_is_declared_is_what_the_connected_instrument_tells(
        self, bench: Bench, clock: Clock, microscope: Microscope, declared: Declared
    ) -> None:
        says, tells = declared.by_name, by_name(microscope.facts)
        parts = {name.partition(".")[0] for name in says} - {"geometry"}  # of that it need not know all
        names = {*says, *(name for name in tells if name.partition(".")[0] in parts)} - set(declared.unknown)
        otherwise = {name: (says.get(name), tells.get(name)) for name in names if says.get(name) != tells.get(name)}
        assert otherwise == {}, "name: (declared, told)"

    @on_bench
    async def test_what_only_the_instrument_tells_is_named(
        self, bench: Bench, clock: Clock, microscope: Microscope, declared: Declared
    ) -> None:
        assert set(declared.unknown) <= set(by_name(microscope.facts))
        needed = ("detector.shape", "detector.dtype", "detector.saturation")
        says = declared.by_name
        assert {name for name in needed if name in says and is_missing(says[name])} <= set(declared.unknown)
        assert all(declared.unknown.values()), "a few words on who tells it"
