"""Orientations of crystals on a grid: beam directions evenly over the sphere, each with a random azimuth."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Array = NDArray[np.float64]

GOLDEN_ANGLE = np.pi * (3.0 - np.sqrt(5.0))


def fibonacci_directions(count: int, half_sphere: bool = False) -> Array:
    """(count, 3) unit vectors spread evenly over the sphere, or its half with z > 0, by the golden spiral.

    n and -n give the same picture turned by 180 deg, but for the curvature of the Ewald sphere. On the full sphere
    every direction has such a twin near its opposite, so patterns of one cell must never be divided between
    training and test; the half sphere has none.
    """
    k = np.arange(count)
    z = 1.0 - (k + 0.5) / count if half_sphere else 1.0 - (2.0 * k + 1.0) / count
    radius = np.sqrt(1.0 - z**2)
    return np.stack([radius * np.cos(k * GOLDEN_ANGLE), radius * np.sin(k * GOLDEN_ANGLE), z], axis=1)


def orientations(count: int, rng: np.random.Generator, half_sphere: bool = False) -> Array:
    """(count, 3, 3) rotations from the frame of the crystal into the lab, where the beam runs along +z.

    The spiral of directions is turned as a whole by one random rotation, so that no cell lies the same way to it;
    then each direction is turned onto the beam, and the pattern by a random azimuth about it.
    """
    directions = fibonacci_directions(count, half_sphere) @ Rotation.from_quat(rng.standard_normal(4)).as_matrix().T
    # The columns of each frame are two vectors across the direction and the direction itself, right-handed.
    smallest = np.abs(directions).argmin(axis=1)
    across = np.cross(directions, np.eye(3)[smallest])
    across /= np.linalg.norm(across, axis=1)[:, None]
    onto_beam = np.stack([across, np.cross(directions, across), directions], axis=1)
    azimuth = Rotation.from_euler("z", rng.uniform(0.0, 2 * np.pi, (count, 1))).as_matrix()
    return np.asarray(azimuth @ onto_beam, dtype=np.float64)
