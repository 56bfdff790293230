"""The primary beam is found between the pixels, without bias, on the corrected grid too."""

import numpy as np
import pytest

from drivers.facts import Geometry
from drivers.simulated.crystal import load_crystal
from drivers.simulated.pictures import PictureMaker
from drivers.simulated.picturesettings import PictureSettings
from protocols.products.corrections import correction
from protocols.products.cross import cross_mask
from protocols.spots.beam_centre import _climb, beside_cross, brightest_place, even_level, find_beam
from protocols.spots.beam_seen import unseen
from tests.gaussians import gaussians


def gaussian(shape: tuple[int, int], fast: float, slow: float, sigma: float, height: float = 8000.0) -> np.ndarray:
    return gaussians(shape, (fast, slow), sigma, height)


@pytest.mark.parametrize("sigma_px", [10.0, 20.0, 30.0])
def test_no_bias_at_any_place_within_a_pixel(sigma_px: float) -> None:
    rng = np.random.default_rng(3)
    off = []
    for _ in range(60):
        fast, slow = rng.uniform(200, 310, 2)
        found = find_beam(np.rint(gaussian((516, 516), fast, slow, 4.0)).astype(np.uint16), sigma_px)
        assert found is not None
        off.append((found[0] - fast, found[1] - slow))
    # The peer program is off by +0.497 px on both axes.
    assert np.abs(np.mean(off, axis=0)).max() < 0.005
    assert np.abs(off).max() < 0.02


def test_rows_and_columns_are_not_swapped_in_a_non_square_picture() -> None:
    found = find_beam(gaussian((128, 256), 200.25, 40.75, 3.0).astype(np.uint16))
    assert found == pytest.approx((200.25, 40.75), abs=0.02)


def test_a_beam_in_rows_that_fill_no_bin_is_reached_from_a_spot_beside_it() -> None:
    counts = np.zeros((67, 128), np.uint16)
    counts[66, 64] = 60000
    counts[46, 60] = 100  # where the search starts: by the next row of bins the beam is not seen
    assert find_beam(counts) == pytest.approx((64.5, 66.5), abs=0.02)


@pytest.mark.parametrize("cap", [None, 900, 12_000])
@pytest.mark.parametrize("height", [0.3, 600.0, 60_000.0])
def test_whole_counts_are_added_in_16_bits_and_fractions_are_not_and_the_place_is_the_same(
    height: float, cap: int | None
) -> None:
    """Of the brightest picture one line alone fits into 16 bits, of the faintest all do."""
    counts = np.random.default_rng(5).poisson(gaussian((300, 411), 201.3, 152.8, 9.0, height)).astype(np.uint16)
    assert brightest_place(counts, 40.0, cap) == brightest_place(counts.astype(np.float64), 40.0, cap)


def test_a_saturated_beam_in_noise() -> None:
    rng = np.random.default_rng(4)
    truth = np.minimum(
        gaussian((516, 516), 251.3, 262.8, 3.0, 5e4) + gaussian((516, 516), 251.3, 262.8, 40.0, 30), 11810
    )
    found = [find_beam(rng.poisson(truth).astype(np.uint16)) for _ in range(10)]
    centre = tuple(np.median(np.array(found, dtype=float), axis=0))
    assert centre == pytest.approx((251.3, 262.8), abs=0.02)


@pytest.mark.parametrize(
    ("beam", "within_px"),
    # Near the cross: one border of the saturated disc lies inside of a wide pixel, which saturates as a whole.
    [((258.0, 258.0), 0.05), ((240.3, 271.9), 0.05), ((255.4, 260.7), 0.12), ((261.3, 255.1), 0.12)],
)
def test_simulated_pictures_with_the_beam_on_and_beside_the_cross(beam: tuple[float, float], within_px: float) -> None:
    geometry = Geometry(0.02508, 250.0, 0.055, -38.505, *beam)
    maker = PictureMaker(load_crystal(None, 1), geometry, PictureSettings())
    correct = correction(maker.flatfield, wide_cross=True, saturation=11810)
    level, cross = even_level(11810, True), cross_mask((512, 512))
    found = []
    for k in range(24):
        counts, _ = correct.apply(maker.diffraction(4.0 * k - 60, 4.0 * k - 59.774, 0.5, noise_seed=k))
        start = find_beam(counts, cap=level)
        assert start is not None
        assert unseen(counts, start, level) is None
        found.append(beside_cross(counts, cross, start, level))
    assert tuple(np.median(np.array(found, dtype=float), axis=0)) == pytest.approx(beam, abs=within_px)


def test_an_empty_picture_has_no_beam() -> None:
    assert find_beam(np.zeros((64, 64), dtype=np.uint16)) is None


def test_the_place_is_a_summit_of_the_filtered_picture_and_not_one_step_towards_it() -> None:
    lopsided = gaussian((64, 80), 40.3, 30.2, 4.0) + gaussian((64, 80), 45.0, 33.0, 3.0, height=5000.0)
    lopsided = np.rint(lopsided).astype(np.uint16)
    found = find_beam(lopsided, sigma_px=4.0)
    assert found is not None
    again = _climb(lopsided, np.uint16(65535), *found, 4.0)
    assert again == pytest.approx(found, abs=2e-4)


@pytest.mark.parametrize(("row", "column"), [(0, 40), (63, 40), (30, 0), (30, 79)])
def test_a_bright_pixel_at_the_edge_is_found_where_it_is(row: int, column: int) -> None:
    counts = np.zeros((64, 80), np.uint16)
    counts[row, column] = 1000
    assert find_beam(counts) == pytest.approx((column + 0.5, row + 0.5), abs=1e-3)


@pytest.mark.parametrize("away_px", [-24, 24])
def test_a_beam_that_is_not_near_the_cross_is_left_where_it_is(away_px: int) -> None:
    cross = np.zeros((200, 200), bool)
    cross[:, 99:102] = True
    counts = np.rint(gaussian((200, 200), 100.3 + away_px, 90.2, 5.0)).astype(np.uint16)
    told = (100.0 + away_px, 90.0)
    assert beside_cross(counts, cross, told, 60000) == told


@pytest.mark.parametrize(("fast", "slow"), [(5.3, 90.2), (194.6, 90.2), (90.2, 5.3), (90.2, 194.6)])
def test_a_beam_too_near_an_edge_for_its_mirror_image_is_left_where_it_is(fast: float, slow: float) -> None:
    cross = np.zeros((200, 200), bool)
    cross[int(slow) + 2, :] = cross[:, int(fast) + 2] = True
    counts = np.rint(gaussian((200, 200), fast, slow, 5.0)).astype(np.uint16)
    assert beside_cross(counts, cross, (fast + 0.3, slow), 60000) == (fast + 0.3, slow)
