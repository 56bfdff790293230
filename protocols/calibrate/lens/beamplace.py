"""Where the focused beam is in many short pictures, to a hundredth of a pixel: a Gaussian of one width for all. Pure.

Places are (fast, slow) in pixels of the pictures; pixel i covers [i, i + 1). The counts of a wide pixel of a camera's
cross stand in three even ones, and are the mean over all of it: what is fitted is the Gaussian's mean over each
pixel, or a beam on the cross would seem to move by a tenth less or more than it does.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.optimize import least_squares
from scipy.special import ndtr

from engine.errors import DataError
from protocols.products.cross import GROWTH_PX, WIDE_PX, wide_range

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

REACH_WIDTHS = 4.0
LEAST_REACH_PX = 4
SMOOTH_PX = 1.0
RESPONSE_SHARE = 0.06
"""Pixels differ in response by about half of this; what is farther off than five times is bad."""
CLIP_SIGMAS = 5.0
TIMES_BACKGROUND = 5.0
FAR_PX = 40
STEPS = 8
GONE_SHARE = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class Extents:
    """Where what is counted in each column and each row of a picture begins and ends, (columns,) and (rows,) px."""

    fast_begin: Array
    fast_end: Array
    slow_begin: Array
    slow_end: Array

    @classmethod
    def of(cls, shape: tuple[int, int], wide_cross: bool) -> "Extents":
        """Of pictures of (rows, columns) even pixels; with a cross, three in each row and column are one pixel."""
        return cls(*_extents(shape[1], wide_cross), *_extents(shape[0], wide_cross))


@dataclass(frozen=True, slots=True)
class Beam:
    """The beam at rest. place: (fast, slow). width_px: of the Gaussian. counts: of its highest pixel, about."""

    place: tuple[float, float]
    width_px: float
    counts: float


def beam_at_rest(picture: Array, bad: NDArray[np.bool_], extents: Extents) -> Beam:
    """The beam in a mean picture. bad: pixels not to look at. Raises DataError where none stands out."""
    clean = np.where(bad, 0.0, picture)
    smooth = gaussian_filter(clean, SMOOTH_PX)
    slow, fast = (int(k) for k in np.unravel_index(int(smooth.argmax()), smooth.shape))
    if smooth[slow, fast] < TIMES_BACKGROUND * max(float(np.percentile(smooth, 90)), 0.5):
        raise DataError("no focused beam stands out in the picture. Is it on the camera, and not behind the beam stop?")
    rows, columns, cut = _window(clean, slow, fast, 8)
    ignored = bad[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]

    def missing(p: Array) -> Array:
        model, _ = _gaussian(p, p[4], rows, columns, extents)
        return np.asarray(((model - cut) / _scatter(p, model))[~ignored])

    start = [fast + 0.5, slow + 0.5, float(cut.max()), 0.0, 1.5]
    fit = least_squares(missing, start, loss="soft_l1", x_scale=[1, 1, start[2], start[2], 1])
    fast_px, slow_px, counts, _, width = (float(value) for value in fit.x)
    return Beam((fast_px, slow_px), abs(width), counts)


def places(pictures: Sequence[Array], beam: Beam, bad: NDArray[np.bool_], extents: Extents) -> Array:
    """(n, 2) the beam in each picture; NaN where it is not seen as it is at rest."""
    return np.array([_place(picture, beam, bad, extents) for picture in pictures])


def _place(picture: Array, beam: Beam, bad: NDArray[np.bool_], extents: Extents) -> tuple[float, float]:
    clean = np.where(bad, 0.0, picture)
    top, left = (max(0, int(at) - FAR_PX) for at in (beam.place[1], beam.place[0]))
    near = gaussian_filter(clean[top : int(beam.place[1]) + FAR_PX, left : int(beam.place[0]) + FAR_PX], SMOOTH_PX)
    slow, fast = (int(k) for k in np.unravel_index(int(near.argmax()), near.shape))
    reach = max(LEAST_REACH_PX, round(REACH_WIDTHS * beam.width_px))
    rows, columns, cut = _window(clean, slow + top, fast + left, reach)
    ignored = bad[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    figures = np.array([fast + left + 0.5, slow + top + 0.5, beam.counts, 0.0])
    used = ~ignored
    for step in range(STEPS):
        model, slopes = _gaussian(figures, beam.width_px, rows, columns, extents)
        weight = 1 / _scatter(figures, model)
        left_over = (cut - model) * weight
        if step == STEPS // 2:
            used = ~ignored & (np.abs(left_over) < CLIP_SIGMAS * max(1.0, 1.4826 * float(np.median(np.abs(left_over)))))
        change, *_ = np.linalg.lstsq((slopes * weight[..., None])[used], left_over[used], rcond=None)
        figures = figures + np.clip(change, -1.0, 1.0) if step < 2 else figures + change
        figures[2] = max(figures[2], 1e-6)
    lost = np.hypot(figures[0] - columns.mean() - 0.5, figures[1] - rows.mean() - 0.5) > reach
    if lost or not GONE_SHARE * beam.counts < figures[2] < beam.counts / GONE_SHARE:
        return float("nan"), float("nan")
    return float(figures[0]), float(figures[1])


def _gaussian(p: Array, width_px: float, rows: Indices, columns: Indices, extents: Extents) -> tuple[Array, Array]:
    """(rows, columns) mean of a Gaussian over each pixel, and its (rows, columns, 4) derivatives by place (fast,
    slow), height and background.
    """
    fast, fast_slope = _mean(extents.fast_begin[columns], extents.fast_end[columns], p[0], width_px)
    slow, slow_slope = _mean(extents.slow_begin[rows], extents.slow_end[rows], p[1], width_px)
    shape = np.multiply.outer(slow, fast)
    slopes = [p[2] * np.multiply.outer(slow, fast_slope), p[2] * np.multiply.outer(slow_slope, fast), shape]
    return np.asarray(p[2] * shape + p[3]), np.stack([*slopes, np.ones_like(shape)], axis=-1)


def _mean(begin: Array, end: Array, at: float, width_px: float) -> tuple[Array, Array]:
    """Of exp(-(x - at)^2 / 2 width^2) from `begin` to `end`, and its derivative by `at`."""
    low, high = (begin - at) / width_px, (end - at) / width_px
    mean = np.sqrt(2 * np.pi) * width_px * (ndtr(high) - ndtr(low)) / (end - begin)
    return np.asarray(mean), np.asarray((np.exp(-low * low / 2) - np.exp(-high * high / 2)) / (end - begin))


def _extents(size: int, wide_cross: bool) -> tuple[Array, Array]:
    begin = np.arange(size, dtype=np.float64)
    end = begin + 1
    if wide_cross:
        first, last = wide_range(size - GROWTH_PX)
        for place in range(first, last, WIDE_PX):
            begin[place : place + WIDE_PX], end[place : place + WIDE_PX] = place, place + WIDE_PX
    return begin, end


def _scatter(p: Array, model: Array) -> Array:
    """Counting, and what pixels differ in response."""
    return np.asarray(np.sqrt(np.maximum(model, 1.0) + (RESPONSE_SHARE * np.maximum(model - p[3], 0.0)) ** 2))


def _window(picture: Array, slow: int, fast: int, reach: int) -> tuple[Indices, Indices, Array]:
    """Rows, columns and counts around a pixel, as far as there are any."""
    top, left = max(0, slow - reach), max(0, fast - reach)
    cut = picture[top : slow + reach + 1, left : fast + reach + 1]
    return np.arange(top, top + cut.shape[0]), np.arange(left, left + cut.shape[1]), cut
