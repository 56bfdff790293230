"""Merged intensities as MTZ (CCP4 and others) and CIF (small structures): unique reflections in the asymmetric unit."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from protocols.integration.merging import Merged
from protocols.lattice.cell import Cell

if TYPE_CHECKING:
    import gemmi

Array = NDArray[np.float64]

CELL_KEYS = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")


def write_mtz(
    path: Path, title: str, wavelength_A: float, cell: Cell, group: "gemmi.SpaceGroup", merged: Merged
) -> None:
    """H K L IMEAN SIGIMEAN N. N: observations of each."""
    import gemmi

    mtz = gemmi.Mtz(with_base=True)
    mtz.title = title[:70]
    mtz.spacegroup = group
    mtz.set_cell_for_all(gemmi.UnitCell(*cell.parameters))
    data = mtz.add_dataset("electrons")
    data.wavelength = wavelength_A
    for label, kind in (("IMEAN", "J"), ("SIGIMEAN", "Q"), ("N", "I")):
        mtz.add_column(label, kind, dataset_id=data.id)
    mtz.set_data(np.column_stack([merged.hkl, merged.intensity, merged.sigma, merged.count]).astype(np.float32))
    mtz.history = ["From credline: intensities of a rotation by summation."]
    mtz.write_to_file(str(path))


def cif_text(
    title: str,
    wavelength_A: float,
    cell: Cell,
    cell_sigma: Array,
    group: "gemmi.SpaceGroup",
    merged: Merged,
) -> str:
    """A CIF with the cell, its symmetry, how it was measured and the merged intensities. cell_sigma: (6,)."""
    import gemmi

    document = gemmi.cif.Document()
    block = document.add_new_block("".join(c if c.isalnum() or c in "_-" else "_" for c in title))
    quoted = gemmi.cif.quote
    for key, value, sigma in zip(CELL_KEYS, cell.parameters, cell_sigma.tolist(), strict=True):
        block.set_pair(f"_cell_{key}", with_error(value, sigma))
    block.set_pair("_cell_volume", f"{cell.volume_A3:.1f}")
    block.set_pair("_space_group_name_H-M_alt", quoted(group.xhm()))
    block.set_pair("_space_group_IT_number", str(group.number))
    operations = block.init_loop("_space_group_symop_", ["operation_xyz"])
    for operation in group.operations():
        operations.add_row([quoted(operation.triplet())])
    whole = merged.whole
    for key, value_text in (
        ("_diffrn_radiation_probe", "electron"),
        ("_diffrn_radiation_wavelength", f"{wavelength_A:.5f}"),
        ("_diffrn_source", quoted("transmission electron microscope")),
        ("_diffrn_measurement_method", quoted("rotation, intensities by summation")),
        ("_diffrn_reflns_number", str(whole.observations)),
        ("_diffrn_reflns_av_R_equivalents", "?" if whole.r_meas is None else f"{whole.r_meas:.4f}"),
        ("_reflns_number_total", str(whole.unique)),
        ("_reflns_d_resolution_high", f"{whole.to_A:.3f}"),
    ):
        block.set_pair(key, value_text)
    loop = block.init_loop("_refln_", ["index_h", "index_k", "index_l", "F_squared_meas", "F_squared_sigma"])
    loop.set_all_values(
        [
            [str(x) for x in column]
            for column in (*merged.hkl.T.tolist(), _short(merged.intensity), _short(merged.sigma))
        ]
    )
    return str(document.as_string())


def _short(values: Array) -> list[str]:
    return [f"{value:.5g}" for value in values.tolist()]


def with_error(value: float, sigma: float) -> str:
    """As CIF has it: 7.528(12); without the bracket where it is exact."""
    if not sigma > 0:
        return f"{value:.6g}"
    decimals = max(0, 1 - int(np.floor(np.log10(sigma))))
    return f"{value:.{decimals}f}({round(sigma * 10**decimals)})"
