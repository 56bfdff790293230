"""Whether a place where the primary beam was found shows the beam, or only what is left of its light.

A finder always finds some place that is brightest. Behind a beam stop it is the bright side of the stop, and the same
in every frame; with the beam off the camera it is a reflection. So the place is looked at: a beam is a compact peak,
whole on all sides, and its middle is its brightest part (flat where it saturates, for its border still tells where it
is). Lengths are in widths of the peak and of the picture, not in pixels of one camera.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

REACH_SHARE = 0.16
"""Of the picture's shorter side: so far about the place is looked."""
WIDEST_SHARE = 0.06
"""Of it: a peak that is still half as high there is a halo, and the beam is hidden or out of focus."""
SECTORS = 8
WINDOW_BINS = 24
"""A larger reach is binned to about that many."""
SMALLEST_REACH_PX = 8
DARK = 0.5
"""A part of a ring with less than that of the ring's light is dark."""
DARK_MIDDLE = 0.7
SIGMAS = 5.0
HOT_SHARE = 0.85
"""One pixel with more than that of the light about it is a defect: any beam is blurred by the camera."""
SMALLEST_COUNTS = 50
ROUNDNESS = 0.6
"""Shorter over longer width of a peak: of half a disc it is 0.53; a beam that astigmatism has drawn out that far is no
place to the pixel either."""
NEAR_PX = 3
"""The middle of a peak is within that."""
FEWEST_PX = 12
"""A peak of fewer pixels above half of its height has no shape."""
FAR_WIDTHS = 3.0
"""So many half-widths (and FAR_PX) from the middle a beam has to be whole: its halo tells more than its steep flank."""
FAR_PX = 12.0


class Unseen(StrEnum):
    """Why a place is not taken for the beam's, in words that go behind 'what is brightest'."""

    NOWHERE = "lies at the edge of the picture, if there is anything"
    EDGE = "is cut by the edge of the picture"
    FAINT = "has too few counts"
    ONE_PIXEL = "is one bright pixel"
    HIDDEN = "is darkest in its middle, as behind a beam stop"
    BROAD = "is no peak but a broad halo, as beside a beam stop"
    CUT = "is dark on one side, as beside a beam stop"
    LONG = "is drawn out to one side"


@dataclass(frozen=True, slots=True)
class _Rings:
    """What lies around a place, in rings of one bin and eighths of them.

    level: (rings,) the light of each ring that a quarter of its eighths exceed, so that neither reflections nor a
    shadow on one side change it. sums, pixels: (rings, eighths) counts, and how many pixels these are. bin_px: width of
    a ring. base: counts per pixel where the peak has ended.
    """

    sums: Array
    pixels: Array
    level: Array
    base: float
    bin_px: int

    @property
    def half_width_px(self) -> float:
        """Where the peak has fallen to half of its height; infinite where it does not."""
        above = self.level - self.base
        top = float(above[: max(1, 2 // self.bin_px)].max())
        low = np.flatnonzero(above < top / 2)
        if top <= 0 or not len(low):
            return float("inf")
        ring = int(low[0])
        if ring == 0:
            return self.bin_px / 2
        before, after = above[ring - 1], above[ring]
        return float((ring - 0.5 + (before - top / 2) / (before - after)) * self.bin_px)


def unseen(counts: NDArray[np.uint16], place_px: tuple[float, float], cap: int | None = None) -> Unseen | None:
    """Why `place_px` (fast, slow), the brightest place of `counts` (rows, columns), does not show the beam; None if it
    does.

    cap: counts above it are taken as that much, as when the place was found (`beam_centre.even_level`).
    """
    shorter = min(counts.shape)
    reach = max(SMALLEST_REACH_PX, round(REACH_SHARE * shorter))
    rings = _rings(counts, place_px, reach, max(1, reach // WINDOW_BINS), cap)
    half = rings.half_width_px
    if half < 6 * rings.bin_px and rings.bin_px > 1:  # too coarse for so small a peak
        near = min(reach, max(SMALLEST_REACH_PX, round(max(4 * half, 1.5 * FAR_PX))))
        rings = _rings(counts, place_px, near, max(1, int(half) // 6), cap, rings.base)
        half = rings.half_width_px
    level, base, bin_px = rings.level, rings.base, rings.bin_px
    middle, brightest = float(level[: max(1, 2 // bin_px)].max()), float(level.max())
    if middle - base < DARK_MIDDLE * (brightest - base) and brightest - middle > SIGMAS * np.sqrt(brightest / 8):
        return Unseen.HIDDEN
    if half > WIDEST_SHARE * shorter:
        return Unseen.BROAD
    return _flaw(counts, place_px, half, rings, cap)


def _flaw(
    counts: NDArray[np.uint16], place_px: tuple[float, float], half: float, rings: _Rings, cap: int | None
) -> Unseen | None:
    """Of a peak that is compact: what is wrong with it."""
    bin_px, base = rings.bin_px, rings.base
    inner = slice(0, max(1, int(np.ceil(2 * half / bin_px))))
    light = float(rings.sums[inner].sum() - base * rings.pixels[inner].sum())
    if light < max(SMALLEST_COUNTS, 2 * SIGMAS * np.sqrt(rings.sums[inner].sum())):
        return Unseen.FAINT
    border = slice(int(half / bin_px), max(int(half / bin_px) + 1, int(np.ceil(1.5 * half / bin_px))))
    whole = np.pi * ((border.stop * bin_px) ** 2 - (border.start * bin_px) ** 2) / SECTORS
    if (rings.pixels[border].sum(axis=0) < 0.3 * whole).any() and _at_edge(counts.shape, place_px, 2 * half):
        return Unseen.EDGE
    middle = _window(counts, place_px, NEAR_PX, cap)
    above = np.maximum(np.subtract(middle.counts, base, dtype=np.float64), 0.0)[
        np.hypot(middle.x, middle.y[:, None]) < NEAR_PX
    ]
    top = float(above.max(initial=0.0))
    if top > HOT_SHARE * above.sum():
        return Unseen.ONE_PIXEL
    if _dark_sides(rings, half):
        return Unseen.CUT
    square = _window(counts, place_px, int(np.ceil(max(2.5 * half, FAR_PX))), cap)
    high = np.subtract(square.counts, base, dtype=np.float64) > top / 2
    if _roundness(square.x, square.y, high) < ROUNDNESS:
        return Unseen.LONG
    return None


def _dark_sides(rings: _Rings, half: float) -> bool:
    """Whether an eighth is dark where the others are not, in rings one behind the other over half of the half-width.

    Compared with the light of the ring one farther out: on a steep flank no eighth is as dark as that by the place of
    its few pixels alone.
    """
    level, base, bin_px = rings.level, rings.base, rings.bin_px
    last = min(len(level) - 1, int(np.ceil(max(FAR_WIDTHS * half, FAR_PX) / bin_px)))
    pixels, sums = rings.pixels[1:last], rings.sums[1:last]
    light = np.minimum(level[1:last], level[2 : last + 1])[:, None]
    expected = light * pixels
    telling = (pixels > 0) & (expected - base * pixels > 2 * np.sqrt(np.maximum(expected, 1)))
    dark = telling & (sums - base * pixels < DARK * (expected - base * pixels))
    flat = base * pixels  # less than that comes of no halo, but of a shadow
    dark |= (sums < DARK * flat) & (flat - sums > SIGMAS * np.sqrt(np.maximum(flat, 1)))
    dark &= ~np.roll(dark, SECTORS // 2, axis=1)  # dark on both sides is the narrow way of an ellipse
    long = max(2, int(np.ceil(half / 2 / bin_px)))
    if (dark.sum(axis=0) < long).all():
        return False
    run, lacking, most = np.zeros(SECTORS), np.zeros(SECTORS), np.zeros(SECTORS)
    for ring in range(len(dark)):
        run = np.where(dark[ring], run + 1, 0)
        lacking = np.where(dark[ring], lacking + expected[ring] - sums[ring], 0.0)
        most = np.where(dark[ring], most + expected[ring], 0.0)
        if ((run >= long) & (lacking > SIGMAS * np.sqrt(most))).any():
            return True
    return False


def _roundness(x: Array, y: Array, high: NDArray[np.bool_]) -> float:
    """Shorter over longer width of what stands above half of the height in one piece with the middle, without
    reflections beside it; 1 where it is too small to tell.

    x (columns,), y (rows,): places from the middle. high: (rows, columns). Nothing here is a product of matrices, whose
    threads and the processes of an export would fight.
    """
    from scipy.ndimage import label

    rows, columns = (np.flatnonzero(high.any(axis=axis)) for axis in (1, 0))
    row, column = int(np.abs(y).argmin()), int(np.abs(x).argmin())
    if not high[row, column]:
        return 1.0
    part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    pieces, _ = label(high[part])
    piece = pieces == pieces[row - rows[0], column - columns[0]]
    along, down = piece.sum(axis=0), piece.sum(axis=1)
    pixels = int(down.sum())
    if pixels < FEWEST_PX:
        return 1.0
    dx, dy = (at - (number * at).sum() / pixels for at, number in ((x[part[1]], along), (y[part[0]], down)))
    xx, yy = float((along * dx * dx).sum()), float((down * dy * dy).sum())
    xy = float((np.where(piece, dx, 0.0).sum(axis=1) * dy).sum())
    short, long = np.linalg.eigvalsh(np.array([[xx, xy], [xy, yy]]))
    return float(np.sqrt(max(short, 0.0) / long)) if long > 0 else 1.0


@dataclass(frozen=True, slots=True)
class _Window:
    """Part of a picture: (rows, columns) counts, and the places of the pixels' centres from the place that is looked
    at, in px: x (columns,), y (rows,).
    """

    counts: NDArray[np.uint16]
    x: Array
    y: Array


def _window(counts: NDArray[np.uint16], place_px: tuple[float, float], reach: int, cap: int | None) -> _Window:
    rows, columns = counts.shape
    left, top = max(0, int(place_px[0]) - reach), max(0, int(place_px[1]) - reach)
    right, bottom = min(columns, int(place_px[0]) + reach + 1), min(rows, int(place_px[1]) + reach + 1)
    part = counts[top:bottom, left:right]
    if cap is not None:
        part = np.minimum(part, np.uint16(min(cap, 65535)))
    x, y = (np.arange(*ends) + 0.5 - place_px[axis] for axis, ends in ((0, (left, right)), (1, (top, bottom))))
    return _Window(part, x, y)


def _rings(
    counts: NDArray[np.uint16],
    place_px: tuple[float, float],
    reach: int,
    bin_px: int,
    cap: int | None,
    base: float | None = None,
) -> _Rings:
    """Sums in rings and eighths about a place, of squares of `bin_px` pixels. base: counts where the peak has ended,
    where it is known already.
    """
    rows, columns = counts.shape
    half_bins = reach // bin_px
    left, top = (int(place_px[axis]) - half_bins * bin_px for axis in (0, 1))
    bins = 2 * half_bins + 1
    right, bottom = left + bins * bin_px, top + bins * bin_px
    part = counts[max(0, top) : min(rows, bottom), max(0, left) : min(columns, right)]
    if cap is not None:
        part = np.minimum(part, np.uint16(min(cap, 65535)))
    inside = (max(0, -top), max(0, bottom - rows)), (max(0, -left), max(0, right - columns))
    pixels = np.full(bins * bins, float(bin_px * bin_px))
    if any(sum(side) for side in inside):
        pixels = _binned(np.pad(np.ones(part.shape), inside), bins, bin_px)
        part = np.pad(part, inside)
    values = _binned(part, bins, bin_px)
    # To a quarter of a bin: the index of rings and eighths is then one of few, and made once.
    shifts = tuple(round(4 * (place_px[axis] - at) / bin_px - 2) for axis, at in ((0, left), (1, top)))
    index = _index(bins, shifts[0] - 4 * half_bins, shifts[1] - 4 * half_bins)
    n = (half_bins + 1) * SECTORS
    sums, number = (
        np.asarray(np.bincount(index, each, n + SECTORS)[:n].reshape(-1, SECTORS), dtype=np.float64)
        for each in (values, pixels)
    )
    empty = number == 0
    ordered = np.sort(np.where(empty, np.inf, sums / np.maximum(number, 1)), axis=1)
    full = SECTORS - empty.sum(axis=1)
    level = np.where(full > 0, ordered[np.arange(len(full)), np.maximum(3 * full // 4 - (full > 3), 0)], 0.0)
    counted = full > 0
    if base is None:
        base = float(np.median(level[counted][-max(1, len(level) // 6) :]))
    return _Rings(sums, number, level, base, bin_px)


def _binned(part: NDArray[np.uint16] | Array, bins: int, bin_px: int) -> Array:
    if bin_px == 1:
        return part.reshape(-1).astype(np.float64)
    rows = part.reshape(bins, bin_px, bins * bin_px).sum(axis=1, dtype=np.float64)
    return np.asarray(rows.reshape(bins, bins, bin_px).sum(axis=2).reshape(-1))


@lru_cache(maxsize=64)
def _index(bins: int, fast_quarters: int, slow_quarters: int) -> NDArray[np.intp]:
    """Of each square of a window the number of its ring and eighth; those beyond the last ring share one."""
    half_bins = bins // 2
    along = np.arange(bins) - half_bins
    x, y = np.meshgrid(along - fast_quarters / 4, along - slow_quarters / 4)
    ring = np.minimum(np.hypot(x, y), half_bins + 1).astype(np.intp)
    eighth = np.rint(np.arctan2(y, x) / (2 * np.pi) * SECTORS).astype(np.intp) % SECTORS
    return np.asarray((ring * SECTORS + np.where(ring > half_bins, 0, eighth)).reshape(-1))


def _at_edge(shape: tuple[int, int], place_px: tuple[float, float], within_px: float) -> bool:
    rows, columns = shape
    fast, slow = place_px
    return min(fast, slow, columns - fast, rows - slow) < within_px
