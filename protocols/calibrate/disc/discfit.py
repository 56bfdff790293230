"""The disc of a defocused beam in a picture: its middle, radius and light, by fitting a disc with a soft edge. Pure.

Places and lengths are in equal pixels; pixel i covers [i, i + 1).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from scipy.optimize import least_squares
from scipy.special import ndtr

from engine.errors import DataError

Array = NDArray[np.float64]

BEST_PART = 0.6
"""A crystal may darken the middle of a disc: the fit looks at what lies farther out than this share of the radius."""
FEWEST_COUNTS = 3.0
FEWEST_PX = 5.0
MOST_PART = 0.97
CLIP_SIGMAS = 4.0


@dataclass(frozen=True, slots=True)
class Disc:
    """fast_px, slow_px: its middle. sigma_px: uncertainty of the radius; of the middle it is the same. light: counts
    of a pixel within, above those without. soft_px: width of its edge.
    """

    fast_px: float
    slow_px: float
    radius_px: float
    sigma_px: float
    light: float
    soft_px: float

    def distance_px(self, shape: tuple[int, int]) -> Array:
        """(rows, columns): how far every pixel is from the middle."""
        rows, columns = (np.arange(number) + 0.5 for number in shape)
        return np.asarray(np.hypot(columns[None, :] - self.fast_px, rows[:, None] - self.slow_px))


def fit_disc(picture: Array) -> Disc:
    """The disc in a mean picture (rows, columns), counts per equal pixel. Raises DataError where there is none, or one
    that is not whole on the camera.
    """
    smooth = median_filter(picture, 5)
    dark, bright = float(np.median(np.concatenate([smooth[0], smooth[-1], smooth[:, 0], smooth[:, -1]]))), 0.0
    lit = smooth > dark + (np.percentile(smooth, 99.5) - dark) / 2
    if np.count_nonzero(lit) > FEWEST_PX**2:
        bright = float(np.median(smooth[lit])) - dark
    if bright < FEWEST_COUNTS:
        raise DataError(
            f"no disc is seen: the brightest part counts {max(bright, 0.0):.1f} more than the rest, in a picture. Is "
            "the beam on the camera, and does the lens defocus it?"
        )
    rows, columns = np.nonzero(smooth > dark + bright / 2)
    start = _start(rows, columns)
    if start[2] < FEWEST_PX or len(rows) > 4 * np.pi * start[2] ** 2:
        raise DataError(f"no disc is seen: what is lit is {start[2]:.1f} px in radius. Defocus more.")
    fitted = _fitted(picture, (*start, 1.5, bright, dark))
    (fast_px, slow_px, radius_px, soft_px, light), sigma_px = fitted
    height, width = picture.shape
    reach_px = radius_px - min(fast_px, slow_px, width - fast_px, height - slow_px)
    if reach_px > 0 or radius_px > MOST_PART * min(height, width) / 2:
        raise DataError(
            f"the disc, {radius_px:.0f} px in radius, is not whole on the camera. Defocus less, or bring the beam to "
            "the middle of the camera."
        )
    return Disc(fast_px, slow_px, radius_px, sigma_px, light, abs(soft_px))


def _start(rows: NDArray[np.intp], columns: NDArray[np.intp]) -> tuple[float, float, float]:
    """Middle and radius by what is lit: its outermost parts, as a crystal may darken the rest."""
    fast, slow = (float(np.percentile(p, 1) + np.percentile(p, 99)) / 2 + 0.5 for p in (columns, rows))
    width = [float(np.percentile(p, 99) - np.percentile(p, 1)) / 2 for p in (columns, rows)]
    return fast, slow, max(width) * 1.03


def _fitted(picture: Array, start: tuple[float, ...]) -> tuple[tuple[float, float, float, float, float], float]:
    """Middle, radius, softness and light, and the uncertainty of the radius."""
    fast, slow, radius = start[:3]
    rows, columns = np.indices(picture.shape) + 0.5
    distance = np.hypot(columns - fast, rows - slow)
    near = (distance > BEST_PART * radius) & (distance < 1.6 * radius + 4)
    x, y, counts = columns[near], rows[near], picture[near]

    def expected(p: Array) -> Array:
        out = np.hypot(x - p[0], y - p[1])
        return np.asarray(p[4] * ndtr((p[2] - out) / p[3]) + p[5])

    good = np.ones(len(x), bool)
    figures = np.array(start)
    for _ in range(3):
        weight = 1 / _scatter(figures[4], expected(figures))

        def missing(p: Array, weight: Array, used: NDArray[np.bool_]) -> Array:
            return np.asarray(((expected(p) - counts) * weight)[used])

        fit = least_squares(
            missing,
            figures,
            loss="soft_l1",
            x_scale=[1, 1, 1, 0.5, start[4], start[4]],
            args=(weight, good),
        )
        figures = fit.x
        left = (expected(figures) - counts) * weight
        lit = left[expected(figures) > figures[5] + figures[4] / 2]
        good = np.abs(left) < CLIP_SIGMAS * 1.4826 * max(float(np.median(np.abs(lit - np.median(lit)))), 1e-3)
    rest = left[good]
    jacobian = np.asarray(fit.jac, np.float64)
    covariance = np.linalg.pinv(jacobian.T @ jacobian) * float(rest @ rest) / max(len(rest) - len(figures), 1)
    fast, slow, radius, soft, light, _ = (float(value) for value in figures)
    return (fast, slow, radius, soft, light), float(np.sqrt(covariance[2, 2]))


def _scatter(light: float, expected: Array) -> Array:
    """By counting and, in the light, by pixels that differ in response, in no particular unit."""
    return np.asarray(np.sqrt(np.maximum(expected, 0.02 * max(light, 1.0)) + (0.03 * expected) ** 2))
