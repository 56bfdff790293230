"""A disc is found to a hundredth of a pixel whatever lies in it; moves become a matrix whatever a single place says."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ndtr

from engine.errors import DataError
from protocols.calibrate.disc.discfit import fit_disc
from protocols.calibrate.disc.movefit import fit_moves
from protocols.calibrate.disc.shadow import shadows, still_of
from protocols.calibrate.disc.snapshot import _with_lost
from protocols.calibrate.disc.tried import tried

PX = 100


def disc(fast: float, slow: float, radius: float, light: float = 200.0, dark: float = 2.0) -> NDArray[np.float64]:
    rows, columns = np.indices((PX, PX)) + 0.5
    return dark + light * ndtr((radius - np.hypot(columns - fast, rows - slow)) / 1.3)


def with_crystal(picture: NDArray[np.float64], fast: float, slow: float) -> NDArray[np.float64]:
    rows, columns = np.indices(picture.shape) + 0.5
    return np.where((np.abs(columns - fast) < 6) & (np.abs(rows - slow) < 4), 0.3 * picture, picture)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("has_crystal", [False, True])
def test_a_disc_is_where_it_is_and_as_sure_as_said(seed: int, has_crystal: bool) -> None:
    rng = np.random.default_rng(seed)
    fast, slow, radius = 50 + 4 * rng.random(), 48 + 4 * rng.random(), 25 + 8 * rng.random()
    picture = disc(fast, slow, radius)
    if has_crystal:
        picture = with_crystal(picture, fast + 3, slow - 2)
    picture *= 1 + 0.03 * rng.standard_normal(picture.shape)
    found = fit_disc(rng.poisson(picture).astype(float))
    assert (found.fast_px, found.slow_px) == pytest.approx((fast, slow), abs=0.05)
    assert found.radius_px == pytest.approx(radius, abs=5 * found.sigma_px)
    assert 0.001 < found.sigma_px < 0.03
    assert found.light == pytest.approx(200, rel=0.02)


NO_DISC = {
    "no light": (np.full((PX, PX), 3.0), "no disc is seen"),
    "a disc that the camera's edge cuts": (disc(80, 50, 30), "not whole on the camera"),
    "a spot": (disc(50, 50, 3), "no disc is seen"),
}


@pytest.mark.parametrize(("picture", "why"), NO_DISC.values(), ids=NO_DISC)
def test_what_is_no_disc_is_told(picture: NDArray[np.float64], why: str) -> None:
    with pytest.raises(DataError, match=why):
        fit_disc(picture)


@pytest.mark.parametrize("seed", range(3))
def test_moves_give_the_matrix_a_drift_apart_and_single_wrong_places_do_no_harm(seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = np.array([[0.04, 0.01], [-0.012, 0.05]])
    moved, time_s = rng.uniform(-400, 400, (60, 2)), np.arange(60.0)
    places = moved @ matrix.T + [50, 40] + 0.02 * time_s[:, None] + rng.normal(0, 0.8, (60, 2))
    places[7] += 20
    places[20] = np.nan
    found = fit_moves(places, moved, time_s)
    away = (found.matrix - matrix).ravel()
    assert away @ np.linalg.solve(found.covariance, away) < 20
    assert found.drift_px_s == pytest.approx([0.02, 0.02], abs=0.02)
    assert np.isnan(found.left_px[7]).all()
    size, sigma = found.determinant
    assert size == pytest.approx(np.linalg.det(matrix), abs=4 * sigma)


def test_what_is_wrong_at_a_place_in_all_visits_makes_the_matrix_less_sure() -> None:
    pulls = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        turns = np.tile(np.arange(8) * np.pi / 4, 24)
        moved = 300 * np.column_stack([np.cos(turns), np.sin(turns)]) + rng.normal(0, 1, (192, 2))
        wrong = np.tile(rng.normal(0, 6, (8, 2)), (24, 1))
        places = (moved + wrong + rng.normal(0, 15, (192, 2))) * 0.05
        found = fit_moves(places, moved, np.arange(192.0))
        away = (found.matrix - 0.05 * np.eye(2)).ravel()
        pulls.append(away @ np.linalg.solve(found.covariance, away) / 4)
    assert 0.5 < np.sqrt(np.mean(pulls)) < 1.4


def test_too_few_places_are_told() -> None:
    with pytest.raises(DataError, match="seen in 5 of 20 places"):
        fit_moves(
            np.where(np.arange(20)[:, None] < 5, 1.0, np.nan) * np.ones((20, 2)), np.ones((20, 2)), np.arange(20.0)
        )


def test_the_silhouette_is_what_moved_and_dead_pixels_stand_still() -> None:
    still = disc(50, 50, 30)
    still[40:43, 55:58] = 0.0
    middles = [(50 + 14 * np.cos(k), 50 + 14 * np.sin(k)) for k in np.linspace(0, 2 * np.pi, 8, endpoint=False)]
    pictures = [with_crystal(still, *middle) for middle in middles]
    found = shadows(pictures, still_of(pictures), fit_disc(still_of(pictures)))
    assert found.why == ("",) * 8
    assert np.abs(found.places_px - middles).max() < 0.6
    with pytest.raises(DataError, match="nothing in the disc moved with the stage"):
        shadows([pictures[0]] * 8, pictures[0], fit_disc(still))


# How far the crystal lies from the middle when the stage was moved to each of four places, and what is said.
TRIED = {
    "a stage that does not move": (0.0, "nothing in the disc followed it"),
    "one that does": (0.05, ""),
}


@pytest.mark.parametrize(("px_per_nm", "why"), TRIED.values(), ids=TRIED)
def test_the_first_pictures_tell_whether_and_how_far_a_crystal_may_be_moved(px_per_nm: float, why: str) -> None:
    places_nm = [(100.0, 0.0), (-100.0, 0.0), (0.0, 100.0), (0.0, -100.0)]
    taken = [with_crystal(disc(50, 50, 30), 50 + px_per_nm * x, 50 + px_per_nm * y) for x, y in places_nm]
    visits = [{"place_nm": list(place), "pictures": [k]} for k, place in enumerate(places_nm)]
    said = tried({"visits": visits, "saturation": 10_000, "wide_cross": False}, lambda k: taken[k])
    assert why in said["why"]
    if not why:
        assert 250 < said["radius_nm"] < 420, "30 px less the crystal's 7, and some room, at 20 nm per px"


def test_the_first_pictures_tell_how_to_bring_the_crystal_to_the_middle_of_the_disc() -> None:
    places_nm = [(100.0 * np.cos(turn), 100.0 * np.sin(turn)) for turn in np.linspace(0, 2 * np.pi, 9)[:8]]
    taken = [with_crystal(disc(50, 50, 30), 53 + 0.05 * x, 48 - 0.05 * y) for x, y in places_nm]
    visits = [{"place_nm": list(place), "pictures": [k]} for k, place in enumerate(places_nm)]
    said = tried({"visits": visits, "saturation": 10_000, "wide_cross": False}, lambda k: taken[k])
    assert said["middle_nm"] == pytest.approx([-60.0, -40.0], abs=8.0)  # 3 px to the left, 2 down, y runs up


def test_a_matrix_of_which_visits_are_lost_at_the_edge_is_as_unsure_as_that_makes_it_too_small() -> None:
    random = np.random.default_rng(7)
    turns = np.linspace(0, 2 * np.pi, 4000, endpoint=False)
    moved = 200.0 * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    landed = moved + random.normal(0.0, 25.0, moved.shape)
    lost = np.hypot(*landed.T) > 230.0
    fit = fit_moves(np.where(lost[:, None], np.nan, 0.1 * landed), moved, np.arange(4000.0))
    too_small = 1.0 - abs(fit.determinant[0]) / 0.01
    assert too_small > 0.02
    assert fit.determinant[1] / 0.01 < too_small / 4
    less_sure = _with_lost(fit, moved, float(lost.mean()))
    assert too_small == pytest.approx(less_sure.determinant[1] / 0.01, rel=0.6)
