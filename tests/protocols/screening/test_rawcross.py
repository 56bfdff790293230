"""The wide cross of raw Timepix frames: taken out where it is, and nothing else is touched."""

import numpy as np
import pytest

from drivers.simulated.crystal import load_crystal
from drivers.simulated.pictures import PictureMaker
from drivers.simulated.picturesettings import PictureSettings
from drivers.simulated.settings import GEOMETRY
from protocols.products.cross import expand_cross
from protocols.screening.generation import generate
from protocols.screening.preprocessing import cuts_of, picture_of
from protocols.screening.rawcross import corrected
from protocols.screening.seenspots import seen_spots

PER_PX = GEOMETRY.pixel_size_mm / (GEOMETRY.camera_length_mm * GEOMETRY.wavelength_A)


def raw(bright: float = 100.0) -> np.ndarray:
    """(512, 512) as the camera of the simulated microscope gives it."""
    maker = PictureMaker(load_crystal(None, 0), GEOMETRY, PictureSettings())
    return maker.diffraction(-10.0, -9.77, 0.5, noise_seed=1, scale=bright)


def spots_of(frame: np.ndarray) -> np.ndarray:
    """(n, 2) places, 1/A."""
    (cut,) = cuts_of(frame[None], PER_PX)
    return seen_spots(picture_of(cut), cut).xy_per_A


def test_the_cross_of_a_raw_frame_is_no_row_of_spots_and_moves_none() -> None:
    frame = raw()
    assert corrected(frame.astype(np.float32)).shape == (516, 516)
    of_raw, of_corrected = spots_of(frame), spots_of(expand_cross(frame))
    assert len(of_raw) > 15
    near = np.abs(of_raw[:, None] - of_corrected).max(axis=2).min(axis=1) < 0.5 * PER_PX
    assert near.mean() > 0.85
    assert abs(len(of_raw) - len(of_corrected)) <= 4


def test_the_counts_of_a_wide_pixel_are_shared() -> None:
    frame = raw().astype(np.float32)
    assert corrected(frame).sum(dtype=np.float64) == pytest.approx(frame.sum(dtype=np.float64), rel=1e-5)


def test_frames_without_a_cross_are_left_alone() -> None:
    for pattern in generate(3, 0, 16):
        frame = pattern.counts.astype(np.float32)
        assert corrected(frame) is frame
    odd = np.ones((515, 515), np.float32)
    assert corrected(odd) is odd
