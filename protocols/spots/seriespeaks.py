"""The spots of one frame of a series, fast: what does not change from frame to frame is prepared once.

Whoever looks at hundreds of frames of one camera (calibration from a cRED run, live analysis) makes one `SeriesPeaks`
and calls it with each corrected frame. `framepeaks` is for single pictures of any origin: it looks for bad pixels and
for the primary beam in each, which takes twenty times as long, and wants spots to stand out by 7 sigma of 28 pixels.

The background is the mean of a square about each pixel, without what stands out of it, so it needs no centre and no
round halo. It and the limit for a spot are reckoned once for every block of 3 x 3 pixels, which takes a third of the
time. A spot is where the sum of 3 x 3 pixels has a chance below CHANCE by the Poisson distribution itself, for
at the few counts of a rotation series its tail is far from that of any Gaussian. Measured on simulated frames of 512 x
512 (`benchmarks/rotation_axis.py --spots`): see docs/benchmarks.md.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Counts = NDArray[np.float32]
Places = NDArray[np.intp]

CHANCE = 1e-6
"""Of one sum of 3 x 3 pixels of pure background to be taken for a spot: about one in ten frames of 512 x 512, for
neighbouring sums are not independent."""
BLOCK_PX = 3
"""Side of the blocks of pixels that have one background."""
SQUARE_BLOCKS = 5
SQUARE_PX = SQUARE_BLOCKS * BLOCK_PX
"""Side of the square that the background is the mean of."""
CUT_SIGMAS = 4.0
"""A pixel counts for the background up to its mean and so many standard deviations more."""
WEIGHT_SIGMA_PX = 1.0
"""Of the Gaussian about a spot that weights the pixels for its centroid; spots of 0.7 to 2 px do well with it."""
PER_STEP = 1.8
"""The product of a spot and such a weight lies about half way between them, so a step is that much longer."""
CENTROID_STEPS = 6
REACH_PX = 2
"""Half the side of the square whose counts are the intensity."""
EDGE_PX = 4
"""Nearer to the edge of the picture, or to an untrusted pixel, no spot is whole."""
BEAM_CLEARANCE_PX = 12.0
"""Nearer to the primary beam nothing is taken for a spot."""
HOT_SHARE = 0.85
"""A pixel with more than that of the light of its neighbourhood is defective; the detector smears a spot."""
GAIN_FROM = 4.0
"""Sums of 3 x 3 pixels with more counts than that tell how many counts an electron makes."""
GAIN_SUMS, GAIN_EVERY = 400, 23
"""So many of them at least, of every so many pixels."""
GAIN_SURE = 1.3
"""A smaller one is taken for 1: the response of a counting camera is uneven by some percent, too."""
LARGEST_MEAN = 400.0
"""Of a sum whose limit is tabulated; beyond it the Poisson distribution is a Gaussian with a little skew."""
MOST_COUNTS = 600
"""By chance no more come of LARGEST_MEAN."""
TABLE_STEP = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class FrameSpots:
    """The spots of one frame, all arrays (n,).

    fast_px, slow_px: centroid, pixel i covering [i, i + 1). position_sigma_px: of either, by counting statistics.
    intensity: counts above background in 5 x 5 pixels, 98 % of a spot of 0.9 px; intensity_sigma likewise.
    background: counts per pixel there.
    gain: counts that one electron makes, as far as the noise tells: 1 of a counting camera, never less.
    """

    fast_px: Array
    slow_px: Array
    position_sigma_px: Array
    intensity: Array
    intensity_sigma: Array
    background: Array
    gain: float

    def __len__(self) -> int:
        """How many there are."""
        return len(self.fast_px)


class SeriesPeaks:
    """Finds spots in the frames of one series.

    shape: rows and columns of the corrected frames. untrusted: (rows, columns) True where counts were made up or mean
    nothing (the cross of a camera, dead pixels, a beam stop); no spot is there nor within EDGE_PX, and the background
    does not see them. beam_px: (fast, slow) of the primary beam; None where it is not on the picture.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        untrusted: NDArray[np.bool_] | None = None,
        beam_px: tuple[float, float] | None = None,
    ) -> None:
        from scipy.ndimage import binary_dilation

        self.shape = shape
        allowed = np.ones(shape, dtype=bool)
        self._blocks = -(-shape[0] // BLOCK_PX), -(-shape[1] // BLOCK_PX)
        known = np.zeros((self._blocks[0] * BLOCK_PX, self._blocks[1] * BLOCK_PX), dtype=np.float32)
        known[: shape[0], : shape[1]] = 1.0
        if untrusted is not None and untrusted.any():
            allowed &= ~binary_dilation(untrusted, np.ones((3, 3), bool), iterations=EDGE_PX)
            known[: shape[0], : shape[1]] -= untrusted
        self._unknown = np.flatnonzero(known == 0)
        self._pixels = _block_sums(known)
        self._share = np.maximum(_square_mean(self._pixels), 1e-6)
        if beam_px is not None:
            slow, fast = np.ogrid[: shape[0], : shape[1]]
            allowed &= np.hypot(fast + 0.5 - beam_px[0], slow + 0.5 - beam_px[1]) > BEAM_CLEARANCE_PX
        for side in (np.s_[:EDGE_PX], np.s_[-EDGE_PX:]):
            allowed[side] = allowed[:, side] = False
        self.allowed = allowed
        self._sample = np.flatnonzero(allowed)[::GAIN_EVERY]
        # Whole counts have few different values: spread evenly by half a count.
        self._spread: Array = np.asarray(np.arange(len(self._sample)) * 0.618034 % 1 - 0.5, dtype=np.float64)

    def __call__(self, counts: NDArray[np.generic]) -> FrameSpots:
        """The spots of (rows, columns) counts of a frame, strongest pixels first; counts below 0 are taken as 0."""
        if counts.shape != self.shape:
            raise ValueError(f"a frame of {counts.shape} in a series of {self.shape}")
        rows, columns = self.shape
        wide = np.zeros((self._blocks[0] * BLOCK_PX, self._blocks[1] * BLOCK_PX), dtype=np.float32)
        wide[:rows, :columns] = counts
        if counts.dtype.kind != "u":
            np.maximum(wide, np.float32(0), out=wide)
        wide.reshape(-1)[self._unknown] = 0.0
        sums = _sums(wide)
        background, gain = self._background(wide, sums)
        limits = _limits(9 * background, gain)
        above = _lines(sums) > _across(limits)
        places = np.flatnonzero(above.reshape(wide.shape)[:rows, :columns] & self.allowed)
        row, column = np.divmod(places, columns)
        places = _summits(sums, wide, row * wide.shape[1] + column)
        level = _between(background, places // wide.shape[1], places % wide.shape[1])
        # Beside the beam the background of one pixel is not that of its block.
        sure = sums.reshape(-1)[places] > _limits(9 * level, gain)
        return _measured(wide, level[sure], places[sure], gain)

    def _background(self, picture: Counts, sums: Counts) -> tuple[Counts, float]:
        """(blocks, blocks) mean counts of a pixel about each, without spots and untrusted pixels; and the gain."""
        # Of square roots a strong spot is a small part. Their mean squared is a little low: enough to cut off spots by.
        blocks = sums[1::BLOCK_PX, 1::BLOCK_PX]  # a sum about the middle of a block is that of the block
        root = self._mean(np.sqrt(blocks * self._pixels))
        mean = self._without_spots(picture, root * root, 1.0)
        row, column = np.divmod(self._sample, self.shape[1])
        around = mean[row // BLOCK_PX, column // BLOCK_PX]
        gain = _gain(sums[row, column], 9 * around, self._spread)
        if gain > 1:  # so far the noise itself was cut off
            mean = self._without_spots(picture, mean, gain)
        return mean, gain

    def _without_spots(self, picture: Counts, mean: Counts, gain: float) -> Counts:
        highest = mean + np.float32(CUT_SIGMAS) * np.sqrt(np.float32(gain) * mean) + np.float32(gain)
        return self._mean(_block_sums(np.minimum(_lines(picture), _across(highest)).reshape(picture.shape)))

    def _mean(self, sums: Counts) -> Counts:
        """(blocks, blocks) means of a pixel about each block, from sums over its pixels."""
        # Running sums in float32 may end a little below nothing.
        return np.asarray(np.maximum(_square_mean(sums) / self._share, np.float32(1e-3)))


def _between(blocks: Counts, row: Places, column: Places) -> Counts:
    """(n,) values at pixels, in a straight line between the middles of the blocks."""
    down, across = (row - 1) / BLOCK_PX, (column - 1) / BLOCK_PX  # the middle of block i is the pixel 3 i + 1
    top = np.clip(down.astype(np.intp), 0, blocks.shape[0] - 2)
    left = np.clip(across.astype(np.intp), 0, blocks.shape[1] - 2)
    down, across = np.clip(down - top, 0, 1), np.clip(across - left, 0, 1)
    above = blocks[top, left] * (1 - across) + blocks[top, left + 1] * across
    below = blocks[top + 1, left] * (1 - across) + blocks[top + 1, left + 1] * across
    return np.asarray(above * (1 - down) + below * down, dtype=np.float32)


def _lines(picture: Counts) -> Counts:
    """(blocks, 3, columns) the same picture, a row of blocks after the other."""
    return picture.reshape(-1, BLOCK_PX, picture.shape[1])


def _across(blocks: Counts) -> Counts:
    """(blocks, 1, columns) values of blocks beside `_lines`: whole lines go three times as fast as pieces of three."""
    return np.repeat(blocks, BLOCK_PX, axis=1)[:, None]


def _block_sums(picture: Counts) -> Counts:
    """(blocks, blocks) sums of a picture of whole blocks; line by line, ten times as fast as over two of four axes."""
    lines = picture[::BLOCK_PX].copy()
    for k in range(1, BLOCK_PX):
        lines += picture[k::BLOCK_PX]
    sums = lines[:, ::BLOCK_PX].copy()
    for k in range(1, BLOCK_PX):
        sums += lines[:, k::BLOCK_PX]
    return sums


def _square_mean(values: Counts) -> Counts:
    from scipy.ndimage import uniform_filter

    return np.asarray(uniform_filter(values, SQUARE_BLOCKS, mode="nearest"), dtype=np.float32)


def _sums(picture: Counts) -> Counts:
    """(rows, columns) sums of 3 x 3 pixels; 0 at the edge, where there are not so many."""
    total = np.zeros_like(picture)
    down = picture[:-2] + picture[1:-1]
    down += picture[2:]
    inner = down[:, :-2] + down[:, 1:-1]
    inner += down[:, 2:]
    total[1:-1, 1:-1] = inner
    return total


def _gain(sums: Counts, means: Counts, spread: Array) -> float:
    """Counts that one electron makes: how much (n,) sums vary, against their means. 1 where counts are too few.

    spread: (n,) of -0.5 to 0.5.
    """
    enough = means > GAIN_FROM
    if np.count_nonzero(enough) < GAIN_SUMS:
        return 1.0
    off = (sums[enough] + spread[enough] - means[enough]) / np.sqrt(means[enough])
    low, high = np.percentile(off, (16, 50))  # below the mean there are no spots
    gain = float((high - low) ** 2)
    return gain if gain > GAIN_SURE else 1.0


@cache
def _table() -> Counts:
    """Counts from which a sum is a spot, for means in steps of TABLE_STEP: `scipy.stats.poisson.isf(CHANCE, means)`,
    which takes half a second, and its import another one; each worker that looks for spots begins with it.
    """
    from scipy.special import gammaincinv

    means = np.arange(0.0, LARGEST_MEAN + TABLE_STEP, TABLE_STEP) + TABLE_STEP
    # Of more than n counts the chance is the incomplete gamma function of n + 1, at the mean: it grows with the mean.
    largest_mean = gammaincinv(np.arange(MOST_COUNTS) + 1.0, CHANCE)
    return np.asarray(np.searchsorted(largest_mean, means), dtype=np.float32)


def _limits(below: Counts, gain: float) -> Counts:
    """Counts above which a sum of 3 x 3 pixels is a spot, from the means of such sums; of the same shape."""
    table = _table()
    electrons = below / np.float32(gain)
    step = np.minimum(electrons * np.float32(1 / TABLE_STEP), np.float32(len(table) - 1)).astype(np.int32)
    limit = table[step]
    if (many := electrons > LARGEST_MEAN).any():
        limit = np.where(many, electrons + 4.9 * np.sqrt(electrons) + 4, limit)
    return np.asarray(limit * np.float32(gain), dtype=np.float32)


def _summits(sums: Counts, picture: Counts, places: Places) -> Places:
    """Those of the flat places whose sum is the largest of 5 x 5; of equal ones the one with the brightest pixel."""
    width = picture.shape[1]
    flat = sums.reshape(-1)
    own, bright = flat[places], picture.reshape(-1)
    highest = np.ones(len(places), dtype=bool)
    for row in range(-2, 3):
        for column in range(-2, 3):
            step = row * width + column
            if step:
                other = places + step
                more, same = flat[other] > own, flat[other] == own
                brighter = bright[other] > bright[places]
                if step < 0:  # of two alike in all the first is taken
                    brighter |= bright[other] == bright[places]
                highest &= ~(more | (same & brighter))
    return places[highest]


def _measured(picture: Counts, background: Counts, places: Places, gain: float) -> FrameSpots:
    """Centroids, by a Gaussian weight that moves to where they are, and counts; of spots at flat places."""
    width = picture.shape[1]
    reach = REACH_PX + 1
    steps = np.arange(-reach, reach + 1)
    window = (steps[:, None] * width + steps).reshape(-1)
    dy, dx = (axis.reshape(-1).astype(np.float64) for axis in np.meshgrid(steps, steps, indexing="ij"))
    light = picture.reshape(-1)[places[:, None] + window].astype(np.float64)
    level = background.astype(np.float64)
    inside = np.maximum(np.abs(dx), np.abs(dy)) <= REACH_PX
    # What of the spot itself was taken for background.
    cut = level + CUT_SIGMAS * np.sqrt(gain * level) + gain
    own = np.minimum(light[:, inside], cut[:, None]).sum(axis=1)
    level = np.clip((level * SQUARE_PX**2 - own) / (SQUARE_PX**2 - np.count_nonzero(inside)), 0.5 * level, level)
    excess = light - level[:, None]
    intensity = excess[:, inside].sum(axis=1)
    keep = (intensity > 0) & (excess[:, inside].max(axis=1) < HOT_SHARE * intensity)
    places, light, level, excess, intensity = places[keep], light[keep], level[keep], excess[keep], intensity[keep]
    axes, middle = np.stack([dx, dy])[:, None], np.zeros((2, len(places)))
    weight, total = np.zeros_like(excess), np.ones(len(places))
    for _ in range(CENTROID_STEPS):
        away = axes - middle[:, :, None]
        weight = np.exp(-(away[0] ** 2 + away[1] ** 2) / (2 * WEIGHT_SIGMA_PX**2))
        light_here = weight * excess
        total = np.maximum(light_here.sum(axis=1), 1e-3)
        step = PER_STEP * (light_here * away).sum(axis=2) / total
        middle = np.minimum(np.maximum(middle + np.minimum(np.maximum(step, -0.5), 0.5), -1.5), 1.5)
    x, y = middle
    spread = (weight**2 * np.maximum(light, level[:, None]) * gain * ((dx - x[:, None]) ** 2)).sum(axis=1)
    return FrameSpots(
        fast_px=places % width + 0.5 + x,
        slow_px=places // width + 0.5 + y,
        position_sigma_px=PER_STEP * np.sqrt(spread) / total,
        intensity=intensity,
        intensity_sigma=np.sqrt(gain * np.maximum(light[:, inside].sum(axis=1), 1.0)),
        background=level,
        gain=gain,
    )
