"""The way to a place of the stage: from below, or refused before anything moves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.approach import OnClock, arrive_deg, arrive_xy, heights, way_points
from drivers.contract import Reading
from drivers.facts import StageFacts
from drivers.parts import PositionReading, StageXYZFacts
from engine.clock.virtual import VirtualClock
from engine.errors import DeviceError, Refused
from tests.engine.virtually import virtual


def facts_of(backlash_nm: float = 400.0) -> StageXYZFacts:
    limits_nm = ((-1000.0, 1000.0), (-2000.0, 2000.0), (-10.0, 10.0))
    return StageXYZFacts(limits_nm, backlash_nm, xy_while_tilting=False, tilt_counts_as_moving=False)


def test_a_place_is_reached_from_below_in_both() -> None:
    assert way_points(facts_of(), 100.0, -50.0) == ((-300.0, -450.0), (100.0, -50.0))


def test_a_place_is_reached_from_above_where_that_is_wanted() -> None:
    assert way_points(facts_of(), 100.0, -50.0, from_above=True) == ((500.0, 350.0), (100.0, -50.0))
    with pytest.raises(Refused, match="from above, with 400 nm"):
        way_points(facts_of(), 700.0, 0.0, from_above=True)


def test_without_backlash_the_way_is_straight() -> None:
    assert way_points(facts_of(0.0), 100.0, -50.0) == ((100.0, -50.0),)


def test_a_height_is_reached_from_below_within_the_limits_or_refused() -> None:
    assert heights(facts_of(4.0), 7.0) == (3.0, 7.0)
    assert heights(facts_of(0.0), 7.0) == (7.0,)
    with pytest.raises(Refused, match="z_nm = 11 is outside"):
        heights(facts_of(4.0), 11.0)
    with pytest.raises(Refused, match=r"with 4 nm for the backlash: z_nm = -13 is outside.*Nothing moved"):
        heights(facts_of(4.0), -9.0)


@given(
    x_nm=st.floats(-1500, 1500, allow_nan=False),
    y_nm=st.floats(-2500, 2500, allow_nan=False),
    backlash_nm=st.floats(0, 500, allow_nan=False),
)
def test_a_way_ends_at_its_place_within_the_limits_or_is_refused(x_nm: float, y_nm: float, backlash_nm: float) -> None:
    facts = facts_of(backlash_nm)
    inside = -1000 <= x_nm - backlash_nm and x_nm <= 1000 and -2000 <= y_nm - backlash_nm and y_nm <= 2000
    if not inside:
        with pytest.raises(Refused):
            way_points(facts, x_nm, y_nm)
        return
    way = way_points(facts, x_nm, y_nm)
    assert way[-1] == (x_nm, y_nm)
    assert all(facts.outside(*place) is None for place in way)


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ((1001.0, 0.0), "x_nm = 1001 is outside"),
        ((0.0, -2001.0), "y_nm = -2001 is outside"),
        ((-700.0, 0.0), "with 400 nm for the backlash: x_nm = -1100 is outside"),
        ((float("nan"), 0.0), "x_nm = nan is outside"),
    ],
)
def test_a_place_that_cannot_be_reached_so_is_refused_with_its_reason(place: tuple[float, float], says: str) -> None:
    with pytest.raises(Refused, match=f"{says}.*Nothing moved"):
        way_points(facts_of(), *place)


class StuckStage:
    """A stage whose first move never ends; it writes down what it was told."""

    def __init__(self) -> None:
        self.facts = facts_of()
        self.told: list[str] = []

    async def position(self) -> PositionReading:
        return PositionReading(0.0, 0.0, 0.0, 0, 0)

    async def move_xy(self, x_nm: float, y_nm: float) -> None:
        self.told.append(f"move to {x_nm:g}, {y_nm:g}")

    async def move_z(self, z_nm: float) -> None:
        self.told.append(f"move to {z_nm:g}")

    async def is_moving(self) -> bool:
        return True

    async def stop(self) -> None:
        self.told.append("stop")


@virtual
async def test_a_move_that_does_not_end_is_stopped_and_told(clock: VirtualClock) -> None:
    stage = StuckStage()
    with pytest.raises(DeviceError, match=r"the move to \(-300, -450\) nm was not over after 5 s; the stage was told"):
        await arrive_xy(stage, OnClock(clock), 100.0, -50.0, limit_s=5.0)
    assert stage.told == ["move to -300, -450", "stop"]
    assert clock.now_ns() == pytest.approx(5e9, abs=0.2e9)


class Tilting:
    """A stage that turns at once, or not at all."""

    facts = StageFacts((-60.0, 60.0), 0.0)

    def __init__(self, *, stuck: bool) -> None:
        self.stuck = stuck
        self.tilt_deg = 0.0
        self.told: list[str] = []

    async def angle(self) -> Reading:
        return Reading(self.tilt_deg, 0, 0)

    async def rotate(self, target_deg: float, speed_deg_s: float) -> None:
        self.told.append(f"to {target_deg:g} at {speed_deg_s:g}")
        self.tilt_deg = self.tilt_deg if self.stuck else target_deg + 0.05

    async def release_to_pedal(self, target_deg: float, speed_deg_s: float) -> None:
        raise AssertionError("the pedal is the operator's")

    async def stop(self) -> None:
        self.told.append("stop")


@virtual
async def test_a_tilt_is_told_as_it_is_read_when_the_stage_stands(clock: VirtualClock) -> None:
    assert await arrive_deg(Tilting(stuck=False), OnClock(clock), 10.0, 2.0) == 10.05
    assert clock.now_ns() == 0.5e9


@virtual
async def test_a_tilt_that_is_not_reached_in_twice_its_time_is_given_up(clock: VirtualClock) -> None:
    stage = Tilting(stuck=True)
    with pytest.raises(DeviceError, match="10 deg was not reached in time; the stage was told to stop"):
        await arrive_deg(stage, OnClock(clock), 10.0, 2.0)
    assert stage.told == ["to 10 at 2", "stop"]
    assert clock.now_ns() == pytest.approx(15e9, abs=0.2e9)
