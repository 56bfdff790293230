"""How places in the picture follow moves of the stage: a 2 x 2 with its covariance, robust, a steady drift apart.
Pure.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drivers.calibration.calibratedvalue import Matrix
from engine.errors import DataError

Array = NDArray[np.float64]

FEWEST = 8
CLIP_SIGMAS = 4.0
ROUNDS = 5


ALIKE_SHARE = 0.1
"""Of the largest move: what lies nearer together is one place."""
SHAPES = 3
"""Parameters that the places of one ring determine: the two moves and the middle, along each axis."""


@dataclass(frozen=True, slots=True, eq=False)
class MoveFit:
    """matrix: (2, 2), px per nm: rows fast and slow, columns x and y of the stage. covariance: (4, 4) of its numbers
    row by row. offset_px: where the crystal lies at the middle of the moves. drift_px_s: (2,). left_px: (n, 2) what is
    left of each place; NaN of those that were left out. repeat_nm: by how much a place is missed, along one axis.
    """

    matrix: Array
    covariance: Array
    offset_px: Array
    drift_px_s: Array
    left_px: Array
    repeat_nm: float

    @property
    def numbers(self) -> Matrix:
        """Row by row."""
        a, b, c, d = self.matrix.ravel().tolist()
        return a, b, c, d

    @property
    def determinant(self) -> tuple[float, float]:
        """Area of the picture per area of the specimen, px^2 per nm^2, and its uncertainty; below 0 where the picture
        is mirrored against x and y of the stage.
        """
        (a, b), (c, d) = self.matrix
        slope = np.array([d, -c, -b, a])
        return float(a * d - b * c), float(np.sqrt(slope @ self.covariance @ slope))


def fit_moves(places_px: Array, moved_nm: Array, time_s: Array) -> MoveFit:
    """Fit places (n, 2) by moves (n, 2) and instants (n,); places that are NaN are left out, and those that others do
    not agree with. Raises DataError where too few are left, or where nothing moved.
    """
    known = np.asarray(np.isfinite(places_px).all(axis=1), bool)
    middle_s = float(time_s.mean())
    design = np.column_stack([moved_nm, np.ones(len(moved_nm)), time_s - middle_s])
    good: NDArray[np.bool_] = known.copy()
    for _ in range(ROUNDS):
        if np.count_nonzero(good) < FEWEST:
            raise DataError(
                f"the crystal is seen in {np.count_nonzero(good)} of {len(known)} places, and {FEWEST} are needed"
            )
        figures, *_ = np.linalg.lstsq(design[good], places_px[good], rcond=None)
        left = places_px - design @ figures
        size = np.hypot(*left.T)
        scale = float(np.median(size[good])) / 1.1774  # of a Rayleigh distribution
        agreed = np.asarray(known & (size < CLIP_SIGMAS * max(scale, 1e-6)), bool)
        if (agreed == good).all():
            break
        good = agreed
    rest = left[good]
    freedom = len(rest) - design.shape[1]
    scatter = rest.T @ rest / freedom
    inner = np.linalg.inv(design[good].T @ design[good])[:2, :2]
    matrix = np.asarray(figures[:2].T)
    if abs(np.linalg.det(matrix)) < 1e-12:
        raise DataError("the picture did not follow the stage along both of its axes")
    missed_nm = np.linalg.inv(matrix) @ scatter @ np.linalg.inv(matrix).T
    return MoveFit(
        matrix,
        np.asarray(np.kron(scatter, inner)) * _places_differ(rest, moved_nm[good]),
        np.asarray(figures[2]),
        np.asarray(figures[3]),
        np.where(good[:, None], left, np.nan),
        float(np.sqrt(np.trace(missed_nm) / 2)),
    )


def _places_differ(left: Array, moved_nm: Array) -> float:
    """How many times larger the variance of the matrix is than by the scatter of visits: by where it lies a silhouette
    is seen elsewhere, alike in all visits of a place, and no number of them makes that less. left: (n, 2) of the fit.
    """
    step_nm = ALIKE_SHARE * float(np.abs(moved_nm).max())
    _, place = np.unique(np.round(moved_nm / step_nm), axis=0, return_inverse=True)
    place = place.ravel()
    times = np.bincount(place).astype(np.float64)
    number = len(times)
    if number <= SHAPES or len(left) < 3 * number:
        return 1.0
    means = np.stack([np.bincount(place, left[:, axis]) / times for axis in (0, 1)], axis=1)
    between = float(np.sum(times[:, None] * means**2)) / (2 * (number - SHAPES))
    within = float(np.sum((left - means[place]) ** 2)) / (2 * (len(left) - number))
    return max(1.0, between / within) if within > 0 else 1.0
