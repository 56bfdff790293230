"""Spots of a frame: found where they are, measured for what they are, whatever the camera; and nothing else is."""

import numpy as np
import pytest

from protocols.screening.preprocessing import cuts_of, picture_of
from protocols.screening.seenspots import SeenSpots, seen_spots
from tests.gaussians import gaussians

PER_PX = 0.00488
BEAM = 258.0
PLACES = np.array([(x, y) for x in range(80, 460, 45) for y in range(85, 450, 60) if abs(x - 257) + abs(y - 257) > 60])


def frame(counts: float = 150.0, background: float = 1.0, sigma_px: float = 1.3, seed: int = 1) -> np.ndarray:
    """(516, 516) counts: a beam with its halo, and spots of so many counts at PLACES (fast, slow), each 0.3 px off."""
    y, x = np.mgrid[:516, :516] + 0.5
    away = np.hypot(x - BEAM, y - BEAM)
    expected = background + 500 * np.exp(-away / 10) + 6 * np.exp(-away / 90)
    expected += gaussians((516, 516), PLACES + 0.3, sigma_px, counts / (2 * np.pi * sigma_px**2))
    return np.random.default_rng(seed).poisson(expected).astype(np.uint16)


def seen(of: np.ndarray) -> SeenSpots:
    (cut,) = cuts_of(of[None], PER_PX)
    return seen_spots(picture_of(cut), cut)


def found(spots: SeenSpots) -> np.ndarray:
    """(n,) of PLACES, the distance to the nearest spot in pixels."""
    seen_px = spots.xy_per_A / PER_PX + BEAM
    return np.array([np.hypot(*(seen_px - place - 0.3).T).min() for place in PLACES])


def integrating(of: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(2).standard_normal(of.shape)
    return np.rint(20 * (of + 1.0 * noise) + 200).clip(0).astype(np.uint16)


CAMERAS = {
    "counts": lambda of: of,
    "a gain of 20, an offset of 200 and readout noise of an electron": integrating,
    "divided by the maximum": lambda of: (of / of.max()).astype(np.float32),
    "the offset taken off": lambda of: integrating(of).astype(np.int32) - 220,
}


@pytest.mark.parametrize("camera", CAMERAS)
def test_spots_are_found_within_half_a_pixel_and_nothing_else_is(camera: str) -> None:
    spots = seen(CAMERAS[camera](frame()))
    away = found(spots)
    assert np.mean(away < 1.0) > 0.95
    assert np.median(away) < 0.5
    assert len(spots) <= len(PLACES) + 1
    assert (spots.broad, spots.double) == (0, 0)


def test_the_signal_to_noise_and_the_light_are_those_that_were_drawn() -> None:
    for camera in ("counts", "a gain of 20, an offset of 200 and readout noise of an electron"):
        spots = seen(CAMERAS[camera](frame(400.0)))
        readout2 = 0.0 if camera == "counts" else 1.0
        noise = np.sqrt(400 + 4 * np.pi * 1.5**2 * (1.0 + readout2))
        assert np.median(spots.snr) == pytest.approx(400 / noise, rel=0.2)
        assert np.median(spots.light) == pytest.approx(400, rel=0.4)


def test_an_empty_frame_has_none() -> None:
    assert len(seen(np.zeros((516, 516), np.uint16))) == 0
    assert len(seen(np.random.default_rng(3).poisson(0.1, (516, 516)).astype(np.uint16))) == 0
    assert len(seen(integrating(np.random.default_rng(3).poisson(2.0, (516, 516))))) <= 1
    assert len(seen(frame(0.0))) == 0


def test_single_bright_pixels_are_no_spots() -> None:
    broken = frame()
    rng = np.random.default_rng(4)
    places = rng.integers(100, 420, (2, 30))
    broken[places[0], places[1]] = 5000
    assert (
        np.mean([np.hypot(*(seen(broken).xy_per_A / PER_PX + BEAM - p[::-1] - 0.5).T).min() > 2 for p in places.T])
        > 0.85
    )


@pytest.mark.parametrize("direction_deg", [0, 45, 90, 120])
def test_spots_that_are_drawn_out_say_along_which_direction(direction_deg: int) -> None:
    y, x = np.mgrid[:516, :516] + 0.5
    expected = 1.0 + 500 * np.exp(-np.hypot(x - BEAM, y - BEAM) / 10)
    cos, sin = np.cos(np.deg2rad(direction_deg)), np.sin(np.deg2rad(direction_deg))
    for fast, slow in PLACES + 0.3:
        along, aside = (x - fast) * cos + (y - slow) * sin, (y - slow) * cos - (x - fast) * sin
        expected += 60 * np.exp(-0.5 * ((along / 2.2) ** 2 + aside**2))
    spots = seen(np.random.default_rng(1).poisson(expected).astype(np.uint16))
    twice = 2 * np.deg2rad(direction_deg)
    mean = spots.drawn_out.mean(axis=0)
    assert np.hypot(*mean) > 0.15
    assert mean / np.hypot(*mean) == pytest.approx([np.cos(twice), np.sin(twice)], abs=0.15)


@pytest.mark.parametrize("size", [64, 128, 1032])
def test_frames_of_any_size_are_looked_at(size: int) -> None:
    scale = size / 516
    (cut,) = cuts_of(np.random.default_rng(1).poisson(3.0, (1, size, size)).astype(np.uint16), PER_PX / scale)
    assert len(seen_spots(picture_of(cut), cut)) <= 2


@pytest.mark.parametrize("camera", CAMERAS)
def test_bright_defective_pixels_many_together_are_no_spots(camera: str) -> None:
    """Where lines of a camera are broken: dark, and every tenth pixel as bright as any."""
    rng = np.random.default_rng(7)
    clean = CAMERAS[camera](frame())
    broken = clean.copy()
    band = broken[150:156]
    band[:] = np.where(rng.random(band.shape) < 0.1, clean.max() * rng.random(band.shape), 0).astype(clean.dtype)
    spots, before = seen(broken), seen(clean)
    assert spots.hot > 15
    assert len(spots) <= len(before) + 3
    assert np.mean(found(spots) < 1.0) > 0.85
