"""The contract of `drivers.parts.Deflectors`, as tests: values kept, limits, units, cancelled calls."""

# ruff: noqa: D102, S101

import math

import pytest

from drivers.conformance.bench import Bench, cancelled_soon, on_bench
from drivers.conformance.responsive import assert_responsive
from drivers.contract import Microscope
from drivers.parts import Deflector, Deflectors
from engine.clock import Clock
from engine.errors import DeviceError


class DeflectorsConformance:
    """The contract of `drivers.parts.Deflectors`."""

    @on_bench
    async def test_there_are_pairs_with_limits_that_make_sense(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        facts = _part(microscope).facts
        assert facts.limits
        assert all(low < high for low, high in facts.limits.values())
        assert facts.settling_s >= 0

    @on_bench
    async def test_a_pair_keeps_its_values_and_the_others_keep_theirs(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        deflectors = _part(microscope)
        before = {which: await deflectors.read(which) for which in deflectors.facts.limits}
        for which, (x, y) in before.items():
            aside = _aside(bench, deflectors, which, x), _aside(bench, deflectors, which, y)
            await deflectors.set(which, *aside)
            assert await deflectors.read(which) == aside
            assert {each: await deflectors.read(each) for each in before if each is not which} == {
                each: values for each, values in before.items() if each is not which
            }
            await deflectors.set(which, x, y)
        assert {which: await deflectors.read(which) for which in before} == before

    @pytest.mark.parametrize("side", [0, 1], ids=["low", "high"])
    @on_bench
    async def test_past_a_limit_nothing_is_set(
        self, bench: Bench, clock: Clock, microscope: Microscope, side: int
    ) -> None:
        deflectors = _part(microscope)
        for which, limits in deflectors.facts.limits.items():
            x, y = await deflectors.read(which)
            past = limits[side] + (limits[1] - limits[0]) * (-1, 1)[side]
            for bad in ((past, y), (x, past), (math.nan, y)):
                with pytest.raises(DeviceError, match="nothing was set"):
                    await deflectors.set(which, *bad)
            assert await deflectors.read(which) == (x, y)

    @on_bench
    async def test_where_only_whole_numbers_are_taken_no_other_is_rounded_in_silence(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        deflectors = _part(microscope)
        if not deflectors.facts.whole_numbers:
            pytest.skip("this instrument takes any number")
        for which, (low, _) in deflectors.facts.limits.items():
            with pytest.raises(DeviceError, match="not a whole number; nothing was set"):
                await deflectors.set(which, low + 0.5, low)

    @on_bench
    async def test_a_pair_that_there_is_not_is_refused(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        deflectors = _part(microscope)
        for which in set(Deflector) - set(deflectors.facts.limits):
            with pytest.raises(DeviceError):
                await deflectors.read(which)
            with pytest.raises(DeviceError, match="nothing was set"):
                await deflectors.set(which, 0.0, 0.0)

    @on_bench
    async def test_a_cancelled_call_leaves_the_deflectors_usable(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        deflectors = _part(microscope)
        which = next(iter(deflectors.facts.limits))
        x, y = await deflectors.read(which)
        await cancelled_soon(deflectors.set(which, _aside(bench, deflectors, which, x), y))
        await cancelled_soon(deflectors.read(which))
        await deflectors.set(which, x, y)
        assert await deflectors.read(which) == (x, y)

    @on_bench
    async def test_no_call_to_the_deflectors_blocks_the_event_loop(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        deflectors = _part(microscope)
        which = next(iter(deflectors.facts.limits))
        x, y = await deflectors.read(which)
        calls = {
            "deflectors.read": lambda: deflectors.read(which),
            "deflectors.set": lambda: deflectors.set(which, x, y),
        }
        await assert_responsive(clock, calls)


def _part(microscope: Microscope) -> Deflectors:
    assert microscope.deflectors is not None, "this instrument has no deflectors"
    return microscope.deflectors


def _aside(bench: Bench, deflectors: Deflectors, which: Deflector, value: float) -> float:
    """A value beside this one that the pair can have."""
    _, high = deflectors.facts.limits[which]
    return value + bench.deflection if value + bench.deflection <= high else value - bench.deflection
