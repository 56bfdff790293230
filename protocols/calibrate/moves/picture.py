"""A picture as registration wants it: equal pixels, no defects, at most 600 pixels along a side. Pure functions."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, median_filter, uniform_filter

from protocols.products.cross import pixel_area, spread

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

MOST_PX = 600
DEFECT_SIGMAS, DEFECT_SHARE = 6.0, 0.3
"""A pixel so many standard deviations, and by this share, off its neighbours is none."""
DEAD_SHARE, AROUND_PX = 0.1, 15
FILL_PX = 1.5


@dataclass(frozen=True, slots=True)
class Camera:
    """What is known of the camera that made pictures. response: (rows, columns), None where nobody knows it.
    saturation: None where nobody tells it.
    """

    wide_cross: bool
    saturation: int | None = None
    response: NDArray[np.float32] | None = None

    def bin_px(self, shape: tuple[int, int]) -> int:
        """How many pixels of a side become one."""
        return max(1, -(-max(shape) // MOST_PX))

    def equal(self, counts: NDArray[np.generic]) -> Array:
        """Counts per equal pixel, (rows, columns) of raw ones in; what is known to answer badly is made of its
        neighbours.
        """
        picture = np.asarray(counts, np.float64)
        if self.response is not None:
            dead = self.response < 0.05
            picture = picture / np.where(dead, 1.0, self.response)
            if self.wide_cross:  # the response has the area of the wide pixels in it
                picture = filled(picture, dead) if dead.any() else picture
                return spread(picture)
            return filled(picture, dead) if dead.any() else picture
        if self.wide_cross:
            return spread(picture / pixel_area((picture.shape[0], picture.shape[1])))
        return picture


def filled(picture: Array, bad: Mask) -> Array:
    """The picture with bad pixels made of good ones near."""
    made, left = picture.copy(), bad
    good = (~bad).astype(np.float64)
    for width, least in ((FILL_PX, 0.05), (4 * FILL_PX, -1.0)):
        if left.any():
            light, share = gaussian_filter(picture * good, width), gaussian_filter(good, width)
            here = left & (share > least)
            made[here] = light[here] / np.maximum(share[here], 1e-9)
            left = left & ~here
    return made


def lonely(picture: Array) -> Mask:
    """Single pixels that are far off their neighbours: none of these is an image."""
    middle = _middle_of_nine(picture)
    off = np.abs(picture - middle)
    return np.asarray(off > np.maximum(DEFECT_SIGMAS * np.sqrt(np.maximum(middle, 1.0)), DEFECT_SHARE * middle))


def _middle_of_nine(picture: Array) -> Array:
    """`median_filter(picture, 3, mode="nearest")`, the same numbers in a quarter of the time: of three columns that are
    each in order, it is the middle one of the largest first, the middle second and the smallest third.
    """
    wide = np.pad(picture, 1, mode="edge")
    first, second, third = wide[:-2], wide[1:-1], wide[2:]
    columns = _least(first, second, third), _middle(first, second, third), -_least(-first, -second, -third)
    low, middle, high = ([each[:, :-2], each[:, 1:-1], each[:, 2:]] for each in columns)
    return _middle(-_least(*(-each for each in low)), _middle(*middle), _least(*high))


def _least(one: Array, other: Array, third: Array) -> Array:
    return np.minimum(np.minimum(one, other), third)


def _middle(one: Array, other: Array, third: Array) -> Array:
    return np.maximum(np.minimum(one, other), np.minimum(np.maximum(one, other), third))


def dead(picture: Array) -> Mask:
    """Pixels of an image that count next to nothing where all around is light, groups and columns as well."""
    return np.asarray(picture < DEAD_SHARE * uniform_filter(picture, AROUND_PX, mode="nearest"))


def standing(mean: Array) -> Mask:
    """Pixels that are far off their neighbours in the mean of frames between which all else has moved: columns and
    groups of defects as well.
    """
    middle = median_filter(mean, 11, mode="nearest")
    return np.asarray(np.abs(mean - middle) > DEFECT_SHARE * np.maximum(middle, 1.0))


def binned(picture: Array, bin_px: int) -> Array:
    """Means over squares; the rest at the far edges is cut off."""
    if bin_px == 1:
        return picture
    rows, columns = (n // bin_px for n in picture.shape)
    whole = picture[: rows * bin_px, : columns * bin_px]
    return np.asarray(whole.reshape(rows, bin_px, columns, bin_px).mean(axis=(1, 3)))
