"""The rings that a powder standard should show, and where they lie on the camera."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from protocols.lattice.reflections import cif_reflections

Array = NDArray[np.float64]

D_MIN_A = 0.7
SAME_PER_A = 1e-5
LEAST_STRENGTH = 1e-3
"""Of the strongest: weaker rings are not looked for."""


@dataclass(frozen=True, slots=True, eq=False)
class Rings:
    """(n,) rings of a powder, from the beam outwards. name: h k l of one of their reflections. height: how bright a
    ring is by kinematic theory, per length of its circle, the strongest 1.
    """

    d_star_per_A: Array
    height: Array
    name: tuple[str, ...]

    def __len__(self) -> int:
        """How many."""
        return len(self.d_star_per_A)

    def radius_px(self, camera_length_px: float, wavelength_A: float) -> Array:
        """(n,) of a camera across the beam, without ellipse."""
        return np.asarray(camera_length_px * np.tan(2 * np.arcsin(wavelength_A * self.d_star_per_A / 2)))


def powder_rings(cif: Path) -> Rings:
    """The rings of a structure up to 1 / D_MIN_A. Raises Refused for a CIF that is none."""
    cell, hkl, intensity = cif_reflections(cif, 1 / D_MIN_A)
    d_star = np.sqrt(np.einsum("mi,ij,mj->m", hkl, cell.reciprocal_metric, hkl))
    order = np.argsort(d_star, kind="stable")
    d_star, hkl, intensity = d_star[order], hkl[order], intensity[order]
    first = np.flatnonzero(np.diff(d_star, prepend=-1.0) > SAME_PER_A)
    ring = d_star[first]
    # A ring has |F|^2 d of the beam for each reflection (Vainshtein, 1964), over a circle of 1/d.
    height = np.add.reduceat(intensity, first) / ring**2
    height /= height.max()
    names = [str(tuple(int(each) for each in max(map(tuple, np.abs(part))))) for part in np.split(hkl, first[1:])]
    strong = height >= LEAST_STRENGTH
    kept = tuple(name for name, is_strong in zip(names, strong, strict=True) if is_strong)
    return Rings(ring[strong], height[strong], kept)
