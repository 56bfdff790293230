"""The angle between two zones that share a row is where the votes of other zones gather."""

from collections.abc import Sequence

import numpy as np
import pytest

from protocols.lattice.cell import Cell, lattice_difference
from protocols.zones.cell import dihedral
from protocols.zones.cell.merging import Net
from tests.protocols.zones.madezones import net_of

CELL = Cell(7.1, 9.3, 11.2, 82.0, 97.0, 105.0)
SPREAD = [
    ((1, 0, 0), (0, 1, 0)),
    ((1, 0, 0), (0, 0, 1)),
    ((0, 1, 0), (0, 0, 1)),
    ((1, 1, 0), (0, 0, 1)),
    ((1, 0, 0), (0, 1, 1)),
]
PENCIL = [
    ((0, 0, 1), (1, 0, 0)),
    ((0, 0, 1), (0, 1, 0)),
    ((0, 0, 1), (1, 1, 0)),
    ((0, 0, 1), (1, -1, 0)),
    ((0, 0, 1), (1, 2, 0)),
]


def best_lattices(nets: Sequence[Net], count: int) -> list[Cell]:
    rows = dihedral.rows_of(nets)
    equal = dihedral.matches(rows)
    hinges = dihedral.hinges_of(rows, equal)
    votes = dihedral.vote(nets, rows, equal, hinges)
    hinge, angle, _ = dihedral.peaks(votes)
    return [
        Cell.from_reciprocal_metric(
            dihedral.lattice_of(nets, rows, int(hinges.row_a[h]), int(hinges.row_b[h]), float(a))
        )
        for h, a in zip(hinge[:count], angle[:count], strict=True)
    ]


@pytest.mark.parametrize("planes", [SPREAD, PENCIL], ids=["spread", "all through one row"])
def test_the_lattice_is_among_the_angles_with_most_votes(planes: list) -> None:
    nets = [net_of(CELL, *plane) for plane in planes]
    differences = [lattice_difference(cell, CELL) for cell in best_lattices(nets, 30)]
    assert min(max(100 * d, a) for d, a in differences) < 1.5  # bins are half a degree wide


def test_wrong_nets_gather_fewer_votes_than_right_ones() -> None:
    right = [net_of(CELL, *plane) for plane in SPREAD]
    wrong = [
        net_of(Cell(7.1 + n, 9.9 - n / 3, 11.0 + n / 7, 80 + 3 * n, 95, 107), *plane) for n, plane in enumerate(SPREAD)
    ]

    def most(nets: list[Net]) -> int:
        rows = dihedral.rows_of(nets)
        equal = dihedral.matches(rows)
        votes = dihedral.vote(nets, rows, equal, dihedral.hinges_of(rows, equal)).votes
        return int(votes.max())

    assert most(right) >= 3
    assert most(wrong) < most(right)


def test_rows_are_primitive_and_their_lengths_those_of_the_lattice() -> None:
    net = net_of(CELL, (1, 0, 0), (0, 1, 0))
    rows = dihedral.rows_of([net])
    assert len(rows.length) == dihedral.ROWS
    assert np.all(np.gcd(*rows.index.T) == 1)
    np.testing.assert_allclose(rows.length, np.linalg.norm(rows.vector, axis=1))
    assert np.all(np.diff(rows.length) >= 0)


def test_two_nets_without_a_common_row_have_no_hinge() -> None:
    nets = [
        net_of(Cell(7, 8, 9, 90, 90, 90), (1, 0, 0), (0, 1, 0)),
        net_of(Cell(17.3, 5.9, 9, 90, 90, 90), (1, 0, 0), (0, 1, 0)),
    ]
    rows = dihedral.rows_of(nets)
    hinges = dihedral.hinges_of(rows, dihedral.matches(rows))
    assert not np.any(rows.net[hinges.row_a] != rows.net[hinges.row_b])
