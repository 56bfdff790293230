"""Electron diffraction patterns of one crystal in many orientations: which reflections are excited, and where.

Wavelength, resolution and excitation error are those of Gorelik and co-workers (2025). A pattern is a list of spots;
`protocols.zones.patterns.render` makes pictures of them, `protocols.zones.patterns.noise` spoils them.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import constants

from protocols.lattice.cell import Cell
from protocols.lattice.reflections import allowed_reflections, cif_reflections
from protocols.zones.patterns.orientations import orientations
from protocols.zones.sorting.labels import FEWEST_SPOTS, NO_HIT, SEVERAL, best_planes, labels_of

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

ENTRIES_AT_ONCE = 2_000_000
"""Orientations times reflections held in memory at one time."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """wavelength: 200 keV. d_star_max: reflections beyond are not seen. excitation_error: those nearer to the Ewald
    sphere are excited.
    """

    wavelength_A: float = 0.0251
    d_star_max_per_A: float = 1.0
    excitation_error_per_A: float = 0.01


def electron_wavelength_A(voltage_kV: float) -> float:
    """Of electrons accelerated by this voltage, relativistic: h / sqrt(2 m e V (1 + e V / 2 m c^2))."""
    energy_J = constants.e * voltage_kV * 1e3
    mass_kg, c = constants.m_e, constants.c
    momentum = np.sqrt(2 * mass_kg * energy_J * (1 + energy_J / (2 * mass_kg * c**2)))
    return float(constants.h / momentum / constants.angstrom)


def experiment(voltage_kV: float | None, excitation_error_per_A: float) -> Geometry:
    """That of a microscope; without a voltage the wavelength is the usual one."""
    geometry = Geometry(excitation_error_per_A=excitation_error_per_A)
    return replace(geometry, wavelength_A=electron_wavelength_A(voltage_kV)) if voltage_kV else geometry


@dataclass(frozen=True, eq=False)
class Patterns:
    """n patterns; the spots of pattern i are rows start[i] to start[i + 1] of the arrays over all m spots.

    xy: (m, 2) position on a flat detector in 1/A (that is, divided by wavelength times camera length), primary beam
        at 0, x to the right and y downwards in the picture, beam away from the viewer.
    hkl: (m, 3); 0 0 0 for a spot that is no reflection of the crystal.
    intensity: (m,), at most 1 in a pattern.
    start: (n + 1,).
    orientation: (n, 3, 3) from the crystal (a* along x, b* in the xy plane) into the lab.
    crystals: (n,) in the beam; None: one in every pattern.
    """

    xy: Array
    hkl: Indices
    intensity: Array
    start: Indices
    orientation: Array
    crystals: Indices | None = None

    def __len__(self) -> int:
        """Number of patterns."""
        return len(self.start) - 1

    @cached_property
    def _planes(self) -> tuple[Indices, Indices]:
        return best_planes(self.hkl, self.start)

    @property
    def zone_axis(self) -> Indices:
        """(n, 3) primitive [uvw] of the plane with most reflections; 0 0 0 where all lie on one row."""
        return self._planes[0]

    @property
    def outside(self) -> Indices:
        """(n,) reflections outside that plane, exact up to three."""
        return self._planes[1]

    @cached_property
    def label(self) -> NDArray[np.int8]:
        """(n,) index into `labels.LABELS`."""
        label = labels_of(*self._planes)
        label[self.crystals_in_beam > 1] = SEVERAL
        label[(self.crystals_in_beam == 0) | (np.diff(self.start) < FEWEST_SPOTS)] = NO_HIT
        return label

    @property
    def crystals_in_beam(self) -> Indices:
        """(n,) how many crystals there are in the beam."""
        return np.ones(len(self), dtype=np.int64) if self.crystals is None else self.crystals

    @cached_property
    def owner(self) -> Indices:
        """(m,) the pattern of each spot."""
        return np.repeat(np.arange(len(self)), np.diff(self.start))

    def spots(self, pattern: int) -> Array:
        """(k, 2) positions of one pattern's spots in 1/A."""
        return self.xy[self.start[pattern] : self.start[pattern + 1]]

    def only(self, keep: NDArray[np.bool_]) -> "Patterns":
        """The same patterns with those of the (m,) spots that are to be kept; labels are worked out anew."""
        start = np.concatenate([[0], np.cumsum(np.bincount(self.owner[keep], minlength=len(self)))])
        return replace(self, xy=self.xy[keep], hkl=self.hkl[keep], intensity=self.intensity[keep], start=start)

    def take(self, which: Indices) -> "Patterns":
        """Some of the patterns, by number, in that order."""
        which = np.asarray(which, dtype=np.int64)
        lengths = np.diff(self.start)[which]
        start = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        rows = np.repeat(self.start[which] - start[:-1], lengths) + np.arange(start[-1])
        crystals = None if self.crystals is None else self.crystals[which]
        return Patterns(self.xy[rows], self.hkl[rows], self.intensity[rows], start, self.orientation[which], crystals)


def joined(parts: "list[Patterns]") -> Patterns:
    """Several sets of patterns as one."""
    lengths = np.concatenate([np.diff(part.start) for part in parts])
    return Patterns(
        np.concatenate([part.xy for part in parts]),
        np.concatenate([part.hkl for part in parts]),
        np.concatenate([part.intensity for part in parts]),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.concatenate([part.orientation for part in parts]),
        np.concatenate([part.crystals_in_beam for part in parts]),
    )


def simulate(
    cell: Cell,
    count: int,
    rng: np.random.Generator,
    geometry: Geometry | None = None,
    space_group: str = "P 1",
    half_sphere: bool = False,
) -> Patterns:
    """Patterns of a crystal with this cell in `count` orientations (`orientations.orientations`), all spots equal.

    Refused for a space group that is unknown or does not fit the cell.
    """
    geometry = geometry or Geometry()
    hkl = allowed_reflections(cell, geometry.d_star_max_per_A, space_group)
    return diffract(cell, hkl, np.ones(len(hkl)), orientations(count, rng, half_sphere), geometry)


def simulate_cif(
    path: Path, count: int, rng: np.random.Generator, geometry: Geometry | None = None, half_sphere: bool = False
) -> tuple[Cell, Patterns]:
    """The cell of a CIF and patterns of its crystal, with kinematic intensities. Refused for an unusable file."""
    geometry = geometry or Geometry()
    cell, hkl, intensity = cif_reflections(path, geometry.d_star_max_per_A)
    return cell, diffract(cell, hkl, intensity, orientations(count, rng, half_sphere), geometry)


def diffract(
    cell: Cell,
    hkl: Indices,
    intensity: Array,
    orientation: Array,
    geometry: Geometry,
    excitation_error_per_A: Array | None = None,
) -> Patterns:
    """Which of the (m, 3) reflections are excited in each (n, 3, 3) orientation, and where they fall.

    Excited: | |K z + G| - K | < s, K = 1 / wavelength. Solved for G_z, that is a band about the Ewald sphere, so
    only G_z is needed of all reflections. An excited reflection is seen where its relrod, along the beam, meets
    the sphere: at G_xy K / k'_z.

    excitation_error: (n,) of each pattern, where crystals differ in thickness; else that of the geometry.
    """
    k = 1 / geometry.wavelength_A
    points = hkl @ cell.reciprocal_basis.T
    squared = np.einsum("mi,mi->m", points, points)
    s = np.atleast_1d(geometry.excitation_error_per_A if excitation_error_per_A is None else excitation_error_per_A)
    s = np.broadcast_to(s, len(orientation))
    pattern, reflection = [], []
    step = max(1, ENTRIES_AT_ONCE // max(1, len(hkl)))
    for begin in range(0, len(orientation), step):
        depth = orientation[begin : begin + step, 2] @ points.T
        low, high = (
            (np.square(k + side * s[begin : begin + step])[:, None] - k**2 - squared) / (2 * k) for side in (-1, 1)
        )
        i, j = np.nonzero((depth > low) & (depth < high))
        pattern.append(i + begin)
        reflection.append(j)
    owner, excited = (
        np.concatenate(parts) if parts else np.empty(0, dtype=np.int64) for parts in (pattern, reflection)
    )
    flat = np.einsum("mij,mj->mi", orientation[owner, :2], points[excited])
    xy = flat * (k / np.sqrt(k**2 - np.einsum("mi,mi->m", flat, flat)))[:, None]
    start = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=len(orientation)))]).astype(np.int64)
    strongest = np.zeros(len(orientation))
    np.maximum.at(strongest, owner, intensity[excited])
    return Patterns(xy, hkl[excited], intensity[excited] / strongest[owner], start, orientation)
