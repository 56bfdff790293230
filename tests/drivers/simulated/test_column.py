"""The lens settles and remembers, the blanker knows for how long the beam was on."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.simulated.column import STILL_PX, Blanker, Lens, LensSettings
from drivers.simulated.latency import Interface
from engine.clock import NS_PER_S, ns
from engine.clock.virtual import VirtualClock
from tests.engine.virtually import virtual

NO_HYSTERESIS = LensSettings(hysteresis_px=(0.0, 0.0))
FRAME_S = 0.5


def lens_of(clock: VirtualClock, settings: LensSettings = NO_HYSTERESIS) -> Lens:
    return Lens(clock, Interface(clock, 1, 0.035), settings)


def shift_px(lens: Lens, begin_ns: int, exposure_s: float = FRAME_S) -> float:
    return math.hypot(*lens.beam_shift_px(begin_ns, begin_ns + ns(exposure_s)))


@virtual
async def test_a_lens_left_alone_is_in_focus(clock: VirtualClock) -> None:
    lens = lens_of(clock)
    assert await lens.focus() == NO_HYSTERESIS.focus
    assert lens.defocus_at(clock.now_ns()) == 0.0
    assert shift_px(lens, 0) == 0.0


@virtual
async def test_the_lens_approaches_its_new_value_without_overshoot(clock: VirtualClock) -> None:
    lens = lens_of(clock)
    await lens.set_focus(NO_HYSTERESIS.focus + 1500)
    way = [lens.defocus_at(clock.now_ns() + ns(k * 0.01)) for k in range(200)]
    assert way == sorted(way)
    assert 0 < way[0] < 1500
    assert way[-1] == pytest.approx(1500, abs=0.1)


@virtual
async def test_the_lens_is_where_it_was_before_a_call_is_made(clock: VirtualClock) -> None:
    lens = lens_of(clock)
    await clock.sleep_s(1.0)
    asked_ns = clock.now_ns()
    await lens.set_focus(NO_HYSTERESIS.focus + 1500)
    assert lens.defocus_at(asked_ns) == 0.0


# As in a run: defocused for a call and a snapshot, refocused, then the settling time.
@given(defocus=st.integers(-6000, 6000), defocused_s=st.floats(0.01, 2.0))
@virtual
async def test_after_the_settling_time_a_frame_is_shifted_by_less_than_a_fifth_of_a_pixel(
    clock: VirtualClock, defocus: int, defocused_s: float
) -> None:
    lens = lens_of(clock)
    await lens.set_focus(NO_HYSTERESIS.focus + defocus)
    await clock.sleep_s(defocused_s)
    await lens.set_focus(NO_HYSTERESIS.focus)
    await clock.sleep_s(lens.facts.settling_s(defocus))
    assert shift_px(lens, clock.now_ns()) < 0.2


def test_the_settling_time_of_a_snapshot_is_a_third_of_a_second() -> None:
    @virtual
    async def settling(clock: VirtualClock) -> None:
        lens = lens_of(clock)
        assert 0.30 <= lens.facts.settling_s(1500) <= 0.40
        assert lens.facts.settling_s(-1500) == lens.facts.settling_s(1500)
        assert lens.facts.settling_s(0) == 0.0

    settling()


@virtual
async def test_without_settling_the_frame_is_shifted(clock: VirtualClock) -> None:
    lens = lens_of(clock)
    await lens.set_focus(NO_HYSTERESIS.focus + 1500)
    await clock.sleep_s(0.1)
    await lens.set_focus(NO_HYSTERESIS.focus)
    assert shift_px(lens, clock.now_ns(), 0.05) > 2 * STILL_PX


@given(first=st.integers(0, 5000), second=st.integers(0, 5000))
@virtual
async def test_a_larger_defocus_never_settles_sooner(clock: VirtualClock, first: int, second: int) -> None:
    lens = lens_of(clock)
    small, large = sorted((first, second))
    assert lens.facts.settling_s(small) <= lens.facts.settling_s(large)
    if small >= 200 and large > small:
        assert lens.facts.settling_s(small) < lens.facts.settling_s(large)


@virtual
async def test_hysteresis_shrinks_with_every_relaxing_toggle(clock: VirtualClock) -> None:
    settings = LensSettings()
    lens = lens_of(clock, settings)
    shifts = [shift_px(lens, clock.now_ns())]
    for _ in range(5):
        for value in (settings.focus + 1500, settings.focus):
            await lens.set_focus(value)
            await clock.sleep_s(0.5)
        await clock.sleep_s(5.0)
        shifts.append(shift_px(lens, clock.now_ns()))
    assert shifts[0] == pytest.approx(math.hypot(1.4, -0.9))
    for before, after in pairwise(shifts):
        assert after == pytest.approx(0.35 * before, rel=0.01)
    assert shifts[-1] < 0.2


@virtual
async def test_setting_the_value_it_has_is_no_toggle(clock: VirtualClock) -> None:
    settings = LensSettings()
    lens = lens_of(clock, settings)
    for _ in range(3):
        await lens.set_focus(settings.focus)
    assert shift_px(lens, clock.now_ns()) == pytest.approx(math.hypot(1.4, -0.9))


@virtual
async def test_the_past_of_the_lens_stands(clock: VirtualClock) -> None:
    lens = lens_of(clock)
    seen = []
    for value in (1500, 0, -700, 0, 300):
        await lens.set_focus(NO_HYSTERESIS.focus + value)
        await clock.sleep_s(0.07)
        seen.append((clock.now_ns(), lens.defocus_at(clock.now_ns())))
    await clock.sleep_s(3)
    assert [(t_ns, lens.defocus_at(t_ns)) for t_ns, _ in seen] == seen


# --- the blanker


def blanker_of(clock: VirtualClock, *, beam_on: bool) -> Blanker:
    return Blanker(clock, Interface(clock, 1, 0.035), beam_on=beam_on)


@pytest.mark.parametrize("beam_on", [True, False])
@virtual
async def test_the_blanker_begins_as_the_operator_left_it(clock: VirtualClock, beam_on: bool) -> None:
    beam = blanker_of(clock, beam_on=beam_on)
    assert beam.share_on(0, 100) == float(beam_on)
    assert await beam.is_blanked() is not beam_on


@virtual
async def test_the_beam_is_on_from_the_answer_of_unblank_to_that_of_blank(clock: VirtualClock) -> None:
    beam = blanker_of(clock, beam_on=False)
    await beam.unblank()
    on_ns = clock.now_ns()
    await clock.sleep_s(0.5)
    await beam.blank()
    off_ns = clock.now_ns()
    assert beam.share_on(on_ns, off_ns) == 1.0
    assert beam.share_on(0, on_ns) == 0.0
    assert beam.share_on(off_ns, off_ns + 1000) == 0.0
    assert beam.share_on(on_ns - 100, on_ns + 300) == 0.75
    assert beam.share_on(off_ns - 100, off_ns + 300) == 0.25
    assert beam.share_on(0, 2 * off_ns) == pytest.approx((off_ns - on_ns) / (2 * off_ns))


@given(
    changes=st.lists(st.tuples(st.integers(1, 40), st.booleans()), max_size=8),
    beam_on=st.booleans(),
    begin_ns=st.integers(0, 50),
    length_ns=st.integers(1, 50),
)
@virtual
async def test_the_share_of_an_exposure_with_beam_is_the_sum_over_its_instants(
    clock: VirtualClock, changes: list[tuple[int, bool]], beam_on: bool, begin_ns: int, length_ns: int
) -> None:
    beam = blanker_of(clock, beam_on=beam_on)
    beam._changes += sorted(changes, key=lambda change: change[0])
    states = [[blanked for change_ns, blanked in beam._changes if change_ns <= t_ns][-1] for t_ns in range(110)]
    lit = sum(not blanked for blanked in states[begin_ns : begin_ns + length_ns])
    assert beam.share_on(begin_ns, begin_ns + length_ns) == lit / length_ns


@virtual
async def test_an_exposure_of_no_length_has_no_beam(clock: VirtualClock) -> None:
    assert blanker_of(clock, beam_on=True).share_on(NS_PER_S, NS_PER_S) == 0.0
