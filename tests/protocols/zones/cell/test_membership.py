"""Patterns in any orientation find the cell they are of, and no other."""

import numpy as np
import pytest

from protocols.lattice.cell import Cell
from protocols.zones.cell.membership import FEWEST_ON, Lattice, members
from protocols.zones.cell.phases import NONE
from protocols.zones.patterns.mixture import Mixed, mix, phase_of_cell
from protocols.zones.patterns.noise import displaced, speckled
from protocols.zones.patterns.simulation import Geometry

GEOMETRY = Geometry()
CELLS = [Cell(6.9, 8.1, 9.2, 82, 97, 105), Cell(7.2, 8.9, 9.9, 95, 101, 92), Cell(6.2, 9.4, 8.8, 93, 88, 99)]


def mixture(seed: int, count: int = 60) -> Mixed:
    phases = [phase_of_cell(cell, 1.0, GEOMETRY) for cell in CELLS]
    return mix(phases, count, np.random.default_rng(seed), GEOMETRY, (10.0, 40.0))


def test_every_pattern_goes_to_its_own_phase_and_a_stranger_to_none() -> None:
    mixed = mixture(1)
    patterns = displaced(mixed.patterns, np.random.default_rng(2), 0.001)
    found = members([patterns.spots(i) for i in range(len(patterns))], CELLS[:2])
    enough = np.diff(patterns.start) >= 8
    for phase in (0, 1):
        own = found[(mixed.phase == phase) & enough]
        assert np.mean(own == phase) > 0.9
        assert not np.any(own == 1 - phase)
    assert np.mean(found[mixed.phase == 2] != NONE) < 0.1


def test_spots_of_something_else_are_left_out() -> None:
    mixed = mixture(3, 9)
    patterns = speckled(mixed.patterns, np.random.default_rng(4), 0.15)
    for i in range(len(patterns)):
        one = Lattice(CELLS[mixed.phase[i]]).member(patterns.spots(i))
        if one is None or not one.fits:
            continue
        own = patterns.hkl[patterns.start[i] : patterns.start[i + 1]].any(axis=1)
        assert one.on[own].mean() > 0.9
        assert one.on[~own].sum() <= 1


@pytest.mark.parametrize(
    "spots",
    [np.zeros((0, 2)), np.full((FEWEST_ON - 1, 2), 0.2), np.outer(np.arange(1, 9), [0.05, 0.0])],
    ids=["nothing", "few", "one row"],
)
def test_patterns_that_tell_nothing_fit_nothing(spots: np.ndarray) -> None:
    assert members([spots, None], CELLS).tolist() == [NONE, NONE]
