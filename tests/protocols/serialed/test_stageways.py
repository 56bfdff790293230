import pytest

from drivers.contract import Microscope
from drivers.parts import StageXYZFacts
from engine.clock.virtual import VirtualClock
from engine.errors import DeviceError
from engine.record.trace import Record, Trace
from engine.run.gate import CallGate
from engine.run.timeline import Timeline
from protocols.serialed.stageways import StageWays, ways

FACTS = StageXYZFacts(((-1e6, 1e6), (-1e6, 1e6), (0, 0)), 400.0, xy_while_tilting=True, tilt_counts_as_moving=False)


@pytest.mark.parametrize(
    ("here", "there", "moves"),
    [
        ((0.0, 0.0), (13e3, 0.0), ((13e3, 0.0),)),
        ((0.0, 0.0), (0.0, 13e3), ((0.0, 13e3),)),
        ((13e3, 0.0), (0.0, 0.0), ((-800.0, 0.0), (0.0, 0.0))),
        ((13e3, 0.0), (0.0, 13e3), ((-800.0, 13e3), (0.0, 13e3))),
        (None, (0.0, 0.0), ((-800.0, -800.0), (0.0, 0.0))),
    ],
)
def test_only_an_axis_that_goes_down_needs_a_second_move(
    here: tuple[float, float] | None, there: tuple[float, float], moves: tuple[tuple[float, float], ...]
) -> None:
    assert ways(FACTS, here, there) == moves


class Course:
    """The simulated stage behind a gate, whose records tell how often it was asked."""

    def __init__(self, microscope: Microscope, clock: VirtualClock) -> None:
        self.trace = Trace(clock)
        self.asked = 0
        self.trace.observe(self._count)
        stage = CallGate(clock, self.trace).wrap("stagexyz", microscope.stagexyz)
        assert stage is not None
        self.ways = StageWays(stage, Timeline(clock, self.trace))

    def _count(self, record: Record) -> None:
        self.asked += record["name"] == "stagexyz.is_moving"


@pytest.mark.asyncio
@pytest.mark.microscope(stagexyz={"xy_speed_nm_s": 10e3})
async def test_a_way_that_was_gone_before_is_asked_about_once_and_costs_no_more_than_it_takes(
    simulated_microscope: Microscope, virtual_clock: VirtualClock
) -> None:
    course = Course(simulated_microscope, virtual_clock)
    took_s, asked = [], []
    for number in range(12):
        begin_ns, course.asked = virtual_clock.now_ns(), 0
        await course.ways.set_out((13e3 * number, 0.0))
        await course.ways.arrive()
        took_s.append((virtual_clock.now_ns() - begin_ns) / 1e9)
        asked.append(course.asked)
    assert asked[1] > 10
    assert max(asked[-4:]) <= 2
    assert max(took_s[-4:]) < 1.3 + 3 * 0.040 + 0.03  # the call, the way, and being asked once or twice


@pytest.mark.asyncio
@pytest.mark.microscope(stagexyz={"xy_speed_nm_s": 100.0})
async def test_a_stage_that_does_not_arrive_is_told_to_stop(
    simulated_microscope: Microscope, virtual_clock: VirtualClock
) -> None:
    course = Course(simulated_microscope, virtual_clock)
    await course.ways.set_out((13e3, 0.0))
    with pytest.raises(DeviceError, match="not over after 60 s; the stage was told to stop"):
        await course.ways.arrive()
    assert simulated_microscope.stagexyz is not None
    assert not await simulated_microscope.stagexyz.is_moving()
