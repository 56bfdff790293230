"""A zone: the net of spots of one zonal pattern, as it lies in the picture, with the tilt of its plane.

This is what the nets hand over and what the search for the cell takes. Frame: x = fast (columns, to the right),
y = slow (rows, downwards), beam along +z; reciprocal lengths in 1/A without 2 pi.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Zone:
    """The plane of the reciprocal lattice that holds a pattern's reflections.

    Systematic absences can make it a sub-net of the true plane.

    basis: (2, 2) rows p, q in 1/A: the shortest (Gauss-reduced) basis of the net as it lies projected in the picture,
        |p| <= |q|, with the detector's projection undone (`nets.flat_to_sphere`).
    tilt: (2,) slopes of the net's plane, z = tilt . (x, y), from the Laue circle; 0 for a zone axis along the beam.
    covariance: (4, 4) of (p_x, p_y, q_x, q_y) in 1/A^2 (projected basis), from the fit.
    spots: how many spots it was fitted to.
    indexed: share of the pattern's spots that lie on the net, 0..1.
    name: which pattern.
    """

    basis: NDArray[np.float64]
    tilt: NDArray[np.float64]
    covariance: NDArray[np.float64]
    spots: int
    indexed: float
    name: str

    def gram(self) -> NDArray[np.float64]:
        """(3,) p.p, q.q, p.q in 1/A^2 of the vectors as they are in space, (p_x, p_y, tilt . p) and so on."""
        p, q = np.column_stack([self.basis, self.basis @ self.tilt])
        return np.array([p @ p, q @ q, p @ q])
