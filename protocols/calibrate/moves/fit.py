"""A matrix, its lag and its scatter, from places and where they were seen: a robust linear fit. Pure functions.

Seen = beginning + matrix (place + lag / 2 for what came from above, - lag / 2 from below) + drift time. What lies far
off is left out; the covariance follows from the scatter that is left, which has all in it: registration, landing,
uneven film.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError

Array = NDArray[np.float64]

CUT = 4.0
"""In standard deviations; what lies farther off, along either axis, counts nothing."""
ROUNDS = 30
PARAMETERS = 5
LEAST_VISITS = 12
LEAST_SCATTER_PX = 1e-3
NEAR = (0.1, 0.2, 0.4)
"""Over which share of the grid's reach errors are alike, ..."""
ALIKE = (0.3, 0.6, 0.85, 0.97)
"""... and which part of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """matrix: (2, 2) px per unit, of x and of y along (fast, slow). covariance: (4, 4) of its numbers by rows.
    lag: (2,) in units, along x and y, with its covariance, (2, 2). drift_px: over the whole run, along (fast, slow).
    off_px: (n, 2) what is left. used: (n,) whether a visit counts. freedom: degrees of freedom along one axis.
    scatter_px: (2, 2) covariance of a visit.
    """

    matrix: Array
    covariance: Array
    lag: Array
    lag_covariance: Array
    drift_px: Array
    off_px: Array
    used: NDArray[np.bool_]
    freedom: float
    scatter_px: Array

    @property
    def scatter_units(self) -> float:
        """Standard deviation of a visit along one axis, in the units of the part."""
        back = np.linalg.inv(self.matrix)
        return float(np.sqrt(np.trace(back @ self.scatter_px @ back.T) / 2.0))

    @property
    def lag_sigma(self) -> Array:
        """(2,) standard uncertainty of the lag along x and y."""
        return np.sqrt(np.diag(self.lag_covariance))

    @property
    def mean_lag(self) -> tuple[float, float]:
        """Of both axes, which are alike, with its standard uncertainty."""
        weights = np.linalg.solve(self.lag_covariance, np.ones(2))
        return float(weights @ self.lag / weights.sum()), float(1.0 / np.sqrt(weights.sum()))

    @property
    def rms_px(self) -> float:
        """The same in pixels."""
        return float(np.sqrt(np.trace(self.scatter_px) / 2.0))


def fitted(places: Array, side: Array, seen_px: Array) -> Fit:
    """places: (n, 2) where the part was set. side: (n,) -1 from below, 1 from above. seen_px: (n, 2) along (fast,
    slow), not a number where it was not seen. Raises DataError where too few were seen.
    """
    seen: NDArray[np.bool_] = np.isfinite(seen_px[:, 0])
    if seen.sum() < LEAST_VISITS:
        raise DataError(f"only {seen.sum()} of {len(seen)} visits could be seen; nothing was stored")
    size = np.maximum(places[seen].std(axis=0), 1e-300)
    middle = places[seen].mean(axis=0)
    time = np.linspace(-0.5, 0.5, len(seen))
    design = np.column_stack([np.ones(len(seen)), (places - middle) / size, side / 2.0, time])
    data = np.where(seen[:, None], seen_px, 0.0)
    used = _agreeing(design, data, seen)
    mean, covariance, scatter_px = _weighed(design[used], data[used])
    matrix = mean[1:3].T / size
    back = np.linalg.inv(matrix)
    pick = [1, 2, PARAMETERS + 1, PARAMETERS + 2]
    scale = np.tile(1.0 / size, 2)
    lags = [3, PARAMETERS + 3]
    lag_covariance = back @ covariance[np.ix_(lags, lags)] @ back.T
    return Fit(
        matrix=matrix,
        covariance=np.asarray(covariance[np.ix_(pick, pick)] * np.outer(scale, scale), np.float64),
        lag=back @ mean[3],
        lag_covariance=lag_covariance,
        drift_px=mean[4],
        off_px=np.where(seen[:, None], data - design @ mean, np.nan),
        used=used,
        freedom=float(used.sum()) - PARAMETERS,
        scatter_px=scatter_px,
    )


def _agreeing(design: Array, data: Array, seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The visits that agree with most others. Raises DataError where these are too few."""
    off = data - design @ _least_sum(design[seen], data[seen])
    # The least sum of distances goes through as many places as there are parameters: these tell nothing of the scatter.
    scatter = 1.4826 * np.median(np.sort(np.abs(off[seen]), axis=0)[PARAMETERS:], axis=0)
    least = max(float(np.sqrt(np.mean(scatter**2))), LEAST_SCATTER_PX)
    used, cut = seen, CUT * least
    for _ in range(ROUNDS):
        before, used = used, seen & np.all(np.abs(off) <= cut, axis=1)
        if used.sum() < LEAST_VISITS:
            raise DataError(f"only {used.sum()} of {len(seen)} visits agree with each other; nothing was stored")
        if np.array_equal(before, used):
            break
        off = data - design @ np.linalg.lstsq(design[used], data[used], rcond=None)[0]
        squares = np.sum(off[used] ** 2) / (2.0 * (used.sum() - PARAMETERS))
        cut = CUT * max(least, float(np.sqrt(squares)))
    return used


def _weighed(design: Array, data: Array) -> tuple[Array, Array, Array]:
    """Parameters (5, 2), their covariance (10, 10: those of fast, then those of slow), and that of a visit (2, 2).

    What is wrong at a place is wrong near it, too: film lies under the edge of the disc, a camera answers unevenly. So
    errors are taken as partly alike at places near each other. How much, and how near, the data tell by their
    restricted likelihood; what they leave open is averaged over.
    """
    number, freedom = len(data), len(data) - PARAMETERS
    plain = np.linalg.lstsq(design, data, rcond=None)[0]
    at = design @ plain
    apart = np.hypot(at[:, None, 0] - at[None, :, 0], at[:, None, 1] - at[None, :, 1])
    reach = float(apart.max())
    tried = []
    for near, share in [(1.0, 0.0), *((near, share) for near in NEAR for share in ALIKE)]:
        alike = (1.0 - share) * np.eye(number) + share * np.exp(-0.5 * (apart / (near * reach)) ** 2)
        root = np.linalg.cholesky(alike)
        x, y = np.linalg.solve(root, design), np.linalg.solve(root, data)
        normal = np.linalg.inv(x.T @ x)
        answer = normal @ x.T @ y
        left = (y - x @ answer).T @ (y - x @ answer) / freedom + LEAST_SCATTER_PX**2 * np.eye(2)
        logs = 2.0 * np.log(np.diag(root)).sum(), -np.linalg.slogdet(normal)[1]
        likelihood = -0.5 * freedom * np.linalg.slogdet(left)[1] - sum(logs)
        tried.append((float(likelihood), answer, np.kron(left, normal), left))
    best = max(each[0] for each in tried)
    weights = np.exp([each[0] - best for each in tried])
    weights[0] *= len(tried) - 1  # that errors are not alike at all is as likely beforehand as that they are
    weights /= weights.sum()
    mean = sum(weight * each[1] for weight, each in zip(weights, tried, strict=True))
    covariance = np.zeros((2 * PARAMETERS, 2 * PARAMETERS))
    scatter = np.zeros((2, 2))
    for weight, (_, answer, own, left) in zip(weights, tried, strict=True):
        off = (answer - mean).T.ravel()
        covariance += weight * (own + np.outer(off, off))
        scatter += weight * left
    return np.asarray(mean), covariance, scatter


def _least_sum(design: Array, data: Array) -> Array:
    """The fit with the least sum of distances, not of their squares: what is far off does not pull."""
    weight = np.ones(len(data))
    answer: Array = np.zeros((design.shape[1], 2))
    for _ in range(ROUNDS):
        root = np.sqrt(weight)[:, None]
        answer = np.asarray(np.linalg.lstsq(design * root, data * root, rcond=None)[0])
        away = np.hypot(*(data - design @ answer).T)
        weight = 1.0 / np.maximum(away, max(1e-3 * float(np.median(away)), LEAST_SCATTER_PX))
    return answer
