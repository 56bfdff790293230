"""How well the six numbers of a cell are known, from the covariance of a fit; the camera length's share in it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.lattice.cell import Cell
from protocols.lattice.rotationfit import RotationFit

Array = NDArray[np.float64]

LEAST_RELATIVE, LEAST_DEG = 2e-4, 0.01
"""No length of a cell and no angle is known better: frames are not steadier."""


@dataclass(frozen=True, slots=True, eq=False)
class CellSigma:
    """Standard deviations of a cell.

    lengths_A: of a, b, c, with what is not known of the camera length. angles_deg. ratio: largest of the relative ones
    of a / b, a / c and b / c, where the camera length drops out. camera_length: relative, as the fit leaves it.
    metric: (6, 6) covariance of the direct metric, as g11, g22, g33, g23, g13, g12 in A^2.
    """

    lengths_A: Array
    angles_deg: Array
    ratio: float
    camera_length: float
    metric: Array


PAIRS = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


def six(metric: NDArray[np.floating]) -> Array:
    """(6,) g11, g22, g33, g23, g13, g12 of a (3, 3) metric."""
    return np.array([metric[pair] for pair in PAIRS])


def cell_sigma(fit: RotationFit) -> tuple[Cell, CellSigma]:
    """The cell of a fitted lattice, and how well it is known."""
    unknowns = 9 + int(np.count_nonzero(np.diag(fit.covariance)))
    seen = 3 * int(fit.used.sum())
    # Few reflections follow a fit that is bent to them: their deviations are smaller than their noise.
    covariance = fit.ub_covariance * seen / max(seen - unknowns, seen / 10)
    cell = Cell.from_reciprocal_metric(fit.ub.T @ fit.ub)

    def numbers(ub: Array) -> Array:
        metric: Array = np.asarray(np.linalg.inv(ub.T @ ub), dtype=np.float64)
        found = Cell.from_metric(metric)
        a, b, c = found.parameters[:3]
        return np.array([*found.parameters, a / b, a / c, b / c, *six(metric)])

    step = 1e-6 * float(np.abs(fit.ub).max())
    slopes = []
    for place in range(9):
        moved = np.zeros(9)
        moved[place] = step
        more, less = (numbers(fit.ub + sign * moved.reshape(3, 3)) for sign in (1, -1))
        slopes.append((more - less) / (2 * step))
    jacobian = np.array(slopes).T
    whole = jacobian @ covariance @ jacobian.T
    sigma = np.sqrt(np.maximum(np.diag(whole), 0))
    values = numbers(fit.ub)
    lengths = np.hypot(sigma[:3], LEAST_RELATIVE * values[:3])
    ratio = float((sigma[6:9] / values[6:9]).max())
    camera_length = fit.sigma("camera_length_px") / fit.geometry.camera_length_px
    return cell, CellSigma(lengths, np.hypot(sigma[3:6], LEAST_DEG), ratio, camera_length, whole[9:, 9:])
