"""What is quicker than scipy's own says what that says."""

import numpy as np
from scipy.ndimage import gaussian_filter, median_filter

from protocols.calibrate.moves.picture import FILL_PX, filled, lonely
from protocols.calibrate.moves.registration import flattened


def test_lonely_pixels_are_those_off_the_median_of_nine() -> None:
    rng = np.random.default_rng(1)
    picture = rng.poisson(20.0, (40, 50)).astype(np.float64)
    picture[0, 0], picture[3, 4], picture[39, 20], picture[10, 49] = 900.0, 0.0, 500.0, 700.0
    middle = median_filter(picture, 3, mode="nearest")
    off = np.abs(picture - middle)
    expected = off > np.maximum(6.0 * np.sqrt(np.maximum(middle, 1.0)), 0.3 * middle)
    assert expected[0, 0]
    assert expected.sum() >= 3
    assert np.array_equal(lonely(picture), expected)


def test_bad_pixels_are_made_of_near_ones_and_where_there_are_none_of_far_ones() -> None:
    rng = np.random.default_rng(2)
    picture = rng.poisson(20.0, (60, 70)).astype(np.float64)
    bad = rng.random(picture.shape) < 0.01
    bad[20:45, 30:50] = True
    made = filled(picture, bad)
    good = (~bad).astype(np.float64)
    (light, share), (far, far_share) = (
        (gaussian_filter(picture * good, width), gaussian_filter(good, width)) for width in (FILL_PX, 4 * FILL_PX)
    )
    near = bad & (share > 0.05)
    assert near.any()
    assert (bad & ~near).any()
    assert np.array_equal(made[~bad], picture[~bad])
    assert np.array_equal(made[near], (light / np.maximum(share, 1e-9))[near])
    assert np.array_equal(made[bad & ~near], (far / np.maximum(far_share, 1e-9))[bad & ~near])


def test_what_is_around_is_a_gaussian_mean() -> None:
    picture = np.random.default_rng(3).poisson(20.0, (90, 110)).astype(np.float64)
    around = gaussian_filter(picture, 0.12 * 90, mode="nearest", truncate=3.0)
    assert np.abs(flattened(picture) - np.clip(picture / around - 1.0, -1.0, 1.0)).max() < 1e-12
