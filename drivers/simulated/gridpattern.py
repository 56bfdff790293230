"""Diffraction of a thin crystal as it lies on a grid: reflections as long as the crystal is thin, excited together.

A plate of thickness t turns each reciprocal lattice point into a rod along its normal, here along the beam, of which
|sin(pi t s) / (pi t s)|^2 is the profile (excitation error s; any textbook of electron diffraction): a flat crystal of
10 nm has spots up to 0.01 1/A off the Ewald sphere, and so many of them. Its lattice is bent a little, which widens the
profile at a distance from the beam. Pure functions.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from drivers.facts import Geometry
from drivers.simulated.crystal import Crystal
from drivers.simulated.pattern import project, rotate, spots

Array = NDArray[np.float64]

A_PER_NM = 10.0
CUT_ZEROS, CUT_SIGMA = 3.0, 4.0
"""Reflections are excited up to this many zeros of the profile plus this many standard deviations of the bending."""
NODES, WEIGHTS = np.polynomial.legendre.leggauss(32)
BLURRED_OUT = 0.8
"""At so many times one over the bending nothing is left of the integrand (3e-6)."""
MOST_TAKEN = 0.7
"""Of the light on a crystal, what all its spots together can have; the strongest feed the others, which evens out."""
LONGEST_STEP_DEG = 0.1
"""A stage that turns during the exposure is looked at so often."""
TURNS_DEG = 0.02
"""An exposure in which the stage turns farther than this takes in how reflections pass through the sphere."""
PLATE_SIGMA = 0.376
"""Of a Gaussian as wide at half its height as (sin(pi t s) / (pi t s))^2, which is 0.886 / t, in units of 1 / t."""


def rod_profile(s_per_A: Array, thickness_A: float, bent_per_A: Array) -> Array:
    """(n,) in A: the profile of a rod, normalised over the excitation error s (n,), bent by bent_per_A (n,).

    The transform of the plate's autocorrelation, a triangle of half width t, times that of the bending: the integral of
    (1 - x / t) exp(-2 (pi sigma x)^2) 2 cos(2 pi s x) from 0 to t. Good where a reflection is excited (`is_excited`).
    """
    reach = np.minimum(thickness_A, BLURRED_OUT / np.maximum(bent_per_A, 1e-9))[:, None]
    x = reach * (NODES + 1.0) / 2.0
    blurred = (1.0 - x / thickness_A) * np.exp(-2.0 * (np.pi * bent_per_A[:, None] * x) ** 2)
    profile = (blurred * np.cos(2.0 * np.pi * s_per_A[:, None] * x)) @ WEIGHTS * reach[:, 0]
    return np.asarray(np.maximum(profile, 0.0))


def is_excited(s_per_A: Array, thickness_A: float, bent_per_A: Array) -> NDArray[np.bool_]:
    """(n,) whether reflections are near enough to the Ewald sphere to be seen; the rest of a rod has 3 % of it."""
    return np.abs(s_per_A) < CUT_ZEROS / thickness_A + CUT_SIGMA * bent_per_A


def spots_of(
    phase: Crystal,
    orientation: Array,
    thickness_nm: float,
    geometry: Geometry,
    start_deg: float,
    end_deg: float,
    bent_deg: float,
    out_of_plane_deg: float = 0.0,
    share: float = 1.0,
) -> tuple[Array, Array, Array]:
    """Spots of a crystal: fast and slow in px, and which part of the light on it each has, all (n,).

    share: of what kinematic theory says (`GridSettings.diffracting_share`).
    """
    thickness_A = A_PER_NM * thickness_nm
    points = phase.hkl @ (orientation @ phase.ub).T
    k = 1.0 / geometry.wavelength_A
    length2 = np.einsum("ij,ij->i", points, points)
    bent = np.sqrt(length2) * np.deg2rad(bent_deg)
    strength = geometry.wavelength_A**2 * thickness_A / phase.volume_A3**2 * share
    steps = max(1, int(np.ceil(abs(end_deg - start_deg) / LONGEST_STEP_DEG - 1e-9)))
    found: list[tuple[Array, Array, Array]] = []
    for angle in start_deg + (end_deg - start_deg) * (np.arange(steps) + 0.5) / steps:
        turned = rotate(points, geometry, np.full(len(points), angle), out_of_plane_deg) if angle else points
        s = np.sqrt(k * k + length2 - 2.0 * k * turned[:, 2]) - k
        near = np.flatnonzero(is_excited(s, thickness_A, bent))
        profile = rod_profile(s[near], thickness_A, bent[near])
        fast_px, slow_px = project(turned[near], geometry)
        found.append((fast_px, slow_px, strength / steps * phase.intensity[near] * profile))
    fast, slow, part = (np.concatenate(each) for each in zip(*found, strict=True))
    return fast, slow, _limited(part)


def turning_spots_of(
    phase: Crystal,
    orientation: Array,
    thickness_nm: float,
    geometry: Geometry,
    start_deg: float,
    end_deg: float,
    bent_deg: float,
    out_of_plane_deg: float = 0.0,
    share: float = 1.0,
) -> tuple[Array, Array, Array]:
    """The same of a crystal that turns while it is exposed, as `pattern.spots` has it: each reflection with what it
    passes of its rocking curve, whose width is that of the plate and its bending. thickness_nm: along the beam.
    """
    crystal = replace(phase, orientation=orientation, ub=orientation @ phase.ub)
    thickness_A = A_PER_NM * thickness_nm
    sigma = PLATE_SIGMA / thickness_A
    excited = spots(
        crystal, geometry, start_deg, end_deg, sigma, mosaicity_deg=bent_deg, out_of_plane_deg=out_of_plane_deg
    )
    part = excited.rate * (geometry.wavelength_A**2 * thickness_A / phase.volume_A3**2 * share)
    return excited.fast_px, excited.slow_px, _limited(part)


def _limited(part: Array) -> Array:
    total = float(part.sum())
    return part * (MOST_TAKEN * (1.0 - np.exp(-total / MOST_TAKEN)) / total) if total > 0.0 else part
