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


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """matrix: (2, 2) px per unit, of x and of y along (fast, slow). covariance: (4, 4) of its numbers by rows.
    lag, lag_sigma: (2,) in units, along x and y. drift_px: over the whole run, along (fast, slow). off_px: (n, 2) what
    is left; used: (n,) whether a visit counts. freedom: degrees of freedom along one axis.
    scatter_px: (2, 2) covariance of a visit.
    """

    matrix: Array
    covariance: Array
    lag: Array
    lag_sigma: Array
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
    used, answer, off = seen, np.zeros((PARAMETERS, 2)), data
    for _ in range(ROUNDS):
        answer = np.asarray(np.linalg.lstsq(design[used], data[used], rcond=None)[0])
        off = data - design @ answer
        freedom = max(1.0 - PARAMETERS / max(int(used.sum()), 1), 0.2)
        scatter = 1.4826 * np.median(np.abs(off[used]), axis=0) / np.sqrt(freedom)
        before, used = used, seen & np.all(np.abs(off) <= CUT * np.maximum(scatter, LEAST_SCATTER_PX), axis=1)
        if used.sum() < LEAST_VISITS:
            raise DataError(f"only {used.sum()} of {len(seen)} visits agree with each other; nothing was stored")
        if np.array_equal(before, used):
            break
    freedom = float(used.sum()) - PARAMETERS
    scatter_px = off[used].T @ off[used] / freedom
    normal = np.linalg.inv(design[used].T @ design[used])
    matrix = answer[1:3].T / size
    lag_px = answer[3]
    lag = np.linalg.solve(matrix, lag_px)
    back = np.linalg.inv(matrix)
    lag_covariance = normal[3, 3] * back @ scatter_px @ back.T
    return Fit(
        matrix=matrix,
        covariance=np.asarray(np.kron(scatter_px, normal[1:3, 1:3] / np.outer(size, size)), np.float64),
        lag=lag,
        lag_sigma=np.sqrt(np.diag(lag_covariance)),
        drift_px=answer[4],
        off_px=np.where(seen[:, None], off, np.nan),
        used=used,
        freedom=freedom,
        scatter_px=scatter_px,
    )
