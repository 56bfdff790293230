"""Spots that are told for who tries cells on them lie on equal pixels, on both sides of a camera's cross."""

import numpy as np
import pytest

from protocols.serialed.tellspots import spots_in, told
from tests.gaussians import gaussians

PER_PX = 0.0034


def pattern(cross_px: int) -> np.ndarray:
    """Spots at 12 multiples of 30 px to both sides of the beam on 516 equal pixels; read out without the cross."""
    rng = np.random.default_rng(0)
    slow, fast = np.mgrid[:516, :516] + 0.5
    counts = 400.0 * np.exp(-np.hypot(fast - 258, slow - 258) / 12.0) + 2.0
    places = [(258 + 30 * i, 258 + 30 * j) for i in (-4, -2, 2, 4) for j in (-3, 3)]
    counts += gaussians((516, 516), places, 1.3, 150.0)
    noisy = rng.poisson(counts).astype(np.uint16)
    keep = np.r_[0:256, 260:516] if cross_px else np.r_[2:514]
    return noisy[np.ix_(keep, keep)]


@pytest.mark.parametrize("cross", [True, False])
def test_spots_lie_at_multiples_of_their_distance_also_beyond_the_cross(cross: bool) -> None:
    frame = pattern(4 if cross else 0)
    seen = spots_in(told(0, PER_PX, wide_cross=cross), lambda _: frame)
    xy = np.array(seen["xy_per_A"]).reshape(-1, 2) / (30 * PER_PX)
    strong = xy[:8]
    assert len(strong) == 8
    spread = np.sort(strong[:, 0])[-2:].mean() - np.sort(strong[:, 0])[:2].mean()
    assert spread == pytest.approx(8.0, abs=0.03)  # from -4 to 4; without equal pixels 4 px less
