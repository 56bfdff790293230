"""The way into the safe state: its bound, its tries, and what it asks by default of the parts that a microscope has."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from engine.clock import ns
from engine.clock.virtual import VirtualClock
from engine.errors import DeviceError
from engine.record.trace import Trace
from engine.run.contract import SafeAction
from engine.run.safety import LET_GO_S, STANDS_S, Safety, bound_s, standing, sure_of
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
async def test_a_stage_that_stands_is_read_four_times_and_no_more(clock: VirtualClock, tmp_path: Path) -> None:
    stage = Turning(clock, 0.0, deaf=0)
    await standing(stage, Timeline(clock, Trace(clock))).call()
    assert stage.read == 4
    assert clock.now_ns() == ns(STANDS_S)


class Misread(Turning):
    """The same, whose n-th reading is off by all that it moves while it is looked at."""

    def __init__(self, clock: VirtualClock, wrong: int, off_deg: float) -> None:
        super().__init__(clock, 0.45, deaf=1)
        self._wrong, self._off_deg = wrong, off_deg

    async def angle(self) -> Read:
        read = await super().angle()
        return Read(read.value + self._off_deg, read.t_after_ns) if self.read == self._wrong else read


@pytest.mark.parametrize("wrong", [1, 2, 3, 4])
@pytest.mark.parametrize("sign", [-1, 1])
@virtual
async def test_no_single_reading_hides_a_stage_that_turns_on(
    clock: VirtualClock, tmp_path: Path, wrong: int, sign: int
) -> None:
    stage = Misread(clock, wrong, sign * 0.45 * STANDS_S)
    with pytest.raises(DeviceError, match="it turns on"):
        await standing(stage, Timeline(clock, Trace(clock))).call()


class Blanker:
    """One that does not close and is asked: what it says, in turn."""

    def __init__(self, *answers: bool) -> None:
        self.answers, self.told = list(answers), 0

    async def blank(self) -> None:
        self.told += 1

    async def is_blanked(self) -> bool:
        return self.answers.pop(0)


@pytest.mark.parametrize("answers", [(False,), (True, False)])
@virtual
async def test_a_beam_is_known_to_be_off_by_two_answers_and_no_less(
    clock: VirtualClock, tmp_path: Path, answers: tuple[bool, ...]
) -> None:
    blanker = Blanker(*answers, True, True)
    action = sure_of(blanker)
    with pytest.raises(DeviceError, match="does not close"):
        await action.call()
    await action.call()  # the next try
    assert (blanker.told, blanker.answers) == (2, [])
    assert "THE BEAM MAY STILL BE ON" in action.alarm


class Failing:
    """An action that fails with one cause after the other and then works: all that is to be done."""

    def __init__(self, *causes: str) -> None:
        self.causes = list(causes)

    async def call(self) -> None:
        if self.causes:
            raise DeviceError(self.causes.pop(0))

    def safe_actions(self) -> list[SafeAction]:
        return [SafeAction("beam.blank", self.call, limit_s=3.0, alarm="BEAM ON")]


@pytest.mark.parametrize(
    ("causes", "told"),
    [
        (("deaf", "deaf", "deaf"), ["deaf"]),
        (("deaf", "busy", "busy", "deaf"), ["deaf", "busy", "deaf"]),
        (("busy", "deaf"), ["busy", "deaf"]),
    ],
)
@virtual
async def test_each_new_cause_of_an_action_that_is_tried_again_is_told_once(
    clock: VirtualClock, causes: tuple[str, ...], told: list[str]
) -> None:
    trace = Trace(clock)
    safety = Safety(clock, trace, Timeline(clock, trace), str, list, lambda: None, lambda: None)
    await safety.make(Failing(*causes))
    assert [record["reason"] for record in trace.recorded() if record["kind"] == "fault"] == told
    assert safety.alarms == []


def test_the_bound_counts_every_action_and_the_time_in_which_each_device_lets_go() -> None:
    async def nothing() -> None: ...

    actions = [
        SafeAction(name, nothing, limit_s=limit_s, alarm="") for name, limit_s in (("beam", 3.0), ("stage", 0.5))
    ]
    assert bound_s(actions) == 3.0 + 0.5 + 4 * LET_GO_S
    assert bound_s([]) == 2 * LET_GO_S
