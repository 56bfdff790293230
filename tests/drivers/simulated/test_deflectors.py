"""The simulated coils: linear, each pair by its own matrix, slow to arrive by their time constant, some with a lag."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.parts import Deflector
from drivers.simulated.deflectors import HIGHEST, LEFT_AT_REST, LOWEST, NEUTRAL, Coils, DeflectorSettings
from drivers.simulated.latency import Interface
from engine.clock import ns
from engine.clock.virtual import VirtualClock
from tests.engine.virtually import virtual


def coils_of(clock: VirtualClock, settings: DeflectorSettings | None = None) -> Coils:
    return Coils(clock, Interface(clock, 1, 0.035, jitter=0.0), settings or DeflectorSettings())


@virtual
async def test_all_pairs_begin_neutral_and_do_nothing(clock: VirtualClock) -> None:
    coils = coils_of(clock)
    for which in Deflector:
        assert await coils.read(which) == (NEUTRAL, NEUTRAL)
        assert coils.effect_at(which, clock.now_ns()) == (0.0, 0.0)


EFFECTS = {
    # What 100 units of x, then of y, do along (fast, slow): columns of the matrix of the settings.
    Deflector.BEAM_SHIFT: ((90.0, 20.0), (-20.0, 90.0)),
    Deflector.BEAM_TILT: ((0.2, 0.0), (0.0, 0.2)),
    Deflector.IMAGE_SHIFT: ((50.0, -10.0), (10.0, 50.0)),
    Deflector.DIFFRACTION_SHIFT: ((3.0, -1.0), (1.0, 3.0)),
}


@pytest.mark.parametrize("which", Deflector)
@virtual
async def test_a_pair_does_what_its_matrix_says_and_the_others_nothing(clock: VirtualClock, which: Deflector) -> None:
    coils = coils_of(clock)
    for (x, y), effect in zip(((100, 0), (0, 100)), EFFECTS[which], strict=True):
        await coils.set(which, NEUTRAL + x, NEUTRAL + y)
        await clock.sleep_s(1.0)
        assert coils.effect_at(which, clock.now_ns()) == pytest.approx(effect)
        assert all(coils.effect_at(each, clock.now_ns()) == (0.0, 0.0) for each in Deflector if each is not which)


@given(
    x=st.integers(LOWEST - NEUTRAL, HIGHEST - NEUTRAL),
    y=st.integers(LOWEST - NEUTRAL, HIGHEST - NEUTRAL),
)
@virtual
async def test_effects_add_up(clock: VirtualClock, x: int, y: int) -> None:
    coils = coils_of(clock, DeflectorSettings(time_s=0.0))
    await coils.set(Deflector.BEAM_SHIFT, NEUTRAL + x, NEUTRAL + y)
    added = 0.9 * x - 0.2 * y, 0.2 * x + 0.9 * y
    assert coils.effect_at(Deflector.BEAM_SHIFT, clock.now_ns()) == pytest.approx(added, abs=1e-9)


@virtual
async def test_a_new_value_is_approached_from_the_answer_on_and_reached_after_the_settling_time(
    clock: VirtualClock,
) -> None:
    coils = coils_of(clock, DeflectorSettings(beam_tilt_mrad=(1.0, 0.0, 0.0, 1.0), time_s=0.01))
    asked_ns = clock.now_ns()
    await coils.set(Deflector.BEAM_TILT, NEUTRAL + 1000, NEUTRAL)
    set_ns = clock.now_ns()
    assert coils.effect_at(Deflector.BEAM_TILT, asked_ns)[0] == 0.0
    assert coils.effect_at(Deflector.BEAM_TILT, set_ns)[0] == 0.0
    one_time_constant = coils.effect_at(Deflector.BEAM_TILT, set_ns + ns(0.01))[0]
    assert one_time_constant == pytest.approx(1000 * (1 - math.exp(-1)))
    left = 1000 - coils.effect_at(Deflector.BEAM_TILT, set_ns + ns(coils.facts.settling_s))[0]
    assert left == pytest.approx(1000 * LEFT_AT_REST, rel=1e-3)


@virtual
async def test_a_pair_that_is_set_on_its_way_goes_on_from_where_it_is(clock: VirtualClock) -> None:
    coils = coils_of(clock, DeflectorSettings(beam_tilt_mrad=(1.0, 0.0, 0.0, 1.0), time_s=0.05))
    await coils.set(Deflector.BEAM_TILT, NEUTRAL + 1000, NEUTRAL)
    await coils.set(Deflector.BEAM_TILT, NEUTRAL, NEUTRAL)  # one call of 35 ms later
    turned_ns = clock.now_ns()
    before, after = (coils.effect_at(Deflector.BEAM_TILT, turned_ns + step_ns)[0] for step_ns in (-1, 1))
    assert before == pytest.approx(1000 * (1 - math.exp(-0.035 / 0.05)), rel=1e-3)
    assert after == pytest.approx(before, rel=1e-3)


@virtual
async def test_coils_without_a_time_constant_settle_at_once(clock: VirtualClock) -> None:
    coils = coils_of(clock, DeflectorSettings(time_s=0.0))
    assert coils.facts.settling_s == 0.0
    await coils.set(Deflector.BEAM_TILT, NEUTRAL + 500, NEUTRAL)
    assert coils.effect_at(Deflector.BEAM_TILT, clock.now_ns()) == pytest.approx((1.0, 0.0))


LAGS = {
    # Where x goes, one after the other, and at which x it then does what it does without a lag of 10 units.
    "rising it follows": ((100,), 100),
    "falling it stays until the lag is used up": ((100, 95), 100),
    "and follows then": ((100, 60), 70),
    "rising again it stays": ((100, 60, 68), 70),
    "past a place and back": ((60, 40), 50),
    "from below it is as without a lag": ((60, 20, 40), 40),
}


@pytest.mark.parametrize(("way", "does"), LAGS.values(), ids=LAGS)
@virtual
async def test_with_a_lag(clock: VirtualClock, way: tuple[int, ...], does: int) -> None:
    settings = DeflectorSettings(image_shift_nm=(1.0, 0.0, 0.0, 1.0), time_s=0.0, lag=(0.0, 0.0, 10.0, 0.0))
    coils = coils_of(clock, settings)
    for x in way:
        await coils.set(Deflector.IMAGE_SHIFT, NEUTRAL + x, NEUTRAL)
    assert coils.effect_at(Deflector.IMAGE_SHIFT, clock.now_ns()) == pytest.approx((does, 0.0))
