"""A planted spot is summed to what was planted, within what is said, wherever it lies."""

import numpy as np
import pytest
from numpy.typing import NDArray

from protocols.integration.framesums import Camera, FrameSums, smooth_mean, sum_frame

ROWS, COLUMNS = 120, 140
SPOT_PX = 0.9
BEAM = (70.0, 60.0)
Array = NDArray[np.float64]


def light(fast: float, slow: float, counts: float, spot_px: float = SPOT_PX) -> Array:
    """Counts expected of a spot, (rows, columns), each pixel integrated."""
    from scipy.special import ndtr

    x = np.diff(ndtr((np.arange(COLUMNS + 1) - fast) / spot_px))
    y = np.diff(ndtr((np.arange(ROWS + 1) - slow) / spot_px))
    return np.asarray(counts * np.outer(y, x))


def halo(height: float) -> Array:
    slow, fast = np.indices((ROWS, COLUMNS)) + 0.5
    radius = np.hypot(fast - BEAM[0], slow - BEAM[1])
    return np.asarray(0.2 + height * np.exp(-(radius**2) / (2 * 9.0**2)))


def camera(background: Array, saturation: float | None = None, bad: NDArray[np.bool_] | None = None) -> Camera:
    none = np.zeros((ROWS, COLUMNS), dtype=bool)
    mean = smooth_mean([background], none, BEAM)
    return Camera(none if bad is None else bad, mean, SPOT_PX * 1.05, saturation, 1.0)


def measure(counts: Array, places: list[tuple[float, float]], on: Camera) -> FrameSums:
    fast, slow = (np.array(axis) for axis in zip(*places, strict=True))
    return sum_frame(counts, fast, slow, np.ones(len(places), dtype=bool), on)


@pytest.mark.parametrize(
    ("background", "radius_px", "planted"),
    [(0.3, 45.0, 40.0), (0.3, 45.0, 2000.0), (6.0, 45.0, 200.0), (300.0, 24.0, 300.0), (300.0, 18.0, 3000.0)],
    ids=["weak", "strong", "bright background", "on the halo", "on its steep part"],
)
def test_the_sum_is_what_was_planted_within_its_sigma(background: float, radius_px: float, planted: float) -> None:
    rng = np.random.default_rng(7)
    below = halo(background) if background > 100 else np.full((ROWS, COLUMNS), background)
    on = camera(below)
    pulls = []
    for _ in range(300):
        angle = rng.uniform(0, 2 * np.pi)
        place = BEAM[0] + radius_px * np.cos(angle), BEAM[1] + radius_px * np.sin(angle)
        seen = measure(rng.poisson(below + light(*place, planted)).astype(np.float64), [place], on)
        assert not seen.blind[0]
        pulls.append((seen.total[0] / seen.share[0] - planted) * seen.share[0] / np.sqrt(seen.variance[0]))
    assert np.mean(pulls) == pytest.approx(0.0, abs=0.3)
    assert np.std(pulls) == pytest.approx(1.0, abs=0.25)


def test_what_bad_pixels_and_a_neighbour_take_is_known_as_a_share() -> None:
    rng = np.random.default_rng(3)
    bad = np.zeros((ROWS, COLUMNS), dtype=bool)
    bad[:, 41] = True
    below = np.full((ROWS, COLUMNS), 1.0)
    places = [(40.3, 30.2), (100.0, 90.0), (104.0, 90.0)]
    expected = below + sum(light(*place, 5000.0) for place in places)
    seen = measure(np.where(bad, 65535, rng.poisson(expected)).astype(np.float64), places, camera(below, None, bad))
    assert seen.share[0] < 0.85
    assert seen.share[1] < 0.99
    assert seen.taken[0] == 0
    assert 0.005 < seen.taken[1] < 0.05
    assert seen.total / seen.share == pytest.approx([5000.0] * 3, rel=0.04)


def test_saturated_pixels_and_places_off_the_camera_are_flagged() -> None:
    below = np.full((ROWS, COLUMNS), 1.0)
    places = [(40.0, 40.0), (80.0, 80.0), (139.5, 119.5), (-30.0, 10.0)]
    counts = np.minimum(below + light(40.0, 40.0, 9000.0) + light(80.0, 80.0, 500.0), 1000.0)
    seen = measure(counts, places, camera(below, saturation=1000.0))
    assert seen.saturated.tolist() == [True, False, False, False]
    assert seen.blind.tolist() == [False, False, False, True]
    assert seen.share[2] < 0.6


def test_a_bright_neighbour_in_the_ring_is_not_background() -> None:
    below = np.full((ROWS, COLUMNS), 2.0)
    seen = measure(below + light(60.0, 60.0, 400.0) + light(66.0, 60.0, 20000.0), [(60.0, 60.0)], camera(below))
    assert seen.total[0] == pytest.approx(400.0, rel=0.05)
