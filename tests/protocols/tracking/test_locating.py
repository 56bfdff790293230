"""The crystal is found in a snapshot whatever the camera, with an uncertainty that holds; or it is said why not."""

import math

import numpy as np
import pytest

from benchmarks.tracking import CAMERAS, ELECTRONS, snapshot
from drivers.simulated.scenedrawing import draw_scene
from drivers.simulated.snapshotscene import Body, HalfPlane, SnapshotScene
from protocols.tracking.locating import Earlier, Located, Looks, Optics, Refusal, Told, locate
from protocols.tracking.place import Place

LARGE, SMALL = CAMERAS
ABOUT_THE_MIDDLE = Place.even(0.0, 0.0, 100.0)


def brick(middle_nm=(0.0, 0.0, 0.0), edges_nm=(400.0, 240.0, 160.0), path_nm=200.0) -> Body:
    return Body(np.array(middle_nm), np.eye(3), np.array(edges_nm) / 2, path_nm)


def taken(scene, at_nm=(0.0, 0.0), tilt_deg=0.0, camera=LARGE, aperture_nm=1500.0, azimuth_deg=30.0, seed=1):
    settings = camera.settings(aperture_nm, azimuth_deg)
    return snapshot(camera, settings, scene, np.array(at_nm), tilt_deg, np.random.default_rng(seed))


def located(picture, told) -> Located:
    answer = locate(picture, told)
    assert isinstance(answer, Located), answer
    return answer


def reason(picture, told) -> str:
    answer = locate(picture, told)
    assert isinstance(answer, Refusal), answer
    return answer.reason


def off_nm(answer: Located, at_nm) -> float:
    return math.hypot(answer.place.x_nm - at_nm[0], answer.place.y_nm - at_nm[1])


@pytest.mark.parametrize("camera", CAMERAS, ids=["512 px", "128 px"])
@pytest.mark.parametrize("azimuth_deg", [0.0, 137.0, -60.0])
@pytest.mark.parametrize("at_nm", [(0.0, 0.0), (150.0, -80.0)])
def test_a_crystal_is_found_whatever_camera_and_azimuth(camera, azimuth_deg, at_nm):
    picture, optics = taken(SnapshotScene((brick(),)), at_nm, 20.0, camera, azimuth_deg=azimuth_deg)
    answer = located(picture, Told(optics, ABOUT_THE_MIDDLE))
    assert off_nm(answer, at_nm) < 15.0
    assert answer.looks is not None
    assert answer.looks.area_nm2 == pytest.approx(400 * 240 * math.cos(math.radians(20.0)), rel=0.5)


def test_behind_the_crossover_the_matrix_has_the_other_sign():
    picture, optics = taken(SnapshotScene((brick(),)), (150.0, -80.0))
    turned = picture[::-1, ::-1]
    a, b, c, d = optics.px_per_nm
    fast_px, slow_px = optics.centre_px
    middle_px = picture.shape[1] - fast_px, picture.shape[0] - slow_px
    answer = located(turned, Told(Optics(middle_px, optics.radius_px, (-a, -b, -c, -d), 0.0), ABOUT_THE_MIDDLE))
    assert off_nm(answer, (150.0, -80.0)) < 15.0


@pytest.mark.parametrize("kind", ["plate", "needle", "brick", "agglomerate"])
def test_the_uncertainty_holds_for_drawn_crystals(kind):
    rng = np.random.default_rng(5)
    answers = []
    for seed in range(700, 712):
        at_nm = 60.0 * rng.standard_normal(2)
        tilt_deg = float(rng.uniform(-50, 50))
        picture, optics = taken(draw_scene(f"{kind}, 500 nm", seed), at_nm, tilt_deg, CAMERAS[seed % 2], seed=seed)
        answer = locate(picture, Told(optics, ABOUT_THE_MIDDLE))
        if isinstance(answer, Located):
            answers.append((off_nm(answer, at_nm), answer.place.sigma_nm))
    assert len(answers) >= 10
    assert all(error < max(100.0, 4.0 * sigma) for error, sigma in answers)
    assert np.median([error for error, _ in answers]) < 30.0


@pytest.mark.parametrize("seed", range(8))
def test_a_film_without_a_crystal_is_refused(seed):
    picture, optics = taken(draw_scene("empty", seed), camera=CAMERAS[seed % 2], seed=seed)
    assert reason(picture, Told(optics, ABOUT_THE_MIDDLE)) == "nothing stands out from the film"


@pytest.mark.parametrize(("share", "why"), [(0.05, "the disc is too dim"), (0.0005, "the disc is dark")])
def test_too_little_light_is_refused(share: float, why: str):
    """Some light, and none, as behind a bar: a rotation begins after the one and not after the other."""
    picture, optics = taken(SnapshotScene((brick(),)))
    assert why in reason(np.random.default_rng(0).binomial(picture, share), Told(optics))


def test_a_saturated_disc_is_refused():
    picture, optics = taken(SnapshotScene((brick(),)))
    assert "saturated" in reason(np.minimum(picture, 5), Told(optics, saturation=5))


def test_a_disc_that_is_not_on_the_picture_is_refused():
    picture, optics = taken(SnapshotScene((brick(),)))
    for middle_px in ((-500.0, 250.0), (20.0, 250.0)):
        away = Optics(middle_px, optics.radius_px, optics.px_per_nm, 0.0)
        assert "outside of the picture" in reason(picture, Told(away))


def test_a_bar_of_the_grid_is_no_crystal():
    bar = HalfPlane((1.0, 0.0), 350.0)
    picture, optics = taken(SnapshotScene((brick(),), bars=(bar,)))
    assert off_nm(located(picture, Told(optics, ABOUT_THE_MIDDLE)), (0.0, 0.0)) < 15.0
    picture, optics = taken(SnapshotScene((), bars=(bar,), is_empty=True))
    assert "nothing stands out" in reason(picture, Told(optics, ABOUT_THE_MIDDLE))
    picture, optics = taken(SnapshotScene((brick(),), bars=(HalfPlane((1.0, 0.0), -250.0),)))
    assert "shadow" in reason(picture, Told(optics, ABOUT_THE_MIDDLE))


def test_the_edge_of_the_film_is_no_crystal():
    edge = HalfPlane((0.6, 0.8), 300.0)
    picture, optics = taken(SnapshotScene((brick(),), film=0.85, holes=(edge,)))
    assert off_nm(located(picture, Told(optics, ABOUT_THE_MIDDLE)), (0.0, 0.0)) < 20.0
    picture, optics = taken(SnapshotScene((), film=0.85, holes=(edge,), is_empty=True))
    assert isinstance(locate(picture, Told(optics, ABOUT_THE_MIDDLE)), Refusal)


TWO = SnapshotScene((brick((-350.0, 0.0, 0.0)), brick((350.0, 0.0, 0.0))))


def test_of_two_crystals_that_is_taken_which_lies_where_it_is_expected():
    picture, optics = taken(TWO)
    for x_nm in (-350.0, 350.0):
        answer = located(picture, Told(optics, Place.even(x_nm + 40.0, 30.0, 50.0)))
        assert off_nm(answer, (x_nm, 0.0)) < 15.0


def test_two_crystals_that_may_both_be_it_are_refused():
    picture, optics = taken(TWO)
    assert "two things" in reason(picture, Told(optics))
    assert "two things" in reason(picture, Told(optics, Place.even(0.0, 0.0, 200.0)))


def test_a_crystal_far_from_where_it_is_expected_is_not_taken():
    picture, optics = taken(SnapshotScene((brick(),)), (300.0, 0.0))
    assert "where the crystal is expected" in reason(picture, Told(optics, Place.even(-100.0, 0.0, 40.0)))


def test_what_looks_otherwise_than_the_crystal_did_is_not_taken():
    picture, optics = taken(SnapshotScene((brick(),)))
    looked = Located(ABOUT_THE_MIDDLE, 10.0, Looks(4.0 * 400 * 240, 0.5))
    blank = np.zeros_like(picture)
    earlier = Earlier(optics, looked.place, looked.looks, lambda: blank)
    assert "does not look like it" in reason(picture, Told(optics, ABOUT_THE_MIDDLE, (earlier,)))


ROUGH = draw_scene("agglomerate, 600 nm", 31)
CUT_NM = (480.0, 0.0)


def test_a_crystal_that_the_aperture_cuts_is_known_the_less():
    picture, optics = taken(ROUGH, CUT_NM)
    found = locate(picture, Told(optics, Place.even(*CUT_NM, 50.0)))
    assert isinstance(found, Located)
    assert found.place.sigmas_from(Place.even(*CUT_NM, 0.0)) < 3.0
    assert found.place.sigma_nm > 100.0


def test_and_found_by_an_earlier_snapshot_of_it():
    first, optics = taken(ROUGH, (150.0, 0.0), 0.0, seed=2)
    before = located(first, Told(optics, Place.even(150.0, 0.0, 50.0)))
    earlier = Earlier(optics, before.place, before.looks, lambda: first)
    picture, optics = taken(ROUGH, CUT_NM, 2.3, seed=3)
    answer = located(picture, Told(optics, Place.even(*CUT_NM, 50.0), (earlier,)))
    moved_nm = answer.place.array_nm - before.place.array_nm
    assert moved_nm == pytest.approx((CUT_NM[0] - 150.0, 0.0), abs=25.0)
    assert answer.place.sigma_nm >= before.place.sigma_nm


FILM = SnapshotScene((), 0.8, unevenness=0.03, seed=3, is_empty=True)


def over_film(looks: Looks | None, at_nm=(60.0, -45.0), scene=FILM, electrons=6):
    """The answer for a second snapshot; both are sums of several. In the first one the crystal was in the middle."""
    both = [
        [taken(scene, at, tilt, seed=10 * k + n) for n in range(electrons)]
        for k, (at, tilt) in enumerate((((0.0, 0.0), 20.0), (at_nm, 22.3)))
    ]
    before, now = (np.sum([picture for picture, _ in shots], axis=0) for shots in both)
    earlier = Earlier(both[0][0][1], Place.even(0.0, 0.0, 40.0), looks, lambda: before)
    return locate(now, Told(both[1][0][1], ABOUT_THE_MIDDLE, (earlier,)))


def test_a_crystal_that_never_stood_out_is_where_its_film_has_gone():
    answer = over_film(None)
    assert isinstance(answer, Located), answer
    assert answer.looks is None
    assert off_nm(answer, (60.0, -45.0)) < 30.0


def test_a_pale_one_that_stands_out_no_more_is_as_well_and_a_dark_one_is_gone():
    assert isinstance(over_film(Looks(300.0**2, 0.1)), Located)
    assert isinstance(over_film(Looks(300.0**2, 0.8)), Refusal)


def test_an_even_film_tells_nothing():
    assert isinstance(over_film(None, scene=SnapshotScene(())), Refusal)


def test_the_same_picture_gives_the_same_answer():
    picture, optics = taken(ROUGH, (30.0, 40.0))
    told = Told(optics, ABOUT_THE_MIDDLE)
    assert locate(picture, told) == locate(picture.copy(), told)
    assert ELECTRONS == pytest.approx(picture.sum() / 0.8, rel=0.3)
