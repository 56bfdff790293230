"""What one frame tells by itself is what was put into it."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from protocols.lattice.rotationgeometry import RotationGeometry
from protocols.live.framevalues import FrameSearch, FrameValues
from tests.gaussians import gaussians

SHAPE = (256, 256)
BEAM_PX = (130.0, 120.0)
GEOMETRY = RotationGeometry(0.025, 1000.0, *BEAM_PX, axis_deg=0.0)
SPOTS = [(40.3, 60.6), (200.5, 80.2), (90.7, 220.4), (20.2, 20.8), (230.1, 200.9), (225.5, 30.5)]


def frame(
    background: float = 2.0, spot_counts: float = 0.0, width_px: float = 0.9, ring_px: float = 0.0
) -> NDArray[np.uint16]:
    """With a primary beam of 100 000 counts, spots, and a ring of as much as the background."""
    slow, fast = np.indices(SHAPE) + 0.5
    away = np.hypot(fast - BEAM_PX[0], slow - BEAM_PX[1])
    light = background + 100_000 * np.exp(-((away / 2) ** 2) / 2) / (2 * np.pi * 4)
    if ring_px:
        light += background * np.exp(-(((away - ring_px) / 2) ** 2) / 2)
    light += gaussians(SHAPE, SPOTS, width_px, spot_counts / (2 * np.pi * width_px**2))
    return np.random.default_rng(3).poisson(light).astype(np.uint16)


def values(counts: NDArray[np.uint16], untrusted: NDArray[np.bool_] | None = None) -> FrameValues:
    return FrameSearch(SHAPE, untrusted, BEAM_PX, GEOMETRY)(counts).values


@pytest.mark.parametrize("width_px", [0.7, 0.9, 1.4])
def test_spots_with_their_light_and_their_width(width_px: float) -> None:
    told = values(frame(spot_counts=2000.0, width_px=width_px))
    assert told.spots == len(SPOTS)
    inside = math.erf(2.5 / (math.sqrt(2) * width_px)) ** 2  # of the 5 x 5 pixels that are summed
    assert told.spot_counts == pytest.approx(len(SPOTS) * 2000 * inside, rel=0.06)
    assert told.width_px == pytest.approx(width_px, rel=0.08)


def test_background_and_light_scattered_are_told_apart_from_beam_and_spots() -> None:
    told = values(frame(background=3.0, spot_counts=5000.0))
    assert told.background == pytest.approx(3.0, rel=0.12)  # a trimmed mean is a little low
    assert told.primary == pytest.approx(100_000 + 3 * np.pi * 25**2, rel=0.02)
    assert told.scattered == pytest.approx(3 * (256**2 - np.pi * 25**2) + len(SPOTS) * 5000, rel=0.02)


def test_the_resolution_is_that_of_the_outermost_spots_but_two() -> None:
    away_px = sorted(np.hypot(x - BEAM_PX[0], y - BEAM_PX[1]) for x, y in SPOTS)
    angle = np.arctan(away_px[-3] / GEOMETRY.camera_length_px)
    assert values(frame(spot_counts=2000.0)).resolution_A == pytest.approx(0.025 / (2 * np.sin(angle / 2)), rel=0.01)


def test_a_ring_is_told_by_its_spacing_and_none_where_there_is_none() -> None:
    angle = np.arctan(80 / GEOMETRY.camera_length_px)
    (spacing_A,) = values(frame(background=10.0, ring_px=80.0)).rings_A
    assert spacing_A == pytest.approx(0.025 / (2 * np.sin(angle / 2)), rel=0.02)
    for background in (0.02, 0.3, 10.0):
        assert values(frame(background=background, spot_counts=2000.0)).rings_A == ()


def test_pixels_whose_counts_were_made_up_are_no_light() -> None:
    untrusted = np.zeros(SHAPE, bool)
    untrusted[:, 200:210] = True
    counts = frame()
    bright = np.where(untrusted, 60_000, counts).astype(np.uint16)
    assert values(bright, untrusted) == values(counts, untrusted)


def test_a_frame_of_nothing_tells_nothing() -> None:
    told = values(np.zeros(SHAPE, np.uint16))
    assert (told.spots, told.spot_counts, told.width_px, told.resolution_A) == (0, 0, None, None)
    assert (told.background, told.scattered, told.primary, told.rings_A, told.ice) == (0.0, 0, 0, (), False)
