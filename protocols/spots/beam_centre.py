"""Where the primary beam is: the maximum of the Gaussian-filtered picture, between the pixels and without bias.

The filtered picture is a smooth function of position: a sum of Gaussians, one on the centre of every pixel. Its
maximum is bracketed on a coarse grid and found by Newton's method, so no grid and no interpolation can shift it.
"""

import math
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.spots.median import median

Counts = NDArray[np.uint16] | NDArray[np.float64]

SIGMA_PX = 10.0
"""Width of the filter that finds the beam, as wide as the halo around it, on a camera of 516 px."""
SIGMA_SHARE = SIGMA_PX / 516
SIGMAS_PX = (4.0, 40.0)
NEXT_SIGMAS = 4.0
"""What is nearer to the brightest place than so many widths of the filter belongs to it."""


MIRROR_SIGMA_PX, MIRROR_REACH_PX = 12.0, 36
MIRROR_STEPS = tuple(range(-3, 4))
MIRROR_STEPS_SQUARED = sum(step * step for step in MIRROR_STEPS)
AROUND_PX = MIRROR_REACH_PX + 8
"""Far enough for all steps about a position that has moved by 2 px, beyond which it is not believed."""
NEAR_PX = 8
"""A beam farther from the cross than this is not touched by it."""


def even_level(saturation: int, wide_cross: bool) -> int:
    """The count per pixel of the corrected grid up to which every pixel of the detector can tell.

    The middle of a wide cross collects for nine pixels and saturates at a ninth of what the others bear; above that
    a bright beam near the cross looks lopsided. A tenth leaves room for the flatfield.
    """
    return saturation // 10 if wide_cross else saturation


def filter_px(shape: tuple[int, int]) -> float:
    """The same width on a camera of any size (rows, columns): patterns are as wide as the camera."""
    low, high = SIGMAS_PX
    return min(max(SIGMA_SHARE * min(shape), low), high)


def find_beam(counts: Counts, sigma_px: float = SIGMA_PX, cap: int | None = None) -> tuple[float, float] | None:
    """Primary beam (fast_px, slow_px) in a picture (rows, columns); pixel i covers [i, i + 1).

    cap: counts above it are taken as that much (`even_level`). None where there is no maximum: an empty picture, or
    one that rises to its edge.
    """
    return brightest_place(counts, sigma_px, cap)[0]


def brightest_place(
    counts: Counts, sigma_px: float = SIGMA_PX, cap: int | None = None
) -> tuple[tuple[float, float] | None, float]:
    """The same, and how many times brighter it is than the next place, both filtered and above the background."""
    highest = 65535 if counts.dtype == np.uint16 else np.inf
    most = counts.dtype.type(highest if cap is None else min(cap, highest))
    bin_px = max(1, int(sigma_px / 2.5))
    coarse = _binned(counts, bin_px, most)
    if not coarse.any():
        return None, 0.0
    smooth = _blur(coarse, sigma_px / bin_px)
    y, x = (int(k) for k in np.unravel_index(int(smooth.argmax()), smooth.shape))
    background, summit = median(smooth), float(smooth[y, x])
    reach = round(NEXT_SIGMAS * sigma_px / bin_px)
    smooth[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1] = 0.0
    least = max(float(smooth.max()) - background, 1e-3 * summit, 1e-6)
    return _climb(counts, most, (x + 0.5) * bin_px, (y + 0.5) * bin_px, sigma_px), (summit - background) / least


def beside_cross(
    counts: NDArray[np.uint16], cross: NDArray[np.bool_], beam_px: tuple[float, float], cap: int
) -> tuple[float, float]:
    """Improve a position near a wide cross by the symmetry of the halo, without the cross.

    Wide pixels smear the border of a bright beam, and saturate as a whole, which draws the maximum towards or away
    from them by up to 0.3 px. Here only pixels count whose mirror image about the centre is off the cross (`cross`,
    (rows, columns), is True on it) as well; about the true centre their first moment is zero, so it is taken about
    neighbouring half pixels, where mirroring needs no interpolation, and its zero is read from a straight line. Counts
    are capped at a sixth of `cap`, that is in the halo. Returns `beam_px` where that leads nowhere.
    """
    fast, slow = (int(c) for c in beam_px)
    if not cross[max(0, slow - NEAR_PX) : slow + NEAR_PX + 1, max(0, fast - NEAR_PX) : fast + NEAR_PX + 1].any():
        return beam_px
    begins = max(0, fast - AROUND_PX), max(0, slow - AROUND_PX)
    around = np.s_[begins[1] : slow + AROUND_PX + 1, begins[0] : fast + AROUND_PX + 1]
    wide = cross[around]
    # Whole rows and columns are wide, so that a pixel is off the cross where its row and its column are.
    off: list[NDArray[np.float64]] = [np.where(wide.all(axis=axis), 0.0, 1.0) for axis in (0, 1)]
    halo = np.minimum(counts[around], max(1, cap // 6)) * np.outer(off[1], off[0])
    position = beam_px
    for _ in range(2):
        twice = [round(2 * (c - 0.5)) - 2 * begin for c, begin in zip(position, begins, strict=True)]
        found = []
        for axis, across in ((0, halo), (1, halo.T)):
            moments = _moments(across, off[axis], off[1 - axis], twice[axis], twice[1 - axis])
            if moments is None:
                return beam_px
            # The straight line of least squares; the steps lie evenly about 0.
            slope, at_zero = float(np.dot(MIRROR_STEPS, moments)) / MIRROR_STEPS_SQUARED, float(np.mean(moments))
            if slope >= 0:
                return beam_px
            found.append(begins[axis] + float((twice[axis] - at_zero / slope) / 2 + 0.5))
        position = (found[0], found[1])
        if np.hypot(position[0] - beam_px[0], position[1] - beam_px[1]) > 2:
            return beam_px
    return position


def _moments(
    halo: NDArray[np.float64], off: NDArray[np.float64], off_across: NDArray[np.float64], twice: int, across: int
) -> list[float] | None:
    """First moments along the columns of the pixels off the cross that have a mirror image off it, about a centre at
    index twice / 2 (along) and across / 2, and those that lie MIRROR_STEPS half pixels from it along the columns.

    halo: (rows, columns) counts, 0 on the cross. off, off_across: 1 for columns, rows, that are off it, 0 for others.
    """
    rows = _window(across, len(off_across))
    if rows is None:
        return None
    weights, _ = _mirror_weights(across % 2)
    line = (weights * off_across[rows][::-1]) @ halo[rows]
    moments = []
    for step in MIRROR_STEPS:
        columns = _window(twice + step, len(off))
        if columns is None:
            return None
        _, firsts = _mirror_weights((twice + step) % 2)
        moments.append(float((firsts * off[columns][::-1]) @ line[columns]))
    return moments


def _window(twice: int, size: int) -> slice | None:
    """As far as mirroring reaches about index twice / 2; None where that is beyond 0 .. size - 1."""
    begin = twice // 2 - MIRROR_REACH_PX
    end = twice - begin
    return slice(begin, end + 1) if begin >= 0 and end < size else None


@cache
def _mirror_weights(half: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of the pixels about a centre, or (1) about one between two pixels: their weights, and those of a first moment."""
    away = np.arange(-MIRROR_REACH_PX, MIRROR_REACH_PX + half + 1) - half / 2
    weights = np.exp(-0.5 * (away / MIRROR_SIGMA_PX) ** 2)
    return weights, weights * away


def _binned(counts: Counts, bin_px: int, most: np.uint16 | np.float64) -> NDArray[np.float32]:
    """Sums over squares of `bin_px` pixels a side, no count as more than `most`; the rest at the far edges is cut off.

    Added line by line, ten times as fast as a sum over two of four axes; and as many lines in 16 bits as these can
    hold, which is as fast again.
    """
    rows, columns = (n // bin_px * bin_px for n in counts.shape)
    squared = counts[:rows, :columns].reshape(rows // bin_px, bin_px, columns)
    whole, capped = counts.dtype == np.uint16, bool(most < np.inf)
    together = 1 if capped else bin_px
    if whole:
        highest = int(counts.max(initial=0))
        together, capped = max(1, 65535 // max(1, min(int(most), highest))), highest > int(most)
    lines: NDArray[Any] = np.zeros((len(squared), columns), np.uint32 if whole else np.float64)
    room: NDArray[Any] = np.empty(lines.shape, counts.dtype)
    for first in range(0, bin_px, together):
        group = range(first, min(first + together, bin_px))
        if not capped:
            lines += squared[:, group.start : group.stop].sum(axis=1, dtype=counts.dtype if whole else lines.dtype)
            continue
        some: NDArray[Any] = np.minimum(squared[:, first], most)
        for k in group[1:]:
            some += np.minimum(squared[:, k], most, out=room)
        lines += some
    squares = lines[:, ::bin_px].copy()
    for k in range(1, bin_px):
        squares += lines[:, k::bin_px]
    return squares.astype(np.float32)


def _blur(image: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Gaussian filter, zero outside. Not by matrix products: their threads and the worker processes would fight."""
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(image, sigma, mode="constant", truncate=3.0), dtype=np.float32)


def _climb(
    counts: Counts, most: np.uint16 | np.float64, fast: float, slow: float, sigma: float
) -> tuple[float, float] | None:
    """Newton's method on the filtered picture from a start within a bin of its maximum."""
    reach = int(np.ceil(5 * sigma))
    rows, columns = counts.shape
    top, left = max(0, int(slow) - reach), max(0, int(fast) - reach)
    window = np.minimum(counts[top : int(slow) + reach + 1, left : int(fast) + reach + 1], most).astype(np.float64)
    y: NDArray[np.float64] = np.arange(window.shape[0], dtype=np.float64) + (top + 0.5)
    x: NDArray[np.float64] = np.arange(window.shape[1], dtype=np.float64) + (left + 0.5)
    for _ in range(50):
        # m[i][j]: with the i-th power of the distance along slow and the j-th along fast.
        m = (_moments_of((slow - y) / sigma) @ window @ _moments_of((fast - x) / sigma).T).tolist()
        # Derivatives of the filtered picture, from those of a Gaussian.
        along, down = -m[0][1] / sigma, -m[1][0] / sigma
        curved, curved_down = (m[0][2] - m[0][0]) / sigma**2, (m[2][0] - m[0][0]) / sigma**2
        mixed = m[1][1] / sigma**2
        determinant = curved * curved_down - mixed * mixed
        if curved < 0 and determinant > 0:
            step = (
                (mixed * down - curved_down * along) / determinant,
                (mixed * along - curved * down) / determinant,
            )
        else:  # not yet at a summit: the mean-shift step climbs
            share = sigma**2 / max(m[0][0], 1e-300)
            step = along * share, down * share
        length = math.hypot(*step)
        if length > sigma / 2:
            step = step[0] * sigma / 2 / length, step[1] * sigma / 2 / length
        fast, slow = fast + step[0], slow + step[1]
        if not (0 <= fast <= columns and 0 <= slow <= rows):
            return None
        if length < 1e-4:
            return fast, slow
    return None


def _moments_of(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, n) a Gaussian at (n,) distances in its widths, times these and times their squares."""
    found = np.empty((3, len(distance)))
    squared = distance * distance
    np.exp(-0.5 * squared, out=found[0])
    np.multiply(found[0], distance, out=found[1])
    np.multiply(found[0], squared, out=found[2])
    return found
