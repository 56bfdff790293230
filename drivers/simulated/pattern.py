"""Where and how strongly a rotating crystal diffracts: kinematic spots of one exposure, as arrays.

Lab frame, as in DIALS and dxtbx: x along the detector's fast axis, y up (slow = -y, rows run down), z towards the
source. The beam travels along -z, s0 = (0, 0, -1/wavelength); the detector is the plane z = -camera_length. A stage
angle is a right-handed rotation about `rotation_axis`. Positions are in pixels on the detector's *physical* grid,
pixel i covering [i, i+1), on which `geometry.beam_fast_px` and `beam_slow_px` are given. (A Timepix with wide cross
pixels has 512 raw and 516 physical pixels a side.)
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from drivers.facts import Geometry
from drivers.simulated.crystal import Crystal

LONGEST_STEP_DEG = 0.3
"""Longer exposures are cut in equal steps: within one, an excitation error is linear in the angle to 4e-6 1/A."""

ROCKING_CUT = 4.8
"""A reflection counts while within this many sigma of the Ewald sphere; 2e-6 of a full passage is left out."""


@dataclass(frozen=True, slots=True, eq=False)
class Spots:
    """Reflections excited during one exposure, each array of shape (n,).

    index: row in `crystal.hkl`. One reflection appears once per step of LONGEST_STEP_DEG in which it is excited
        (so once in an ordinary frame), each time with its own position.
    fast_px, slow_px: where it hits the detector, distortion included; may lie outside of the picture.
    angle_deg: stage angle at which the position is taken, the centroid of the passage within the step.
    weight: intensity / wavelength * integral of the rocking curve over the rotation angle in radians (A^2). A
        reflection that passes completely collects intensity * L with the Lorentz factor of the rotation method,
        L = 1 / (wavelength^2 |axis . (s1 x s0)|), however the passage is cut into exposures.
    rate: intensity * mean of the rocking curve over the exposure (A^3): what a constant flux for the time of the
        exposure scatters, up to a constant. weight = rate * rotation / wavelength; of a still only rate is not 0.
    """

    index: NDArray[np.intp]
    fast_px: NDArray[np.float64]
    slow_px: NDArray[np.float64]
    angle_deg: NDArray[np.float64]
    weight: NDArray[np.float64]
    rate: NDArray[np.float64]


def rotation_axis(geometry: Geometry, out_of_plane_deg: float = 0.0) -> NDArray[np.float64]:
    """(3,) unit vector of the stage's tilt axis in the lab frame; out_of_plane_deg > 0 leans towards the source."""
    angle, out = np.deg2rad(geometry.rotation_axis_deg), np.deg2rad(out_of_plane_deg)
    return np.array([np.cos(angle) * np.cos(out), np.sin(angle) * np.cos(out), np.sin(out)])


def rotation_matrix(geometry: Geometry, angle_deg: float, out_of_plane_deg: float = 0.0) -> NDArray[np.float64]:
    """(3, 3) rotation that a stage angle applies to the crystal: `rotation_matrix @ crystal.ub @ hkl`."""
    return rotate(np.eye(3), geometry, np.full(3, angle_deg), out_of_plane_deg).T


def rotate(
    points: NDArray[np.float64], geometry: Geometry, angle_deg: NDArray[np.float64], out_of_plane_deg: float = 0.0
) -> NDArray[np.float64]:
    """(n, 3) points, each turned about the tilt axis by its own angle (n,) in degrees (Rodrigues)."""
    axis, angle = rotation_axis(geometry, out_of_plane_deg), np.deg2rad(angle_deg)[:, None]
    along = (points @ axis)[:, None] * axis
    return np.asarray(along + (points - along) * np.cos(angle) + np.cross(axis, points) * np.sin(angle))


def distortion_matrix(geometry: Geometry) -> NDArray[np.float64]:
    """(2, 2) matrix M of elliptical lens distortion: seen = beam + M @ (ideal - beam), both (fast_px, slow_px).

    A ring around the beam becomes an ellipse. `distortion_amplitude_percent` is the difference of its long and
    short axes in percent of their mean; `distortion_azimuth_deg` the direction of the long axis, from fast (+x)
    towards up (+y), like the rotation axis: the long axis is (cos, -sin) in (fast, slow). M is symmetric, with
    eigenvalues 1 + amplitude/200 along the long axis and 1 - amplitude/200 across it. A correction applies the
    inverse of M to what was seen.
    """
    half = geometry.distortion_amplitude_percent / 200.0
    azimuth = np.deg2rad(geometry.distortion_azimuth_deg)
    long_axis = np.array([np.cos(azimuth), -np.sin(azimuth)])
    return np.asarray((1.0 - half) * np.eye(2) + 2.0 * half * np.outer(long_axis, long_axis))


def project(points: NDArray[np.float64], geometry: Geometry) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pixel positions (fast (n,), slow (n,)) of the beams s1 = s0 + point for reciprocal points (n, 3) in 1/A."""
    px_per_unit = geometry.camera_length_mm / geometry.pixel_size_mm / (1.0 / geometry.wavelength_A - points[:, 2])
    ideal = np.stack([points[:, 0] * px_per_unit, -points[:, 1] * px_per_unit])
    fast, slow = distortion_matrix(geometry) @ ideal
    return fast + geometry.beam_fast_px, slow + geometry.beam_slow_px


def spots(
    crystal: Crystal,
    geometry: Geometry,
    start_deg: float,
    end_deg: float,
    rocking_sigma_invA: float,
    scale: float = 1.0,
    mosaicity_deg: float = 0.0,
    out_of_plane_deg: float = 0.0,
) -> Spots:
    """Spots of an exposure during which the stage turns at constant speed from `start_deg` to `end_deg`.

    The rocking curve is a Gaussian, normalised over the excitation error s, the distance of the reciprocal point
    from the Ewald sphere (positive outside). Its sigma is `rocking_sigma_invA` (the crystal's finite size) and
    `mosaicity_deg` (sigma of the spread of its blocks' orientations) times the distance of the point from the
    origin, added in quadrature. s is exact at both ends of a step and linear in the angle between. start > end
    turns the other way and gives the same spots. `scale` multiplies the strengths: the place for what an aperture
    cuts off of the crystal. out_of_plane_deg: of the tilt axis, see `rotation_axis`.
    """
    k = 1.0 / geometry.wavelength_A
    points = crystal.hkl @ crystal.ub.T
    axis = rotation_axis(geometry, out_of_plane_deg)
    # Only the z of a point tells its distance from the sphere: |s0 + point|^2 = k^2 + |point|^2 - 2 k z, and
    # z(angle) = along + (z - along) cos(angle) + (axis x point)_z sin(angle), where along is the z of the part of the
    # point along the axis: 0 for an axis in the detector plane.
    along = (points @ axis) * axis[2]
    cosine, sine = points[:, 2] - along, axis[0] * points[:, 1] - axis[1] * points[:, 0]
    length2 = np.einsum("ij,ij->i", points, points)
    constant = k * k + length2
    sigma = np.sqrt(rocking_sigma_invA**2 + np.deg2rad(mosaicity_deg) ** 2 * length2)
    cut = ROCKING_CUT * sigma

    def excitation_error(angle_deg: float) -> NDArray[np.float64]:
        angle = np.deg2rad(angle_deg)
        z = along + cosine * np.cos(angle) + sine * np.sin(angle)
        return np.asarray(np.sqrt(constant - 2.0 * k * z) - k)

    steps = max(1, int(np.ceil(abs(end_deg - start_deg) / LONGEST_STEP_DEG - 1e-9)))
    edges = np.linspace(start_deg, end_deg, steps + 1)
    before = excitation_error(start_deg)
    rows, angles, means = [], [], []
    for first, last in pairwise(edges.tolist()):
        after = excitation_error(last)
        near = np.flatnonzero((np.minimum(before, after) < cut) & (np.maximum(before, after) > -cut))
        mean, centroid = _passage(before[near] / sigma[near], after[near] / sigma[near])
        rows.append(near)
        angles.append(first + (last - first) * centroid)
        means.append(mean / (sigma[near] * steps))
        before = after
    index, angle_deg = np.concatenate(rows), np.concatenate(angles)
    rate = scale * crystal.intensity[index] * np.concatenate(means)
    fast_px, slow_px = project(rotate(points[index], geometry, angle_deg, out_of_plane_deg), geometry)
    weight = rate * (abs(np.deg2rad(end_deg - start_deg)) * k)
    return Spots(index, fast_px, slow_px, angle_deg, weight, rate)


def _passage(u0: NDArray[np.float64], u1: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean of the standard normal density on the way from u0 to u1, and its centroid as a fraction of that way."""
    way = u1 - u0
    still = np.abs(way) < 1e-4
    way = np.where(still, 1.0, way)
    area = ndtr(u1) - ndtr(u0)
    middle = 0.5 * (u0 + u1)
    mean = np.where(still, _density(middle), area / way)
    # Mean of a normal deviate between two bounds: -(density difference) / area.
    some = ~still & (np.abs(area) > 1e-12)
    centroid = (-(_density(u1) - _density(u0)) / np.where(some, area, 1.0) - u0) / way
    return mean, np.clip(np.where(some, centroid, 0.5), 0.0, 1.0)


def _density(u: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.exp(-0.5 * u * u) / np.sqrt(2.0 * np.pi))
