"""The reflections of a lattice inside a sphere, without those that its space group forbids."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drivers.simulated.crystal import load_crystal
from engine.errors import Refused
from protocols.lattice.cell import Cell

Indices = NDArray[np.int64]


def allowed_reflections(cell: Cell, d_star_max_per_A: float, space_group: str = "P 1") -> Indices:
    """(m, 3) every hkl with 0 < |G| <= d*_max that the space group allows, sorted by h, k, l.

    |h| = |G . a| <= d*_max |a| bounds the search, for oblique cells too. space_group: a Hermann-Mauguin symbol, as
    gemmi knows it; Refused where it does not, or where the cell has not the metric of its crystal system.
    """
    bounds = [int(d_star_max_per_A * axis) for axis in cell.parameters[:3]]
    grid = np.indices([2 * n + 1 for n in bounds]).reshape(3, -1).T - bounds
    squared = np.einsum("mi,ij,mj->m", grid, cell.reciprocal_metric, grid)
    inside = grid[(squared <= d_star_max_per_A**2) & (squared > 0)].astype(np.int64)
    present: Indices = inside[~_absent(inside, cell, space_group)]
    return present


def _absent(hkl: Indices, cell: Cell, symbol: str) -> NDArray[np.bool_]:
    if symbol == "P 1":
        return np.zeros(len(hkl), dtype=bool)
    import gemmi

    group = gemmi.find_spacegroup_by_name(symbol)
    if group is None:
        raise Refused(f"space group {symbol!r} is unknown; give its Hermann-Mauguin symbol. Nothing was simulated.")
    if not gemmi.UnitCell(*cell.parameters).is_compatible_with_spacegroup(group, 0.01):
        raise Refused(f"the cell {cell} does not fit the space group {symbol}. Nothing was simulated.")
    return np.asarray(group.operations().systematic_absences(hkl.astype(np.int32)), dtype=bool)


def cif_reflections(path: Path, d_star_max_per_A: float) -> tuple[Cell, Indices, NDArray[np.float64]]:
    """The cell of a CIF, its (m, 3) allowed hkl and their kinematic intensities (m,) in A^2.

    Refused, with cause and remedy, for a file that is no structure (`drivers.simulated.crystal.load_crystal`).
    """
    crystal = load_crystal(path, orientation_seed=0, d_min_A=1 / d_star_max_per_A)
    return Cell(*crystal.cell), crystal.hkl.astype(np.int64), crystal.intensity
