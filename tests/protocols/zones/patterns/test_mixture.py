"""Mixtures are what was asked for: shares, thickness, lattices; and the same for the same seed."""

import numpy as np
import pytest

from protocols.lattice.cell import Cell, lattice_difference
from protocols.lattice.reflections import allowed_reflections
from protocols.zones.patterns.mixture import (
    Mixed,
    excitation_ladder,
    lattice_of_reflections,
    mix,
    phase_of_cell,
)
from protocols.zones.patterns.simulation import Geometry

GEOMETRY = Geometry()
SMALL, LARGE = Cell(6.1, 7.3, 8.2, 82, 97, 105), Cell(7.9, 9.3, 10.4, 95, 101, 92)


def mixture(seed: int, thickness_nm: tuple[float, float] | None = (10.0, 50.0), count: int = 200) -> Mixed:
    phases = [phase_of_cell(SMALL, 3.0, GEOMETRY), phase_of_cell(LARGE, 1.0, GEOMETRY)]
    return mix(phases, count, np.random.default_rng(seed), GEOMETRY, thickness_nm)


def test_shares_are_kept_and_the_order_tells_nothing() -> None:
    mixed = mixture(1)
    assert np.bincount(mixed.phase).tolist() == [150, 50]
    assert 50 < np.abs(np.diff(mixed.phase)).sum()
    again = mixture(1)
    assert np.array_equal(again.patterns.xy, mixed.patterns.xy)
    assert not np.array_equal(mixture(2).phase, mixed.phase)


@pytest.mark.parametrize(("number", "cell"), [(0, SMALL), (1, LARGE)])
def test_spots_are_of_the_phase_within_the_rods_of_their_thickness(number: int, cell: Cell) -> None:
    mixed = mixture(3)
    patterns, k = mixed.patterns, 1 / GEOMETRY.wavelength_A
    for i in np.flatnonzero(mixed.phase == number)[:40]:
        own = slice(patterns.start[i], patterns.start[i + 1])
        points = patterns.hkl[own] @ cell.reciprocal_basis.T @ patterns.orientation[i].T
        s = np.linalg.norm(points + np.array([0, 0, k]), axis=1) - k
        assert np.abs(s).max(initial=0.0) < 0.1 / mixed.thickness_nm[i]
    assert mixed.thickness_nm.min() >= 10
    assert mixed.thickness_nm.max() <= 50


def test_thin_crystals_give_more_spots() -> None:
    counts = {t: np.diff(mixture(4, (t, t)).patterns.start).mean() for t in (10.0, 40.0)}
    assert counts[10.0] == pytest.approx(4 * counts[40.0], rel=0.1)
    assert np.diff(mixture(4, None).patterns.start).mean() == pytest.approx(counts[10.0], rel=0.05)


def test_a_ladder_goes_from_the_thinnest_to_the_thickest_by_small_steps() -> None:
    ladder = np.array(excitation_ladder(10, 50))
    assert (ladder[0], ladder[-1]) == pytest.approx((0.01, 0.002))
    assert np.all((ladder[:-1] / ladder[1:] > 1) & (ladder[:-1] / ladder[1:] < 1.33))
    assert excitation_ladder(20, 20) == pytest.approx((0.005,))


@pytest.mark.parametrize("group", ["P 1 21/c 1", "C 1 2/c 1", "F d d d", "I 2 2 2"])
def test_the_lattice_of_reflections_is_that_of_the_centring(group: str) -> None:
    cell = Cell(8.1, 10.2, 12.4, 90, 90, 90)
    found = lattice_of_reflections(cell, allowed_reflections(cell, 0.6, group))
    assert found.volume_A3 == pytest.approx(cell.reduced(group).volume_A3)
    assert lattice_difference(found, cell.reduced(group))[0] < 1e-6
