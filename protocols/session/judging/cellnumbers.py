"""Cells as six numbers that can be compared: each lattice in the basis that is most like the one of a reference.

Reduced cells of one lattice jump when axes are nearly equal or angles nearly right; a basis that is like another's
does not (`protocols.lattice.cell.like_basis`). Lengths are taken as logarithms: an unknown camera length moves all
three alike.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.lattice.cell import Cell, like_basis

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class CellNumbers:
    """value: (6,) logarithms of a, b, c in A; alpha, beta, gamma in deg. covariance: (6, 6) of it. basis: (3, 3) rows,
    its axes in terms of the cell's own, right-handed as they are.
    """

    value: Array
    covariance: Array
    basis: Indices

    @property
    def cell(self) -> Cell:
        """In this basis."""
        return cell_of(self.value)


def numbers_like(cell: Cell, covariance: Array, reference: Cell) -> CellNumbers | None:
    """Of a cell whose own six numbers have this (6, 6) covariance. None where no basis comes within 10 % and 10 deg of
    the reduced reference. 1 to 2 ms.
    """
    found = right_handed_like(cell, reference)
    if found is None:
        return None
    basis = found

    def turned(own: Array) -> Array:
        return numbers_of(Cell.from_metric(basis @ cell_of(own).metric @ basis.T))

    own = numbers_of(cell)
    steps = np.array([1e-5] * 3 + [1e-3] * 3)
    slopes = [(turned(own + step) - turned(own - step)) / (2 * step.sum()) for step in np.diag(steps)]
    jacobian = np.array(slopes).T
    return CellNumbers(turned(own), jacobian @ covariance @ jacobian.T, basis)


def right_handed_like(cell: Cell, reference: Cell) -> Indices | None:
    """(3, 3) rows: the axes in terms of the cell's own that are most like those of the reduced reference. None where no
    basis comes within 10 % and 10 deg of it.
    """
    basis = like_basis(cell, reference)
    return -basis if basis is not None and np.linalg.det(basis) < 0 else basis  # a lattice is its own inversion


def numbers_of(cell: Cell) -> Array:
    """(6,)."""
    numbers = np.array(cell.parameters)
    return np.concatenate([np.log(numbers[:3]), numbers[3:]])


def cell_of(numbers: Array) -> Cell:
    """From (6,)."""
    return Cell(*np.exp(numbers[:3]).tolist(), *numbers[3:].tolist())
