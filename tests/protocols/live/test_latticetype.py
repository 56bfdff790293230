"""The Bravais types that a cell's numbers allow, by their own uncertainty."""

import numpy as np
import pytest

from protocols.lattice.cell import Cell
from protocols.live.cellsigma import PAIRS, CellSigma, six
from protocols.live.latticetype import candidates, conventional


def sigma_of(cell: Cell, relative: float, angle_deg: float) -> CellSigma:
    """As if all lengths and angles were known to the same."""
    lengths = np.array(cell.parameters[:3])
    metric = np.diag(
        [
            (2 * relative * lengths[i] ** 2) ** 2 if i == j else (np.radians(angle_deg) * lengths[i] * lengths[j]) ** 2
            for i, j in PAIRS
        ]
    )
    return CellSigma(relative * lengths, np.full(3, angle_deg), relative, 0.0, metric)


@pytest.mark.parametrize(
    ("cell", "relative", "symbol"),
    [
        (Cell(9.7, 9.71, 8.1, 90.02, 89.97, 90.01), 0.001, "tP"),
        (Cell(9.7, 9.80, 8.1, 90.02, 89.97, 90.01), 0.001, "oP"),
        (Cell(9.7, 9.80, 8.1, 90.02, 89.97, 90.01), 0.01, "tP"),
        (Cell(9.7, 9.80, 8.1, 90.02, 91.5, 90.01), 0.001, "mP"),
        (Cell(9.7, 11.8, 8.1, 93.0, 98.0, 101.0), 0.001, "aP"),
        (Cell(10, 10.01, 10, 90.03, 90, 90), 0.001, "cP"),
        (Cell(13.21, 13.2, 9.8, 90, 90, 120.02), 0.001, "hP"),
    ],
)
def test_the_highest_symmetry_within_the_uncertainty(cell: Cell, relative: float, symbol: str) -> None:
    sigma = sigma_of(cell, relative, 57.3 * relative)
    found = candidates(cell, sigma)
    assert next(each for each in found if each.allowed).bravais.symbol == symbol
    assert found[-1].bravais.symbol == "aP"


def test_a_symmetry_that_is_just_missed_is_listed_and_not_allowed() -> None:
    cell = Cell(9.7, 9.75, 8.1, 90, 90, 90)
    listed = {each.bravais.symbol: each.allowed for each in candidates(cell, sigma_of(cell, 0.001, 0.05))}
    assert listed["tP"] is False
    assert listed["oP"] is True


@pytest.mark.parametrize(
    ("cell", "group", "higher", "own"),
    [
        (Cell(9.6, 9.6, 9.605, 90.01, 90.02, 89.98), "P", "cP", "tP"),
        (Cell(7.9, 7.9 * 3**0.5, 10.4, 90, 90, 90), "C", "hP", "oC"),
        (Cell(12.7, 12.7, 12.7 * 1.5**0.5 * 1.001, 90, 90, 120), "R", "cP", "hR"),
        (Cell(8.2, 10.3, 8.204, 90, 107, 90), "P", "oC", "mP"),
    ],
)
def test_of_a_pseudo_symmetric_crystal_both_types_are_listed(cell: Cell, group: str, higher: str, own: str) -> None:
    """Noise may make another axis the straightest one than the one of the true symmetry."""
    found = [
        each.bravais.symbol for each in candidates(cell.reduced(group), sigma_of(cell, 0.001, 0.05)) if each.allowed
    ]
    assert found[0] == higher
    assert own in found
    assert "hR" not in found or higher == "cP"


def test_numbers_that_the_symmetry_makes_one_are_better_known() -> None:
    cell = Cell(9.7, 9.701, 8.1, 90, 90, 90)
    sigma = sigma_of(cell, 0.001, 0.05)
    made, error = conventional(candidates(cell, sigma)[0], cell, sigma)
    assert made.a_A == made.b_A
    assert error[0] == pytest.approx(9.7 * 0.001 / np.sqrt(2), rel=0.05)
    assert error[3:] == pytest.approx([0, 0, 0], abs=1e-9)
    assert six(cell.metric)[0] == pytest.approx(9.7**2)
