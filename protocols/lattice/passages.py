"""When the points of a lattice pass the Ewald sphere while a stage turns: arithmetic, without a camera."""

import numpy as np
from numpy.typing import NDArray

from protocols.lattice.rotationgeometry import RotationGeometry

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

MOST = 400_000
"""Reflections that are reckoned with; of a larger cell those of the lower resolution."""


def inside(ub: Array, d_star: float) -> Indices:
    """(n, 3) all whole hkl but 0 0 0 of the lattice ub (3, 3) inside of a sphere of this radius in 1/A."""
    axes = np.linalg.norm(np.linalg.inv(ub), axis=1)
    while True:
        bounds = [int(d_star * axis) for axis in axes]
        if np.prod([2 * n + 1 for n in bounds]) <= 4 * MOST:
            break
        d_star *= 0.9
    grid = np.indices([2 * n + 1 for n in bounds]).reshape(3, -1).T - bounds
    length = np.linalg.norm(grid @ ub.T, axis=1)
    return np.asarray(grid[(length <= d_star) & grid.any(axis=1)], dtype=np.int64)


def passage_angles(points: Array, geometry: RotationGeometry) -> Array:
    """(n, 2) stage angles, in degrees from -360 to 360, at which points (n, 3) are on the sphere; NaN where never."""
    axis = geometry.axis
    # On the sphere is a point whose z, along the beam, is half its square times the wavelength.
    wanted = (points**2).sum(axis=1) * geometry.wavelength_A / 2
    along = (points @ axis) * axis[2]
    cosine, sine = points[:, 2] - along, axis[0] * points[:, 1] - axis[1] * points[:, 0]
    size = np.hypot(cosine, sine)
    with np.errstate(invalid="ignore", divide="ignore"):
        half = np.arccos((wanted - along) / size)
    middle = np.arctan2(sine, cosine)
    return np.asarray(np.degrees(np.stack([middle - half, middle + half], axis=1)))
