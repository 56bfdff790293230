"""NAME.hkl and NAME.ins for SHELX: every observation by itself (HKLF 4), and what cell, symmetry and atoms are.

SHELX merges and scales by itself. Its factors are those of X-rays: the ones for electrons stand in the file where a
composition is known; else the place says what to fill in.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from protocols.integration.electronfactors import formula_units, shelx_line
from protocols.lattice.cell import Cell

if TYPE_CHECKING:
    import gemmi

Array = NDArray[np.float64]

LATTICES = "PIRFABC"
LARGEST = 9999.0
"""Of an intensity in a column of eight characters with two decimals, its sign in it."""


def hkl_text(hkl: NDArray[np.integer], intensity: Array, sigma: Array) -> str:
    """HKLF 4: h k l I sigma in columns 3 (4), 2 (8.2), scaled so that the largest is LARGEST; ends with zeros."""
    scale = LARGEST / max(float(np.abs(intensity).max(initial=0)), float(sigma.max(initial=0)), 1e-30)
    rows = [
        "".join(f"{x:4d}" for x in index) + f"{i:8.2f}{max(s, 0.01):8.2f}{1:4d}"
        for index, i, s in zip(hkl.tolist(), (intensity * scale).tolist(), (sigma * scale).tolist(), strict=True)
    ]
    return "\n".join([*rows, f"{0:4d}{0:4d}{0:4d}{0:8.2f}{0:8.2f}{0:4d}", ""])


def ins_text(
    title: str,
    wavelength_A: float,
    cell: Cell,
    cell_sigma: Array,
    group: "gemmi.SpaceGroup",
    composition: dict[str, float] | None,
) -> str:
    """The instructions. cell_sigma: (6,)."""
    units = 1 if composition is None else formula_units(composition, cell.volume_A3)
    lattice, operations = symmetry_lines(group)
    lines = [
        f"TITL {title} in {group.xhm()}",
        f"CELL {wavelength_A:.5f} {' '.join(f'{x:.4f}' for x in cell.parameters)}",
        f"ZERR {units} {' '.join(f'{x:.4f}' for x in cell_sigma)}",
        f"LATT {lattice}",
        *(f"SYMM {operation}" for operation in operations),
    ]
    if composition is None:
        lines += [
            "REM Fill in the elements, and how many atoms of each are in the cell, for example",
            "REM SFAC C H O",
            "REM UNIT 36 32 16",
            "REM Scattering factors for electrons: --composition 'C9 H8 O4' writes them.",
        ]
    else:
        lines += [
            "REM factors for electrons, Int. Tables C, table 4.3.2.2, as four Gaussians",
            *(shelx_line(element) for element in composition),
            f"UNIT {' '.join(f'{units * count:g}' for count in composition.values())}",
            f"REM {units} formula units are a guess by the volume: correct ZERR and UNIT",
        ]
    return "\n".join([*lines, "L.S. 10", "FMAP 2", "PLAN 20", "HKLF 4", "END", ""])


def symmetry_lines(group: "gemmi.SpaceGroup") -> tuple[int, list[str]]:
    """LATT, and the operations of SYMM: without the identity, centring, and what the inversion makes of others."""
    import gemmi

    operations = group.operations()
    number = LATTICES.index(str(group.hm)[0]) + 1
    inversion = gemmi.Op("-x,-y,-z")
    every = [op.wrap() for op in operations.sym_ops]
    centric = any(op == inversion for op in every)
    told: list[gemmi.Op] = [gemmi.Op("x,y,z")]
    for op in every:
        alike = [op, (op * inversion).wrap()] if centric else [op]
        # What differs by a centring is the same.
        images = [_moved(each, centre) for each in alike for centre in operations.cen_ops]
        if not any(image == one for image in images for one in told):
            told.append(op)
    return (number if centric else -number), [op.triplet().upper() for op in told[1:]]


def _moved(op: "gemmi.Op", centre: "list[int]") -> "gemmi.Op":
    import gemmi

    moved = gemmi.Op(op.triplet())
    moved.tran = [a + b for a, b in zip(op.tran, centre, strict=True)]
    return moved.wrap()
