"""A field as the finder looks at it: in cells that suit the smallest crystal, as darkness, with its own noise known.

Whatever camera and magnification, a crystal of one size has about the same number of cells, so that what follows means
the same lengths on the specimen, and a picture of more pixels of the same field takes little longer.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from protocols.serialed.finding.settings import FinderSettings
from protocols.spots.badpixels import bad_pixels

Cells = NDArray[np.float32]
Mask = NDArray[np.bool_]

CELL_NM = 25.0
CELLS_OF_SMALLEST = (3.0, 6.0)
"""A cell is of this length where the smallest crystal has so many, else a part of that: a field of coarser pixels has
these as cells.
"""
LEAST_SIDE = 32
"""Cells: a smaller field is not looked at."""
LEAST_NOISE = 0.002
"""Of a cell, relative: a picture without any noise is taken to have this."""
OUTLIER_SIGMAS = 8.0
"""A pixel so far from the mean of its eight neighbours is no picture of a specimen."""
HIGHEST_16_BITS = 2.0**16 - 1
LINE = 0.6
"""Of what the lines two pixels away have: a line with less is a bad one, and they are where it has so much more."""
FEWEST_ELECTRONS = 2.0
"""On a pixel in the brightest part of a field, by its noise; with less there is no beam, or a bar is before it."""
OPAQUE = 0.05
"""Of the brightest light, or of the open beam: what lets less through is a bar, if it is large."""
DARKEST = 0.01
"""Light is not taken to be less: a thickness has an end."""
BRIGHT_PERCENTILE = 98.0
SATURATED_SHARE = 0.05
"""Of the pixels; of a field that has more the brightness says nothing."""


class NotSeen(Exception):
    """A field in which nothing can be found. Its text says why, in words."""


@dataclass(frozen=True, eq=False)
class FieldView:
    """share: (n, m) light of each cell, 1 where it is brightest. usable: cells that tell something. noise: relative,
    of a bright cell. px: pixels along a side of a cell. nm: the same side on the specimen.
    """

    share: Cells
    usable: Mask
    noise: float
    px: int
    nm: float
    bright_counts: float
    whole_px: tuple[int, int]


def view(image: NDArray[Any], nm_per_px: float, settings: FinderSettings) -> FieldView:
    """The view of a (rows, columns) image. NotSeen for what shows nothing. 6 ms for 512 x 512."""
    fewest, most = CELLS_OF_SMALLEST
    cell_nm = min(max(CELL_NM, settings.smallest_nm / most), settings.smallest_nm / fewest)
    px = max(1, int(cell_nm / nm_per_px))
    if image.ndim != 2 or min(image.shape) < LEAST_SIDE * px:
        raise NotSeen(f"the image has {' x '.join(map(str, image.shape))} pixels, too few to look for crystals")
    light, bad = _cleaned(image, settings)
    cells = _binned(light, px)
    usable = np.ones(cells.shape, bool)
    if bad is not None:
        told = 1.0 - _binned(bad.astype(np.float32), px)
        usable = told > 0.5
        cells = np.where(usable, cells / np.maximum(told, 0.5), 0.0).astype(np.float32)
        if np.count_nonzero(usable) < 0.3 * usable.size:
            raise NotSeen("less than a third of the image's pixels tell anything")
    bright = float(np.percentile(cells[usable][::7], BRIGHT_PERCENTILE))
    if not bright > 0.0:
        raise NotSeen("the image is blank: no counts")
    if bright < OPAQUE * settings.open_counts:
        raise NotSeen("the field lies behind a bar: next to nothing of the open beam comes through")
    noise = _noise(cells, usable, bright)
    if FEWEST_ELECTRONS * (px * noise) ** 2 > 1.0:
        raise NotSeen(f"the field is dark: fewer than {FEWEST_ELECTRONS:g} electrons on a pixel where it is brightest")
    return FieldView(cells / np.float32(bright), usable, noise, px, px * nm_per_px, bright, image.shape[:2])


def depth(seen: FieldView, sigma: float) -> tuple[Cells, float]:
    """(n, m) darkness as -ln of the light, smoothed by this many cells, and the noise of it where it is bright."""
    share = np.where(seen.usable, seen.share, 0.0) if not seen.usable.all() else seen.share
    smooth = gaussian_filter(share, sigma, truncate=3.0)
    if not seen.usable.all():
        smooth /= np.maximum(gaussian_filter(seen.usable.astype(np.float32), sigma, truncate=3.0), 0.2)
    np.maximum(smooth, np.float32(DARKEST), out=smooth)
    return -np.log(smooth), seen.noise / max(1.0, 2.0 * np.sqrt(np.pi) * sigma)


def _cleaned(image: NDArray[Any], settings: FinderSettings) -> tuple[Cells, Mask | None]:
    """Counts without single pixels that are no picture, crystals dark; and which pixels tell nothing, if any."""
    if image.dtype.kind not in "buif":
        raise NotSeen(f"the image has numbers of type {image.dtype}, which are no counts")
    bad = bad_pixels(image) if _may_have_bad_pixels(image) else np.zeros(image.shape, bool)
    if bad.all():
        raise NotSeen("the image has no pixel that tells anything")
    light = image.astype(np.float32)
    if bad.any():
        light[bad] = np.median(light[~bad][::7])
    if settings.saturation > 0 and np.mean(light[::3, ::3] >= settings.saturation) > SATURATED_SHARE:
        raise NotSeen(f"more than {SATURATED_SHARE:.0%} of the image is saturated")
    _smooth_outliers(light)
    if settings.contrast == "bright":
        low, high = np.percentile(light[::4, ::4], (0.1, 99.9))
        light = np.float32(low + high) - light
    return np.maximum(light, 0.0), bad if bad.any() else None


def _smooth_outliers(light: Cells) -> None:
    """Replace, in place, pixels that stand out of those two pixels away on all four sides by the mean of these."""
    inner = light[2:-2, 2:-2]
    sides = light[2:-2, :-4], light[2:-2, 4:], light[:-4, 2:-2], light[4:, 2:-2]
    spread = 1.4826 * float(np.median(np.abs(inner[::7, ::7] - sides[0][::7, ::7]))) / np.sqrt(2.0)
    middle = float(np.median(inner[::7, ::7]))
    allowed = np.float32(OUTLIER_SIGMAS * max(spread, 1e-3 * abs(middle)))
    far = np.abs(inner - sides[0]) > allowed
    far &= np.abs(inner - sides[1]) > allowed
    odd = np.nonzero(far)
    if not len(odd[0]):
        return
    around = np.stack([side[odd] for side in sides])
    # Counts spread more where they are more.
    more = allowed * np.sqrt(np.maximum(around.min(axis=0) / max(middle, 1e-30), 1.0))
    alone = (inner[odd] > around.max(axis=0) + more) | (inner[odd] < around.min(axis=0) - more)
    inner[odd[0][alone], odd[1][alone]] = around.mean(axis=0)[alone]


def _may_have_bad_pixels(image: NDArray[Any]) -> bool:
    """Whether it is worth asking which: numbers that mark pixels, or rows or columns unlike those beside them."""
    low, high = float(image.min()), float(image.max())
    if not np.isfinite(low + high) or low < 0.0 or high >= HIGHEST_16_BITS:
        return True
    for sums in (image[:, ::4].sum(axis=1, dtype=np.float64), image[::4].sum(axis=0, dtype=np.float64)):
        before, after = sums[:-4], sums[4:]
        least, most = np.minimum(before, after), np.maximum(before, after)
        if np.any((sums[2:-2] < LINE * least) | (LINE * sums[2:-2] > most)):
            return True
    return False


def _binned(light: Cells, px: int) -> Cells:
    """Means over squares of pixels."""
    if px == 1:
        return light
    rows, columns = (side // px for side in light.shape)
    whole = np.zeros((rows, columns), np.float32)
    along = np.zeros((rows * px, columns), np.float32)
    for k in range(px):
        along += light[: rows * px, k : columns * px : px]
    for k in range(px):
        whole += along[k::px]
    whole /= px * px
    return whole


def _noise(cells: Cells, usable: Mask, bright: float) -> float:
    """Relative noise of a bright cell, as the square root of light: what neighbouring cells differ by, and no edges."""
    differ = np.abs(cells[:-1, :-1] - cells[1:, :-1] - cells[:-1, 1:] + cells[1:, 1:])
    lit = usable[:-1, :-1] & (cells[:-1, :-1] > 0.1 * bright)
    if np.count_nonzero(lit) < 100:
        return 1.0
    level = float(np.median(cells[:-1, :-1][lit][::3]))
    sigma = 1.4826 * float(np.median(differ[lit][::3])) / 2.0
    return max(sigma / math.sqrt(level * bright), LEAST_NOISE)
