"""A path is learned from few snapshots, and known ahead with an uncertainty that holds; a wrong one is not believed."""

import numpy as np
import pytest

from benchmarks.trackingpaths import by_path, by_velocity, found
from drivers.simulated.crystalmotion import MotionSettings
from protocols.tracking.path import CrystalPath, PathPoint, Seen
from protocols.tracking.place import Place

SIGMA_NM = 10.0
STEP_DEG, STEP_S = 2.3, 5.0


def geometry_nm(angle_deg, across_nm=400.0, height_nm=900.0):
    """Where a crystal beside and above the axis is seen."""
    angle = np.radians(angle_deg)
    return np.array([30.0 * np.sin(angle) + 50.0, across_nm * np.cos(angle) - height_nm * np.sin(angle) + 120.0])


def learned(steps=20, noise=0.0, path=None, where=geometry_nm, begin_deg=-50.0):
    rng, path = np.random.default_rng(3), path or CrystalPath()
    for k in range(steps):
        at = where(begin_deg + STEP_DEG * k) + path.corrected_nm + noise * rng.standard_normal(2)
        path.see(begin_deg + STEP_DEG * k, STEP_S * k, Place.even(at[0], at[1], SIGMA_NM))
    return path, begin_deg + STEP_DEG * steps, STEP_S * steps


def test_nothing_seen_is_nothing_known():
    assert CrystalPath().predict(10.0, 0.0).sigma_nm > 2000.0


def test_the_next_place_is_known_and_its_uncertainty_grows_with_the_angle():
    path, angle_deg, t_s = learned(noise=SIGMA_NM)
    place = path.predict(angle_deg, t_s)
    assert place.array_nm == pytest.approx(geometry_nm(angle_deg), abs=60.0)
    later = [path.predict(angle_deg + more, t_s + 2.0 * more).sigma_nm for more in (0.0, 2.0, 5.0, 10.0)]
    assert later == sorted(later)


def test_what_the_stage_was_moved_is_seen_foreshortened():
    path = CrystalPath(foreshortened=True)
    path.correct(100.0, 200.0)
    known = Place.even(100.0, 100.0, SIGMA_NM)  # 200 nm in the plane of the stage, at 60 deg
    for k in range(12):
        path.see(60.0 - 0.1 * k, STEP_S * k, known)
    assert path.predict(60.0, 60.0).array_nm == pytest.approx((100.0, 100.0), abs=15.0)
    assert path.point(60.0, 60.0).y_nm == pytest.approx(0.0, abs=60.0)


@pytest.mark.parametrize("seed", range(4))
def test_the_population_of_holders_is_predicted_within_the_uncertainty(seed):
    _, seen = found(seed, MotionSettings.drawn(seed))
    path, off = CrystalPath(), []
    for k, at in enumerate(seen):
        place = Place.even(float(at[0]), float(at[1]), 12.0)
        off.append(place.sigmas_from(path.predict(-60.0 + 2.314 * k, 5.12 * k)))
        path.see(-60.0 + 2.314 * k, 5.12 * k, place)
    assert np.median(off) < 2.0
    assert np.mean(np.array(off) > 4.0) < 0.1


def test_it_predicts_better_than_constant_velocity():
    ours: list[np.ndarray] = []
    theirs: list[np.ndarray] = []
    for seed in range(20, 28):
        true, seen = found(seed, MotionSettings.drawn(seed))
        for errors, predictor in ((ours, by_path), (theirs, by_velocity)):
            errors.append(np.hypot(*(predictor(seen) - true)[4:].T))
    assert np.median(np.concatenate(ours)) < np.median(np.concatenate(theirs))


def test_a_wrong_snapshot_teaches_nothing():
    path, angle_deg, t_s = learned()
    before = path.predict(angle_deg + STEP_DEG, t_s + STEP_S)
    x_nm, y_nm = geometry_nm(angle_deg) + np.array([400.0, 0.0])
    assert path.see(angle_deg, t_s, Place.even(x_nm, y_nm, SIGMA_NM)) is Seen.DOUBTED
    assert path.predict(angle_deg + STEP_DEG, t_s + STEP_S) == before
    x_nm, y_nm = geometry_nm(angle_deg + STEP_DEG)
    assert path.see(angle_deg + STEP_DEG, t_s + STEP_S, Place.even(x_nm, y_nm, SIGMA_NM)) is Seen.FITS
    assert path.doubted == 0


def test_a_jump_is_believed_when_two_snapshots_agree():
    path, angle_deg, t_s = learned()
    jump_nm, said = np.array([-300.0, 250.0]), []
    for k in range(3):
        x_nm, y_nm = geometry_nm(angle_deg + STEP_DEG * k) + jump_nm
        said.append(path.see(angle_deg + STEP_DEG * k, t_s + STEP_S * k, Place.even(x_nm, y_nm, SIGMA_NM)))
    assert said == [Seen.DOUBTED, Seen.JUMPED, Seen.FITS]
    after_deg = angle_deg + 3 * STEP_DEG
    assert path.predict(after_deg, t_s + 3 * STEP_S).array_nm == pytest.approx(
        geometry_nm(after_deg) + jump_nm, abs=60.0
    )


def test_snapshots_that_never_agree_do_not_stop_it_for_ever():
    path, angle_deg, t_s = learned()
    said = []
    for k, (x_nm, y_nm) in enumerate([(1e5, 0.0), (-2e5, 0.0), (0.0, 2e5), (2e5, -1e5)]):
        said.append(path.see(angle_deg + STEP_DEG * k, t_s + STEP_S * k, Place.even(x_nm, y_nm, SIGMA_NM)))
    assert said[:3] == [Seen.DOUBTED] * 3
    assert said[3] is Seen.JUMPED


def test_corrections_are_told_apart_from_the_crystal():
    path, angle_deg, t_s = learned()
    path.correct(0.0, 150.0)
    there_nm = geometry_nm(angle_deg) + np.array([0.0, 150.0])
    assert path.predict(angle_deg, t_s).array_nm == pytest.approx(there_nm, abs=60.0)
    path.see(angle_deg, t_s, Place.even(there_nm[0], there_nm[1], SIGMA_NM))
    assert path.point(angle_deg, t_s).y_nm == pytest.approx(geometry_nm(angle_deg)[1], abs=60.0)
    strength, sigma = path.effect().along(0.0, 1.0)
    assert strength == pytest.approx(1.0, abs=0.3)
    assert sigma < path.effect().along(1.0, 0.0)[1]


def test_corrections_that_do_half_as_much_are_learned_and_predicted():
    path, angle_deg, t_s = learned()
    done_nm = 0.0
    for k in range(8):
        path.correct(0.0, 150.0 * (-1) ** k)
        done_nm += 75.0 * (-1) ** k
        x_nm, y_nm = geometry_nm(angle_deg + STEP_DEG * k) + np.array([0.0, done_nm])
        path.see(angle_deg + STEP_DEG * k, t_s + STEP_S * k, Place.even(x_nm, y_nm, SIGMA_NM))
    strength, sigma = path.effect().along(0.0, 1.0)
    assert strength == pytest.approx(0.5, abs=3.0 * sigma)
    assert sigma < 0.15
    path.correct(0.0, 600.0)
    there_nm = geometry_nm(angle_deg + STEP_DEG * 8) + np.array([0.0, done_nm + 300.0])
    assert path.predict(angle_deg + STEP_DEG * 8, t_s + STEP_S * 8).array_nm == pytest.approx(there_nm, abs=100.0)


def test_the_height_is_learned_from_the_tilt():
    path = learned(steps=45)[0]
    for tilt_deg in (-40.0, 0.0, 40.0):
        tilt = np.radians(tilt_deg)
        z_nm = 400.0 * np.sin(tilt) + 900.0 * np.cos(tilt)
        assert path.point(tilt_deg, 100.0).z_nm == pytest.approx(z_nm, abs=250.0)


def test_images_before_the_run_teach_it_in_any_order():
    path = CrystalPath()
    for k, angle_deg in enumerate((0.0, 40.0, -40.0, 20.0, -20.0, 60.0, -60.0)):
        x_nm, y_nm = geometry_nm(angle_deg)
        path.see(angle_deg, 10.0 * k, Place.even(x_nm, y_nm, SIGMA_NM))
    place = path.predict(-50.0, 100.0)
    assert place.array_nm == pytest.approx(geometry_nm(-50.0), abs=3.0 * place.sigma_nm)
    assert place.sigma_nm < 250.0


def test_a_given_path_is_where_the_learning_begins():
    given = tuple(PathPoint(float(a), geometry_nm(a)[0], geometry_nm(a)[1], 300.0, 20.0) for a in range(-60, 61, 5))
    path = CrystalPath(given=given)
    x_nm, y_nm = geometry_nm(-60.0)
    path.see(-60.0, 0.0, Place.even(x_nm, y_nm, SIGMA_NM))
    alone = CrystalPath()
    alone.see(-60.0, 0.0, Place.even(x_nm, y_nm, SIGMA_NM))
    # From one snapshot: the given path knows the way, without it the crystal is expected to stay.
    errors = [np.hypot(*(each.predict(-20.0, 90.0).array_nm - geometry_nm(-20.0))) for each in (path, alone)]
    assert errors[0] < 0.5 * errors[1]
    assert path.point(0.0, 0.0).z_nm == pytest.approx(300.0, abs=150.0)


def test_all_but_one_snapshot_is_forgotten():
    path, angle_deg, t_s = learned(steps=6)
    alone = CrystalPath()
    path.see(angle_deg, t_s, Place.even(700.0, 700.0, SIGMA_NM))  # is not believed
    at = geometry_nm(-50.0 + STEP_DEG * 4)
    alone.see(-50.0 + STEP_DEG * 4, STEP_S * 4, Place.even(at[0], at[1], SIGMA_NM))
    path.correct(100.0, 0.0)
    alone.correct(100.0, 0.0)
    assert path.predict(0.0, t_s) != alone.predict(0.0, t_s)
    path.forget(STEP_S * 4 + 0.0004)
    assert path.doubted == 0
    assert path.predict(0.0, t_s) == alone.predict(0.0, t_s)
    path.forget(None)
    assert not path.is_known
