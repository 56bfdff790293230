"""Pixels of a frame that tell nothing: marked as such, or in a row or column that does not fit its neighbours.

One line of noise or a gap between modules otherwise makes dozens of spots that lie on no net, or halves real ones.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

NEIGHBOURS = 21
"""Rows, or columns, about each one that it is compared with; gaps may be half as wide."""
ODD_SIGMAS = 8.0
"""How far the median of a line may be off those of its neighbours, in standard deviations of these."""
EVERY = 4
"""Of a line's pixels, those of which its median is taken: enough, and fast."""
MARKS = 2
"""Different negative numbers that mark pixels in one picture at most: DECTRIS has -1 for gaps, -2 for bad pixels."""
MARGIN_PX = 2
"""A spot so near to a bad pixel is not whole."""


def bad_pixels(picture: NDArray[np.generic]) -> NDArray[np.bool_]:
    """(rows, columns) True where a picture tells nothing, with a margin.

    Bad are pixels that are no numbers, that are marked as detectors mark gaps and masks (one or two negative numbers,
    or the highest of a 32-bit picture), and rows and columns of which the median is far off those of their neighbours.
    Negative counts of a dark-subtracted picture are of many values, and tell something.
    """
    from scipy.ndimage import binary_dilation

    counts = np.asarray(picture, dtype=np.float64)
    bad, negative = ~np.isfinite(counts), counts < 0
    if len(np.unique(counts[negative])) <= MARKS:
        bad |= negative
    if picture.dtype.kind == "u" and picture.dtype.itemsize >= 4:
        bad |= counts == 2.0 ** (8 * picture.dtype.itemsize) - 1
    if bad.all():
        return bad
    usable = np.where(bad, np.nan, counts) if bad.any() else counts
    bad |= _odd(usable[:, ::EVERY])[:, None] | _odd(usable[::EVERY].T)[None, :]
    return np.asarray(binary_dilation(bad, iterations=MARGIN_PX)) if bad.any() else bad


def filled(counts: Array, bad: NDArray[np.bool_]) -> Array:
    """The same with the nearest good pixel's count in place of each bad one; all 0 where none is good."""
    from scipy.ndimage import distance_transform_edt

    if bad.all():
        return np.zeros_like(counts)
    row, column = distance_transform_edt(bad, return_distances=False, return_indices=True)
    return np.asarray(counts[row, column])


def _odd(counts: Array) -> NDArray[np.bool_]:
    """(rows,) rows that do not fit their neighbours."""
    from scipy.ndimage import median_filter

    empty = np.isnan(counts).all(axis=1)
    middle = np.zeros(len(counts))
    middle[~empty] = (np.nanmedian if np.isnan(counts).any() else np.median)(counts[~empty], axis=1)
    number = np.arange(len(counts))
    middle[empty] = np.interp(number[empty], number[~empty], middle[~empty])
    local = median_filter(middle, NEIGHBOURS, mode="nearest")
    off = np.abs(middle - local)
    # That of the medians from line to line, and what noise makes of the median of so many pixels; both may be nought
    # where counts are few and whole.
    spread = 1.4826 * float(np.median(off))
    noise = 1.4826 * float(np.nanmedian(np.abs(counts - middle[:, None]))) * 1.25 / np.sqrt(counts.shape[1])
    return np.asarray((off > np.maximum(ODD_SIGMAS * max(spread, noise), 2 + 0.5 * np.abs(local))) & ~empty)
