"""SHELX's files: columns where SHELX reads them, symmetry that makes the group again, factors of the tables."""

from itertools import pairwise

import gemmi
import numpy as np
import pytest

from engine.errors import Refused
from protocols.integration.electronfactors import S_MAX_PER_A, formula_units, four_gaussians, read_composition
from protocols.integration.shelx import LATTICES, hkl_text, ins_text, symmetry_lines
from protocols.lattice.cell import Cell

CENTRINGS = {
    "P": ((0, 0, 0),), "I": ((0, 0, 0), (12, 12, 12)), "R": ((0, 0, 0), (16, 8, 8), (8, 16, 16)),
    "F": ((0, 0, 0), (0, 12, 12), (12, 0, 12), (12, 12, 0)), "C": ((0, 0, 0), (12, 12, 0)),
    "A": ((0, 0, 0), (0, 12, 12)),
}  # fmt: skip
CELL = Cell(7.0, 8.5, 11.0, 90, 90, 90)


def test_each_number_stands_in_its_columns_and_zeros_end_the_file() -> None:
    hkl = np.array([[1, -12, 3], [0, 0, 104]])
    lines = hkl_text(hkl, np.array([2e7, -1e4]), np.array([1e3, 20.0])).splitlines()
    read = [[line[0:4], line[4:8], line[8:12], line[12:20], line[20:28], line[28:32]] for line in lines]
    assert [[int(x) for x in row[:3]] for row in read] == [[1, -12, 3], [0, 0, 104], [0, 0, 0]]
    assert [float(row[3]) for row in read] == pytest.approx([9999.0, -5.0, 0.0], abs=0.01)
    assert [float(row[4]) for row in read] == pytest.approx([0.5, 0.01, 0.0], abs=0.01)
    assert {len(line) for line in lines} == {32}


@pytest.mark.parametrize(
    "name",
    [
        "P -1", "P 1", "P 1 21/c 1", "C 1 2/c 1", "P 21 21 21", "F d d 2", "A m a 2", "R -3:H", "R 3 m:H", "I 41/a:2",
        "F d -3 m:2", "P 61 2 2", "I a -3 d", "F m -3 m", "P 63/m", "C m c m",
    ],
)  # fmt: skip
def test_latt_and_symm_make_the_group_again(name: str) -> None:
    group = gemmi.find_spacegroup_by_name(name)
    lattice, operations = symmetry_lines(group)
    made = [gemmi.Op("x,y,z"), *(gemmi.Op(each.lower()) for each in operations)]
    made += [gemmi.Op("-x,-y,-z")] if lattice > 0 else []
    for shift in CENTRINGS[LATTICES[abs(lattice) - 1]][1:]:
        centre = gemmi.Op("x,y,z")
        centre.tran = list(shift)
        made.append(centre)
    whole = gemmi.GroupOps(made)
    whole.add_missing_elements()
    assert gemmi.find_spacegroup_by_ops(whole).xhm() == group.xhm()
    order = len(group.operations().sym_ops)
    assert len(operations) + 1 == (order // 2 if lattice > 0 else order)


@pytest.mark.parametrize("element", ["H", "C", "O", "Na", "Si", "Fe", "Br", "Cs", "Au", "U"])
def test_four_gaussians_are_the_factor_of_the_tables(element: str) -> None:
    table = gemmi.Element(element).c4322
    s2 = np.linspace(0, S_MAX_PER_A, 60) ** 2
    wanted = [table.calculate_sf(float(x)) for x in s2]
    assert sum(a * np.exp(-b * s2) for a, b in four_gaussians(element)) == pytest.approx(wanted, rel=0.02)


def test_instructions_with_a_composition_have_factors_and_units() -> None:
    lines = ins_text(
        "x", 0.02508, CELL, np.full(6, 0.01), gemmi.SpaceGroup("P 21 21 21"), {"Si": 1, "O": 2}
    ).splitlines()
    units = formula_units({"Si": 1, "O": 2}, CELL.volume_A3)
    assert lines[1].split() == ["CELL", "0.02508", "7.0000", "8.5000", "11.0000", "90.0000", "90.0000", "90.0000"]
    assert lines[2].split()[:2] == ["ZERR", str(units)]
    assert "LATT -1" in lines
    factors = [" ".join(pair) for pair in pairwise(lines) if pair[0].startswith("SFAC")]
    assert [line.split()[1] for line in factors] == ["Si", "O"]
    assert {len(line.replace("=", "").split()) for line in factors} == {16}
    assert f"UNIT {units} {2 * units}" in lines
    assert lines[-2:] == ["HKLF 4", "END"]
    assert max(map(len, lines)) <= 80


def test_without_a_composition_the_place_says_what_to_fill_in() -> None:
    text = ins_text("x", 0.02508, CELL, np.full(6, 0.01), gemmi.SpaceGroup("P -1"), None)
    assert "\nSFAC" not in text
    assert "REM Fill in the elements" in text


def test_a_formula_is_read() -> None:
    assert read_composition("C9 H8O4") == {"C": 9.0, "H": 8.0, "O": 4.0}
    assert read_composition("SiO2") == {"Si": 1.0, "O": 2.0}


@pytest.mark.parametrize("text", ["", "water", "C9 H8 Q4", "Xx", "C-2", "Si O2;"])
def test_what_is_no_formula_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="nothing was done"):
        read_composition(text)
