"""Frames of other units and other cameras come to counts and to spots of the usual width."""

from collections.abc import Callable

import numpy as np
import pytest

from protocols.spots.frameunits import counts_per_unit, summed
from tests.protocols.spots.test_badpixels import lattice
from tests.protocols.spots.test_peaks import frame

pytestmark = pytest.mark.long

NONE_BAD = np.zeros((512, 512), dtype=bool)

# (what becomes of the counts, counts per unit that should come out, how exactly)
UNITS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float, float]] = {
    "counts": (lambda counts: counts, 1.0, 0.0),
    "counts as float": (lambda counts: counts.astype(np.float32), 1.0, 0.0),
    "scaled to 1": (lambda counts: (counts / counts.max()).astype(np.float32), 11810.0, 0.001),
    "scaled by 30000": (lambda counts: (counts / 30000).astype(np.float32), 30000.0, 0.001),
    "scaled, with a flatfield": (
        lambda counts: counts * np.random.default_rng(1).normal(1e-4, 1e-6, counts.shape), 1e4, 0.1,
    ),
    "with read noise, as an integrating camera": (
        lambda counts: counts + np.random.default_rng(1).normal(0, 4, counts.shape), 1.0, 0.0,
    ),
    "ten units an electron, with a flatfield": (
        lambda counts: counts * np.random.default_rng(1).normal(10, 0.1, counts.shape), 1.0, 0.0,
    ),
    "nothing but zeros": (lambda counts: 0.0 * counts, 1.0, 0.0),
}  # fmt: skip


@pytest.mark.parametrize("case", UNITS)
@pytest.mark.parametrize("background", [0.3, 30.0])
def test_how_many_counts_a_unit_is(case: str, background: float) -> None:
    changed, right, exactly = UNITS[case]
    counts = frame(lattice(), 600.0, np.random.default_rng(3), background=background).astype(np.float64)
    picture = changed(counts)
    assert counts_per_unit(picture, NONE_BAD) == pytest.approx(right, rel=exactly)


def test_squares_keep_the_counts_and_bad_pixels_are_made_up_for() -> None:
    counts = np.full((13, 10), 2.0)
    bad = np.zeros((13, 10), dtype=bool)
    bad[0, 0] = True
    bad[4:7, 4:8] = True
    counts[bad] = 0.0
    total, useless = summed(counts, bad, 4)
    assert total.shape == (3, 2)
    np.testing.assert_allclose(total[~useless], 32.0)
    assert np.argwhere(useless).tolist() == [[1, 1]]
