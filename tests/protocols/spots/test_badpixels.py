"""Pixels, lines and gaps that tell nothing make no spots and hide no others; noise and spots are not taken for them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from protocols.spots.badpixels import bad_pixels
from protocols.spots.peaks import find_peaks
from tests.gaussians import gaussians
from tests.protocols.spots.test_peaks import frame

Frame = np.ndarray


def lattice() -> np.ndarray:
    """(n, 2) spots of a net, none near the lines that are spoilt below."""
    index = np.stack(np.meshgrid(np.arange(-8, 9), np.arange(-8, 9)), axis=-1).reshape(-1, 2)
    spots = np.array([250.3, 261.8]) + index @ np.array([[27.0, 0.0], [0.0, 27.0]])
    return spots[(np.hypot(*(spots - [250.3, 261.8]).T) > 30) & ((spots > 8) & (spots < 504)).all(axis=1)]


def with_row(value: float, row: int = 275) -> Callable[[Frame], Frame]:
    def spoil(picture: Frame) -> Frame:
        picture = picture.copy()
        picture[row] = value
        return picture

    return spoil


def with_gap(width: int) -> Callable[[Frame], Frame]:
    """A cross without pixels, as between the modules of a detector."""

    def spoil(picture: Frame) -> Frame:
        picture = picture.copy()
        picture[275 : 275 + width] = picture[:, 236 - width : 236] = 0
        return picture

    return spoil


def masked(value: float, kind: type) -> Callable[[Frame], Frame]:
    def spoil(picture: Frame) -> Frame:
        picture = picture.astype(kind)
        picture[120:132, 130:142] = value
        picture[275:277] = value
        return picture

    return spoil


def marked_groups(picture: Frame) -> Frame:
    picture = picture.copy()
    for row, column in ((100, 100), (301, 77), (402, 318)):
        picture[row : row + 2, column : column + 2] = 2**16 - 1
    return picture


SPOILT: dict[str, Callable[[Frame], Frame]] = {
    "a row at the top of the scale": with_row(65535),
    "a noisy row": with_row(400),
    "a dead row": with_row(0),
    "a dead row beside spots": with_row(0, 285),
    "a gap of 4 px": with_gap(4),
    "NaN": masked(np.nan, np.float32),
    "-1": masked(-1, np.int32),
    "the highest number of 32 bits": masked(2**32 - 1, np.uint32),
    "the highest number of 32 bits, as a float": masked(2.0**32, np.float32),
    "the highest number of 16 bits": masked(2**16 - 1, np.uint16),
    "the same in groups of 2 x 2": marked_groups,
}


@pytest.mark.parametrize("case", SPOILT)
def test_the_spots_beside_what_is_bad_are_found_and_no_others(case: str) -> None:
    spots = lattice()
    picture = frame(spots, 600.0, np.random.default_rng(3), background=6.0)
    clean = find_peaks(picture)
    spoilt = find_peaks(SPOILT[case](picture))
    assert spoilt.reason == ""
    np.testing.assert_allclose(spoilt.centre_px, clean.centre_px, atol=0.3)
    bad = bad_pixels(SPOILT[case](picture))
    whole = [
        spot
        for spot in clean.xy_px
        if not bad[int(spot[1]) - 2 : int(spot[1]) + 3, int(spot[0]) - 2 : int(spot[0]) + 3].any()
    ]
    assert len(whole) > 0.9 * len(spots)
    distance = np.hypot(*(np.array(whole)[:, None] - spoilt.xy_px[None]).transpose(2, 0, 1))
    assert distance.min(axis=1).max() < 0.1
    to_true = np.hypot(*(spoilt.xy_px[:, None] - spots[None]).transpose(2, 0, 1)).min(axis=1)
    assert to_true.max() < 0.4  # nothing but spots, and none of them in part


@pytest.mark.parametrize("sigma_px", [0.8, 1.5, 6.0, 20.0])
def test_a_saturated_beam_and_saturated_spots_are_not_taken_for_marks(sigma_px: float) -> None:
    picture = 5.0 + gaussians((512, 512), [(256.3, 250.8), (100.0, 100.5), (400.5, 90.5)], sigma_px, 9e4)
    assert not bad_pixels(picture.clip(0, 65535).astype(np.uint16)).any()


def test_a_masked_edge_does_not_make_its_neighbours_bad() -> None:
    picture = frame(lattice(), 600.0, np.random.default_rng(3), background=9.0).astype(np.float64)
    picture[:5] = np.nan
    assert np.flatnonzero(bad_pixels(picture).all(axis=1)).tolist() == [0, 1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("background", [0.02, 0.3, 6.0, 200.0])
def test_noise_and_spots_are_not_taken_for_bad_lines(background: float) -> None:
    picture = frame(lattice(), 600.0, np.random.default_rng(3), background=background)
    assert not bad_pixels(picture).any()


def test_a_beam_that_a_stop_hides_is_told() -> None:
    spots = lattice()
    picture = frame(spots, 600.0, np.random.default_rng(3), background=3.0)
    row, column = np.indices(picture.shape) + 0.5
    picture[np.hypot(column - 250.3, row - 261.8) < 20] = 1
    picture[262:, 246:255] = 1  # the stop's holder
    told = find_peaks(picture, beam_px=(250.3, 261.8))
    assert told.reason == ""
    assert tuple(told.centre_px) == (250.3, 261.8)
    assert len(told.xy_px) >= 0.95 * len(spots) - 10


@pytest.mark.parametrize("kind", [np.int16, np.float32])
def test_a_dark_subtracted_frame_of_an_integrating_camera_keeps_its_spots(kind: Any) -> None:
    rng = np.random.default_rng(3)
    spots = lattice()
    read_noise = rng.normal(0.0, 4.0, (512, 512))
    picture: np.ndarray = (frame(spots, 3000.0, rng, background=0.1) + read_noise).astype(kind)
    assert (picture < 0).mean() > 0.2
    assert not bad_pixels(picture).any()
    peaks = find_peaks(picture)
    assert peaks.reason == ""
    distance = np.hypot(*(spots[:, None] - peaks.xy_px[None]).transpose(2, 0, 1)).min(axis=1)
    assert (distance < 0.3).mean() > 0.95
