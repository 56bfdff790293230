"""The same electrons give the same spots on any camera: many pixels or few, wide spots or narrow, a saturated beam.

Lengths are those of the frame's own spots; nothing depends on pixels.
"""

from collections.abc import Callable

import numpy as np
import pytest

from protocols.spots.peaks import find_peaks
from tests.gaussians import gaussians
from tests.protocols.spots.test_badpixels import lattice

BEAM = np.array([250.3, 261.8])
TRUE = lattice()[np.hypot(*(lattice() - BEAM).T) > 60]


def camera_frame(
    size_px: int,
    sigma_px: float,
    counts: float = 3000.0,
    beam: float = 4e4,
    beam_sigma_px: float | None = None,
    spots: np.ndarray = TRUE,
    background: float = 2.0,
    seed: int = 5,
) -> np.ndarray:
    """What a camera of so many pixels sees of the spots that 512 x 512 pixels have there."""
    zoom = size_px / 512
    middle = np.arange(size_px) + 0.5
    radius = np.hypot(middle - BEAM[0] * zoom, (middle - BEAM[1] * zoom)[:, None]) / zoom
    mean = (300 * np.exp(-(radius**2) / 200) + 30 * np.exp(-radius / 50) + background) / zoom**2
    mean += beam * np.exp(-0.5 * (radius * zoom / (beam_sigma_px or 1.5 * sigma_px)) ** 2)
    mean += gaussians((size_px, size_px), spots * zoom, sigma_px, counts / (2 * np.pi * sigma_px**2))
    return np.asarray(np.random.default_rng(seed).poisson(mean).clip(0, 65535), dtype=np.uint16)


# (pixels, width of spots in px)
CAMERAS = [(512, 0.8), (512, 2.0), (1024, 4.0), (1024, 6.0), (2048, 1.3), (2048, 4.0), (2048, 10.0)]
LARGE = [pytest.param(4096, sigma_px, marks=pytest.mark.long) for sigma_px in (1.3, 10.0)]


@pytest.mark.parametrize(("size_px", "sigma_px"), [*CAMERAS, *LARGE])
def test_spots_are_found_on_any_camera(size_px: int, sigma_px: float) -> None:
    found = find_peaks(camera_frame(size_px, sigma_px))
    assert found.reason == ""
    zoom = size_px / 512
    np.testing.assert_allclose(found.centre_px / zoom, BEAM, atol=0.15)
    distance = np.hypot(*(TRUE[:, None] - found.xy_px[None] / zoom).transpose(2, 0, 1))
    assert (distance.min(axis=1) < 0.5).mean() > 0.97
    assert (distance.min(axis=0) < 1.0).all()  # and nothing else
    assert np.median(distance.min(axis=1)) < max(0.15, 0.08 * sigma_px / zoom)
    assert found.blind_px / zoom < 40


def dark_inside(frame: np.ndarray) -> np.ndarray:
    return np.where(frame == 65535, 3, frame)


SATURATED: dict[str, Callable[[np.ndarray], np.ndarray]] = {"flat": lambda frame: frame, "dark inside": dark_inside}


@pytest.mark.parametrize("kind", SATURATED)
@pytest.mark.parametrize(("size_px", "sigma_px", "beam_sigma_px"), [(512, 1.3, 6.0), (1024, 4.0, 14.0)])
def test_a_saturated_beam_is_found_where_it_is_and_makes_no_spots(
    kind: str, size_px: int, sigma_px: float, beam_sigma_px: float
) -> None:
    picture = SATURATED[kind](camera_frame(size_px, sigma_px, beam=3e6, beam_sigma_px=beam_sigma_px))
    zoom = size_px / 512
    assert (picture == picture.max()).sum() < 4 * 700 * zoom**2
    found = find_peaks(picture)
    np.testing.assert_allclose(found.centre_px / zoom, BEAM, atol=0.1)
    to_true = np.hypot(*(TRUE[:, None] - found.xy_px[None] / zoom).transpose(2, 0, 1))
    assert (to_true.min(axis=1) < 0.5).mean() > 0.95
    beside = np.hypot(*(found.xy_px / zoom - BEAM).T) < 32
    assert not beside.any()
    assert 15 < found.blind_px / zoom < 40


@pytest.mark.parametrize("size_px", [512, 1024, 2048])
def test_a_large_frame_without_spots_has_none(size_px: int) -> None:
    assert find_peaks(camera_frame(size_px, 2.0 * size_px / 512, counts=0.0)).reason.startswith("no spots")


def test_a_frame_scaled_to_1_has_the_spots_of_its_counts() -> None:
    counts = camera_frame(512, 1.3)
    plain, scaled = find_peaks(counts), find_peaks((counts / counts.max()).astype(np.float32))
    assert scaled.xy_px == pytest.approx(plain.xy_px, abs=1e-3)
