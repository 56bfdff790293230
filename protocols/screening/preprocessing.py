"""From frames of a camera to the pictures of 150 x 150 that networks look at, as Cichocka and co-workers (2018) did.

The beam is the mean place of the brightest pixels; 400 x 400 pixels around it are cut out, counts above the mean plus
four standard deviations capped (their equation 1), the rest scaled to 0..1 (equation 2) and shrunk to 150 x 150 by a
Gaussian and linear interpolation, as scikit-image shrinks. `paper_input` is just that; `input_of` cuts out what lies
within REACH_PER_A of the beam instead, so that every camera and camera length shows the same.

What the paper does not speak of is the same in both (tests/protocols/screening/test_preprocessing.py is the table):
NaN, infinities and the highest number of 32 bits are no counts and become the median; a frame without a number is all
0; negative counts are counts; a frame in which electrons are dark is turned over; where a frame is smaller than what
is cut out, all of it is taken, the rest is 0 and does not count in mean and deviation. A 2 ms job for 516 x 516.
"""

import math
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags

from protocols.screening.rawcross import corrected
from protocols.spots.beam_centre import filter_px, find_beam
from protocols.spots.median import median

Picture = NDArray[np.float32]
Centre = Literal["brightest", "robust"]

BRIGHTEST = 0.05
"""Share of the pixels whose mean place is the beam."""
SPOTS, EVERY = 0.003, 3
"""Share of the pixels that may be spots: for the robust centre all counts as much as the faintest of them.
A pixel of nine is enough to know how much that is."""
CACHED = 1 << 17
"""So many pixels are averaged at a time, that a processor's cache holds them."""
COARSE_PX = 120
"""The robust centre is looked for in a frame of squares, which has so many at least."""
CROP_PX = 400
CAP_SIGMA = 4.0
INPUT_PX = 150
REACH_PER_A = 0.976
"""Half the width of what is cut out: 200 pixels of a Timepix at 250 mm and 200 kV, 0.00488 1/A each."""
FLAG = np.float32(2**32 - 1)
"""Detectors of 32 bits write it where they have no count."""
INVERTED, BLOCK, SMALL = 4.0, 4, 0.03
"""A frame is inverted whose darkest square is that much farther from their median than its brightest. Squares are of
BLOCK x BLOCK of some 128 x 128 pixels; of all of them no more than SMALL are half as dark as the darkest."""


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """What is cut out of a frame: (rows, columns) counts of a square of width_px; of a smaller frame all there is,
    whose first pixel is `down` and `right` of the corner of the square. They may be the frame's own: not to be changed.

    lowest: of the counts, that is asked for more than once.
    """

    counts: Picture
    width_px: int
    down: int
    right: int
    lowest: np.float32


def paper_input(frames: NDArray[Any], centre: Centre = "brightest") -> Picture:
    """(n, 150, 150) of (n, slow, fast) frames of any number type: 400 x 400 pixels around the beam.

    centre: brightest, as the paper; or robust: where the halo is brightest, which bright spots and an uneven halo
    do not draw away.
    """
    return np.stack([picture_of(_cut(numbers(frame), CROP_PX, centre)) for frame in _many(frames)])


def input_of(frames: NDArray[Any], inverse_A_per_px: float | NDArray[np.float64], centre: Centre = "robust") -> Picture:
    """(n, 150, 150) of (n, slow, fast) frames: what is within REACH_PER_A of the beam along both axes.

    inverse_A_per_px: 1/A a pixel of all frames, or (n,) of each. Where CROP_PX or more whole squares of pixels fit in,
    squares are averaged first: a fine camera is made as coarse as the paper's, and its noise with it.
    """
    return np.stack([picture_of(cut) for cut in cuts_of(frames, inverse_A_per_px, centre)])


def cuts_of(
    frames: NDArray[Any], inverse_A_per_px: float | NDArray[np.float64], centre: Centre = "robust"
) -> list[Cut]:
    """The same before it is scaled and shrunk: what `picture_of` takes, one for each frame."""
    frames = _many(frames)
    per_px = np.broadcast_to(np.asarray(inverse_A_per_px, dtype=np.float64), len(frames))
    if not (np.isfinite(per_px).all() and (per_px > 0).all()):
        raise ValueError(f"1/A per pixel must be positive numbers, not {inverse_A_per_px}")
    widths = np.maximum(np.rint(2 * REACH_PER_A / per_px), 2).astype(int)
    return [_cut(_even(frame), width, centre) for frame, width in zip(frames, widths.tolist(), strict=True)]


def _many(frames: NDArray[Any]) -> NDArray[Any]:
    frames = np.asarray(frames)
    if frames.ndim != 3 or not len(frames) or frames.dtype.kind not in "uifb":
        raise ValueError(f"(n, slow, fast) frames of numbers are needed, not {frames.dtype} of shape {frames.shape}")
    return frames


def _even(frame: NDArray[Any]) -> Picture:
    """Its numbers, on pixels of one size: the raw frame of a Timepix, whole counts, without its cross."""
    return corrected(numbers(frame)) if frame.dtype.kind in "ui" else numbers(frame)


def _cut(counts: Picture, width_px: int, centre: Centre) -> Cut:
    fast_px, slow_px = (robust_centre if centre == "robust" else brightest_centre)(counts)
    rows, columns = counts.shape
    top, left = _begin(slow_px, width_px, rows), _begin(fast_px, width_px, columns)
    cut = counts[max(0, top) : top + width_px, max(0, left) : left + width_px]
    square = max(1, width_px // CROP_PX)
    if square > 1 and min(cut.shape) >= square:
        cut = _averaged(cut, square)
        width_px, top, left = width_px // square, top // square, left // square
    cut = cut[:width_px, :width_px]
    down, right = (min(max(0, -a), width_px - n) for a, n in zip((top, left), cut.shape, strict=True))
    return Cut(cut, width_px, down, right, cut.min())


def picture_of(of: Cut) -> Picture:
    """(150, 150) of what was cut out: capped, scaled and shrunk."""
    cut, width_px = of.counts, of.width_px
    # Relative to their mean, in the place in which they are then changed.
    mean = _mean(cut)
    off = cut - mean
    flat = off.reshape(-1)
    cap = np.float32(CAP_SIGMA) * np.sqrt(np.vdot(flat, flat) / np.float32(off.size))
    lowest = of.lowest - mean
    highest = min(off.max(), cap)
    if not highest > lowest:
        return np.zeros((INPUT_PX, INPUT_PX), dtype=np.float32)
    _capped(off, cap, off)
    off -= lowest
    if off.shape != (width_px, width_px):
        whole = np.zeros((width_px, width_px), dtype=np.float32)
        whole[of.down : of.down + off.shape[0], of.right : of.right + off.shape[1]] = off
        off = whole
    shrink = _shrinking(width_px)
    # To 0..1 only now: shrinking is linear, and leaves fewer pixels to divide.
    picture = np.ascontiguousarray((shrink @ (shrink @ off).T).T)
    picture *= np.float32(1.0) / (highest - lowest)
    return np.clip(picture, 0.0, 1.0, out=picture)


def _mean(cut: Picture) -> np.float32:
    """Of all pixels. Sums of lines by a product take a quarter of the time of `mean`; these are summed in double."""
    lines = cut @ np.ones(cut.shape[1], dtype=np.float32)
    return np.float32(lines.sum(dtype=np.float64) / cut.size)


def numbers(frame: NDArray[Any]) -> Picture:
    """(slow, fast) the frame in float32, without what is no count, and upright: electrons are bright."""
    counts = np.asarray(frame, dtype=np.float32)
    if frame.dtype.kind == "f" or frame.dtype.itemsize > 2:
        useless = ~np.isfinite(counts) | (counts >= FLAG)
        if useless.any():
            middle = np.float32(0.0) if useless.all() else np.median(counts[~useless])
            counts = np.where(useless, middle, counts)
    return counts.max() - counts if _inverted(counts) else counts


def _inverted(counts: Picture) -> bool:
    """Whether the halo is darker than the rest: a small region of squares is, and none is as much brighter.

    By the medians of squares, for dead pixels are dark, too; and small, for gaps between modules are long.
    """
    step = max(1, min(counts.shape) // 128)
    some = counts[::step, ::step]
    rows, columns = (n // BLOCK for n in some.shape)
    blocks = some[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK).swapaxes(1, 2)
    # Their medians, by a sort, which is three times as fast as `median`.
    rising = np.sort(blocks.reshape(rows, columns, BLOCK * BLOCK), axis=2)
    light = (rising[:, :, 7] + rising[:, :, 8]) / 2
    if not light.size:
        return False
    middle, lowest, highest = median(light), light.min(), light.max()
    dark = np.count_nonzero(light < (middle + lowest) / 2)
    return bool(middle - lowest > INVERTED * (highest - middle) and 0 < dark <= SMALL * light.size)


def brightest_centre(counts: Picture) -> tuple[float, float]:
    """(fast_px, slow_px) mean place of the BRIGHTEST of the pixels; pixel i covers [i, i + 1).

    Of pixels that are equal at the border between them and the others, all count with the share that is wanted: of
    few counts there are many such pixels, and which are taken must not depend on their order.
    """
    wanted = max(1, round(BRIGHTEST * counts.size))
    least = _largest(counts.reshape(-1), wanted)
    weight = (counts > least).astype(np.float32)
    above = int(np.count_nonzero(weight))
    equal = counts == least
    weight += equal * np.float32((wanted - above) / max(1, int(np.count_nonzero(equal))))
    rows, columns = counts.shape
    along, down = np.ones(rows, np.float32) @ weight, weight @ np.ones(columns, np.float32)
    total = float(along.sum())
    fast_px, slow_px = np.dot(along, np.arange(columns) + 0.5), np.dot(down, np.arange(rows) + 0.5)
    return float(fast_px) / total, float(slow_px) / total


def robust_centre(counts: Picture) -> tuple[float, float]:
    """(fast_px, slow_px) where the halo is brightest; that of the brightest pixels where it rises to the edge."""
    # The same pixels of a frame that is mirrored.
    down, right = ((n - 1) % EVERY // 2 for n in counts.shape)
    some = np.ascontiguousarray(counts[down::EVERY, right::EVERY]).reshape(-1)
    cap = _high(some, max(1, round(SPOTS * some.size)))
    square = max(1, min(counts.shape) // COARSE_PX)
    coarse = _averaged(counts, square, cap)
    coarse -= coarse.min()
    found = find_beam(coarse.astype(np.float64), 2 * filter_px((counts.shape[0], counts.shape[1])) / square)
    return (found[0] * square, found[1] * square) if found else brightest_centre(counts)


def _largest(values: Picture, number: int) -> np.float32:
    """The `number`-th largest. By two histograms of sixteen bits each, five times as fast as by partition."""
    bits = values.view(np.int32)
    # Floats of one sign are in the order of their bits; those of negative numbers run backwards.
    key = bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))
    high = (key >> 16) + np.int32(1 << 15)
    of_high = np.bincount(high, minlength=1 << 16)
    from_top = np.cumsum(of_high[::-1])
    place = int(np.searchsorted(from_top, number))
    bin_high = (1 << 16) - 1 - place
    within = values[high == bin_high]
    rank = number - (int(from_top[place - 1]) if place else 0)
    if within[0] == within[-1] and (within == within[0]).all():
        return np.float32(within[0])
    return np.float32(np.partition(within, len(within) - rank)[len(within) - rank])


def _high(values: Picture, number: int) -> np.float32:
    """The same of few: only those are sorted that are as large as some of every sixteenth."""
    some = np.sort(values[::16])
    within = values[values >= some[-min(len(some), 2 + number // 4)]]
    if len(within) < number:  # the sixteenth was a poor one
        return _largest(values, number)
    return np.float32(np.sort(within)[len(within) - number])


def _capped(counts: Picture, cap: np.float32, out: Picture | None = None) -> Picture:
    """The smaller of both, in `out` where that is given. `clip` is quicker with one number than `minimum` is."""
    return np.clip(counts, np.float32(-np.inf), cap, out=out)


def _begin(beam_px: float, width_px: int, size_px: int) -> int:
    """First pixel of what is cut out: the beam in its middle, if it stays in the frame; all of a smaller frame."""
    least, most = min(0, size_px - width_px), max(0, size_px - width_px)
    return min(max(round(beam_px - width_px / 2), least), most)


def _averaged(cut: Picture, square: int, cap: np.float32 | None = None) -> Picture:
    """Means of squares of pixels, none of them as more than the cap; what is left over at the far edges is cut off."""
    rows, columns = (n // square for n in cut.shape)
    if square == 1:
        return cut.copy() if cap is None else _capped(cut, cap)
    whole = cut[: rows * square, : columns * square]
    # Lines first, then columns, which is ten times as fast as a sum over two of four axes.
    lines = np.empty((rows, whole.shape[1]), dtype=np.float32)
    together = max(1, CACHED // (square * whole.shape[1]))
    for first in range(0, rows, together):
        some = whole[first * square : (first + together) * square]
        some = some if cap is None else _capped(some, cap)
        some.reshape(-1, square, whole.shape[1]).sum(axis=1, out=lines[first : first + together])
    squares = lines[:, ::square].copy()
    for k in range(1, square):
        squares += lines[:, k::square]
    squares *= np.float32(1 / square**2)
    return squares


@cache
def _shrinking(width_px: int) -> csr_matrix:
    """(150, width) along one axis: Gaussian with sigma (factor - 1) / 2, then linear interpolation at the middles of
    the new pixels. Each row sums to 1, also at the edges.
    """
    factor = width_px / INPUT_PX
    place = np.clip((np.arange(INPUT_PX) + 0.5) * factor - 0.5, 0, width_px - 1)
    left = np.floor(place).astype(np.intp)
    right, share = np.minimum(left + 1, width_px - 1), place - left
    rows = np.tile(np.arange(INPUT_PX), 2), np.concatenate([left, right])
    matrix = csr_matrix((np.concatenate([1 - share, share]), rows), (INPUT_PX, width_px))
    sigma = (factor - 1) / 2
    if sigma > 0:
        reach = math.ceil(4 * sigma)
        away = np.arange(-reach, reach + 1)
        gauss = diags(np.exp(-0.5 * (away / sigma) ** 2), away, shape=(width_px, width_px))
        matrix = matrix @ diags(1 / gauss.sum(axis=1).A1) @ gauss
    return csr_matrix(matrix, dtype=np.float32)
