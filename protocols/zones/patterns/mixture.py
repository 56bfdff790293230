"""Patterns of a mixture: crystals of two kinds or more, each a plate of its own thickness, nobody told which is which.

A plate of thickness t gives every reflection a rod along the beam, of the shape sin^2(pi t s) / (pi t s)^2: it is seen
up to the first zero, at the excitation error s = 1 / t. Gorelik and co-workers' 0.01 1/A are plates of 10 nm.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from protocols.lattice.cell import Cell
from protocols.lattice.reflections import allowed_reflections, cif_reflections
from protocols.zones.patterns.orientations import orientations
from protocols.zones.patterns.simulation import Array, Geometry, Indices, Patterns, diffract, joined

A_PER_NM = 10.0
LADDER_STEP = 1.32
"""Ratio of neighbouring excitation errors that a pattern is tried with; seven from 10 to 50 nm."""


@dataclass(frozen=True, slots=True, eq=False)
class Phase:
    """One kind of crystal. cell: conventional. hkl: (m, 3) reflections, intensity: (m,) theirs.

    lattice: its reduced cell without centring. share: of the crystals, 0..1.
    """

    cell: Cell
    lattice: Cell
    hkl: Indices
    intensity: Array
    share: float


@dataclass(frozen=True, slots=True, eq=False)
class Mixed:
    """patterns: n, in random order. phase: (n,) number of each pattern's phase. thickness_nm: (n,) of its plate."""

    patterns: Patterns
    phase: NDArray[np.int8]
    thickness_nm: Array


def phase_of_cell(cell: Cell, share: float, geometry: Geometry, space_group: str = "P 1") -> Phase:
    """All reflections that the space group allows, equally bright. Refused for a group that does not fit the cell."""
    hkl = allowed_reflections(cell, geometry.d_star_max_per_A, space_group)
    return Phase(cell, cell.reduced(space_group), hkl, np.ones(len(hkl)), share)


def phase_of_cif(path: Path, share: float, geometry: Geometry) -> Phase:
    """The cell of a CIF, with kinematic intensities. Refused for an unusable file."""
    cell, hkl, intensity = cif_reflections(path, geometry.d_star_max_per_A)
    return Phase(cell, lattice_of_reflections(cell, hkl), hkl, intensity, share)


def lattice_of_reflections(cell: Cell, hkl: Indices) -> Cell:
    """The reduced cell of the lattice that (m, 3) hkl span: without what a centring leaves out."""
    basis = np.zeros((0, 3), dtype=np.int64)
    for row in hkl:
        basis = _spanned(basis, row)
        if len(basis) == 3 and abs(round(float(np.linalg.det(basis)))) == 1:
            break
    return Cell.from_reciprocal_metric(basis @ cell.reciprocal_metric @ basis.T).reduced()


def _spanned(basis: Indices, vector: Indices) -> Indices:
    """A basis, in echelon form, of all that the (k, 3) basis and a further vector span: by Euclid, column by column."""
    rows = [*basis.tolist(), [int(x) for x in vector]]
    done: list[list[int]] = []
    for column in range(3):
        while len(some := [row for row in rows if row[column]]) > 1:
            least = min(some, key=lambda row: abs(row[column]))
            rows = [
                row if row is least else [x - row[column] // least[column] * y for x, y in zip(row, least, strict=True)]
                for row in rows
            ]
        done += some
        rows = [row for row in rows if not row[column] and any(row)]
    return np.array(done, dtype=np.int64).reshape(-1, 3)


def excitation_ladder(thinnest_nm: float, thickest_nm: float) -> tuple[float, ...]:
    """Excitation errors in 1/A, largest first, of plates between these thicknesses: what a pattern is tried with."""
    first, last = 1 / (A_PER_NM * thinnest_nm), 1 / (A_PER_NM * thickest_nm)
    rungs = 1 + int(np.ceil(np.log(first / last) / np.log(LADDER_STEP) - 1e-9))
    return tuple(float(s) for s in np.geomspace(first, last, rungs))


def mix(
    phases: Sequence[Phase],
    count: int,
    rng: np.random.Generator,
    geometry: Geometry,
    thickness_nm: tuple[float, float] | None = None,
    half_sphere: bool = False,
) -> Mixed:
    """`count` patterns of these phases by their shares, each phase in its own orientations, shuffled.

    thickness: between these, all alike likely; None: the geometry's excitation error for all.
    """
    total = sum(phase.share for phase in phases)
    upto = np.rint(np.cumsum([phase.share / total for phase in phases]) * count).astype(int)
    parts, of, thick = [], [], []
    for number, (phase, n) in enumerate(zip(phases, np.diff(upto, prepend=0), strict=True)):
        t = np.full(n, 1 / (A_PER_NM * geometry.excitation_error_per_A))
        if thickness_nm is not None:
            t = rng.uniform(*thickness_nm, n)
        turned = orientations(int(n), rng, half_sphere)
        parts.append(diffract(phase.cell, phase.hkl, phase.intensity, turned, geometry, 1 / (A_PER_NM * t)))
        of.append(np.full(n, number, dtype=np.int8))
        thick.append(t)
    order = rng.permutation(count)
    return Mixed(joined(parts).take(order), np.concatenate(of)[order], np.concatenate(thick)[order])
