"""Corrections bring the crystal to the middle and leave the pattern where it is; what acts the wrong way is stopped."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.trackingpaths import IMAGE_SHIFT, WRONG, corrected
from drivers.simulated.crystalmotion import MotionSettings
from protocols.tracking.actuator import Actuator, Correction
from protocols.tracking.correction import CorrectionLimits, Corrector, Trust
from protocols.tracking.path import CrystalPath
from protocols.tracking.place import Place
from protocols.tracking.regression import Effect

BEGIN = (32768.0, 32768.0)
TRIED = Effect(np.eye(2), 0.01 * np.eye(4))
UNTRIED = CrystalPath().effect()
AWAY = Place.even(0.0, 150.0, 10.0)
MILD = MotionSettings(height_nm=900.0, axis_off_nm=300.0, runout_nm=(60.0, 60.0), drift_nm_s=(0.1, -0.2), seed=4)


def corrector(actuator=IMAGE_SHIFT, **limits) -> Corrector:
    return Corrector(actuator, CorrectionLimits(**limits), BEGIN, BEGIN)


def planned(judged: Corrector, predicted: Place, effect: Effect) -> Correction:
    correction = judged.next(predicted, effect)
    assert correction is not None
    return correction


def test_the_crystal_comes_to_the_middle_and_the_pattern_stays():
    correction = planned(corrector(), Place.even(120.0, -90.0, 10.0), TRIED)
    assert correction.moves_nm == pytest.approx((-120.0, 90.0), abs=1.0)
    units = np.array(correction.setting) - BEGIN
    assert np.reshape(IMAGE_SHIFT.nm, (2, 2)) @ units == pytest.approx(correction.moves_nm)
    assert correction.back is not None
    assert IMAGE_SHIFT.back_px is not None
    back_px = np.reshape(IMAGE_SHIFT.back_px, (2, 2)) @ (np.array(correction.back) - BEGIN)
    left = np.reshape(IMAGE_SHIFT.px, (2, 2)) @ units + back_px
    assert correction.pattern_px == pytest.approx(left)
    assert np.hypot(*left) < 0.5
    assert np.hypot(*(np.reshape(IMAGE_SHIFT.px, (2, 2)) @ units)) > 0.5


def test_whole_numbers_are_counted_in():
    correction = planned(corrector(), Place.even(33.3, 21.7, 5.0), TRIED)
    assert all(value == int(value) for value in (*correction.setting, *(correction.back or ())))
    exact = planned(corrector(replace(IMAGE_SHIFT, whole_numbers=False)), Place.even(33.3, 21.7, 5.0), TRIED)
    assert exact.moves_nm == pytest.approx((-33.3, -21.7))
    assert correction.moves_nm != exact.moves_nm


def test_what_does_not_move_the_pattern_has_nothing_taken_back():
    correction = planned(corrector(replace(IMAGE_SHIFT, back_px=None)), Place.even(120.0, -90.0, 10.0), TRIED)
    assert correction.back is None
    assert np.hypot(*correction.pattern_px) > 0.5


def test_across_the_axis_a_stage_goes_farther_than_is_seen():
    stage = Actuator("stage", nm=(1.0, 0.0, 0.0, 1.0), foreshortened=True)
    correction = corrector(stage).next(Place.even(-50.0, 60.0, 10.0), TRIED, tilt_deg=60.0)
    assert correction is not None
    assert correction.moves_nm == pytest.approx((50.0, -120.0))


@pytest.mark.parametrize("place", [Place.even(5.0, 5.0, 1.0), Place.even(60.0, 0.0, 100.0)], ids=["near", "not known"])
def test_a_crystal_that_is_near_or_not_known_is_left(place):
    assert corrector().next(place, TRIED) is None


def test_a_correction_is_no_longer_than_allowed():
    far = Place.even(900.0, 0.0, 10.0)
    assert np.hypot(*planned(corrector(step_nm=250.0), far, TRIED).moves_nm) == pytest.approx(250.0, abs=1.0)
    assert np.hypot(*planned(corrector(untried_nm=80.0), far, UNTRIED).moves_nm) == pytest.approx(80.0, abs=1.0)


def test_no_correction_goes_beyond_the_range_or_the_deflectors():
    narrow = corrector(range_nm=500.0)
    for _ in range(5):
        correction = narrow.next(Place.even(400.0, 0.0, 10.0), TRIED)
        if correction is None:
            break
        narrow.made(correction)
    assert correction is None
    short = corrector(replace(IMAGE_SHIFT, back_limits=(32768 - 2, 32768 + 2)))
    assert short.next(Place.even(400.0, 0.0, 10.0), TRIED) is None


def test_a_matrix_that_moves_in_one_direction_only_is_said():
    assert IMAGE_SHIFT.why_not() is None
    assert "image shift" in str(replace(IMAGE_SHIFT, nm=(1.0, 2.0, 2.0, 4.0)).why_not())
    assert "diffraction shift" in str(replace(IMAGE_SHIFT, back_px=(0.0, 0.0, 0.0, 0.0)).why_not())


@pytest.mark.parametrize("name", ["right", "0.8 times, turned by 15 deg", "1.2 times, turned by -15 deg"])
def test_a_matrix_that_is_somewhat_wrong_converges(name):
    away, alone, trust = corrected(1, MILD, WRONG[name])
    assert trust is Trust.RIGHT
    assert alone.max() > 800.0
    assert np.percentile(away, 95) < 100.0
    assert away.max() < 300.0


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ["sign flipped", "mirrored"])
def test_a_matrix_of_the_wrong_sign_is_stopped_before_the_crystal_is_out(name, seed):
    away, _, trust = corrected(seed, MILD, WRONG[name])
    assert trust is Trust.STOPPED
    assert away.max() < 750.0


def effect(strength: float, sigma: float = 0.1) -> Effect:
    return Effect(strength * np.eye(2), sigma**2 * np.eye(4))


def test_what_acts_the_wrong_way_is_taken_back_and_then_stopped_in_words():
    judged = corrector()
    first = planned(judged, Place.even(0.0, 100.0, 10.0), UNTRIED)
    judged.made(first)
    assert judged.judge(effect(-1.0), AWAY) is Trust.DOUBTED
    assert "taken back" in judged.words
    back = planned(judged, Place.even(0.0, 200.0, 10.0), effect(-1.0))
    assert (back.setting, back.back) == (BEGIN, BEGIN)
    judged.made(back)
    assert judged.judge(effect(-1.0), AWAY) is Trust.STOPPED
    assert "-1.00 times as far as calibrated" in judged.words
    assert "Calibrate image-shift" in judged.words
    assert judged.next(Place.even(0.0, 300.0, 10.0), effect(-1.0)) is None


def test_a_jump_of_the_crystal_that_looked_like_it_is_forgiven():
    judged = corrector()
    judged.made(planned(judged, Place.even(0.0, 100.0, 10.0), UNTRIED))
    judged.judge(effect(-1.0), AWAY)
    judged.made(planned(judged, Place.even(0.0, 200.0, 10.0), UNTRIED))
    assert judged.judge(effect(0.9), AWAY) is Trust.RIGHT
    assert judged.words == ""
    assert judged.next(Place.even(0.0, 200.0, 10.0), TRIED) is not None
