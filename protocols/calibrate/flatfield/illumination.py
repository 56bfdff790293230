"""The beam that was spread over a camera, told apart from the camera's response by exposures with the beam shifted.

What stays with the pixels is response, what moves with the beam is illumination. The logarithm of the illumination is a
polynomial in the place on the camera; where the deflector puts the beam, how it drifts and how bright it is from frame
to frame are fitted with it. Pure functions of arrays.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from engine.errors import DataError

Array = NDArray[np.float64]

DEGREE = 4
POWERS = [(i, j) for i in range(DEGREE + 1) for j in range(DEGREE + 1 - i) if i + j]
"""Of x and y, of the polynomial's terms; a constant is brightness."""
HINT = 0.4
"""So far a term of first or second order may be off what it would be for an even response: a weak hint, for beams that
are so even that hardly anything moves with them."""
FARTHEST = 0.5
"""About so far a step of the beam shift, or the drift of a whole run, takes the beam, of the camera's side."""
FLICKER, LEAST_FLICKER, MOST_FLICKER = 3e-3, 2e-4, 0.05
"""By how much a beam's brightness may be off its slow change from frame to frame: a first guess, and between what."""
MISFIT = 4.0
"""How many times as large as by counting statistics squared residuals may be."""


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """Mean counts of blocks of pixels, a row for each frame. x, y: (blocks,) their centres on the camera, from its
    middle in units of its larger side. counts: (frames, blocks). relative: (frames, blocks) standard uncertainty of
    their logarithm by counting. time_s: (frames,). shifts: (frames, 2) of the deflector, in units of its step.
    """

    x: Array
    y: Array
    counts: Array
    relative: Array
    time_s: Array
    shifts: Array


@dataclass(frozen=True, slots=True, eq=False)
class Illumination:
    """What was fitted. terms: (len(POWERS),) of the polynomial. moved: (2, 2) how far a step of the deflector moves the
    beam (x, y by rows); drift_s: (2,) per second. brightness: (frames,) logarithm. covariance: of `terms`. misfit:
    squared residuals over what counting allows.
    """

    terms: Array
    moved: Array
    drift_s: Array
    brightness: Array
    covariance: Array
    misfit: float
    time_s: Array
    shifts: Array

    def light(self, frame: int, x: Array, y: Array) -> Array:
        """Intensity (rows, columns) during a frame at x (columns,) and y (rows,)."""
        away = self._away(frame)
        table = np.zeros((DEGREE + 1, DEGREE + 1))
        for (i, j), term in zip(POWERS, self.terms, strict=True):
            table[i, j] = term
        logarithm = np.polynomial.polynomial.polygrid2d(x - away[0], y - away[1], table).T
        return np.asarray(np.exp(logarithm + self.brightness[frame]))

    def uncertainty(self, x: Array, y: Array, draws: int = 40) -> Array:
        """(draws, n) errors of the logarithm of the response at places (n,) as the fit allows them, mean 0 each."""
        rng = np.random.default_rng(0)
        terms = rng.multivariate_normal(np.zeros(len(POWERS)), self.covariance, draws, method="eigh")
        errors = terms @ _terms(x, y).T
        return np.asarray(errors - errors.mean(axis=1, keepdims=True))

    def _away(self, frame: int) -> Array:
        return np.asarray(self.moved @ self.shifts[frame] + self.drift_s * self.time_s[frame])


def _terms(x: Array, y: Array) -> Array:
    """(n, terms) each term of the polynomial at n places."""
    return np.stack([x**i * y**j for i, j in POWERS], axis=1)


class _Fit:
    """The fit under way. Its numbers: terms, `moved` by rows, drift, a slow change of the brightness (2), and how far
    each frame is off that. Of each block the response is free: everything is less its mean over the frames.
    """

    def __init__(self, blocks: Blocks) -> None:
        self.blocks = blocks
        self.time_s = blocks.time_s - blocks.time_s.mean()
        self.span_s = max(float(np.ptp(self.time_s)), 1e-9)
        self.logs = np.log(blocks.counts)
        self.frames = len(self.time_s)
        self.slow = np.stack([self.time_s, self.time_s**2], axis=1) / [self.span_s, self.span_s**2]
        self.low = np.array([i + j <= 2 for i, j in POWERS])
        basis = np.column_stack([np.ones(len(blocks.x)), _terms(blocks.x, blocks.y)])
        # As if all that is smooth were illumination.
        self.even: Array = np.linalg.lstsq(basis, self.logs.mean(axis=0), rcond=None)[0][1:]
        self.found: Array = np.concatenate([self.even, np.zeros(8 + self.frames)])
        self.flicker = FLICKER
        self.jacobian: Array = np.zeros((0, 0))

    def parts(self) -> tuple[Array, Array, Array, Array, Array]:
        """Terms, moved (2, 2), drift, slow change, each frame's own."""
        terms, moved, drift, slow, own = np.split(self.found, np.cumsum([len(POWERS), 4, 2, 2]))
        return terms, moved.reshape(2, 2), drift, slow, own

    def brightness(self) -> Array:
        """(frames,) its logarithm."""
        _, _, _, slow, own = self.parts()
        return np.asarray(self.slow @ slow + own)

    def _places(self) -> tuple[Array, Array]:
        _, moved, drift, _, _ = self.parts()
        away = self.blocks.shifts @ moved.T + np.outer(self.time_s, drift)
        return self.blocks.x[None, :] - away[:, :1], self.blocks.y[None, :] - away[:, 1:]

    def left(self) -> Array:
        """(frames, blocks) what is left of the logarithms, over their uncertainty."""
        x, y = self._places()
        logarithm = sum(term * x**i * y**j for (i, j), term in zip(POWERS, self.parts()[0], strict=True))
        left = self.logs - logarithm - self.brightness()[:, None]
        return np.asarray((left - left.mean(axis=0)) / self.blocks.relative)

    def _residuals(self) -> Array:
        terms, moved, drift, _, own = self.parts()
        hint = (terms - self.even)[self.low] / HINT
        held = np.concatenate([moved.ravel(), drift * self.span_s]) / FARTHEST
        return np.concatenate([self.left().ravel(), own / self.flicker, hint, held])

    def _jacobian(self) -> Array:
        terms = self.parts()[0]
        x, y = self._places()
        powers = list(zip(POWERS, terms, strict=True))
        along_x = np.asarray(sum(term * i * x ** max(i - 1, 0) * y**j for (i, j), term in powers))
        along_y = np.asarray(sum(term * j * x**i * y ** max(j - 1, 0) for (i, j), term in powers))
        one = np.ones((1, len(self.blocks.x)))
        columns = [x**i * y**j for i, j in POWERS]
        columns += [-slope * self.blocks.shifts[:, [k]] for slope in (along_x, along_y) for k in (0, 1)]
        columns += [-slope * self.time_s[:, None] for slope in (along_x, along_y)]
        columns += [self.slow[:, [k]] * one for k in (0, 1)]
        columns += [(np.arange(self.frames) == k)[:, None] * one for k in range(self.frames)]
        model = np.stack([((c - c.mean(axis=0)) / -self.blocks.relative).ravel() for c in columns], axis=1)
        size, number = len(POWERS), len(self.found)
        own = np.zeros((self.frames, number))
        own[:, size + 8 :] = np.eye(self.frames) / self.flicker
        hint = np.zeros((int(self.low.sum()), number))
        hint[np.arange(len(hint)), np.flatnonzero(self.low)] = 1 / HINT
        held = np.zeros((6, number))
        held[np.arange(6), size + np.arange(6)] = np.array([1.0] * 4 + [self.span_s] * 2) / FARTHEST
        return np.concatenate([model, own, hint, held])

    def improve(self, free: NDArray[np.intp]) -> None:
        """Fit the numbers of these places, the others as they are."""
        whole = self.found.copy()

        def at(values: Array) -> None:
            self.found = whole.copy()
            self.found[free] = values

        def residuals(values: Array) -> Array:
            at(values)
            return self._residuals()

        def jacobian(values: Array) -> Array:
            at(values)
            return self._jacobian()[:, free]

        fitted = least_squares(residuals, whole[free], jacobian, x_scale="jac", max_nfev=100)
        at(np.asarray(fitted.x, np.float64))
        self.jacobian = np.asarray(fitted.jac, np.float64)


def fit_illumination(blocks: Blocks) -> Illumination:
    """Fit the illumination. Raises DataError where the frames do not follow from one beam and one response."""
    fit, size = _Fit(blocks), len(POWERS)
    places = np.arange(len(fit.found))
    is_moved = bool(np.any(blocks.shifts))
    if is_moved:
        fit.improve(places[size : size + 8])  # where the beam went follows from that first guess
        free = places
    else:  # nothing tells light from response: all that is uneven is taken for response
        fit.found[:size] = 0
        free = places[size + 6 :]
    for _ in range(2):
        fit.improve(free)
        fit.flicker = float(np.clip(np.std(fit.parts()[4]), LEAST_FLICKER, MOST_FLICKER))
    left = fit.left()
    misfit = float(np.sum(left**2) / max(left.size - left.shape[1] - len(free), 1))
    if misfit > MISFIT:
        raise DataError(
            "flatfield: the light on the camera changed in another way than a beam that is shifted and drifts "
            f"(residuals squared {misfit:.1f} times as large as counting allows); nothing was stored. Let the beam "
            "come to rest, take the specimen out, and take the frames again"
        )
    normal = np.asarray(fit.jacobian.T @ fit.jacobian, np.float64)
    if is_moved:
        covariance = np.asarray(np.linalg.pinv(normal, hermitian=True)[:size, :size] * max(misfit, 1.0))
    else:  # it may be light, all of it
        covariance = np.outer(fit.even, fit.even)
    terms, moved, drift_s, _, _ = fit.parts()
    brightness = fit.brightness()
    return Illumination(
        terms, moved, drift_s, brightness - brightness.mean(), covariance, misfit, fit.time_s, blocks.shifts
    )
