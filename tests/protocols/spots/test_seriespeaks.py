"""Spots of a series of frames: found down to twenty electrons, nowhere else, and as well placed as is said."""

import numpy as np
import pytest

from protocols.spots.seriespeaks import CHANCE, EDGE_PX, LARGEST_MEAN, TABLE_STEP, FrameSpots, SeriesPeaks, _table
from tests.gaussians import gaussians

SHAPE = (200, 240)
ROW, COLUMN = np.indices(SHAPE) + 0.5
HALO = (120.0, 100.0)


def background(level: float) -> np.ndarray:
    """Even, with a halo about the middle."""
    return level + 8 * level * np.exp(-((COLUMN - HALO[0]) ** 2 + (ROW - HALO[1]) ** 2) / (2 * 25.0**2))


def places(count: int, rng: np.random.Generator, apart_px: float = 9.0) -> np.ndarray:
    """(count, 2) (fast, slow), not near each other, the edge or the halo's summit."""
    found: list[np.ndarray] = []
    while len(found) < count:
        place = rng.uniform(8, np.array(SHAPE[::-1]) - 8)
        far = all(np.hypot(*(place - other)) > apart_px for other in found)
        if far and np.hypot(*(place - np.array(HALO))) > 45:
            found.append(place)
    return np.array(found)


def drawn(where: np.ndarray, electrons: float, level: float, sigma_px: float = 0.9) -> np.ndarray:
    """Expected counts."""
    return background(level) + gaussians(SHAPE, where, sigma_px, electrons / (2 * np.pi * sigma_px**2))


def nearest(found: FrameSpots, where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, 2) offsets of the true places to the nearest spots found, and which these are."""
    offset = np.stack([found.fast_px, found.slow_px], axis=1)[None] - where[:, None]
    which = np.hypot(*np.moveaxis(offset, 2, 0)).argmin(axis=1)
    return offset[np.arange(len(where)), which], which


@pytest.mark.parametrize(
    ("level", "electrons", "share"),
    [(0.1, 20, 0.9), (0.3, 20, 0.7), (1.0, 40, 0.9), (10.0, 120, 0.95), (0.3, 1000, 1.0)],
)
def test_spots_are_found_in_poisson_noise(level: float, electrons: float, share: float) -> None:
    rng = np.random.default_rng(1)
    find, seen, false = SeriesPeaks(SHAPE), 0, 0
    for _ in range(10):
        where = places(30, rng)
        found = find(rng.poisson(drawn(where, electrons, level)))
        near = np.hypot(*nearest(found, where)[0].T) < 1.5
        seen += int(near.sum())
        false += len(found) - int(near.sum())
    assert seen >= share * 300
    assert false <= 2


@pytest.mark.parametrize("level", [0.02, 0.3, 3.0, 30.0])
def test_noise_alone_has_hardly_a_spot(level: float) -> None:
    rng = np.random.default_rng(2)
    find = SeriesPeaks(SHAPE)
    assert sum(len(find(rng.poisson(background(level)))) for _ in range(20)) <= 2


@pytest.mark.parametrize(("electrons", "sigma_px"), [(60, 0.9), (300, 0.9), (3000, 0.9), (3000, 1.4)])
def test_places_and_intensities_are_as_uncertain_as_is_said(electrons: float, sigma_px: float) -> None:
    rng = np.random.default_rng(3)
    find, pulls, excess = SeriesPeaks(SHAPE), [], []
    for _ in range(25):
        where = places(8, rng)
        found = find(rng.poisson(drawn(where, electrons, 0.3, sigma_px)))
        offset, which = nearest(found, where)
        near = np.hypot(*offset.T) < 2
        pulls += (offset[near] / found.position_sigma_px[which[near], None]).ravel().tolist()
        excess += (found.intensity[which[near]] / electrons).tolist()
    assert 0.7 < np.std(pulls) < 1.25
    assert abs(np.mean(pulls)) < 0.12
    assert np.mean(excess) == pytest.approx(0.98 if sigma_px == 0.9 else 0.85, abs=0.03)


def test_a_camera_that_makes_several_counts_of_an_electron_has_no_more_false_spots() -> None:
    rng = np.random.default_rng(4)
    found = [SeriesPeaks(SHAPE)(7 * rng.poisson(background(4.0))) for _ in range(5)]
    assert [one.gain for one in found] == pytest.approx([7.0] * 5, rel=0.15)
    assert sum(len(one) for one in found) <= 1


def test_a_strong_spot_hides_no_other_seven_pixels_away() -> None:
    where = np.array([[40.3, 50.2], [47.3, 50.6], [40.1, 42.9]])
    picture = drawn(where[:1], 30_000, 0.3) + drawn(where[1:], 150, 0.0)
    found = SeriesPeaks(SHAPE)(np.random.default_rng(5).poisson(picture))
    assert len(found) == 3
    assert np.abs(nearest(found, where)[0]).max() < 0.5


def test_nothing_is_found_in_the_beam_at_the_edge_or_by_pixels_that_mean_nothing() -> None:
    rng = np.random.default_rng(6)
    untrusted = np.zeros(SHAPE, bool)
    untrusted[:, 60:63] = True
    where = np.array([[64.5, 30.0], [90.0, 90.0], [2.0, 150.0], [160.0, 150.0]])
    picture = rng.poisson(drawn(where, 500, 0.3))
    picture[:, 60:63] = 5000
    found = SeriesPeaks(SHAPE, untrusted, beam_px=(92.0, 93.0))(picture)
    assert found.fast_px == pytest.approx([160.0], abs=0.2)
    assert EDGE_PX > 2
    hot = rng.poisson(background(0.3))
    hot[33, 44] = 400
    assert len(SeriesPeaks(SHAPE)(hot)) == 0


@pytest.mark.parametrize("kind", ["<u2", ">u2", "<i4", "<f4", "|u1"])
def test_counts_may_be_of_any_type_and_the_frame_is_not_changed(kind: str) -> None:
    where = np.array([[30.5, 40.5]])
    picture = np.random.default_rng(7).poisson(drawn(where, 200, 0.3)).astype(kind)
    before = picture.copy()
    assert len(SeriesPeaks(SHAPE)(picture)) == 1
    assert np.array_equal(picture, before)


def test_a_frame_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="in a series of"):
        SeriesPeaks(SHAPE)(np.zeros((10, 10)))


def test_the_limits_are_those_of_poisson() -> None:
    from scipy.stats import poisson

    table = _table()
    means = np.arange(0.0, LARGEST_MEAN + TABLE_STEP, TABLE_STEP) + TABLE_STEP
    every = slice(None, None, 40)
    assert np.array_equal(table[every], poisson.isf(CHANCE, means[every]))
