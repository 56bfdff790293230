"""A unit cell and its lattice: metric, reciprocal basis, reduction, and how far two lattices differ.

Two cells are compared as lattices: Niggli-reduced numbers of one lattice jump when axes are nearly equal or angles
nearly right, so equal numbers are not asked for, but a basis of the one lattice that looks like the other's.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import gemmi

Array = NDArray[np.float64]

LARGEST_COEFFICIENT = 3
"""Of a reduced basis, seen from another nearly reduced one of the same lattice."""


@dataclass(frozen=True)
class Cell:
    """Lengths in A and angles in degrees, as crystallographers give them."""

    a_A: float
    b_A: float
    c_A: float
    alpha_deg: float
    beta_deg: float
    gamma_deg: float

    @property
    def parameters(self) -> tuple[float, float, float, float, float, float]:
        """a, b, c, alpha, beta, gamma."""
        return self.a_A, self.b_A, self.c_A, self.alpha_deg, self.beta_deg, self.gamma_deg

    @cached_property
    def metric(self) -> Array:
        """(3, 3) scalar products of the axes in A^2."""
        lengths = np.array([self.a_A, self.b_A, self.c_A])
        ca, cb, cg = (math.cos(math.radians(x)) for x in (self.alpha_deg, self.beta_deg, self.gamma_deg))
        cosines = np.array([[1.0, cg, cb], [cg, 1.0, ca], [cb, ca, 1.0]])
        return np.asarray(np.outer(lengths, lengths) * cosines, dtype=np.float64)

    @property
    def volume_A3(self) -> float:
        """Volume; 0 for angles that no cell can have."""
        return math.sqrt(max(0.0, float(np.linalg.det(self.metric))))

    @property
    def reciprocal_metric(self) -> Array:
        """(3, 3) scalar products of a*, b*, c* in 1/A^2."""
        return _inverse(self.metric)

    @cached_property
    def reciprocal_basis(self) -> Array:
        """(3, 3) columns a*, b*, c* in 1/A; a* along x, b* in the xy plane."""
        return np.asarray(np.linalg.cholesky(self.reciprocal_metric).T, dtype=np.float64)

    @property
    def direct_basis(self) -> Array:
        """(3, 3) columns a, b, c in A, in the frame of `reciprocal_basis`."""
        return _inverse(self.reciprocal_basis).T

    @classmethod
    def from_metric(cls, metric: Array) -> "Cell":
        """The cell with this (3, 3) metric in A^2."""
        lengths = np.sqrt(np.diag(metric))
        cosines = np.clip(metric / np.outer(lengths, lengths), -1, 1)
        angles = np.degrees(np.arccos([cosines[1, 2], cosines[0, 2], cosines[0, 1]]))
        return cls(*(float(x) for x in (*lengths, *angles)))

    @classmethod
    def from_reciprocal_metric(cls, metric: Array) -> "Cell":
        """The cell whose a*, b*, c* have this (3, 3) metric in 1/A^2."""
        return cls.from_metric(_inverse(metric))

    def reduced(self, space_group: str = "P 1") -> "Cell":
        """The Niggli cell of the lattice (gemmi: Krivy & Gruber 1976, made stable by Grosse-Kunstleve et al. 2004).

        space_group: its centring, by the first letter of the Hermann-Mauguin symbol, is that of this cell.
        """
        return self._niggli(space_group[0])[0]

    def reduction(self) -> NDArray[np.int64]:
        """(3, 3) rows: the Niggli cell's a, b, c in terms of those of this primitive cell."""
        operation = self._niggli("P")[1]
        return np.array(operation.rot, dtype=np.int64).T // operation.DEN

    def _niggli(self, centring: str) -> "tuple[Cell, gemmi.Op]":
        import gemmi

        vector = gemmi.GruberVector(gemmi.UnitCell(*self.parameters), centring, True)
        vector.niggli_reduce()
        return Cell(*(float(x) for x in vector.get_cell().parameters)), vector.change_of_basis

    def __str__(self) -> str:
        """The cell in one line."""
        a, b, c, alpha, beta, gamma = self.parameters
        return f"a {a:.4f}, b {b:.4f}, c {c:.4f} A, alpha {alpha:.3f}, beta {beta:.3f}, gamma {gamma:.3f} deg"


def _inverse(matrix: Array) -> Array:
    return np.asarray(np.linalg.inv(matrix), dtype=np.float64)


def lattice_difference(found: Cell, true: Cell) -> tuple[float, float]:
    """How far `found` is from `true` as a lattice: the largest relative error of a length, and of an angle in deg.

    The reduced cell of the true lattice is compared with the basis of the found one that is most like it, 1 % of
    length counting as much as 1 deg. (inf, inf) where no basis of the found lattice comes within 10 % and 10 deg.
    """
    basis = like_basis(found, true)
    if basis is None:
        return math.inf, math.inf
    aim = np.array(true.reduced().parameters)
    off = np.array(Cell.from_metric(basis @ found.metric @ basis.T).parameters)
    return float(np.abs(off[:3] / aim[:3] - 1).max()), float(np.abs(off[3:] - aim[3:]).max())


def like_basis(found: Cell, true: Cell) -> NDArray[np.int64] | None:
    """(3, 3) rows: the basis of the found lattice, in terms of its own axes, that is most like the reduced `true` one.

    None where none comes within 10 % and 10 deg.
    """
    aim, lattice, reduction = true.reduced(), found.reduced(), found.reduction()
    span = range(-LARGEST_COEFFICIENT, LARGEST_COEFFICIENT + 1)
    integers = np.array([v for v in product(span, span, span) if any(v)])
    vectors = integers @ lattice.direct_basis.T
    lengths = np.linalg.norm(vectors, axis=1)
    choices = [np.flatnonzero(np.abs(lengths / axis - 1) < 0.1) for axis in aim.parameters[:3]]
    if not all(len(choice) for choice in choices):
        return None
    i, j, k = (grid.ravel() for grid in np.meshgrid(*choices, indexing="ij"))
    basis = np.stack([integers[i], integers[j], integers[k]], axis=1)
    proper = np.abs(np.rint(np.linalg.det(basis))) == 1
    i, j, k, basis = i[proper], j[proper], k[proper], basis[proper]
    if not len(i):
        return None
    length_errors = np.max(
        [np.abs(lengths[n] / axis - 1) for n, axis in zip((i, j, k), aim.parameters, strict=False)], 0
    )
    cosines = [np.sum(vectors[p] * vectors[q], 1) / lengths[p] / lengths[q] for p, q in ((j, k), (i, k), (i, j))]
    angles = np.degrees(np.arccos(np.clip(cosines, -1, 1)))
    angle_errors = np.max(np.abs(angles - np.array(aim.parameters[3:])[:, None]), 0)
    best = int(np.argmin(np.maximum(length_errors * 100, angle_errors)))
    return np.asarray(basis[best] @ reduction, dtype=np.int64) if angle_errors[best] <= 10 else None
