"""The simulated translation moves at its speeds, and the specimen follows with play and scatter."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.approach import OnClock, arrive_xy
from drivers.simulated.latency import Interface
from drivers.simulated.microscope import SIMULATED_TIMING
from drivers.simulated.stagexyz import StageXYZSettings, Translation
from engine.clock import ns
from engine.clock.virtual import VirtualClock
from engine.errors import DeviceBusy, Refused
from tests.engine.virtually import virtual

PLAY_NM = 400.0
EXACT = StageXYZSettings(backlash_nm=PLAY_NM, reproducibility_nm=0.0, encoder_nm=0.0)


def never(t_ns: int) -> bool:
    return False


def stage_of(
    clock: VirtualClock, settings: StageXYZSettings = EXACT, is_tilting: Callable[[int], bool] = never, seed: int = 1
) -> Translation:
    return Translation(clock, Interface(clock, seed, 0.035, jitter=0.0), seed, settings, 0.1, is_tilting)


async def moved(clock: VirtualClock, stage: Translation, x_nm: float, y_nm: float) -> tuple[float, float, float]:
    """Where the specimen lies after a move straight to a place."""
    await stage.move_xy(x_nm, y_nm)
    while await stage.is_moving():
        await clock.sleep_s(0.1)
    return stage.specimen_nm(clock.now_ns())


@virtual
async def test_a_move_is_as_far_as_its_speed_takes_it(clock: VirtualClock) -> None:
    stage = stage_of(clock, replace(EXACT, backlash_nm=0.0))
    await stage.move_xy(50_000.0, 0.0)
    began_ns = clock.now_ns()
    assert [stage.specimen_nm(began_ns + ns(after_s))[0] for after_s in (0.0, 0.25, 1.0, 3.0)] == pytest.approx(
        [0.0, 12_500.0, 50_000.0, 50_000.0]
    )


@virtual
async def test_the_height_has_a_speed_of_its_own(clock: VirtualClock) -> None:
    stage = stage_of(clock, replace(EXACT, backlash_nm=0.0))
    await stage.move_z(10_000.0)
    assert stage.specimen_nm(clock.now_ns() + ns(0.5)) == pytest.approx((0.0, 0.0, 5_000.0))


@virtual
async def test_from_below_the_specimen_lies_where_the_reading_says(clock: VirtualClock) -> None:
    assert await moved(clock, stage_of(clock), 5_000.0, 7_000.0) == (5_000.0, 7_000.0, 0.0)


@virtual
async def test_from_above_the_specimen_stays_behind_by_the_backlash_and_the_encoder_does_not_see_it(
    clock: VirtualClock,
) -> None:
    stage = stage_of(clock)
    assert await moved(clock, stage, -5_000.0, -7_000.0) == (-5_000.0 + PLAY_NM, -7_000.0 + PLAY_NM, 0.0)
    reading = await stage.position()
    assert (reading.x_nm, reading.y_nm) == (-5_000.0, -7_000.0)


@virtual
async def test_within_the_play_the_drive_moves_and_the_specimen_does_not(clock: VirtualClock) -> None:
    stage = stage_of(clock)
    assert (await moved(clock, stage, -PLAY_NM / 2, 0.0))[0] == 0.0
    assert (await moved(clock, stage, -PLAY_NM, 0.0))[0] == 0.0
    assert (await moved(clock, stage, -PLAY_NM - 10.0, 0.0))[0] == -10.0


@given(places=st.lists(st.tuples(st.integers(-50_000, 50_000), st.integers(-50_000, 50_000)), max_size=4))
@virtual
async def test_who_always_arrives_from_below_finds_the_same_place_whatever_came_before(
    clock: VirtualClock, places: list[tuple[int, int]]
) -> None:
    stage = stage_of(clock)
    for x_nm, y_nm in places:
        await moved(clock, stage, x_nm, y_nm)
    await arrive_xy(stage, OnClock(clock), 1_000.0, -2_000.0)
    assert stage.specimen_nm(clock.now_ns())[:2] == pytest.approx((1_000.0, -2_000.0))


@virtual
async def test_arrivals_scatter_by_the_reproducibility_and_the_past_stands(clock: VirtualClock) -> None:
    stage = stage_of(clock, replace(EXACT, reproducibility_nm=20.0))
    offs_nm, seen = [], []
    for _ in range(200):
        await arrive_xy(stage, OnClock(clock), 1_000.0, 0.0)
        offs_nm.append(stage.specimen_nm(clock.now_ns())[0] - 1_000.0)
        seen.append((clock.now_ns(), stage.specimen_nm(clock.now_ns())))
    mean_square_nm2 = sum(off_nm**2 for off_nm in offs_nm) / len(offs_nm)
    assert mean_square_nm2**0.5 == pytest.approx(20.0, rel=0.2)
    assert [(t_ns, stage.specimen_nm(t_ns)) for t_ns, _ in seen] == seen


@virtual
async def test_readings_scatter_by_the_encoder_and_the_specimen_lies_still(clock: VirtualClock) -> None:
    stage = stage_of(clock, replace(EXACT, encoder_nm=2.0))
    values_nm = [(await stage.position()).x_nm for _ in range(200)]
    assert (sum(value_nm**2 for value_nm in values_nm) / 200) ** 0.5 == pytest.approx(2.0, rel=0.2)
    assert stage.specimen_nm(clock.now_ns()) == (0.0, 0.0, 0.0)


@virtual
async def test_a_stopped_stage_lies_where_it_was_at_that_instant(clock: VirtualClock) -> None:
    stage = stage_of(clock, replace(EXACT, backlash_nm=0.0))
    await stage.move_xy(50_000.0, -50_000.0)
    await clock.sleep_s(0.465)
    await stage.stop()
    stopped_at = stage.specimen_nm(clock.now_ns())
    assert stopped_at == pytest.approx((25_000.0, -25_000.0, 0.0))
    await clock.sleep_s(5.0)
    assert stage.specimen_nm(clock.now_ns()) == stopped_at
    assert await stage.is_moving() is False


@pytest.mark.parametrize("allowed", [True, False])
@virtual
async def test_whether_it_moves_while_the_stage_tilts_is_a_setting(clock: VirtualClock, allowed: bool) -> None:
    stage = stage_of(clock, replace(EXACT, xy_while_tilting=allowed), lambda t_ns: True)
    assert stage.facts.xy_while_tilting is allowed
    if allowed:
        assert (await moved(clock, stage, 1_000.0, 0.0))[0] == 1_000.0
    else:
        with pytest.raises(DeviceBusy, match="the stage tilts; nothing moved"):
            await stage.move_xy(1_000.0, 0.0)
        assert stage.specimen_nm(clock.now_ns() + ns(1.0)) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (replace(EXACT, start_nm=(2e6, 0.0, 0.0)), r"start_nm: x_nm = 2e\+06 is outside"),
        (replace(EXACT, start_nm=(0.0, 0.0, -300e3)), "start_nm: z_nm = -300000 is outside"),
        (replace(EXACT, xy_speed_nm_s=0.0), "above 0"),
        (replace(EXACT, z_speed_nm_s=-1.0), "above 0"),
    ],
)
@virtual
async def test_a_stage_that_cannot_be_is_refused(clock: VirtualClock, settings: StageXYZSettings, says: str) -> None:
    with pytest.raises(Refused, match=f"{says}.*nothing was started"):
        stage_of(clock, settings)


@virtual
async def test_a_stage_with_momentum_goes_too_far_and_comes_back(clock: VirtualClock) -> None:
    stage = stage_of(clock, replace(EXACT, backlash_nm=0.0, overshoot_nm=300.0, settling_s=0.2))
    await stage.move_xy(5_000.0, -5_000.0)
    arrives_ns = clock.now_ns() + ns(0.1)
    places = [stage.specimen_nm(arrives_ns + ns(after_s))[:2] for after_s in (0.0, 0.2, 3.0)]
    assert places[0] == pytest.approx((5_300.0, -5_300.0))
    assert places[1][0] == pytest.approx(5_000.0 + 300.0 / 2.71828, abs=0.1)
    assert places[2] == pytest.approx((5_000.0, -5_000.0), abs=0.01)
    await clock.sleep_s(5.0)
    await stage.move_xy(5_100.0, -5_000.0)
    assert stage.specimen_nm(clock.now_ns() + ns(0.002))[0] == pytest.approx(5_200.0), "no farther than the way was"


@virtual
async def test_z_may_land_better_than_x_and_y(clock: VirtualClock) -> None:
    options = {"stagexyz": {"reproducibility_nm": 500.0, "z_reproducibility_nm": 0.0, "backlash_nm": 0.0}}
    async with SIMULATED_TIMING.connect(clock, 1, options) as parts:
        microscope = parts.assembled()
        assert microscope.stagexyz is not None
        assert microscope.truth is not None
        translation = microscope.truth.view.translation  # type: ignore[attr-defined]
        await microscope.stagexyz.move_z(2_000.0)
        await clock.sleep_s(2.0)
        await microscope.stagexyz.move_xy(3_000.0, 3_000.0)
        await clock.sleep_s(2.0)
        x_nm, _, z_nm = translation.specimen_nm(clock.now_ns())
        assert z_nm == 2_000.0
        assert abs(x_nm - 3_000.0) > 1.0
