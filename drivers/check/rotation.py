"""How fast the stage really turns: rotations there and back, measured by its own readings.

Used by `credline devices check --move` on a bare clock, and by `credline calibrate rotation` within a run. Every
rotation is between two angles within the holder's limits, near where the stage stood; it is brought back there at the
end and stopped if anything goes wrong.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from drivers.approach import Waiting
from drivers.check.measure import bounded
from engine.clock import NS_PER_S, Clock, ns
from engine.errors import DeviceError

SPANS_DEG = (2.0, 5.0, 10.0)
FACTORS = (0.5, 1.0, 2.0)
FARTHEST = 5.0
# At rest when two readings PAUSE_S apart agree within the first; arrived when this near the target.
STILL_DEG = 0.01
ARRIVED_DEG = 0.1
PAUSE_S = 0.1


@dataclass(frozen=True, slots=True)
class MeasuredRotation:
    """One rotation: what was asked for and what came of it.

    speed_deg_s, sigma_deg_s: slope of the readings between a quarter and nine tenths of the span, with its standard
    uncertainty; None with fewer than three readings there. time_s: from the command until the target was reached;
    call_s: the part of it that the command took. from_deg, to_deg: where it began, and the target.
    """

    asked_deg_s: float
    span_deg: float
    speed_deg_s: float | None
    sigma_deg_s: float
    time_s: float
    call_s: float
    from_deg: float
    to_deg: float


class WithinLimits:
    """A stage outside of a run, each of whose calls answers in time or is DeviceLost."""

    def __init__(self, clock: Clock, stage: Any) -> None:
        self._clock, self._stage = clock, stage

    @property
    def facts(self) -> Any:
        """See `Stage.facts`."""
        return self._stage.facts

    async def angle(self) -> Any:
        """See `Stage.angle`."""
        return await bounded(self._clock, "stage.angle", self._stage.angle)

    async def rotate(self, target_deg: float, speed_deg_s: float) -> None:
        """See `Stage.rotate`."""
        await bounded(self._clock, "stage.rotate", lambda: self._stage.rotate(target_deg, speed_deg_s))

    async def stop(self) -> None:
        """See `Stage.stop`."""
        await bounded(self._clock, "stage.stop", self._stage.stop)


def speeds_to_try(stage: Any, speed_deg_s: float) -> list[float]:
    """The speed of the plan and some around it; of a stage that has a few speeds, up to four nearest to it."""
    speeds = getattr(stage, "rotation_speeds", None)
    if speeds is None or speeds.levels is None:
        return [factor * speed_deg_s for factor in FACTORS]
    near = sorted(speeds.all_deg_s(), key=lambda speed: abs(math.log(speed / speed_deg_s)))
    return sorted([near[0], *(speed for speed in near[1:4] if 1 / FARTHEST < speed / speed_deg_s < FARTHEST)])


async def measure_rotations(
    waiting: Waiting, stage: Any, speeds_deg_s: Sequence[float], spans_deg: Sequence[float] = SPANS_DEG
) -> list[MeasuredRotation]:
    """Rotate there and back at every speed over every span. Raises DeviceError when the stage does not obey."""
    here_deg: float = (await stage.angle()).value
    low_deg, high_deg = stage.facts.limits_deg
    direction = 1.0 if here_deg <= (low_deg + high_deg) / 2 else -1.0
    longest_deg = max(spans_deg)
    room_deg = (high_deg - here_deg if direction > 0 else here_deg - low_deg) - ARRIVED_DEG
    measured = []
    try:
        for speed_deg_s in speeds_deg_s:
            for span_deg in spans_deg:
                span = span_deg * min(1.0, room_deg / longest_deg)
                for target_deg in (here_deg + direction * span, here_deg):
                    rotation = await _rotation(waiting, stage, target_deg, speed_deg_s)
                    measured.append(rotation)
    except BaseException:
        await stage.stop()
        raise
    return measured


async def _rotation(waiting: Waiting, stage: Any, target_deg: float, speed_deg_s: float) -> MeasuredRotation:
    begin_deg = (await stage.angle()).value
    span_deg = abs(target_deg - begin_deg)
    begin_ns = waiting.now_ns
    give_up_ns = begin_ns + ns(5 * span_deg / speed_deg_s + 10.0)
    await stage.rotate(target_deg, speed_deg_s)
    call_s = (waiting.now_ns - begin_ns) / NS_PER_S
    readings: list[Any] = []
    paused = False
    while True:
        readings.append(await stage.angle())
        arrived = abs(readings[-1].value - target_deg) <= ARRIVED_DEG
        if paused and arrived and abs(readings[-1].value - readings[-2].value) <= STILL_DEG:
            break
        if waiting.now_ns > give_up_ns:
            raise DeviceError(
                f"stage: was told to go to {target_deg:.2f} deg at {speed_deg_s:g} deg/s and stands at "
                f"{readings[-1].value:.2f} deg after {(waiting.now_ns - begin_ns) / NS_PER_S:.0f} s; it was stopped. "
                "Look at its limits and at the speed set at the console."
            )
        if paused := arrived:
            await waiting.wait("stage", waiting.now_ns + ns(PAUSE_S))
    middle_s = np.array([(r.t_before_ns + r.t_after_ns) / 2 - begin_ns for r in readings]) / NS_PER_S
    gone_deg = np.abs(np.array([reading.value for reading in readings]) - begin_deg)
    moving = (gone_deg > 0.25 * span_deg) & (gone_deg < 0.9 * span_deg)
    if moving.sum() < 3:
        arrived = int(np.argmax(gone_deg >= span_deg - ARRIVED_DEG))
        time_s = float(middle_s[arrived])
        return MeasuredRotation(speed_deg_s, span_deg, None, 0.0, time_s, call_s, begin_deg, target_deg)
    speed, offset, sigma = _line(middle_s[moving], gone_deg[moving])
    time_s = (span_deg - offset) / speed
    return MeasuredRotation(speed_deg_s, span_deg, speed, sigma, time_s, call_s, begin_deg, target_deg)


def _line(x: Any, y: Any) -> tuple[float, float, float]:
    """Slope, offset and the slope's standard uncertainty of a straight line."""
    slope, offset = np.polyfit(x, y, 1)
    freedom = max(len(x) - 2, 1)
    spread = float(np.sum((x - x.mean()) ** 2))
    sigma = float(np.sqrt(np.sum((y - slope * x - offset) ** 2) / freedom / spread))
    return float(slope), float(offset), sigma
