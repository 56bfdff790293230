"""The spots of a pattern, found fast: in the 150 x 150 pixels of its picture, and measured in those of the camera.

A spot is a highest pixel of the picture that stands out of what scatters around it, whatever the camera's noise is: so
readout noise and a scintillator that smears need not be known. It is then placed and measured in the pixels of the
camera: its middle, its light over the noise there, how wide it is and whether it is drawn out. How the noise grows with
the counts the frame itself tells. Some milliseconds for 516 x 516.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby, pairwise

import numpy as np
from numpy.typing import NDArray

from protocols.screening.pixelnoise import Noise, noise_of
from protocols.screening.preprocessing import CROP_PX, INPUT_PX, REACH_PER_A, Cut, Picture
from protocols.spots.median import median

Array = NDArray[np.float64]
Numbers = NDArray[np.float32]

NEAR_PX, BLOCK_PX = 11, 25
"""Of the picture: over so many pixels is averaged what a pixel is compared with; the scatter is that of a block."""
TOGETHER = 8
"""Frames whose spots are measured at the same time, at most: more do not fit into a processor's cache."""
STANDS_OUT = 4.5
"""Standard deviations of what scatters around."""
MOST = 200
"""Spots that are measured: those that stand out most."""
VISIBLE = 4.5
"""Signal to noise. The rules (`generation.rules`) count from 5 on; what is measured scatters about that by 1."""
BLIND_PER_A = 0.09
"""Nearer to the beam is its halo."""
SIGMA_PX, SMALLEST_PX, LARGEST_PX = 1.5, 4, 12
"""Of CROP_PX: width of the Gaussian that measures; half of the window is four times that, within these limits."""
JAGGED, BROAD = 0.55, 0.78
"""Light is smooth, defective pixels are not, alone (1.25) or many together (0.7 and more): the squares of how far
pixels are from the mean of their neighbours, less what noise makes of that, over the squares of the pixels. A hundredth
of all spots have more than 0.35. And what is wider, relative to the Gaussian, is no spot."""
APART_PER_A = 0.022
"""Of two that are nearer the brighter one counts: no cell here is larger than 45 A."""
SMALLEST = 0.6
"""Of cameras with so few pixels that a spot is one, as if spots were so wide."""


@dataclass(frozen=True, slots=True, eq=False)
class SeenSpots:
    """xy_per_A: (n, 2) along fast and slow, from the middle of what was cut out. snr, light: (n,) signal to noise,
    and light in electrons as far as the noise tells.

    width: (n,) second moment relative to the Gaussian that measures: 0.5 is as wide as that. drawn_out, tails: (n, 2)
    how much longer it is along one direction, as (cos, sin) of twice the angle: in its middle, and around it.
    broad, hot, double: what was seen and is no spot: wider ones, single pixels, and neighbours of brighter ones.
    """

    xy_per_A: Array
    snr: Array
    light: Array
    width: Array
    drawn_out: Array
    tails: Array
    broad: int = 0
    hot: int = 0
    double: int = 0

    def __len__(self) -> int:
        """Number of spots."""
        return len(self.snr)


NOTHING = SeenSpots(np.empty((0, 2)), np.empty(0), np.empty(0), np.empty(0), np.empty((0, 2)), np.empty((0, 2)))


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """What stands out in one frame. slow, fast: (n,) pixels of the cut. noise: of a pixel (`pixelnoise`)."""

    cut: Cut
    slow: NDArray[np.intp]
    fast: NDArray[np.intp]
    noise: Noise | None

    def __len__(self) -> int:
        """Number of places."""
        return len(self.slow)


def seen_spots(picture: Picture, cut: Cut) -> SeenSpots:
    """Of a picture and what it was made of (`preprocessing.picture_of`). Of any frame; none where nothing is seen."""
    return measured([candidates(picture, cut)])[0]


def candidates(picture: Picture, cut: Cut) -> Candidates:
    """Places in a frame to be measured; far enough from its edges for that."""
    rows, columns = _highest(picture)
    _, reach = _window(cut)
    of_px = cut.width_px / INPUT_PX
    slow = ((rows + 0.5) * of_px - cut.down).astype(np.intp)
    fast = ((columns + 0.5) * of_px - cut.right).astype(np.intp)
    inside = (slow > reach) & (slow < cut.counts.shape[0] - reach - 1)
    inside &= (fast > reach) & (fast < cut.counts.shape[1] - reach - 1)
    slow, fast = slow[inside], fast[inside]
    return Candidates(cut, slow, fast, noise_of(cut.counts, float(cut.lowest)) if len(slow) else None)


def measured(found: Sequence[Candidates]) -> list[SeenSpots]:
    """The spots of frames. Those of neighbours that were cut out alike are measured together: each of the many small
    steps is then made once for several frames.
    """
    done: list[SeenSpots] = []
    for _, group in groupby(found, lambda one: one.cut.width_px):
        alike = list(group)
        for first in range(0, len(alike), TOGETHER):
            done += _measured(alike[first : first + TOGETHER])
    return done


def _window(cut: Cut) -> tuple[float, int]:
    """How much finer its pixels are than the usual ones, and half of the window in which a spot is measured."""
    scale = max(cut.width_px / CROP_PX, SMALLEST)
    return scale, min(max(round(4 * SIGMA_PX * scale), SMALLEST_PX), LARGEST_PX)


def _highest(picture: Picture) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """(n,) rows and columns of the pixels of a picture that are higher than their neighbours and stand out."""
    off = picture - _over(np.ascontiguousarray(_over(picture).T)).T
    blocks = INPUT_PX // BLOCK_PX
    of_block = np.sort(
        off.reshape(blocks, BLOCK_PX, blocks, BLOCK_PX).swapaxes(1, 2).reshape(blocks * blocks, -1), axis=1
    )  # all of it, which is faster than a partition
    scatter = np.maximum(of_block[:, 525] - of_block[:, 312], 1e-5).reshape(blocks, blocks)  # 84 % over the median
    scatter = np.maximum(scatter, np.float32(0.2 * median(scatter)))
    between = _between()
    stands_out = off / (between @ scatter @ between.T)
    stands_out[[0, -1]] = stands_out[:, [0, -1]] = 0.0
    place = np.flatnonzero(stands_out > STANDS_OUT)
    flat = off.reshape(-1)
    here = flat[place]
    for step in (1, INPUT_PX - 1, INPUT_PX, INPUT_PX + 1):
        highest = here > flat[place + step]
        place, here = place[highest], here[highest]
        highest = here >= flat[place - step]
        place, here = place[highest], here[highest]
    rows, columns = np.divmod(place, INPUT_PX)
    if len(rows) > MOST:
        best = np.sort(np.argpartition(-stands_out[rows, columns], MOST)[:MOST])
        rows, columns = rows[best], columns[best]
    return rows, columns


def _measured(found: Sequence[Candidates]) -> list[SeenSpots]:
    """Each in a window of its own, by moments under a Gaussian that follows its middle. All of one width_px."""
    ends = np.cumsum([0, *(len(one) for one in found)])
    if not ends[-1]:
        return [NOTHING] * len(found)
    parts = [slice(begin, end) for begin, end in pairwise(ends.tolist())]
    scale, reach = _window(found[0].cut)
    slow = np.concatenate([one.slow for one in found])
    fast = np.concatenate([one.fast for one in found])
    shapes = np.repeat([one.cut.counts.shape for one in found], [len(one) for one in found], axis=0)
    along = np.arange(-reach, reach + 1, dtype=np.float32)
    away = np.hypot(along[:, None], along)
    around = (away > 2.6 * SIGMA_PX * scale) & (away < 4.2 * SIGMA_PX * scale)
    sigma = SIGMA_PX * scale
    size = 2 * reach + 1
    pixels = np.empty((len(slow), size, size), dtype=np.float32)
    below = np.zeros(0, dtype=np.float32)
    down, right = np.zeros(len(slow), np.float32), np.zeros(len(slow), np.float32)
    # Of each frame with candidates, its windows: by the place of their first pixel.
    windows = [
        (part, np.lib.stride_tricks.sliding_window_view(one.cut.counts, (size, size)))
        for one, part in zip(found, parts, strict=True)
        if len(one)
    ]
    for again in (False, True):
        for part, of_frame in windows:
            pixels[part] = of_frame[slow[part] - reach, fast[part] - reach]
        if not again:
            ring = pixels[:, around]
            lower = int(0.85 * ring.shape[1])  # without those of neighbours
            below = np.partition(ring, lower, axis=1)[:, :lower].mean(axis=1)
        pixels -= below[:, None, None]
        for _ in range(2):
            across, upright = _gaussian(along, right, sigma), _gaussian(along, down, sigma)
            of_row, of_column = _summed(pixels, across, 2), _summed(pixels, upright, 1)
            light = np.einsum("ny,ny->n", of_row, upright)
            light = np.where(light > 0, light, np.inf)
            # Under a Gaussian as wide as itself, a spot seems half as far off as it is.
            step = 1.5 * np.einsum("ny,ny,ny->n", of_row, upright, along - down[:, None]) / light
            down = np.clip(down + step, -2.5 * scale, 2.5 * scale)
            step = 1.5 * np.einsum("nx,nx,nx->n", of_column, across, along - right[:, None]) / light
            right = np.clip(right + step, -2.5 * scale, 2.5 * scale)
        if not again:
            for place, off, edge in ((slow, down, shapes[:, 0]), (fast, right, shapes[:, 1])):
                moved = np.clip(place + np.rint(off).astype(np.intp), reach, edge - reach - 1)
                off -= moved - place
                place[:] = moved
    across, upright = _gaussian(along, right, sigma), _gaussian(along, down, sigma)
    x, y = (along - right[:, None]) / sigma, (along - down[:, None]) / sigma
    of_row, of_column = _summed(pixels, across, 2), _summed(pixels, upright, 1)
    under = np.einsum("ny,ny->n", of_row, upright)
    each = np.where(under > 0, under, np.inf)
    xx = np.einsum("nx,nx,nx,nx->n", of_column, across, x, x) / each
    yy = np.einsum("ny,ny,ny,ny->n", of_row, upright, y, y) / each
    xy = np.einsum("ny,ny,ny->n", _summed(pixels, across * x, 2), upright, y) / each
    light = np.asarray(2 * under, dtype=np.float64)  # of a spot as wide as the Gaussian
    angle = 2 * np.arctan2(along[:, None], along)
    outside = (away > 1.5 * SIGMA_PX * scale) & (away < 4 * SIGMA_PX * scale)
    tails = pixels[:, outside] @ np.stack([np.cos(angle[outside]), np.sin(angle[outside])], axis=1)
    tails /= np.maximum(light, 1e-9)[:, None]
    near = away < 1.75 * SIGMA_PX * scale
    core = pixels[:, near]
    rough = pixels[:, 1:-1, 1:-1] - 0.25 * (
        pixels[:, :-2, 1:-1] + pixels[:, 2:, 1:-1] + pixels[:, 1:-1, :-2] + pixels[:, 1:-1, 2:]
    )
    rough2 = np.square(rough[:, near[1:-1, 1:-1]]).sum(axis=1)
    jagged = np.stack([rough2, np.square(core).sum(axis=1), core.sum(axis=1), np.full(len(core), near.sum())], axis=1)
    at_px = np.stack([fast + right + 0.5, slow + down + 0.5], axis=1)
    drawn_out, width = np.stack([xx - yy, 2 * xy], axis=1), (xx + yy) / 2
    return [
        _kept(
            one, at_px[part], light[part], below[part], sigma, jagged[part], width[part], drawn_out[part], tails[part]
        )
        for one, part in zip(found, parts, strict=True)
    ]


def _kept(
    one: Candidates,
    at_px: Array,
    light: Array,
    below: Numbers,
    sigma: float,
    jagged: Numbers,
    width: Numbers,
    drawn_out: Numbers,
    tails: Array,
) -> SeenSpots:
    """Of what was measured in a frame the spots, as SeenSpots has them. at_px: (n, 2) in pixels of the cut. below: the
    background a pixel. jagged: (n, 4) of the pixels of its middle the sums of squares of how far each is from the mean
    of its four neighbours, of squares, and of all; and how many they are.
    """
    if one.noise is None:
        return NOTHING
    cut, gain = one.cut, one.noise.gain
    snr = light / np.sqrt(gain * np.maximum(light, 0.0) + 4 * np.pi * sigma**2 * one.noise.over(below) + 1e-9)
    middle = cut.width_px / 2
    place = (at_px + np.array([cut.right - middle, cut.down - middle])) * (2 * REACH_PER_A / cut.width_px)
    visible = (snr > VISIBLE) & (np.hypot(*place.T) > BLIND_PER_A)
    rough2, square2, total, pixels = jagged.T
    by_noise = 1.25 * (gain * np.maximum(total, 0.0) + pixels * one.noise.over(below))
    hot = visible & (rough2 - by_noise > JAGGED * square2)
    broad = visible & ~hot & (width >= BROAD)
    spots = np.flatnonzero(visible & ~hot & ~broad)
    single = spots[_apart(np.asarray(place[spots], dtype=np.float64), light[spots])]
    return SeenSpots(
        place[single].astype(np.float64),
        snr[single].astype(np.float64),
        (light[single] / gain).astype(np.float64),
        width[single].astype(np.float64),
        drawn_out[single].astype(np.float64),
        tails[single].astype(np.float64),
        int(broad.sum()),
        int(hot.sum()),
        len(spots) - len(single),
    )


def _apart(place: Array, light: Array) -> NDArray[np.bool_]:
    """(n,) those without a brighter one nearer than APART_PER_A."""
    x, y = place.T
    near = np.square(x[:, None] - x) + np.square(y[:, None] - y) < APART_PER_A**2
    return np.asarray(~(near & (light > light[:, None])).any(axis=1))


def _gaussian(along: Numbers, middle: Numbers, sigma: float) -> Numbers:
    return np.asarray(np.exp(-0.5 * ((along - middle[:, None]) / sigma) ** 2), dtype=np.float32)


def _summed(pixels: Numbers, weight: Numbers, axis: int) -> Numbers:
    """(n, m) sums over one axis of (n, m, m), each of the n with its own (m,) weights."""
    if axis == 2:
        return np.asarray(np.matmul(pixels, weight[:, :, None])[:, :, 0], dtype=np.float32)
    return np.asarray(np.matmul(weight[:, None, :], pixels)[:, 0, :], dtype=np.float32)


def _over(picture: Picture) -> Picture:
    """(150, 150) means of NEAR_PX pixels along columns; at the edges, of those there are. Sums of two, four and eight
    pixels make those of eleven: a third of the time of a product of matrices.
    """
    reach = NEAR_PX // 2
    lines = np.zeros((INPUT_PX + 2 * reach, INPUT_PX), dtype=np.float32)
    lines[reach:-reach] = picture
    two = lines[:-1] + lines[1:]
    four = two[:-2] + two[2:]
    eleven = four[:-7] + four[4:-3]
    eleven += two[8:-1]
    eleven += lines[10:]
    eleven *= _share()
    return np.asarray(eleven, dtype=np.float32)


@cache
def _share() -> Numbers:
    """(150, 1) one over how many lines there are about each."""
    lines = np.arange(INPUT_PX)
    reach = NEAR_PX // 2
    there = np.minimum(lines + reach, INPUT_PX - 1) - np.maximum(lines - reach, 0) + 1
    return np.asarray(1 / there[:, None], dtype=np.float32)


@cache
def _between() -> Picture:
    """(150, 6) from blocks to pixels, by straight lines between the middles of blocks."""
    blocks = INPUT_PX // BLOCK_PX
    place = np.clip((np.arange(INPUT_PX) + 0.5) / BLOCK_PX - 0.5, 0, blocks - 1)
    return np.asarray(np.maximum(0.0, 1 - np.abs(place[:, None] - np.arange(blocks))), dtype=np.float32)
