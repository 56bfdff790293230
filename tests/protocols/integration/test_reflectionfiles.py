"""MTZ and CIF as gemmi reads them back, and the MTZ's own bytes."""

import struct
from pathlib import Path

import gemmi
import numpy as np
import pytest

from protocols.integration.merging import Merged, merge
from protocols.integration.reflectionfiles import cif_text, with_error, write_mtz
from protocols.lattice.cell import Cell

CELL = Cell(7.0, 8.5, 11.0, 90, 90, 90)
GROUP = gemmi.SpaceGroup("P 21 21 21")


@pytest.fixture
def merged() -> Merged:
    every = np.array(gemmi.make_miller_array(gemmi.UnitCell(*CELL.parameters), GROUP, 1.5), dtype=np.int64)
    rng = np.random.default_rng(3)
    twice = np.concatenate([every, -every])
    return merge(CELL, GROUP, twice, rng.exponential(50.0, len(twice)), np.full(len(twice), 2.0), 1.5)


def test_an_mtz_says_what_was_merged(merged: Merged, tmp_path: Path) -> None:
    path = tmp_path / "x.mtz"
    write_mtz(path, "x", 0.02508, CELL, GROUP, merged)
    mtz = gemmi.read_mtz_file(str(path))
    assert mtz.spacegroup.hm == "P 21 21 21"
    assert mtz.cell.parameters == pytest.approx(CELL.parameters)
    assert mtz.datasets[-1].wavelength == pytest.approx(0.02508)
    assert np.array(mtz.column_with_label("IMEAN")) == pytest.approx(merged.intensity, rel=1e-5)
    assert np.array(mtz.column_with_label("SIGIMEAN")) == pytest.approx(merged.sigma, rel=1e-5)
    assert mtz.make_miller_array().tolist() == merged.hkl.tolist()


def test_the_bytes_of_an_mtz_are_those_of_its_definition(merged: Merged, tmp_path: Path) -> None:
    path = tmp_path / "x.mtz"
    write_mtz(path, "x", 0.02508, CELL, GROUP, merged)
    content = path.read_bytes()
    assert content[:4] == b"MTZ "
    place = 4 * (struct.unpack("<i", content[4:8])[0] - 1)
    words = content[place:].decode("ascii")
    records = [words[k : k + 80].split() for k in range(0, len(words), 80)]
    counts = next(record for record in records if record[:1] == ["NCOL"])
    columns, rows = int(counts[1]), int(counts[2])
    assert [record[1] for record in records if record[:1] == ["COLUMN"]] == ["H", "K", "L", "IMEAN", "SIGIMEAN", "N"]
    table = np.frombuffer(content[80 : 80 + 4 * columns * rows], dtype="<f4").reshape(rows, columns)
    assert table[:, :3].astype(int).tolist() == merged.hkl.tolist()
    assert table[:, 3] == pytest.approx(merged.intensity, rel=1e-5)


def test_a_cif_says_cell_symmetry_and_intensities(merged: Merged) -> None:
    text = cif_text("run 1/2", 0.02508, CELL, np.array([0.01, 0.01, 0.02, 0, 0, 0]), GROUP, merged)
    block = gemmi.cif.read_string(text).sole_block()
    assert block.name == "run_1_2"
    assert block.find_value("_cell_length_c") == "11.000(20)"
    assert block.find_value("_diffrn_radiation_probe") == "electron"
    small = gemmi.make_small_structure_from_block(block)
    assert small.cell.parameters == pytest.approx(CELL.parameters)
    assert [str(op) for op in block.find_values("_space_group_symop_operation_xyz")] == [
        gemmi.cif.quote(op.triplet()) for op in GROUP.operations()
    ]
    values = gemmi.hkl_cif_as_refln_block(block)
    assert np.array(values.make_float_array("F_squared_meas")) == pytest.approx(merged.intensity, rel=1e-4)
    assert values.make_miller_array().tolist() == merged.hkl.tolist()


@pytest.mark.parametrize(
    ("value", "sigma", "told"), [(7.528, 0.012, "7.528(12)"), (90.0, 0.0, "90"), (101.37, 1.3, "101.4(13)")]
)
def test_uncertainties_stand_behind_the_digits_they_concern(value: float, sigma: float, told: str) -> None:
    assert with_error(value, sigma) == told
