"""What the beam's places tell of a lens: settling, hysteresis, and the disc's line. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from drivers.calibration.fewvalues import stated
from engine.errors import DataError

Array = NDArray[np.float64]

STILL_PX = 0.2
"""A pattern stands still that is within this of its place (the paper's)."""
ALIKE, OPPOSITE = 0.35, -0.15
"""Correlation of the errors of two radii, at one side of focus and at both: a camera's modules and pixels answer
differently, and the edges of discs of one side cross the same modules (over 30 simulated cameras)."""
FAST_OVER_S = 0.08
"""The current of a lens follows within this; what is slower is its iron."""
FEWEST = 10
PARTS = 12
"""Of a way back, in which the turns are compared."""
EXPLAINED = 50.0
"""Of the scatter's square: an exponential that explains less of a beam's places is not seen."""
PLACE_PX = 0.006
"""A place is not surer than this, the same in each turn: pixels differ in response, here by 3 %. A Gaussian beam of any
width is displaced by that of 1 / sqrt(8 pi) px. Where the flatfield is known that is all."""
UNKNOWN_PX = 0.012
"""The same where no flatfield is known: four modules meet where the beam is, and differ by 3 % as well. A step of that
under the middle of a beam 1.3 px wide displaces it by 0.02 px, beside it by less."""


@dataclass(frozen=True, slots=True, eq=False)
class Approach:
    """How the beam came to rest after one turn. rest_px, away_px: (2,) where it came to, and how far it was from there
    when the lens was told to go back, by its slow part. time_s: constant.
    """

    rest_px: Array
    away_px: Array
    time_s: float

    def off_px(self, since_s: Array) -> Array:
        """How far it is from its place."""
        return np.asarray(np.hypot(*self.away_px) * np.exp(-since_s / self.time_s))

    def still_s(self, share: float = 1.0) -> float:
        """When it is within `STILL_PX` of its place; share: of a way that is longer or shorter."""
        return self.time_s * math.log(max(share * float(np.hypot(*self.away_px)) / STILL_PX, 1.0))


def fit_approach(places: Array, since_s: Array, away_s: float) -> Approach:
    """Fit places (n, 2) by an exponential. away_s: how long the lens was away, which is not for ever: `away_px` is
    what it would be after that. Raises DataError where the beam did not move.
    """
    used = np.isfinite(places).all(axis=1) & (since_s > FAST_OVER_S)
    if np.count_nonzero(used) < FEWEST:
        raise DataError(
            "the beam is hardly seen after the lens was told to go back. Is it on the camera, and in focus?"
        )
    seen, time_s = places[used], since_s[used]

    def missing(p: Array) -> Array:
        return np.asarray((p[None, :2] + p[None, 2:4] * np.exp(-time_s / math.exp(p[4]))[:, None] - seen).ravel())

    start = [*seen[-FEWEST:].mean(axis=0), *(seen[0] - seen[-FEWEST:].mean(axis=0)) * 1.5, math.log(0.15)]
    fit = least_squares(missing, start, loss="soft_l1", f_scale=0.05, x_scale=[1, 1, 1, 1, 0.3])
    constant_s = math.exp(float(fit.x[4]))
    scatter = float(np.median(np.abs(fit.fun))) * 1.4826
    explained = float(np.sum((seen - seen.mean(axis=0)) ** 2)) - float(np.sum(missing(fit.x) ** 2))
    if explained < EXPLAINED * scatter**2:
        raise DataError("the beam stood still from the beginning, so its settling tells nothing. Defocus more")
    if not 0.01 < constant_s < 1.0:
        raise DataError(
            f"the beam does not settle as a lens does: a time constant of {constant_s:.3g} s. Look at its places"
        )
    reached = 1 - math.exp(-away_s / constant_s)
    return Approach(np.asarray(fit.x[:2]), np.asarray(fit.x[2:4]) / reached, constant_s)


@dataclass(frozen=True, slots=True, eq=False)
class Hysteresis:
    """Where the beam lies after relax cycles. rest_px: (2,) at last. before_px: how far off it was before the first,
    left: what a cycle leaves of it; both with uncertainties. moved: whether it lay off at all.
    """

    rest_px: Array
    before_px: tuple[float, float]
    left: tuple[float, float]
    moved: bool

    @property
    def cycles(self) -> int | None:
        """How many bring it to within `STILL_PX`; None where one cycle leaves all."""
        if self.before_px[0] <= STILL_PX:
            return 0
        if not 0 < self.left[0] < 1:
            return None
        return math.ceil(math.log(STILL_PX / self.before_px[0]) / math.log(self.left[0]))


def alike_px(approaches: Sequence[Approach], since_s: Sequence[Array], places: Sequence[Array]) -> float:
    """By how much the places of all turns are off their exponentials alike, rms along an axis: pixels under the beam's
    way that differ.
    """
    off = [
        each.rest_px + each.away_px * np.exp(-time_s / each.time_s)[:, None] - at
        for each, time_s, at in zip(approaches, since_s, places, strict=True)
    ]
    time_s, left = np.concatenate(since_s), np.concatenate(off)
    seen = np.isfinite(left).all(axis=1) & (time_s > FAST_OVER_S)
    order = np.argsort(time_s[seen])
    parts = np.array_split(left[seen][order], PARTS)
    means = np.array([np.median(part, axis=0) for part in parts])
    noise = np.array([1.57 * np.var(part, axis=0) / len(part) for part in parts])  # of a median
    return math.sqrt(max(0.0, float(np.mean(means**2 - noise))))


def fit_hysteresis(places: Array, scatter_px: Array, place_px: float) -> Hysteresis:
    """Fit places (n, 2) after 0, 1, 2, ... cycles. scatter_px: (n,) uncertainty of each, along one axis; place_px: than
    which no place is surer.
    """
    sigma = np.hypot(scatter_px, place_px)[:, None]
    cycles = np.arange(len(places))
    rest = places[-2:].mean(axis=0)
    first = places[0] - rest

    def missing(p: Array) -> Array:
        return np.asarray(((p[None, :2] + p[None, 2:4] * p[4] ** cycles[:, None] - places) / sigma).ravel())

    start = [*rest, *first, 0.4]
    bounds = ([-np.inf] * 4 + [0.0], [np.inf] * 4 + [0.95])
    fit = least_squares(missing, start, bounds=bounds, x_scale=[1, 1, 1, 1, 0.3])
    freedom = 2 * len(places) - 5
    chi2 = max(1.0, float(fit.fun @ fit.fun) / freedom)
    jacobian = np.asarray(fit.jac, np.float64)
    covariance = np.linalg.pinv(jacobian.T @ jacobian) * chi2
    size = float(np.hypot(*fit.x[2:4]))
    along = fit.x[2:4] / max(size, 1e-12)
    size_sigma = math.sqrt(float(along @ covariance[2:4, 2:4] @ along))
    return Hysteresis(
        np.asarray(fit.x[:2]),
        (size, stated(size_sigma, freedom) if chi2 > 1 else size_sigma),
        (float(fit.x[4]), stated(math.sqrt(covariance[4, 4]), freedom) if chi2 > 1 else math.sqrt(covariance[4, 4])),
        size > 5 * size_sigma,
    )


@dataclass(frozen=True, slots=True)
class DiscLine:
    """radius = slope * |defocus - zero|: px per unit, and units; with uncertainties. misfit_px: of the radii, rms."""

    slope: tuple[float, float]
    zero: tuple[float, float]
    misfit_px: float


def fit_line(defocus: Array, radius_px: Array, sigma_px: Array) -> DiscLine:
    """The line through radii at both sides of focus."""
    design = np.column_stack([defocus, np.ones(len(defocus))])
    signed, sigma = radius_px * np.sign(defocus), np.maximum(sigma_px, 1e-3)
    # Of signed radii, errors that are alike at both sides have opposite signs.
    alike = np.where(np.equal.outer(defocus > 0, defocus > 0), ALIKE, -OPPOSITE)
    errors = np.outer(sigma, sigma) * (alike + (1 - ALIKE) * np.eye(len(sigma)))
    root = np.linalg.cholesky(errors)
    x, y = np.linalg.solve(root, design), np.linalg.solve(root, signed)
    figures, *_ = np.linalg.lstsq(x, y, rcond=None)
    left = x @ figures - y
    freedom = len(defocus) - 2
    chi2 = float(left @ left) / freedom
    covariance = np.linalg.inv(x.T @ x) * max(1.0, chi2)
    slope, offset = float(figures[0]), float(figures[1])
    sure = [stated(math.sqrt(covariance[k, k]), freedom) if chi2 > 1 else math.sqrt(covariance[k, k]) for k in (0, 1)]
    misfit_px = float(np.std(design @ figures - signed))
    return DiscLine((slope, sure[0]), (-offset / slope, sure[1] / abs(slope)), misfit_px)
