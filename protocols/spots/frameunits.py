"""Frames brought to what spots are sought in: counts, in pixels about as wide as the frame's own spots.

Thresholds are those of Poisson noise, so a frame that was divided by its maximum is multiplied back; lengths are in
pixels of small cameras, so a frame of a large one is summed in squares until its spots are as wide as there.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

SAMPLE = 200_000
"""Pixels looked at, of a frame that is no whole numbers."""
WHOLE = 0.02
"""So far from whole a number may be, in counts, by rounding to 32 bits."""
REPEATED = 0.5
"""Of the numbers of a frame that was made of whole counts, more than that share occur more than once."""
BLOCK_PX = 8
LESS_THAN_POISSON = 0.5
"""Of the variance of counts: where a frame has less, it was made smaller."""


def counts_per_unit(picture: NDArray[np.generic], bad: Mask) -> float:
    """What a float picture is to be multiplied by to be counts: 1 for whole numbers, and where nothing tells.

    From the step between its numbers, if there is one; else from its noise, which is the square root of counts.
    """
    if picture.dtype.kind != "f":
        return 1.0
    values = np.asarray(picture[~bad], dtype=np.float64)
    values = values[:: max(1, len(values) // SAMPLE)]
    if not len(values) or (np.abs(values - np.rint(values)) < 1e-9).mean() > 0.99:
        return 1.0
    different = np.unique(np.abs(values[values != 0]))
    if 1 < len(different) < REPEATED * len(values):
        step = float(np.diff(different[: len(different) // 2 + 2]).min())
        times = different[: len(different) // 2 + 2] / step
        if (np.abs(times - np.rint(times)) < WHOLE).mean() > 0.99:
            return 1.0 / step
    rows, columns = (n // BLOCK_PX * BLOCK_PX for n in picture.shape)
    blocks = np.asarray(np.where(bad, 0.0, picture)[:rows, :columns], dtype=np.float64)
    blocks = blocks.reshape(rows // BLOCK_PX, BLOCK_PX, columns // BLOCK_PX, BLOCK_PX).swapaxes(1, 2)
    blocks = blocks.reshape(-1, BLOCK_PX * BLOCK_PX)
    mean = blocks.mean(axis=1)
    some = mean > 0
    ratio = float(np.median(blocks[some].var(axis=1) / mean[some])) if some.any() else 0.0
    return 1.0 / ratio if 0 < ratio < LESS_THAN_POISSON else 1.0


def summed(counts: Array, bad: Mask, px: int) -> tuple[Array, Mask]:
    """Counts and bad pixels in squares of so many pixels each way; rows and columns that make no whole square are left
    out. A square is bad where most of it is; else its good pixels stand for the others.
    """
    if px == 1:
        return counts, bad
    rows, columns = (n // px for n in counts.shape)

    def in_squares(values: NDArray[np.generic]) -> Array:
        # Adding whole rows and columns is several times faster than sums over axes of a reshaped array.
        total = np.zeros((rows, values.shape[1]))
        for k in range(px):
            total += values[k : rows * px : px]
        result = np.zeros((rows, columns))
        for k in range(px):
            result += total[:, k : columns * px : px]
        return result

    if not bad.any():
        return in_squares(counts), np.zeros((rows, columns), dtype=bool)
    good = in_squares((~bad).astype(np.float32))
    total = in_squares(np.where(bad, 0.0, counts))
    return total * px * px / np.maximum(good, 1.0), good < px * px / 2
