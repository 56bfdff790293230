"""Mixtures of zones: each phase its cell, one phase one cell, and no second cell out of what a first one leaves."""

from dataclasses import replace

import numpy as np
import pytest

from protocols.lattice.cell import Cell, lattice_difference
from protocols.zones.cell.phases import NONE, Parted, common_sublattice, find_phases, kinship
from protocols.zones.cell.search import find_cell
from protocols.zones.sorting.zone import Zone
from tests.protocols.zones.cell.test_search import CELL, OTHERS
from tests.protocols.zones.madezones import zones_of

SECOND, THIRD = OTHERS[3], OTHERS[6]


def shuffled(zones: list[Zone], seed: int = 0) -> tuple[list[Zone], np.ndarray]:
    order = np.random.default_rng(seed).permutation(len(zones))
    return [zones[n] for n in order], order


def is_right(parted: Parted, number: int, cell: Cell) -> bool:
    length, angle = lattice_difference(parted.phases[number].answer.candidates[0].cell, cell)
    return parted.phases[number].answer.determined and length < 1e-3 and angle < 0.1


def test_two_phases_are_parted_zone_by_zone() -> None:
    zones, order = shuffled(zones_of(CELL, 10, sd=1e-4) + zones_of(SECOND, 9, seed=5, sd=1e-4))
    parted = find_phases(zones)
    assert len(parted.phases) == 2
    assert is_right(parted, 0, CELL)
    assert is_right(parted, 1, SECOND)
    assert parted.phase.tolist() == (order >= 10).astype(int).tolist()
    assert parted.doubt == ""


@pytest.mark.long
def test_the_few_zones_of_a_second_phase_are_found_among_many() -> None:
    """More zones than a search looks at are of the first; those of the second come last."""
    many = [replace(zone, name=str(n)) for n, zone in enumerate(zones_of(CELL, 50, sd=1e-4))]
    parted = find_phases(many + zones_of(SECOND, 9, seed=5, sd=1e-4), at_most=40)
    assert len(parted.phases) == 2
    assert is_right(parted, 1, SECOND)
    assert parted.phase.tolist() == [0] * 50 + [1] * 9


@pytest.mark.parametrize("false", [0, 4, pytest.param(8, marks=pytest.mark.long)], ids=lambda n: f"{n} strange zones")
def test_one_phase_is_one_cell_and_the_answer_that_it_was(false: int) -> None:
    strange = [zones_of(other, 3, seed=n)[2] for n, other in enumerate(OTHERS[:false])]
    zones = zones_of(CELL, 10, sd=1e-4) + strange
    parted, alone = find_phases(zones), find_cell(zones)
    assert len(parted.phases) == 1
    assert parted.phases[0].answer.candidates[0].cell.parameters == pytest.approx(
        alone.candidates[0].cell.parameters, abs=1e-9 if false == 0 else 1e-3
    )
    assert is_right(parted, 0, CELL)
    assert np.sum(parted.phase == NONE) == false
    assert bool(parted.doubt) == (false >= 5)


@pytest.mark.long
def test_two_cells_within_a_percent_are_never_told_as_two() -> None:
    off = Cell(*(x * (1.008 if n < 3 else 1) for n, x in enumerate(CELL.parameters)))
    assert "nearly the same cell" in kinship(CELL, off)
    parted = find_phases(zones_of(CELL, 10, sd=1e-4) + zones_of(off, 6, seed=4, sd=1e-4), distortion=None)
    assert len(parted.phases) == 1


@pytest.mark.long
def test_badly_placed_zones_of_one_crystal_make_no_second_cell() -> None:
    bad = [replace(zone, covariance=zone.covariance / 400) for zone in zones_of(CELL, 10, seed=9, sd=2e-3)]
    parted = find_phases(zones_of(CELL, 10, sd=1e-4) + bad, distortion=None)
    assert len(parted.phases) == 1
    assert is_right(parted, 0, CELL)


def test_a_superstructure_is_not_a_second_phase() -> None:
    metric = CELL.reciprocal_metric
    double = np.array([[0.5, 0, 0], [0, 1, 0], [0, 0, 1]])
    large = Cell.from_reciprocal_metric(double @ metric @ double.T)
    parted = find_phases(zones_of(CELL, 10, sd=1e-4) + zones_of(large, 10, seed=4, sd=1e-4))
    assert len(parted.phases) == 1
    assert is_right(parted, 0, large) or not parted.determined or "superstructure" in parted.doubt


RELATED = {
    "half": np.diag([2.0, 1, 1]),
    "two halves": np.diag([2.0, 0.5, 1]),
    "a third, sheared": np.array([[3.0, 1, 0], [0, 1, 0], [0, 0, 1]]),
    "another basis": np.array([[1.0, 1, 0], [0, 1, 1], [0, 0, 1]]),
}


@pytest.mark.parametrize("case", RELATED)
def test_related_lattices_are_known(case: str) -> None:
    matrix = RELATED[case]
    other = Cell.from_reciprocal_metric(matrix @ CELL.reciprocal_metric @ matrix.T)
    assert kinship(CELL, other) != ""
    assert kinship(other, CELL) != ""


def test_lattices_of_different_crystals_are_not_related() -> None:
    assert [kinship(CELL, other) for other in OTHERS] == [""] * len(OTHERS)
    assert common_sublattice(CELL, OTHERS[0]) is None


@pytest.mark.long
def test_too_few_zones_of_all_say_why() -> None:
    parted = find_phases(zones_of(CELL, 3) + zones_of(SECOND, 3, seed=2))
    assert not parted.determined
    assert parted.phases[0].answer.reason
    assert parted.phase.tolist() == [NONE] * 6


@pytest.mark.long
def test_three_phases() -> None:
    zones, _ = shuffled(
        zones_of(CELL, 12, sd=1e-4) + zones_of(SECOND, 11, seed=5, sd=1e-4) + zones_of(THIRD, 10, seed=6, sd=1e-4)
    )
    parted = find_phases(zones)
    assert len(parted.phases) == 3
    assert all(any(is_right(parted, n, cell) for n in range(3)) for cell in (CELL, SECOND, THIRD))
    assert len(find_phases(zones, most=1).phases) == 1
