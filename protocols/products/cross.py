"""The Timepix cross: the pixels that join four modules are three times as wide, and become three pixels each.

A picture of (rows, columns) with modules that meet in its middle has two wide rows, rows/2 - 1 and rows/2, and
two wide columns. On the corrected grid, four rows and columns larger, every pixel has the same size, so that
distances are right. Counts are whole numbers and are shared as such: nothing is lost and nothing is gained.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

WIDE_PX = 3
"""Width of a joining pixel in ordinary pixels (165 um against 55 um)."""

GROWTH_PX = 4
"""Rows, and columns, that the corrected picture has more."""


def expand_cross(counts: NDArray[Any]) -> NDArray[Any]:
    """Share each wide pixel of (rows, columns) whole-numbered counts over three: (rows + 4, columns + 4).

    The total is conserved exactly. Both numbers must be even.
    """
    rows, columns = counts.shape
    tall = np.empty((rows + GROWTH_PX, columns), dtype=counts.dtype)
    out = np.empty((rows + GROWTH_PX, columns + GROWTH_PX), dtype=counts.dtype)
    _expand(counts, tall)
    _expand(tall.T, out.T)
    return out


def spread(values: NDArray[Any]) -> NDArray[Any]:
    """Copy what belongs to raw pixels (rows, columns) onto the corrected grid: the same for all parts of a pixel."""
    index = [np.repeat(np.arange(n), _widths(n)) for n in values.shape]
    return values[np.ix_(*index)]


def cross_mask(raw_shape: tuple[int, int]) -> NDArray[np.bool_]:
    """True on the corrected grid where a pixel was shared out of a wide one; their counts are not independent."""
    rows, columns = raw_shape
    mask = np.zeros((rows + GROWTH_PX, columns + GROWTH_PX), dtype=bool)
    mask[wide_range(rows)[0] : wide_range(rows)[1], :] = True
    mask[:, wide_range(columns)[0] : wide_range(columns)[1]] = True
    return mask


def wide_range(raw_size: int) -> tuple[int, int]:
    """First and one past the last corrected row (or column) of the cross: 255, 261 for 512."""
    return raw_size // 2 - 1, raw_size // 2 + 5


def raw_place(place_px: float, raw_size: int) -> float:
    """A place on the corrected grid, from the middle of its first pixel, in the pixels that the camera gave."""
    first = raw_size / 2 - 1.5  # where the first wide pixel begins
    if place_px <= first:
        return place_px
    wide = min((place_px - first) / WIDE_PX, 2.0)
    return first + wide if wide < 2.0 else place_px - GROWTH_PX


def corrected_place(place_px: float, raw_size: int) -> float:
    """The way back: a place in the pixels that the camera gave, on the corrected grid."""
    first = raw_size / 2 - 1.5
    if place_px <= first:
        return place_px
    return first + WIDE_PX * (place_px - first) if place_px < first + 2.0 else place_px + GROWTH_PX


def pixel_area(raw_shape: tuple[int, int]) -> NDArray[np.float32]:
    """Area of each raw pixel in ordinary pixels: 1, 3 on the cross, 9 in its middle. (rows, columns)."""
    rows, columns = (_widths(n) for n in raw_shape)
    return np.outer(rows, columns).astype(np.float32)


def _widths(raw_size: int) -> NDArray[np.int64]:
    widths = np.ones(raw_size, dtype=np.int64)
    widths[raw_size // 2 - 1 : raw_size // 2 + 1] = WIDE_PX
    return widths


def _expand(counts: NDArray[Any], out: NDArray[Any]) -> None:
    """Fill `out`, four rows more than `counts`: the two wide rows shared over three each, the others as they are."""
    half = counts.shape[0] // 2
    out[: half - 1] = counts[: half - 1]
    out[half + 5 :] = counts[half + 1 :]
    for row, target in ((half - 1, half - 1), (half, half + 2)):
        third, rest = np.divmod(counts[row], WIDE_PX)
        # One count left over goes to the middle, two go to the outsides: the centre of mass stays.
        out[target + 1] = third + (rest == 1)
        out[target] = out[target + 2] = third + (rest == 2)
