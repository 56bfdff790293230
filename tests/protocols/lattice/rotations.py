"""Reflections of a rotation made without pictures: where the simulation puts them, with noise as it is said."""

from dataclasses import replace

import numpy as np

from drivers.facts import Geometry
from drivers.simulated.crystal import Crystal, load_crystal
from drivers.simulated.pattern import spots
from drivers.simulated.settings import GEOMETRY
from protocols.lattice.rotationfit import Observed


def crystal(seed: int, d_min_A: float = 1.0) -> Crystal:
    """Mordenite in some orientation, with its reflections down to d_min_A."""
    return load_crystal(None, seed, d_min_A)


def geometry_of(axis_deg: float, ellipse_percent: float = 0.0) -> Geometry:
    """The simulated instrument with another axis."""
    return replace(
        GEOMETRY,
        rotation_axis_deg=axis_deg,
        distortion_amplitude_percent=ellipse_percent,
        distortion_azimuth_deg=30.0,
    )


def observed(
    crystal: Crystal,
    geometry: Geometry,
    seed: int,
    out_deg: float = 0.0,
    count: int = 400,
    range_deg: float = 60.0,
    wrong: float = 0.0,
) -> tuple[Observed, np.ndarray]:
    """`count` reflections and their intensities; the first `wrong` of them are anywhere."""
    rng = np.random.default_rng(seed)
    seen = spots(crystal, geometry, -range_deg / 2, range_deg / 2, 1e-6, out_of_plane_deg=out_deg)
    on_camera = np.flatnonzero((seen.fast_px > 0) & (seen.fast_px < 516) & (seen.slow_px > 0) & (seen.slow_px < 516))
    some = rng.permutation(on_camera)[:count]
    place, angle = rng.choice([0.05, 0.1, 0.2], len(some)), rng.choice([0.01, 0.02, 0.06], len(some))
    fast = seen.fast_px[some] + rng.normal(size=len(some)) * place
    slow = seen.slow_px[some] + rng.normal(size=len(some)) * place
    angle_deg = seen.angle_deg[some] + rng.normal(size=len(some)) * angle
    spoilt = int(wrong * len(some))
    fast[:spoilt], slow[:spoilt] = rng.uniform(100, 416, (2, spoilt))
    return Observed(fast, slow, angle_deg, place, angle), crystal.intensity[seen.index[some]]
