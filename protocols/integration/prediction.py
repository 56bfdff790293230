"""All reflections that a rotation passes: at which stage angle, where on the camera, and for how long.

A point of the lattice passes the Ewald sphere with a speed that depends on where it lies; its width in angle follows
from that speed, from the spread of the crystal's blocks and from their size (`Widths`). The intensity that a passage
collects is inversely proportional to the speed: multiplied by it (Lorentz) it is proportional to the square of the
structure factor. Electrons in a microscope are not polarised, so there is no other factor.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from protocols.lattice.passages import inside, passage_angles
from protocols.lattice.rotationgeometry import RotationGeometry

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]

REACH = 3.0
"""Standard deviations of a passage to either side of its middle that are summed."""
SLOWEST = 0.1
"""A point that passes at less than this share of the fastest of its distance is too long on the way: beside the axis
its angle and its width are known too badly. It is not predicted."""


@dataclass(frozen=True, slots=True)
class Widths:
    """Standard deviations of the passage: of the blocks' directions in deg, and of their size in 1/A."""

    mosaicity_deg: float
    size_per_A: float

    def deg(self, d_star: Array, speed_per_A: Array) -> Array:
        """(n,) widths in angle of points at distances d_star (1/A) that pass with such speeds (1/A per radian)."""
        return np.asarray(
            np.degrees(
                np.hypot(self.size_per_A, np.radians(self.mosaicity_deg) * d_star) / np.maximum(speed_per_A, 1e-9)
            )
        )


@dataclass(frozen=True, slots=True, eq=False)
class Passages:
    """Predicted passages, (n,) each, by angle in the order of the rotation.

    hkl: (n, 3) in the axes of ub. angle_deg: of the stage in the middle. fast_px, slow_px: there; pixel i covers
    [i, i + 1). d_star: 1/A. speed_per_A: through the sphere, 1/A per radian.
    """

    hkl: Indices
    angle_deg: Array
    fast_px: Array
    slow_px: Array
    d_star: Array
    speed_per_A: Array

    def __len__(self) -> int:
        """How many."""
        return len(self.hkl)

    def some(self, which: Mask | NDArray[np.intp]) -> "Passages":
        """Those of a mask or of indices."""
        return Passages(*(getattr(self, name)[which] for name in self.__dataclass_fields__))


def predict(
    ub: Array,
    geometry: RotationGeometry,
    shape: tuple[int, int],
    span_deg: tuple[float, float],
    d_min_A: float,
    widths: Widths,
) -> tuple[Passages, int]:
    """All passages between two stage angles that fall on the camera, and how many more are too slow to be measured.

    Those whose middle is outside of the angles, but a part of them inside, are among them.
    """
    low_deg, high_deg = min(span_deg), max(span_deg)
    hkl = np.repeat(inside(ub, 1 / d_min_A), 2, axis=0)
    points = hkl[::2] @ ub.T
    angle = passage_angles(points, geometry).reshape(-1)
    points = np.repeat(points, 2, axis=0)
    middle_deg = (low_deg + high_deg) / 2
    angle = (angle - middle_deg + 180) % 360 - 180 + middle_deg
    there = np.isfinite(angle)
    hkl, points, angle = hkl[there], points[there], angle[there]
    lab = geometry.turned(points, angle)
    fast, slow = geometry.seen(lab)
    d_star = np.linalg.norm(points, axis=1)
    speed = speed_of(lab, geometry)
    width_deg = widths.deg(d_star, speed)
    there = (angle > low_deg - REACH * width_deg) & (angle < high_deg + REACH * width_deg)
    there &= (fast > 0) & (fast < shape[1]) & (slow > 0) & (slow < shape[0])
    quick = speed > SLOWEST * d_star
    found = Passages(hkl, angle, fast, slow, d_star, speed).some(there & quick)
    order = np.argsort(found.angle_deg if span_deg[1] >= span_deg[0] else -found.angle_deg, kind="stable")
    inner = there & ~quick & (angle > low_deg) & (angle < high_deg)
    return found.some(order), int(inner.sum())


def speed_of(lab: Array, geometry: RotationGeometry) -> Array:
    """(n,) |axis . (s1 x s0)| * wavelength of points (n, 3) on the sphere: 1/A per radian."""
    axis = geometry.axis
    return np.asarray(np.abs(axis[0] * lab[:, 1] - axis[1] * lab[:, 0]))


def fractions(angle_deg: Array, width_deg: Array, start_deg: Array, end_deg: Array) -> Array:
    """(n,) share of each passage between two stage angles, in either order; all arrays (n,) or alike."""
    low, high = np.minimum(start_deg, end_deg), np.maximum(start_deg, end_deg)
    return np.asarray(ndtr((high - angle_deg) / width_deg) - ndtr((low - angle_deg) / width_deg))
