"""A lattice in the spots of one still, each crystal in any orientation."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from protocols.lattice import still
from protocols.lattice.cell import Cell
from protocols.lattice.reflections import allowed_reflections
from protocols.lattice.still import FEWEST, still_lattice
from protocols.zones.patterns.simulation import Geometry, diffract

CELLS = {
    "monoclinic 900 A^3": Cell(7.1, 10.3, 12.6, 90.0, 101.0, 90.0),
    "triclinic 1600 A^3": Cell(8.2, 12.4, 17.9, 94.0, 103.0, 109.0),
    "cubic 1730 A^3": Cell(12.0, 12.0, 12.0, 90.0, 90.0, 90.0),
}
GEOMETRY = Geometry(excitation_error_per_A=0.006)


def spots(cell, seed, misplaced_per_A=0.001):
    """(n, 2) of a crystal that lies anyhow, four of ten reflections too weak to be seen."""
    rng = np.random.default_rng(seed)
    hkl = allowed_reflections(cell, 1.0)
    turn = Rotation.from_quat(rng.standard_normal(4)).as_matrix()[None]
    xy = diffract(cell, hkl, np.ones(len(hkl)), turn, GEOMETRY).xy
    seen = xy[rng.random(len(xy)) < 0.6]
    return seen + rng.normal(0.0, misplaced_per_A, seen.shape)


@pytest.mark.parametrize("name", CELLS)
def test_nearly_all_spots_of_one_crystal_are_on_its_lattice(name):
    shares = []
    for seed in range(12):
        xy = spots(CELLS[name], seed)
        if len(xy) >= 12:
            found = still_lattice(xy)
            assert found is not None
            shares.append(found.share)
    assert len(shares) >= 6
    assert np.median(shares) >= 0.95
    assert np.mean(np.array(shares) >= 0.8) >= 0.9


@pytest.mark.parametrize("name", CELLS)
def test_of_two_crystals_one_is_found_and_the_others_spots_are_not_on_it(name):
    shares = []
    for seed in range(8):
        both = np.concatenate([spots(CELLS[name], seed), spots(CELLS[name], 100 + seed)])
        found = still_lattice(both)
        shares.append(found.share if found else 0.0)
    assert np.median(shares) < 0.75


def test_spots_anywhere_are_on_no_lattice():
    rng = np.random.default_rng(5)
    found = still_lattice(rng.uniform(-0.9, 0.9, (80, 2)))
    assert found is None or found.share < 0.5


def test_the_place_of_the_beam_need_not_be_known():
    xy = spots(CELLS["monoclinic 900 A^3"], 3)
    known, shifted = still_lattice(xy), still_lattice(xy + np.array([0.02, -0.03]))
    assert known is not None
    assert shifted is not None
    assert shifted.share == pytest.approx(known.share, abs=0.1)


def test_the_vectors_are_of_the_crystal():
    """So long that the crystal has no shorter ones, and their phases whole numbers for its reciprocal lattice."""
    found = still_lattice(spots(CELLS["cubic 1730 A^3"], 1))
    assert found is not None
    lengths = np.hypot(*found.vectors_A[:, :2].T)
    assert (lengths < 50).all()
    assert found.by_chance < 0.1


def test_few_spots_have_no_lattice():
    assert still_lattice(spots(CELLS["cubic 1730 A^3"], 1)[: FEWEST - 1]) is None


@pytest.mark.parametrize("count", [7, 9, 15, 40])
def test_candidates_among_the_highest_pixels_are_those_of_all(count, monkeypatch):
    points = [np.random.default_rng(seed).uniform(-1, 1, (count, 2)) for seed in range(20)]
    points += [spots(CELLS["triclinic 1600 A^3"], seed)[:count] for seed in range(10)]
    points = [np.column_stack([xy, np.zeros(len(xy)), np.ones(len(xy))]) for xy in points if len(xy)]
    found = [still._candidates(each) for each in points]
    monkeypatch.setattr(still, "HIGHEST", still.GRID**2)
    for first, each in zip(found, points, strict=True):
        np.testing.assert_array_equal(first, still._candidates(each))
    # And where too few are among them, all are looked at.
    monkeypatch.setattr(still, "HIGHEST", 1)
    for first, each in zip(found, points, strict=True):
        np.testing.assert_array_equal(first, still._candidates(each))
