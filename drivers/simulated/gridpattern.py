"""Diffraction of a thin crystal as it lies on a grid: reflections as long as the crystal is thin, excited together.

A plate of thickness t turns each reciprocal lattice point into a rod along its normal, here along the beam, of which
|sin(pi t s) / (pi t s)|^2 is the profile (excitation error s; any textbook of electron diffraction): a flat crystal of
10 nm has spots up to 0.01 1/A off the Ewald sphere, and so many of them. Its lattice is bent a little, which widens the
profile at a distance from the beam. Pure functions.
"""

import numpy as np
from numpy.typing import NDArray

from drivers.facts import Geometry
from drivers.simulated.crystal import Crystal
from drivers.simulated.pattern import project, rotate

Array = NDArray[np.float64]

A_PER_NM = 10.0
CUT_ZEROS, CUT_SIGMA = 3.0, 4.0
"""Reflections are excited up to this many zeros of the profile plus this many standard deviations of the bending."""
NODES, WEIGHTS = np.polynomial.legendre.leggauss(24)
MOST_TAKEN = 0.7
"""Of the light on a crystal, what all its spots together can have; the strongest feed the others, which evens out."""
LONGEST_STEP_DEG = 0.1
"""A stage that turns during the exposure is looked at so often."""


def rod_profile(s_per_A: Array, thickness_A: float, bent_per_A: Array) -> Array:
    """(n,) in A: the profile of a rod, normalised over the excitation error s (n,), bent by bent_per_A (n,).

    The transform of the plate's autocorrelation, a triangle of half width t, times that of the bending: the integral of
    (1 - x / t) exp(-2 (pi sigma x)^2) 2 cos(2 pi s x) from 0 to t.
    """
    x = thickness_A * (NODES + 1.0) / 2.0
    triangle = thickness_A * WEIGHTS * (1.0 - x / thickness_A)
    blurred = np.exp(-2.0 * (np.pi * bent_per_A[:, None] * x) ** 2)
    profile = (blurred * np.cos(2.0 * np.pi * s_per_A[:, None] * x)) @ triangle
    return np.asarray(np.maximum(profile, 0.0))


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
        near = np.flatnonzero(np.abs(s) < CUT_ZEROS / thickness_A + CUT_SIGMA * bent)
        profile = rod_profile(s[near], thickness_A, bent[near])
        fast_px, slow_px = project(turned[near], geometry)
        found.append((fast_px, slow_px, strength / steps * phase.intensity[near] * profile))
    fast, slow, part = (np.concatenate(each) for each in zip(*found, strict=True))
    if (total := float(part.sum())) > 0.0:
        part = part * (MOST_TAKEN * (1.0 - np.exp(-total / MOST_TAKEN)) / total)
    return fast, slow, part
