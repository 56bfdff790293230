"""What the connected devices really take: every call timed, the camera's cadence, the lens there and back.

`credline devices check` (drivers/check/command.py) measures with this, and drivers/check/judgement.py says what it
means for a plan. The beam is blanked first and stays so; the stage does not move unless asked to
(drivers/check/rotation.py). Talks to the devices as drivers/contract.py describes them and knows no driver.
"""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from engine.clock import NS_PER_S, Clock, ns
from engine.errors import DeviceBusy, DeviceLost

CALL_LIMIT_S = 30.0
"""A call that takes longer than this ends the check."""
CALLS = 40
FRAMES = 30
SNAPSHOTS = 4
# A change of exposure that takes less is no matter for a slot.
CHANGE_NOTED_S = 0.02


@dataclass(frozen=True, slots=True)
class Times:
    """How long something took, in seconds: `n` times. p99_s: for fewer than a hundred, the longest."""

    n: int
    median_s: float
    p99_s: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Times":
        """The summary of one duration and more."""
        ordered = sorted(seconds)
        return cls(len(ordered), ordered[len(ordered) // 2], ordered[math.ceil(0.99 * len(ordered)) - 1])


@dataclass(frozen=True, slots=True)
class CameraTimes:
    """How fast the camera goes at one exposure.

    first_s, second_s, rest: from one start to the next, each begun as soon as the frame before has arrived.
    declared_s: what the driver says is safe (`DetectorFacts.cycle_s`). busy: of `paced` starts at that pace, how many
    the camera refused because it was not ready. missing: numbers that never arrived. snapshot, snapshot_declared_s: a
    short exposure between two long ones, start to frame; back: the long one after it.
    """

    exposure_s: float
    declared_s: float
    first_s: float
    second_s: float
    rest: Times
    paced: int
    busy: int
    missing: int
    snapshot_exposure_s: float
    snapshot: Times
    snapshot_declared_s: float
    back: Times

    @property
    def dead_s(self) -> float:
        """What the middle frame takes beyond its exposure. Not a slow one: a busy machine makes many of those, and it
        need not be as busy when a run is made.
        """
        return max(0.0, self.rest.median_s - self.exposure_s)

    @property
    def change_s(self) -> float:
        """What an exposure of another length than the one before it took more than one of the same; 0 where that is
        lost among the scatter.
        """
        changed_s = max(self.snapshot.median_s - self.snapshot_exposure_s, self.back.median_s - self.exposure_s)
        change_s = changed_s - self.dead_s
        scatter_s = max(CHANGE_NOTED_S, 2 * (self.rest.p99_s - self.rest.median_s))  # of a busy machine, too
        return change_s if change_s > scatter_s else 0.0


@dataclass(frozen=True, slots=True)
class Measured:
    """The result of a check. calls: by their names as the trace has them. faults: what did not do as it was told."""

    calls: Mapping[str, Times]
    call: Times
    cadence: CameraTimes
    faults: tuple[str, ...]

    @property
    def timing(self) -> dict[str, float]:
        """The table [timing] of a devices file."""
        return {
            "api_call_s": round(self.call.median_s, 4),
            "api_call_worst_s": round(self.call.p99_s, 4),
            "stage_read_s": round(self.calls["stage.angle"].median_s, 4),
        }


@dataclass(slots=True)
class Left:
    """How a check leaves the instrument if it ends now, in words for who ends it."""

    words: str = "beam and lens were not touched"


@asynccontextmanager
async def left_as_found(clock: Clock, microscope: Any, left: Left) -> AsyncIterator[int]:
    """Blank the beam for good; the lens gets its value back and the camera is disarmed, whatever happens.

    Yields the lens value found. left: is kept up to date.
    """
    left.words = "whether the beam was blanked is not known; the lens was not touched"
    await bounded(clock, "beam.blank", microscope.beam.blank)
    left.words = "the beam is blanked, the lens was not touched"
    focus: int = await bounded(clock, "optics.focus", microscope.optics.focus)
    left.words = f"the beam is blanked, the lens may not be back at {focus}, where it was: look at it"
    try:
        yield focus
    finally:
        try:
            await bounded(clock, "detector.disarm", microscope.detector.disarm)
        finally:
            await bounded(clock, "optics.set_focus", lambda: microscope.optics.set_focus(focus))
            left.words = f"the beam is blanked, the lens is back at {focus}, where it was"


async def bounded(clock: Clock, name: str, call: Callable[[], Awaitable[Any]]) -> Any:
    """The result of a call. Raises DeviceLost when there is none for too long."""
    limit = clock.timeout_at(clock.now_ns() + ns(CALL_LIMIT_S))
    try:
        async with limit:
            return await call()
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise DeviceLost(
            f"{name}: no answer for {CALL_LIMIT_S:g} s; whether it happened is unknown, the check ends here. The beam "
            "was blanked before: look at it, and at the device's own program."
        ) from error


async def measure(
    clock: Clock,
    microscope: Any,
    exposures_s: tuple[float, float],
    defocus: int,
    frames: int = FRAMES,
    left: Left | None = None,
) -> Measured:
    """Time every call of the microscope and the camera's cadence. Raises DeviceError when a device fails.

    left: for who may end it on the way.
    """
    async with left_as_found(clock, microscope, left or Left()) as focus:
        calls, faults = await _calls(clock, microscope, focus, defocus)
        cadence = await _cadence(clock, microscope.detector, *exposures_s, frames)
    pooled = [
        duration for name, durations in calls.items() if name.startswith(("beam.", "optics.")) for duration in durations
    ]
    return Measured({name: Times.of(took) for name, took in calls.items()}, Times.of(pooled), cadence, tuple(faults))


async def _calls(clock: Clock, microscope: Any, focus: int, defocus: int) -> tuple[dict[str, list[float]], list[str]]:
    """Durations of each call. `unblank` is left out: the beam stays off, and it is the same call as `blank`."""
    beam, optics, stage = microscope.beam, microscope.optics, microscope.stage
    took: dict[str, list[float]] = {}
    faults: list[str] = []

    async def timed(name: str, call: Callable[[], Awaitable[Any]]) -> Any:
        begin_ns = clock.now_ns()
        result = await bounded(clock, name, call)
        took.setdefault(name, []).append((clock.now_ns() - begin_ns) / NS_PER_S)
        return result

    open_again = False
    for turn in range(CALLS):
        await timed("stage.angle", stage.angle)
        open_again |= not await timed("beam.is_blanked", beam.is_blanked)
        await timed("beam.blank", beam.blank)
        wanted = focus + defocus if turn % 2 == 0 else focus
        await timed("optics.set_focus", lambda value=wanted: optics.set_focus(value))  # type: ignore[misc]
        found = await timed("optics.focus", optics.focus)
        if found != wanted and len(faults) < 1:
            faults.append(f"The lens was set to {wanted} and reads {found}: it does not keep what it is given.")
    if open_again:
        faults.append("The beam was blanked, and the blanker says that it is open: do not rely on it.")
    return took, faults


async def _cadence(
    clock: Clock, detector: Any, exposure_s: float, snapshot_exposure_s: float, frames: int
) -> CameraTimes:
    exposures_s = exposure_s, snapshot_exposure_s
    intervals, missing = await _as_fast_as_it_goes(clock, detector, exposures_s, frames)
    busy, gaps = await _at_the_declared_pace(clock, detector, exposures_s, frames)
    snapshots, back = await _snapshots(clock, detector, exposures_s)
    return CameraTimes(
        exposure_s,
        detector.facts.cycle_s(exposure_s),
        intervals[0],
        intervals[1],
        Times.of(intervals[2:]),
        frames,
        busy,
        missing + gaps,
        snapshot_exposure_s,
        Times.of(snapshots),
        detector.facts.cycle_s(snapshot_exposure_s) + detector.facts.change_s,
        Times.of(back),
    )


async def _armed(clock: Clock, detector: Any, exposures_s: Sequence[float]) -> AsyncIterator[Any]:
    await bounded(clock, "detector.arm", lambda: detector.arm(exposures_s))
    frames: AsyncIterator[Any] = aiter(detector.frames())
    return frames


async def _next(clock: Clock, frames: AsyncIterator[Any]) -> Any:
    return await bounded(clock, "detector.frames", lambda: anext(frames))


async def _as_fast_as_it_goes(
    clock: Clock, detector: Any, exposures_s: Sequence[float], count: int
) -> tuple[list[float], int]:
    """From start to start, in seconds, each as soon as the frame before is there; and how many frames were lost."""
    frames = await _armed(clock, detector, exposures_s)
    starts_ns, numbers = [], []
    for _ in range(count + 1):
        starts_ns.append(await _started(clock, detector, exposures_s[0]))
        numbers.append((await _next(clock, frames)).number)
    await bounded(clock, "detector.disarm", detector.disarm)
    intervals = [(after - before) / NS_PER_S for before, after in pairwise(starts_ns)]
    return intervals, numbers[-1] - count


async def _started(clock: Clock, detector: Any, exposure_s: float) -> int:
    """Start, and again a millisecond later for as long as the camera says that it is busy."""
    give_up_ns = clock.now_ns() + ns(CALL_LIMIT_S)
    while True:
        try:
            opened_ns: int = await bounded(clock, "detector.start", lambda: detector.start(exposure_s))
            return opened_ns
        except DeviceBusy:
            if clock.now_ns() > give_up_ns:
                raise
        await clock.sleep_s(0.001)


async def _at_the_declared_pace(
    clock: Clock, detector: Any, exposures_s: Sequence[float], count: int
) -> tuple[int, int]:
    """How many starts were refused, and how many frames lost, at the pace the driver calls safe."""
    frames = await _armed(clock, detector, exposures_s)
    cycle_ns, busy, numbers = ns(detector.facts.cycle_s(exposures_s[0])), 0, []
    start_ns = await _started(clock, detector, exposures_s[0])
    for _ in range(count):
        # The frame is fetched when it must be there anyway: waiting for it would set another pace.
        start_ns = max(start_ns + cycle_ns, clock.now_ns())
        await clock.sleep_until(start_ns, precise=True)
        try:
            start_ns = await bounded(clock, "detector.start", lambda: detector.start(exposures_s[0]))
            numbers.append((await _next(clock, frames)).number)
        except DeviceBusy:
            busy += 1
            numbers.append((await _next(clock, frames)).number)
            start_ns = await _started(clock, detector, exposures_s[0])
    numbers.append((await _next(clock, frames)).number)
    await bounded(clock, "detector.disarm", detector.disarm)
    return busy, numbers[-1] - count


async def _snapshots(clock: Clock, detector: Any, exposures_s: Sequence[float]) -> tuple[list[float], list[float]]:
    """From the start of a snapshot between two frames until its picture is there, in seconds, and the same of the frame
    after it.
    """
    frames = await _armed(clock, detector, exposures_s)
    took: tuple[list[float], list[float]] = ([], [])

    async def one(exposure_s: float) -> float:
        begin_ns = clock.now_ns()
        await _started(clock, detector, exposure_s)
        await _next(clock, frames)
        return (clock.now_ns() - begin_ns) / NS_PER_S

    await one(exposures_s[0])
    for _ in range(SNAPSHOTS):
        took[0].append(await one(exposures_s[1]))
        took[1].append(await one(exposures_s[0]))
    await bounded(clock, "detector.disarm", detector.disarm)
    return took
