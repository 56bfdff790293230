"""A specimen and the session in which it is looked at: cell, intensities, microscope.

The same for PATTERNS_EACH patterns. Drawn from the seed and the number of the crystal alone, so that any pattern can
be made by itself.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from drivers.simulated.crystal import Crystal
from protocols.integration.electronfactors import four_gaussians
from protocols.lattice.reflections import allowed_reflections
from protocols.zones.patterns.randomcells import SYSTEMS, random_cell
from protocols.zones.patterns.simulation import electron_wavelength_A

Array = NDArray[np.float64]

PATTERNS_EACH = 8
"""Patterns of one specimen, in other orientations, with other neighbours and exposures."""
VOLUMES_A3 = (100.0, 4000.0)
D_STAR_MAX_PER_A = 1.3
"""Reflections farther out are not drawn: 0.77 A."""
FAINTEST = 3e-4
"""Of the strongest reflection: what is weaker is left out."""
SMALLEST_PER_PX, LARGEST_PER_PX = 0.0031, 0.0066
"""1/A a pixel of a frame of 516 px, which is 0.0049 at a camera length of 250 mm; other frames see as much in all."""
FRAME_PX = 516
VOLTAGES_KV = (200.0, 200.0, 200.0, 300.0, 120.0)
ATOMS = ("C", "C", "O", "Si")


@dataclass(frozen=True, slots=True, eq=False)
class Specimen:
    """crystal: with U = 1, so that `ub` is B; intensities have the fall-off of atoms and of thermal motion.

    usual: what a randomly turned crystal scatters in the mean, in the units of `pattern.Spots.rate`; see `shares`.
    per_frame: width of a frame in 1/A.
    """

    crystal: Crystal
    usual: float
    wavelength_A: float
    per_frame_A: float
    ellipse_percent: float
    ellipse_deg: float
    axis_deg: float
    spot_sigma: float
    """Of FRAME_PX pixels."""


@lru_cache(maxsize=4)
def specimen(seed: int, number: int, largest_A3: float = VOLUMES_A3[1]) -> Specimen:
    """That of this number: a cell of any system, 100 to 4000 A^3 (evenly in the logarithm), or to less."""
    rng = np.random.Generator(np.random.SFC64([seed, 1, number]))
    volume_A3 = float(np.exp(rng.uniform(*np.log((VOLUMES_A3[0], largest_A3)))))
    cell = random_cell(rng, SYSTEMS[rng.integers(len(SYSTEMS))], volume_A3, rng.uniform(1.0, 3.0))
    hkl = allowed_reflections(cell, D_STAR_MAX_PER_A)
    basis = cell.reciprocal_basis
    d_star = np.linalg.norm(hkl @ basis.T, axis=1)
    intensity = _wilson(hkl, bool(rng.random() < 0.7), rng) * _falls(d_star, rng)
    kept = intensity > FAINTEST * intensity.max()
    hkl, intensity, d_star = hkl[kept], intensity[kept], d_star[kept]
    crystal = Crystal(
        "random", cell.parameters, np.eye(3), basis, hkl.astype(np.int32), intensity, 1 / D_STAR_MAX_PER_A, 100.0
    )
    amplitude = rng.uniform(0.0, 1.5) if rng.random() < 0.85 else rng.uniform(1.5, 5.0)
    return Specimen(
        crystal,
        usual=float((intensity / (2 * d_star)).sum()),  # a point is on the sphere once in 2 |g| of its turns
        wavelength_A=electron_wavelength_A(float(rng.choice(VOLTAGES_KV))),
        per_frame_A=FRAME_PX * float(np.exp(rng.uniform(*np.log((SMALLEST_PER_PX, LARGEST_PER_PX))))),
        ellipse_percent=float(amplitude),
        ellipse_deg=float(rng.uniform(0, 180)),
        axis_deg=float(rng.uniform(-180, 180)),
        spot_sigma=float(np.exp(rng.uniform(np.log(0.85), np.log(2.2)))),
    )


def _wilson(hkl: NDArray[np.int64], centrosymmetric: bool, rng: np.random.Generator) -> Array:
    """(m,) intensities as Wilson's statistics have them, equal for h and -h; hkl sorted, so that these are mirrored."""
    half = len(hkl) // 2
    drawn = rng.standard_normal(half) ** 2 if centrosymmetric else rng.exponential(1.0, half)
    return np.concatenate([drawn, drawn[::-1]])


def _falls(d_star: Array, rng: np.random.Generator) -> Array:
    """(m,) the square of an atom's scattering factor, 1 at 0, times exp(-B d*^2 / 2); B from 1 to 12 A^2."""
    pairs = four_gaussians(ATOMS[rng.integers(len(ATOMS))])
    factor = sum(a * np.exp(-b * d_star**2 / 4) for a, b in pairs) / sum(a for a, _ in pairs)
    thermal_A2 = np.exp(rng.uniform(np.log(1.0), np.log(12.0)))
    return np.asarray(factor**2 * np.exp(-thermal_A2 * d_star**2 / 2), dtype=np.float64)
