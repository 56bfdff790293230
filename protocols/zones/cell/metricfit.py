"""The reciprocal metric from indexed nets: linear least squares, robust, with uncertainties.

The squared length of a vector hkl is linear in the six numbers of the metric,

    |hkl|^2 = h^2 a*.a* + k^2 b*.b* + l^2 c*.c* + 2 kl b*.c* + 2 hl a*.c* + 2 hk a*.b*,

so every indexed net gives three linear equations, for its sides v, w and v - w. An elliptical distortion adds two
unknowns that are linear as well as long as it is small.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.lattice.cell import Cell

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

WEAK = 0.02
"""Relative uncertainty given to the metric before the fit: it holds what the nets leave open, and nothing else."""

REJECTED = 3.0
"""Nets that deviate by more than this many times the usual deviation are left out."""

SMALLEST_DEVIATION = 1.5
"""Nets that deviate by less, root mean square in standard deviations, are never left out."""


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """metric: (3, 3) in 1/A^2.  covariance: (6, 6) of a*a*, b*b*, c*c*, b*c*, a*c*, a*b*, scaled by the misfit if > 1.

    used: (n,) which observations were not left out.  deviation: (n,) root mean square deviation of each in standard
    deviations.  misfit: root of chi^2 per degree of freedom of the used ones; nan without a degree of freedom.
    strain: (2,) e1, e2 of the remaining elliptical distortion, 0 where it was not asked for; strain_sigma: (2,).
    """

    metric: Array
    covariance: Array
    used: NDArray[np.bool_]
    deviation: Array
    misfit: float
    strain: Array
    strain_sigma: Array


def design(hkl: Indices) -> Array:
    """(n, 6) coefficients of the metric's six numbers in the squared lengths of (n, 3) hkl."""
    h, k, l = hkl.T.astype(np.float64)  # noqa: E741 (Miller index)
    return np.stack([h * h, k * k, l * l, 2 * k * l, 2 * h * l, 2 * h * k], axis=1)


def six(metric: Array) -> Array:
    """(6,) numbers of a (3, 3) metric."""
    return metric[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]


def matrix(numbers: Array) -> Array:
    """(3, 3) metric of six numbers."""
    a, b, c, bc, ac, ab = numbers
    return np.array([[a, ab, ac], [ab, b, bc], [ac, bc, c]])


def fit_metric(
    start: Array,
    v: Indices,
    w: Indices,
    squares: Array,
    covariance: Array,
    strain_slope: Array | None = None,
    rounds: int = 4,
) -> Fit:
    """Fit the metric to n indexed nets, leaving out those that do not fit.

    start: (3, 3) metric near the result.  v, w: (n, 3) hkl.  squares: (n, 3) squared sides v, w, v - w in 1/A^2.
    covariance: (n, 3, 3) of them.  strain_slope: (n, 3, 2) change of the squares with the distortion's e1, e2; None
    for no distortion.
    """
    count = len(v)
    equations = np.stack([design(v), design(w), design(v - w)], axis=1)
    if strain_slope is not None:
        equations = np.concatenate([equations, strain_slope], axis=2)
    whiten = np.linalg.inv(np.linalg.cholesky(covariance))
    left = whiten @ equations
    right = np.einsum("nij,nj->ni", whiten, squares)
    # Unknowns are counted in units of their own size, about which the start is right within WEAK.
    lengths = np.sqrt(np.diag(start))
    scale = six(np.outer(lengths, lengths))
    before = six(start) / scale
    if strain_slope is not None:
        scale, before = np.append(scale, [1.0, 1.0]), np.append(before, [0.0, 0.0])
    used = np.ones(count, dtype=bool)
    deviation = np.zeros(count)
    for _ in range(rounds):
        a, b = (left[used] * scale).reshape(-1, len(scale)), right[used].ravel()
        normal = a.T @ a + np.eye(len(scale)) / WEAK**2
        inverse = np.linalg.inv(normal)
        solution = inverse @ (a.T @ b + before / WEAK**2)
        residual = right - np.einsum("nij,j->ni", left * scale, solution)
        deviation = np.sqrt(np.mean(residual**2, axis=1))
        limit = max(REJECTED * float(np.median(deviation[used])), SMALLEST_DEVIATION)
        keep = deviation <= limit
        if keep.sum() < 3 or bool(np.all(keep == used)):
            break
        used = keep
    freedom = 3 * int(used.sum()) - len(scale)
    misfit = float(np.sqrt(3 * np.sum(deviation[used] ** 2) / freedom)) if freedom > 0 else np.nan
    scatter = inverse * np.outer(scale, scale) * np.fmax(misfit, 1.0) ** 2
    unknowns = solution * scale
    strain, strain_sigma = np.zeros(2), np.zeros(2)
    if strain_slope is not None:
        strain, strain_sigma = unknowns[6:], np.sqrt(np.diag(scatter)[6:])
    return Fit(matrix(unknowns[:6]), scatter[:6, :6], used, deviation, misfit, strain, strain_sigma)


def cell_uncertainties(
    metric: Array, covariance: Array, cell_of: Callable[[Array], Cell] = Cell.from_reciprocal_metric
) -> tuple[Array, float]:
    """(6,) standard deviations of a, b, c in A and alpha, beta, gamma in deg, and of the volume in A^3.

    cell_of: the cell of which, from a (3, 3) reciprocal metric. By differences: each of the metric's numbers is moved
    by its standard deviation along the axes of the covariance.
    """
    values, axes = np.linalg.eigh(covariance)
    at = cell_of(metric)
    parameters, volume = np.zeros(6), 0.0
    for value, axis in zip(values, axes.T, strict=True):
        step = matrix(axis * np.sqrt(max(float(value), 0.0)))
        try:
            moved = cell_of(metric + 0.01 * step)
        except np.linalg.LinAlgError:
            continue
        parameters += (100 * (np.array(moved.parameters) - np.array(at.parameters))) ** 2
        volume += (100 * (moved.volume_A3 - at.volume_A3)) ** 2
    return np.sqrt(parameters), float(np.sqrt(volume))
