"""An instrument in the hands of its faults, for their tests."""

from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from drivers.contract import Microscope
from drivers.faults import Faults, inject
from engine.clock.virtual import VirtualClock
from engine.record.trace import Record, Trace
from engine.run.registry import registered

Device = TypeVar("Device")


class Bench:
    """An instrument in the hands of its faults."""

    def __init__(self, clock: VirtualClock, microscope: Microscope) -> None:
        self.clock = clock
        self.microscope = microscope
        self.trace = Trace(clock)
        self.records: list[Record] = []
        self.faults: Faults = microscope.faults
        self.truth: Any = microscope.truth

    @property
    def injected(self) -> list[str]:
        return [record["fault"] for record in self.records if record["kind"] == "injected"]

    def enter(self, state: str) -> None:
        """What a run records when it enters a state."""
        self.trace.record("state", state, trigger="")

    async def took_s(self, call: Coroutine[Any, Any, Any]) -> float:
        began_ns = self.clock.now_ns()
        await call
        return (self.clock.now_ns() - began_ns) / 1e9

    async def turning(self) -> None:
        await self.microscope.stage.rotate(30.0, 1.0)
        await self.clock.sleep_s(1.0)


def part(device: Device | None) -> Device:
    """A part that this instrument has."""
    assert device is not None
    return device


@asynccontextmanager
async def bench(clock: VirtualClock, *faults: str, **options: Any) -> AsyncIterator[Bench]:
    driver = registered("drivers")["simulated-timing"].load()
    async with driver.connect(clock, 1, {"beam_on": True, "api_jitter": 0.0, **options}) as parts:
        made = Bench(clock, inject(parts.assembled(), clock, faults))
        made.trace.observe(made.records.append)
        made.faults.begin(made.trace)
        try:
            yield made
        finally:
            await made.faults.end()
