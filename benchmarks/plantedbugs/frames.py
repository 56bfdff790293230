"""Bugs that lose frames, or count slots wrongly."""
# ruff: noqa: SLF001 a bug is planted where it would be made, inside

from collections import deque
from dataclasses import replace
from typing import Any

from benchmarks.plantedbugs.registry import Swap, bug
from engine.run.data import RunData
from engine.run.series import Series
from engine.run.timeline import PeriodMonitor
from protocols.cred.records import Collected
from protocols.cred.sequence import CredSequence


@bug("a frame dropped by the pump")
def _() -> list[Swap]:
    unchanged = CredSequence._store

    async def store(self: CredSequence) -> None:
        if self._unstored is not None and self._unstored[1] % 13 == 5:
            self._unstored = None
        await unchanged(self)

    return [(CredSequence, "_store", store)]


@bug("the last frame forgotten when the run fails")
def _() -> list[Swap]:
    unchanged = CredSequence.when_safe

    async def when_safe(self: CredSequence) -> None:
        self._unstored = None
        return await unchanged(self)

    return [(CredSequence, "when_safe", when_safe)]


@bug("frames numbered on after a lost slot")
def _() -> list[Swap]:
    unchanged = RunData.keep

    async def keep(self: RunData, kind: str, frame: Any, *, arrived_ns: int, columns: Any = None) -> bool:
        lost = sum((r["kind"], r["name"]) == ("slot", "lost") for r in self._run.trace.recorded())
        columns = {**columns, "slot": columns["slot"] - lost}
        return await unchanged(self, kind, frame, arrived_ns=arrived_ns, columns=columns)

    return [(RunData, "keep", keep)]


@bug("one slot too many after a lost one")
def _() -> list[Swap]:
    unchanged = CredSequence._lose_until

    def lose_until(self: CredSequence, slot: int, reason: str) -> None:
        lost = slot > self.slot
        unchanged(self, slot, reason)
        self.slot += lost

    return [(CredSequence, "_lose_until", lose_until)]


@bug("a lost slot without its name")
def _() -> list[Swap]:
    def lose_until(self: CredSequence, slot: int, reason: str) -> None:
        self.slot = slot

    return [(CredSequence, "_lose_until", lose_until)]


@bug("a doubled frame is taken for the next")
def _() -> list[Swap]:
    unchanged = Series.frame

    async def frame(self: Series, exposure_s: float, columns: Any = None) -> Any:
        begun, frames = self._begun, self._frames

        async def renumbered() -> Any:
            async for frame in frames:
                yield replace(frame, number=begun - 1)

        self._frames = renumbered()
        try:
            return await unchanged(self, exposure_s, columns)
        finally:
            self._frames = frames

    return [(Series, "frame", frame)]


@bug("late frames are kept")
def _() -> list[Swap]:
    unchanged = Collected.kept
    return [(Collected, "kept", lambda self: unchanged(replace(self, tolerance_ns=2**62)))]


@bug("frames of a standing stage are kept")
def _() -> list[Swap]:
    unchanged = Collected.kept
    return [(Collected, "kept", lambda self: unchanged(replace(self, stage_stopped_ns=None)))]


@bug("the period is a mean since the start")
def _() -> list[Swap]:
    def mean_ns(self: PeriodMonitor) -> int:
        return round(sum(self._recent) / len(self._recent)) if len(self._recent) > 5 else self.period_ns

    made = PeriodMonitor.__init__

    def init(self: PeriodMonitor, period_ns: int, window: int = 11) -> None:
        made(self, period_ns, window)
        self._recent = deque(maxlen=None)

    return [(PeriodMonitor, "median_ns", property(mean_ns)), (PeriodMonitor, "__init__", init)]


@bug("a stale median")
def _() -> list[Swap]:
    unchanged = PeriodMonitor.observe

    def observe(self: PeriodMonitor, interval_ns: int) -> None:
        if len(self._recent) < 11:
            unchanged(self, interval_ns)

    return [(PeriodMonitor, "observe", observe)]
