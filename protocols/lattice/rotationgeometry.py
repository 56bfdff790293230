"""From where a reflection is seen, and at which stage angle, to its point in the crystal's reciprocal space.

The frame is that of `drivers.facts.Geometry`: fast = +x, slow = -y, beam towards -z; a positive stage angle is a
right-handed rotation about the axis. Lengths in 1/A without the factor 2 pi.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drivers.facts import Geometry

Array = NDArray[np.float64]
Turns = tuple[Array, Array]
"""Cosines and sines of angles, (n,) each."""


def turns(angle_deg: Array) -> Turns:
    """Of (n,) angles."""
    angle = np.radians(angle_deg)
    return np.cos(angle), np.sin(angle)


@dataclass(frozen=True, slots=True)
class RotationGeometry:
    """What a fit of reflections may change of an instrument.

    camera_length_px: in pixels. axis_deg: direction in the picture as `Geometry.rotation_axis_deg`; out_of_plane_deg:
    how far the axis leans towards the source. strain, shear: the ellipse, as the matrix [[1 + strain, shear],
    [shear, 1 - strain]] from a true offset (fast, slow) from the beam to the one that is seen.
    """

    wavelength_A: float
    camera_length_px: float
    beam_fast_px: float
    beam_slow_px: float
    axis_deg: float
    out_of_plane_deg: float = 0.0
    strain: float = 0.0
    shear: float = 0.0

    @classmethod
    def of(cls, geometry: Geometry) -> "RotationGeometry":
        """As the instrument says."""
        half = geometry.distortion_amplitude_percent / 200
        twice = 2 * math.radians(geometry.distortion_azimuth_deg)
        return cls(
            wavelength_A=geometry.wavelength_A,
            camera_length_px=geometry.camera_length_mm / geometry.pixel_size_mm,
            beam_fast_px=geometry.beam_fast_px,
            beam_slow_px=geometry.beam_slow_px,
            axis_deg=geometry.rotation_axis_deg,
            out_of_plane_deg=geometry.rotation_axis_tilt_deg,
            strain=half * math.cos(twice),
            shear=-half * math.sin(twice),
        )

    @property
    def per_px(self) -> float:
        """1/A of a pixel beside the beam."""
        return 1 / (self.camera_length_px * self.wavelength_A)

    @property
    def axis(self) -> Array:
        """(3,) unit vector in the lab."""
        angle, out = math.radians(self.axis_deg), math.radians(self.out_of_plane_deg)
        return np.array([math.cos(angle) * math.cos(out), math.sin(angle) * math.cos(out), math.sin(out)])

    def lab(self, fast_px: Array, slow_px: Array) -> Array:
        """(n, 3) reciprocal points on the Ewald sphere, s1 - s0, that are seen at these places."""
        fast, slow = fast_px - self.beam_fast_px, slow_px - self.beam_slow_px
        size = (1 + self.strain) * (1 - self.strain) - self.shear**2
        x = ((1 - self.strain) * fast - self.shear * slow) / size
        y = -((1 + self.strain) * slow - self.shear * fast) / size
        k = 1 / self.wavelength_A
        way = np.sqrt(x * x + y * y + self.camera_length_px**2)
        points = np.empty((3, len(way)))  # each component in one piece, which what follows reads far faster
        points[0], points[1], points[2] = k * x / way, k * y / way, k - k * self.camera_length_px / way
        return points.T

    def seen(self, points: Array) -> tuple[Array, Array]:
        """(n,) fast_px and slow_px at which reciprocal points (n, 3) on the sphere, in the lab, are seen."""
        scale = self.camera_length_px / (1 / self.wavelength_A - points[:, 2])
        x, y = points[:, 0] * scale, -points[:, 1] * scale
        fast = (1 + self.strain) * x + self.shear * y
        slow = self.shear * x + (1 - self.strain) * y
        return fast + self.beam_fast_px, slow + self.beam_slow_px

    def turned(self, points: Array, angle_deg: Array) -> Array:
        """(n, 3) points, each turned about the axis by its own angle (n,): from the crystal to the lab."""
        return self.turned_by(points, turns(angle_deg))

    def turned_by(self, points: Array, by: Turns) -> Array:
        """As `turned`, by angles whose cosines and sines are known; of one point (1, 3) all that it is turned to."""
        axis, (cosine, sine) = self.axis, by
        onto, part = points @ axis, points.T
        turned = np.empty((3, len(cosine)))
        for k, (one, other) in enumerate(((1, 2), (2, 0), (0, 1))):
            along, cross = onto * axis[k], axis[one] * part[other] - axis[other] * part[one]
            turned[k] = along + (part[k] - along) * cosine + cross * sine
        return turned.T

    def crystal(self, fast_px: Array, slow_px: Array, angle_deg: Array) -> Array:
        """(n, 3) points in the crystal as it lies at stage angle 0."""
        return self.turned(self.lab(fast_px, slow_px), -angle_deg)
