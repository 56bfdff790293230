"""Lattices are found from points alone: any system, long and short axes, wrong points, a wrong axis; or none is."""

import numpy as np
import pytest

from drivers.simulated.crystal import random_orientation
from protocols.lattice.cell import Cell, lattice_difference
from protocols.lattice.search import explained, find_lattice, indexed_by

CELLS = {
    "rock salt, primitive": (3.99, 3.99, 3.99, 60, 60, 60),
    "rutile": (2.96, 4.59, 4.59, 90, 90, 90),
    "triclinic": (7.1, 9.3, 11.2, 98, 105, 84),
    "monoclinic": (7.6, 9.9, 12.3, 90, 106.3, 90),
    "hexagonal": (9.4, 9.4, 6.9, 90, 90, 120),
    "cubic": (15.8, 15.8, 15.8, 90, 90, 90),
    "flat": (5.1, 6.0, 31.0, 90, 94, 90),
    "long": (28.0, 31.0, 4.4, 90, 90, 90),
}
NOISE_PER_A = 0.0012
"""A pixel is 0.009 1/A, a tenth of a degree at 0.6 1/A is 0.001 1/A."""


def seen(cell: Cell, degrees: float, seed: int, share: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """(n, 3) points of a wedge about x, up to 0.9 1/A, a part of them, with noise; and the lattice."""
    rng = np.random.default_rng(seed)
    ub = random_orientation(seed) @ cell.reciprocal_basis
    most = np.ceil(0.9 * np.array(cell.parameters[:3])).astype(int) + 1
    hkl = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in most), indexing="ij"), -1).reshape(-1, 3)
    points = hkl @ ub.T
    length = np.linalg.norm(points, axis=1)
    tilt = np.degrees(np.arctan2(points[:, 2], points[:, 1]))
    inside = (length < 0.9) & (length > 0.03) & (np.abs((tilt + 90) % 180 - 90) < degrees / 2)
    points = points[inside & (rng.random(len(points)) < share)]
    return points + rng.normal(scale=NOISE_PER_A, size=points.shape), ub


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize(("degrees", "wrong"), [(60.0, 0.0), (60.0, 0.3), (35.0, 0.1)])
def test_the_lattice_is_found_in_points_of_a_wedge(name: str, degrees: float, wrong: float) -> None:
    cell = Cell(*CELLS[name])
    points, _ = seen(cell, degrees, seed=3, share=0.8)
    rng = np.random.default_rng(4)
    more = int(wrong / (1 - wrong) * len(points))
    noise = rng.uniform(-0.5, 0.5, (more, 3)) * np.ptp(points, axis=0)
    found = find_lattice(np.concatenate([points, noise])[rng.permutation(len(points) + more)])
    assert found is not None
    length, angle_deg = lattice_difference(found.cell, cell)
    assert length < 0.015
    assert angle_deg < 1.0
    assert found.share > 0.9 * (1 - wrong)
    assert np.linalg.det(found.ub) > 0


def test_of_two_lattices_the_stronger_is_found() -> None:
    cell = Cell(*CELLS["triclinic"])
    (first, _), (second, _) = seen(cell, 60, seed=5), seen(cell, 60, seed=6, share=0.2)
    found = find_lattice(np.concatenate([first, second]))
    assert found is not None
    assert lattice_difference(found.cell, cell)[0] < 0.01
    assert found.indexed[: len(first)].mean() > 0.95


def test_points_turned_by_an_axis_that_is_one_degree_off_do() -> None:
    cell = Cell(*CELLS["monoclinic"])
    points, _ = seen(cell, 40, seed=7)
    turn = np.radians(np.degrees(np.arctan2(points[:, 2], points[:, 1])) * 0.02)[:, None]
    bent = points + turn * np.cross([0, 0, 1], points)
    found = find_lattice(bent)
    assert found is not None
    assert lattice_difference(found.cell, cell)[0] < 0.03


@pytest.mark.parametrize("count", [0, 5, 60, 400])
def test_points_of_no_lattice_have_none(count: int) -> None:
    found = find_lattice(np.random.default_rng(8).uniform(-0.5, 0.5, (count, 3)))
    assert found is None or found.share < 0.6


def test_indexing_by_a_known_lattice() -> None:
    points, ub = seen(Cell(*CELLS["triclinic"]), 60, seed=9)
    found = indexed_by(ub, points)
    assert found.indexed.all()
    np.testing.assert_allclose(found.hkl @ ub.T, points, atol=0.01)


def test_a_small_cell_that_indexes_fewer_points_sharply_explains_more_than_a_large_one() -> None:
    """Of 89 points: a cell 13 times as large has the 47 of the small one and 15 of a second crystal besides."""
    small, large = explained(np.array([47, 62]), 89, np.array([1e-4, 3.2e-3]))
    assert small > large + 30
    whole, half = explained(np.array([150, 75]), 150, np.array([2e-3, 1e-3]))
    assert whole > half + 30


def test_with_a_second_crystal_the_small_cell_of_the_first_is_found() -> None:
    cell = Cell(4.227, 5.651, 5.788, 80.89, 88.36, 85.06)
    for seed in range(4):
        first, _ = seen(cell, 40, seed=seed)
        second, _ = seen(cell, 40, seed=seed + 50)
        found = find_lattice(np.concatenate([first, second[: len(first) // 2]]))
        assert found is not None
        assert lattice_difference(found.cell, cell)[0] < 0.03
