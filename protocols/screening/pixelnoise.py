"""How the counts of a pixel scatter, told by the frame itself: no gain, offset or readout noise need be known."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.screening.preprocessing import Picture
from protocols.spots.median import median

Array = NDArray[np.float64]
Numbers = NDArray[np.float32]

LEVELS = 8
"""Parts of a frame by brightness, of each of which the noise is known."""
FEW_COUNTS = 5.0
"""Whole numbers, none below 0 and most below this, are counts: a camera that integrates has an offset."""
LOWER = 2.2
"""The mean square of normal numbers over that of the smaller 13 of 16."""


@dataclass(frozen=True, slots=True, eq=False)
class Noise:
    """How the variance of a pixel grows with its counts. gain: the numbers for one electron. level, variance: (m,) of
    the background and there; None where a pixel scatters as it counts, on `level` at least.
    """

    gain: float
    level: Array
    variance: Array | None

    def over(self, below: Numbers) -> Numbers:
        """(n,) variance of a pixel over such a background."""
        if self.variance is None:
            return np.asarray(np.maximum(below, self.level[0]), dtype=np.float32)
        beyond = np.maximum(below - self.level[-1], 0.0) * self.gain
        return np.asarray(np.interp(below, self.level, self.variance) + beyond, dtype=np.float32)


def noise_of(counts: Picture, lowest: float) -> Noise:
    """How the variance of a pixel grows with its counts. lowest: of these.

    From differences between neighbouring squares of 3 x 3 pixels, that slopes do not change; the part of the frame that
    is brightest is the beam, and tells nothing.
    """
    rows, columns = (n // 24 * 8 for n in counts.shape)
    if (rows // 8) * (columns // 8) < 4 * LEVELS:
        return Noise(1.0, np.ones(1), None)
    squares = counts[: 3 * rows : 3, : 3 * columns].copy()
    squares += counts[1 : 3 * rows : 3, : 3 * columns]
    squares += counts[2 : 3 * rows : 3, : 3 * columns]
    squares = squares[:, ::3] + squares[:, 1::3] + squares[:, 2::3]
    mean = squares.reshape(rows // 8, 8, columns).sum(axis=1).reshape(rows // 8, columns // 8, 8).sum(axis=2)
    mean = mean.reshape(-1) / (9 * 64)
    whole = bool((squares == np.rint(squares)).all())
    if whole and _mostly_below(squares, 9 * FEW_COUNTS) and lowest >= 0:
        darkest = np.sort(mean)[: -(-len(mean) // LEVELS)]
        return Noise(1.0, np.array([min(median(darkest), 1.0)]), None)
    order = np.argsort(mean)
    # The parts are as those of `array_split`: the first ones have one more.
    longer = np.arange(LEVELS) < len(order) % LEVELS
    ends = np.cumsum(len(order) // LEVELS + longer)
    begins = np.concatenate([[0], ends[:-1]])
    rising = mean[order]
    level = (rising[(begins + ends - 1) // 2] + rising[(begins + ends) // 2]) / 2  # the median of each
    lines = squares[::2] - squares[1::2]
    square2 = np.square(lines[:, ::2] - lines[:, 1::2]) / (4 * 9)
    in_blocks = square2.reshape(rows // 8, 4, columns // 8, 4).swapaxes(1, 2).reshape(-1, 16)
    variance = LOWER * np.sort(in_blocks, axis=1)[:, :13].mean(axis=1)  # the largest are spots
    noise2 = np.add.reduceat(variance[order], begins) / (ends - begins)
    rise = (noise2[4:7] - noise2[0]) / np.maximum(level[4:7] - level[0], 1e-9)
    gain = max(float(np.median(rise)), 1e-3 * float(noise2[0]) ** 0.5, 1.0 if whole else 1e-6)
    return Noise(gain, level[:-1], noise2[:-1])


def _mostly_below(values: Numbers, limit: float) -> bool:
    """Whether their median is below it; by counting, where that decides."""
    twice = 2 * int(np.count_nonzero(values < limit))
    return bool(np.median(values) < limit) if twice == values.size else twice > values.size
