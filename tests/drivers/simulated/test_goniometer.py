"""The stage's motion: ramp, backlash, constant speed, limits, the pedal; continuous, and unchanged once past."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.simulated.goniometer import Goniometer, GoniometerSettings, Motion
from drivers.simulated.latency import Interface
from engine.clock import NS_PER_S, ns
from engine.clock.virtual import VirtualClock
from engine.errors import DeviceError
from tests.engine.virtually import virtual

# A stage without errors, so that its motion can be computed by hand.
EXACT = GoniometerSettings(speed_error=0.0, encoder_deg=0.0, backlash_deg=0.5, acceleration_s=0.2)


def stage_of(
    clock: VirtualClock, settings: GoniometerSettings = EXACT, *, seed: int = 1, start_deg: float = 0.0
) -> Goniometer:
    return Goniometer(clock, Interface(clock, seed, 0.035), seed, settings, start_deg)


def angles(stage: Goniometer, begin_ns: int, *after_s: float) -> list[float]:
    return [stage.angle_deg(begin_ns + ns(seconds)) for seconds in after_s]


@virtual
async def test_the_stage_accelerates_and_then_keeps_its_speed(clock: VirtualClock) -> None:
    stage = stage_of(clock)
    await stage.rotate(60.0, 2.0)
    begin_ns = clock.now_ns()
    # v t^2 / (2 ramp) up to the end of the ramp, v (t - ramp / 2) after it
    assert angles(stage, begin_ns, 0.0, 0.1, 0.2, 1.0, 10.0) == pytest.approx([0.0, 0.05, 0.2, 1.8, 19.8])


@virtual
async def test_a_change_of_direction_first_takes_up_the_backlash(clock: VirtualClock) -> None:
    stage = stage_of(clock)
    await stage.rotate(-60.0, 2.0)
    begin_ns = clock.now_ns()
    assert angles(stage, begin_ns, 0.0, 0.1, 0.25) == [0.0, 0.0, 0.0]  # 0.5 deg at 2 deg/s: 0.25 s
    assert angles(stage, begin_ns, 0.35, 0.45, 1.25) == pytest.approx([-0.05, -0.2, -1.8])


@virtual
async def test_backlash_is_lost_at_every_reversal_and_only_there(clock: VirtualClock) -> None:
    stage = stage_of(clock)
    lost = []
    for target_deg in (1.0, 2.0, 1.0, 0.0, 3.0):
        await stage.rotate(target_deg, 1.0)
        begin_ns, begin_deg = clock.now_ns(), stage.angle_deg(clock.now_ns())
        lost.append(stage.angle_deg(begin_ns + ns(0.5)) == begin_deg)
        await clock.sleep_s(10.0)
        assert stage.angle_deg(clock.now_ns()) == target_deg
    assert lost == [False, False, True, False, True]


@virtual
async def test_the_stage_stops_at_its_target_and_stays(clock: VirtualClock) -> None:
    stage = stage_of(clock, start_deg=-30.0)
    await stage.rotate(-29.0, 1.0)
    begin_ns = clock.now_ns()
    assert angles(stage, begin_ns, 1.1, 1.2, 3600.0) == pytest.approx([-29.0] * 3)
    assert stage.angle_deg(begin_ns + ns(1.0)) < -29.0


@pytest.mark.parametrize("target_deg", [70.1, -70.1, 1e9, float("inf"), float("nan")])
@virtual
async def test_a_target_past_the_holders_limits_is_refused(clock: VirtualClock, target_deg: float) -> None:
    stage = stage_of(clock, replace(EXACT, limits_deg=(-70.0, 70.0)))
    with pytest.raises(DeviceError, match=r"outside the holder's limits -70..70 deg; nothing moved"):
        await stage.rotate(target_deg, 1.0)
    assert stage.angle_deg(clock.now_ns() + ns(100)) == 0.0


@pytest.mark.parametrize("speed_deg_s", [0.0, -1.0, float("nan")])
@virtual
async def test_a_speed_that_is_none_is_refused(clock: VirtualClock, speed_deg_s: float) -> None:
    stage = stage_of(clock)
    for target_deg in (10.0, -10.0):
        with pytest.raises(DeviceError, match="nothing moved"):
            await stage.rotate(target_deg, speed_deg_s)
    assert stage.angle_deg(clock.now_ns() + ns(100)) == 0.0


@virtual
async def test_the_limits_themselves_can_be_reached(clock: VirtualClock) -> None:
    stage = stage_of(clock, replace(EXACT, limits_deg=(-3.0, 3.0)))
    for target_deg in (3.0, -3.0):
        await stage.rotate(target_deg, 10.0)
        await clock.sleep_s(5.0)
        assert stage.angle_deg(clock.now_ns()) == target_deg


@virtual
async def test_a_pedal_held_too_long_ends_at_the_limit(clock: VirtualClock) -> None:
    stage = stage_of(clock, replace(EXACT, limits_deg=(-3.0, 3.0)))
    await stage.release_to_pedal(50.0, 1.0)
    await clock.sleep_s(60)
    assert stage.angle_deg(clock.now_ns()) == 3.0


@virtual
async def test_stop_ends_the_motion_where_the_stage_is_when_it_answers(clock: VirtualClock) -> None:
    stage = stage_of(clock)
    await stage.rotate(60.0, 1.0)
    begin_ns = clock.now_ns()
    await clock.sleep_s(2.0)
    await stage.stop()
    stopped_deg = (clock.now_ns() - begin_ns) / NS_PER_S - 0.1
    assert angles(stage, clock.now_ns(), 0.0, 1.0, 100.0) == pytest.approx([stopped_deg] * 3)


@pytest.mark.parametrize("seed", range(5))
@virtual
async def test_the_pedal_is_pressed_by_itself_within_its_times(clock: VirtualClock, seed: int) -> None:
    stage = stage_of(clock, seed=seed)
    await stage.release_to_pedal(60.0, 1.0)
    assert clock.now_ns() == 0  # returned at once
    grid_s = np.arange(0.0, 4.0, 0.001)
    moving = [stage.angle_deg(ns(seconds)) > 0 for seconds in grid_s]
    assert 0.5 <= grid_s[moving.index(True)] <= 3.002
    assert stage.angle_deg(ns(100)) == 60.0


def test_the_pedal_is_pressed_at_another_moment_with_another_seed() -> None:
    found: set[float] = set()

    @virtual
    async def released(clock: VirtualClock, seed: int) -> None:
        stage = stage_of(clock, seed=seed)
        await stage.release_to_pedal(60.0, 1.0)
        found.add(stage.angle_deg(ns(10)))

    for seed in (1, 2, 3, 1, 2, 3):
        released(seed)
    assert len(found) == 3


@virtual
async def test_a_stop_before_the_pedal_is_pressed_prevents_it(clock: VirtualClock) -> None:
    stage = stage_of(clock)
    await stage.release_to_pedal(60.0, 1.0)
    await stage.stop()
    assert stage.angle_deg(clock.now_ns() + ns(100)) == 0.0


@pytest.mark.parametrize(
    ("stops_at_deg", "target_deg", "expected_deg"),
    [(5.0, 20.0, 5.0), (5.0, 3.0, 3.0), (5.0, -20.0, -20.0), (-5.0, -20.0, -5.0), (-5.0, 20.0, 20.0)],
)
@virtual
async def test_a_stage_that_seizes_does_so_only_where_it_passes(
    clock: VirtualClock, stops_at_deg: float, target_deg: float, expected_deg: float
) -> None:
    stage = stage_of(clock, replace(EXACT, stops_at_deg=stops_at_deg))
    await stage.rotate(target_deg, 10.0)
    assert stage.angle_deg(clock.now_ns() + ns(100)) == expected_deg


@virtual
async def test_a_reading_is_true_at_an_instant_within_its_interval(clock: VirtualClock) -> None:
    stage = stage_of(clock, replace(EXACT, stage_read_s=0.277))
    await stage.rotate(80.0, 1.0)
    begin_ns = clock.now_ns()
    await clock.sleep_s(1.0)
    shares = []
    for _ in range(100):
        reading = await stage.angle()
        assert 0.15 < (reading.t_after_ns - reading.t_before_ns) / NS_PER_S < 2
        true_ns = begin_ns + ns(reading.value + 0.1)  # v = 1 deg/s after the ramp
        shares.append((true_ns - reading.t_before_ns) / (reading.t_after_ns - reading.t_before_ns))
        if reading.value > 75:
            break
    assert 0.0 <= min(shares) <= max(shares) <= 1.0
    assert np.std(shares) < 0.08  # a property of the interface, the same for all calls of a run


@virtual
async def test_readings_scatter_as_the_encoder_does(clock: VirtualClock) -> None:
    stage = stage_of(clock, replace(EXACT, encoder_deg=0.002))
    values = [(await stage.angle()).value for _ in range(1000)]
    assert np.std(values) == pytest.approx(0.002, rel=0.1)
    assert abs(np.mean(values)) < 0.0003


@virtual
async def test_true_speed_differs_a_little_from_nominal_and_is_the_same_all_run(clock: VirtualClock) -> None:
    stage = stage_of(clock, replace(EXACT, speed_error=0.01), seed=2)
    speeds = []
    for target_deg in (20.0, 40.0):
        await stage.rotate(target_deg, 1.0)
        first_deg, last_deg = angles(stage, clock.now_ns(), 2.0, 12.0)
        speeds.append((last_deg - first_deg) / 10)
        await clock.sleep_s(60)
    assert speeds[0] == pytest.approx(speeds[1], abs=1e-9)
    assert 1e-5 < abs(speeds[0] - 1.0) < 0.04


@given(
    dead_s=st.floats(0, 1),
    ramp_s=st.floats(0, 1),
    speed=st.floats(0.01, 20) | st.floats(-20, -0.01),
    travel_deg=st.floats(0, 150),
)
def test_a_motion_is_continuous_monotonic_and_never_overshoots(
    dead_s: float, ramp_s: float, speed: float, travel_deg: float
) -> None:
    to_deg = travel_deg if speed > 0 else -travel_deg
    motion = Motion(0, 0.0, to_deg, speed, dead_s, ramp_s)
    step_s = 0.01
    path = np.array([motion.angle_deg(ns(k * step_s)) for k in range(-20, 500)])
    assert np.abs(np.diff(path)).max() <= abs(speed) * step_s * (1 + 1e-9) + 1e-9
    assert (np.diff(path) * np.sign(speed) >= -1e-12).all()
    assert np.abs(path).max() <= travel_deg


COMMANDS = st.one_of(
    st.tuples(st.just("rotate"), st.floats(-70, 70), st.floats(0.1, 10)),
    st.tuples(st.just("release_to_pedal"), st.floats(-70, 70), st.floats(0.1, 10)),
    st.tuples(st.just("stop")),
)


@given(steps=st.lists(st.tuples(COMMANDS, st.floats(0, 4)), min_size=1, max_size=8), seed=st.integers(0, 99))
@virtual
async def test_after_any_commands_the_true_angle_is_continuous_and_the_past_stands(
    clock: VirtualClock, steps: list[tuple[tuple[Any, ...], float]], seed: int
) -> None:
    settings = GoniometerSettings(limits_deg=(-75.0, 75.0), speed_error=0.01)
    stage = stage_of(clock, settings, seed=seed)
    seen: list[tuple[int, float]] = []
    for (command, *arguments), pause_s in steps:
        await getattr(stage, command)(*arguments)
        until_ns = clock.now_ns() + ns(pause_s)
        while clock.now_ns() < until_ns:
            seen.append((clock.now_ns(), stage.angle_deg(clock.now_ns())))
            await clock.sleep_s(0.05)
    path = np.array([stage.angle_deg(t_ns) for t_ns in range(0, clock.now_ns() + ns(5), ns(0.01))])
    assert np.abs(np.diff(path)).max(initial=0.0) <= 10 * 1.06 * 0.01 + 1e-9
    assert -75.0 <= path.min() <= path.max() <= 75.0
    assert [(t_ns, stage.angle_deg(t_ns)) for t_ns, _ in seen] == seen
