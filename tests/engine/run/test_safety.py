"""The default way into the safe state: what it asks of the parts that a microscope has."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from engine.clock import ns
from engine.clock.virtual import VirtualClock
from engine.errors import DeviceError
from engine.record.trace import Trace
from engine.run.safety import STANDS_S, standing
from engine.run.timeline import Timeline
from tests.engine.virtually import virtual


@dataclass(frozen=True)
class Read:
    value: float
    t_after_ns: int


class Turning:
    """A stage at constant speed that hears some of its stops."""

    def __init__(self, clock: VirtualClock, speed_deg_s: float, deaf: int) -> None:
        self._clock, self._speed_deg_s, self._deaf = clock, speed_deg_s, deaf
        self._stopped_ns: int | None = None
        self.read = 0

    async def stop(self) -> None:
        if self._deaf:
            self._deaf -= 1
        elif self._stopped_ns is None:
            self._stopped_ns = self._clock.now_ns()

    async def angle(self) -> Read:
        self.read += 1
        until_ns = self._clock.now_ns() if self._stopped_ns is None else self._stopped_ns
        return Read(self._speed_deg_s * until_ns / 1e9, self._clock.now_ns())


@pytest.mark.parametrize("speed_deg_s", [0.1, -0.45, 10.0])
@virtual
async def test_a_stage_that_accepts_its_stop_and_turns_on_is_not_taken_for_one_that_stands(
    clock: VirtualClock, tmp_path: Path, speed_deg_s: float
) -> None:
    stage = Turning(clock, speed_deg_s, deaf=1)
    action = standing(stage, Timeline(clock, Trace(clock)))
    with pytest.raises(DeviceError, match="it turns on"):
        await action.call()
    await action.call()  # the next try is heard
    assert clock.now_ns() == 2 * ns(STANDS_S)
    assert "THE STAGE MAY STILL BE MOVING" in action.alarm


@virtual
async def test_a_stage_that_stands_is_read_twice_and_no_more(clock: VirtualClock, tmp_path: Path) -> None:
    stage = Turning(clock, 0.0, deaf=0)
    await standing(stage, Timeline(clock, Trace(clock))).call()
    assert stage.read == 2
    assert clock.now_ns() == ns(STANDS_S)
