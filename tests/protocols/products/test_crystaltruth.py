"""The judge of benchmarks/crystals.py: which lattices are the same, whatever cell DIALS has chosen for them."""

import json
from pathlib import Path

import gemmi
import numpy as np
import pytest

from benchmarks.crystaltruth import Truth, lattice
from benchmarks.madecrystals import made
from drivers.simulated.crystal import Crystal, load_crystal

FOR_F = np.array([[0.5, 0.5, 0.0], [0.5, -0.5, 0.0], [0.0, 0.0, -1.0]])
"""Rows: the axes of the tetragonal I cell of half the volume, in those of a cubic F cell."""
WHOLE = np.eye(3)


def crystal(tmp_path: Path, name: str) -> Crystal:
    return load_crystal(made(name).write(tmp_path / f"{name}.cif"), 3)


def found(tmp_path: Path, axes: np.ndarray) -> Path:
    """What DIALS writes of a crystal with these axes (rows, A)."""
    path = tmp_path / "scaled.expt"
    names = ("real_space_a", "real_space_b", "real_space_c")
    path.write_text(json.dumps({"crystal": [dict(zip(names, axes.tolist(), strict=True))]}))
    return path


@pytest.mark.parametrize(
    ("name", "rows", "group", "same"),
    [
        ("rocksalt", WHOLE, "F 4 3 2", True),
        ("rocksalt", FOR_F, "I 4 2 2", True),
        ("rocksalt", FOR_F, "P 4 2 2", False),  # half of the lattice's points are none of that cell
        ("rocksalt", 2 * WHOLE, "F 4 3 2", False),
        ("triclinic1", WHOLE, "P 1", True),
        ("triclinic1", WHOLE[[1, 2, 0]], "P 1", True),
        ("triclinic1", np.diag([2.0, 1.0, 1.0]), "P 1", False),
        ("trigonal1", WHOLE, "R 3 2:H", True),
        ("trigonal1", WHOLE, "P 3 2 1", False),
        ("monoclinic2", np.array([[-1.0, 0, -1], [0, -1, 0], [0, 0, 1]]), "I 1 2 1", True),
    ],
)
def test_a_lattice_is_known_in_any_of_its_cells(
    tmp_path: Path, name: str, rows: np.ndarray, group: str, same: bool
) -> None:
    true = crystal(tmp_path, name)
    axes = rows @ np.linalg.inv(true.ub)
    truth = Truth(true, gemmi.SpaceGroup(made(name).group), np.ones(len(true.hkl), bool))
    index, strain, is_same = lattice(found(tmp_path, axes), truth, gemmi.SpaceGroup(group))
    assert is_same == same
    if same:
        assert strain < 1e-9
        np.testing.assert_allclose(index, np.linalg.inv(rows), atol=1e-9)


def test_strain_is_that_of_the_cell_and_not_of_its_orientation(tmp_path: Path) -> None:
    true = crystal(tmp_path, "triclinic1")
    turned = np.linalg.inv(true.ub) @ load_crystal(None, 9).orientation.T * 1.004
    truth = Truth(true, gemmi.SpaceGroup("P -1"), np.ones(len(true.hkl), bool))
    small = found(tmp_path, np.linalg.inv(true.ub) * 1.004)
    assert lattice(small, truth, gemmi.SpaceGroup("P 1"))[1] == pytest.approx(0.004, rel=0.01)
    assert not lattice(found(tmp_path, turned), truth, gemmi.SpaceGroup("P 1"))[2]
