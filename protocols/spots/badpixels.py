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
SUDDEN = 0.4
"""Of what it is off, by which a bad line differs from the good ones beside it."""
EVERY = 4
"""Of a line's pixels, those of which its median is taken: enough, and fast."""
MARKS = 2
"""Different negative numbers that mark pixels in one picture at most: DECTRIS has -1 for gaps, -2 for bad pixels."""
MARK_16_BITS = 2.0**16 - 1
"""Marks pixels in 16-bit pictures, and is what a saturated beam has. A mark stands alone."""
MARK_TO_AROUND = 8.0
"""So many times the median of the pixels about it. About a saturated beam or spot they have a sixth and more."""
MARGIN_PX = 2
"""A spot so near to a bad pixel is not whole."""


def bad_pixels(picture: NDArray[np.generic]) -> NDArray[np.bool_]:
    """(rows, columns) True where a picture tells nothing, with a margin.

    Bad are pixels that are no numbers, that are marked as detectors mark gaps and masks (one or two negative numbers,
    the highest of 32 bits, or groups with the highest of 16 bits in the midst of much lower ones), and rows and columns
    of which the median is far off those of their neighbours. Negative counts of a dark-subtracted picture are of many
    values, and tell something.
    """
    from scipy.ndimage import binary_dilation

    counts = np.asarray(picture, dtype=np.float64)
    bad = ~np.isfinite(counts) if picture.dtype.kind == "f" else np.zeros(counts.shape, dtype=bool)
    if picture.dtype.kind != "u" and (negative := counts < 0).any() and len(np.unique(counts[negative])) <= MARKS:
        bad |= negative
    if picture.dtype.itemsize >= 4:
        bad |= counts >= 2.0**32 - 1
    bad |= _marked(counts)
    if bad.all():
        return bad
    usable = np.where(bad, np.nan, counts) if bad.any() else counts
    bad |= _odd(usable[:, ::EVERY])[:, None] | _odd(usable[::EVERY].T)[None, :]
    return np.asarray(binary_dilation(bad, iterations=MARGIN_PX)) if bad.any() else bad


def _marked(counts: Array) -> NDArray[np.bool_]:
    """Groups of pixels with the highest number of 16 bits that stand out of their surroundings as no light does."""
    from scipy.ndimage import binary_dilation, find_objects, label

    highest: NDArray[np.bool_] = np.asarray(counts == MARK_16_BITS)
    if not highest.any():
        return highest
    groups, _ = label(highest, np.ones((3, 3), dtype=bool))
    for number, place in enumerate(find_objects(groups), 1):
        window = tuple(slice(max(0, side.start - 1), side.stop + 1) for side in place)
        group = groups[window] == number
        around = counts[window][binary_dilation(group, np.ones((3, 3), dtype=bool)) & ~group]
        if around.size and np.median(around) * MARK_TO_AROUND > MARK_16_BITS:
            highest[window][group] = False
    return highest


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
    odd = np.asarray((off > np.maximum(ODD_SIGMAS * max(spread, noise), 2 + 0.5 * np.abs(local))) & ~empty)
    # A row of wide spots along the line moves its median as well, but little by little from line to line.
    edges = np.flatnonzero(np.diff(np.concatenate([[False], odd, [False]]).astype(np.int8)))
    for begin, end in edges.reshape(-1, 2).tolist():
        beside = [off[begin] - off[begin - 1]] if begin > 0 else []
        beside += [off[end - 1] - off[end]] if end < len(off) else []
        if beside and min(beside) < SUDDEN * off[begin:end].max():
            odd[begin:end] = False
    return odd
