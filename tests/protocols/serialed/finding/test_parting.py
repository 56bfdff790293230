import numpy as np
import pytest

from protocols.serialed.finding.parting import parted

ROWS, COLUMNS = np.indices((40, 80))


def disc(column: float, radius: float) -> np.ndarray:
    return np.asarray(np.hypot(ROWS - 20, COLUMNS - column) < radius)


@pytest.mark.parametrize(
    ("mask", "count"),
    [
        (disc(20, 14), 1),
        (disc(20, 14) | disc(46, 14), 2),
        (disc(20, 14) | disc(41, 8), 2),
        (disc(20, 14) | disc(28, 14), 1),
        ((abs(ROWS - 20) < 6) & (abs(COLUMNS - 40) < 35), 1),
        (disc(14, 9) | disc(31, 9) | disc(48, 9), 3),
    ],
    ids=["disc", "two that touch", "a small one at a large one", "two that overlap", "rod", "three in a row"],
)
def test_bodies_are_parted_at_necks(mask: np.ndarray, count: int):
    parts = parted(mask)
    assert len(parts) == count
    assert (np.sum(parts, axis=0) == mask).all()


def test_two_that_touch_are_parted_between_them():
    left, right = parted(disc(20, 14) | disc(46, 14))
    assert sorted([np.mean(np.nonzero(left)[1]), np.mean(np.nonzero(right)[1])]) == pytest.approx([20, 46], abs=1)
