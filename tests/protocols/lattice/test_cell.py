"""Metric, reduction and comparison of lattices, against gemmi where it has an opinion."""

import math
from dataclasses import replace

import gemmi
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.lattice.cell import Cell, lattice_difference
from protocols.zones.patterns.randomcells import random_cell

CELLS = [
    Cell(10.0, 10.0, 10.0, 90.0, 90.0, 90.0),
    Cell(3.8155, 10.0452, 13.7425, 90.0, 107.8717, 90.0),
    Cell(5.6786, 10.4648, 20.4682, 109.7914, 106.5805, 105.8206),
    Cell(8.0, 8.0, 12.0, 90.0, 90.0, 120.0),
]
STEPS = st.lists(st.tuples(st.permutations(range(3)), st.integers(-1, 1)), max_size=4)
"""Each adds a multiple of one axis to another: any number of them leads to a basis of the same lattice."""


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_volume_and_reciprocal_cell_are_those_of_gemmi(cell: Cell) -> None:
    theirs = gemmi.UnitCell(*cell.parameters)
    assert cell.volume_A3 == pytest.approx(theirs.volume)
    lengths = np.linalg.norm(cell.reciprocal_basis, axis=0)
    assert lengths == pytest.approx(theirs.reciprocal().parameters[:3])
    assert cell.direct_basis.T @ cell.reciprocal_basis == pytest.approx(np.eye(3), abs=1e-12)


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_a_cell_comes_back_from_its_reciprocal_metric(cell: Cell) -> None:
    assert Cell.from_reciprocal_metric(cell.reciprocal_metric).parameters == pytest.approx(cell.parameters)


def test_angles_that_no_cell_can_have_give_no_volume() -> None:
    assert Cell(5.0, 5.0, 5.0, 120.0, 120.0, 125.0).volume_A3 == 0.0


@given(STEPS, st.integers(0, 100))
def test_any_basis_of_a_lattice_is_the_same_lattice(steps: list[tuple[list[int], int]], seed: int) -> None:
    cell = random_cell(np.random.default_rng(seed), volume_A3=700.0, anisotropy=3.0)
    change = np.eye(3)
    for (i, j, _), factor in steps:
        change[i] += factor * change[j]
    other = Cell.from_metric(change @ cell.metric @ change.T)
    length, angle = lattice_difference(other, cell)
    assert length < 1e-6
    assert angle < 1e-4


def test_a_lattice_off_by_one_percent_is_off_by_one_percent() -> None:
    cell = CELLS[2]
    larger = replace(cell, a_A=1.01 * cell.a_A, b_A=1.01 * cell.b_A, c_A=1.01 * cell.c_A)
    assert lattice_difference(larger, cell) == pytest.approx((0.01, 0.0), abs=1e-5)


@pytest.mark.parametrize("factor", [2.0, 0.5])
def test_a_doubled_or_halved_axis_is_another_lattice(factor: float) -> None:
    cell = CELLS[2]
    other = Cell(cell.a_A * factor, cell.b_A, cell.c_A, cell.alpha_deg, cell.beta_deg, cell.gamma_deg)
    assert lattice_difference(other, cell)[0] == math.inf


@pytest.mark.parametrize("seed", range(20))
def test_the_reduction_leads_to_the_reduced_cell(seed: int) -> None:
    rng = np.random.default_rng(seed)
    steps = np.array([[1, 0, 0], [rng.integers(-2, 3), 1, 0], [rng.integers(-2, 3), rng.integers(-2, 3), 1]])
    cell = Cell.from_metric(steps @ random_cell(rng).metric @ steps.T)
    basis = cell.reduction()
    assert abs(round(np.linalg.det(basis))) == 1
    assert Cell.from_metric(basis @ cell.metric @ basis.T).parameters == pytest.approx(cell.reduced().parameters)


def test_reduction_does_not_jump_between_nearly_equal_axes() -> None:
    # The Niggli cells of these two differ in the order of axes and in obtuse against acute angles.
    one, other = Cell(8.0, 8.001, 12.0, 90.02, 89.9, 90.1), Cell(8.001, 8.0, 12.0, 90.1, 90.02, 89.9)
    length, angle = lattice_difference(one, other)
    assert length < 1e-3
    assert angle < 0.3


@pytest.mark.parametrize(("space_group", "primitive"), [("F m -3 m", 4), ("I 4", 2), ("C m c m", 2), ("P 1", 1)])
def test_a_centred_cell_is_reduced_to_its_primitive_lattice(space_group: str, primitive: int) -> None:
    cell = CELLS[0]
    assert cell.reduced(space_group).volume_A3 == pytest.approx(cell.volume_A3 / primitive)
