"""Phases of a grid: by CIF, by cell, or drawn, with Wilson's statistics and the symmetry of their lattice."""

import numpy as np
import pytest

from drivers.simulated.crystal import load_crystal
from drivers.simulated.phases import RIGHT_DEG, VOLUMES_A3, draw_cell, load_phase, reciprocal, volume_A3
from engine.errors import Refused


def test_a_drawn_phase_follows_from_seed_and_number() -> None:
    one, again, other = (load_phase("random", seed, number) for seed, number in ((5, 0), (5, 0), (5, 1)))
    assert np.array_equal(one.intensity, again.intensity)
    assert one.cell != other.cell


@pytest.mark.parametrize("seed", range(12))
def test_drawn_cells_are_small_and_primitive(seed: int) -> None:
    cell = draw_cell(seed, 0)
    assert VOLUMES_A3[0] <= volume_A3(cell) <= VOLUMES_A3[1]
    b_matrix = reciprocal(cell)
    assert 1.0 / np.linalg.det(b_matrix) == pytest.approx(volume_A3(cell), rel=1e-9)
    direct = np.linalg.inv(b_matrix).T
    assert np.allclose(np.linalg.norm(direct, axis=0), cell[:3])


@pytest.mark.parametrize(
    ("cell", "mates"),
    [
        ("8 9 10 90 90 90", [(-1, 1, 1), (1, -1, 1), (1, 1, -1)]),
        ("8 9 10 90 103 90", [(1, -1, 1), (-1, -1, -1)]),
        ("8 9 10 95 103 99", [(-1, -1, -1)]),
    ],
)
def test_equivalent_reflections_are_equally_strong_and_others_are_not(
    cell: str, mates: list[tuple[int, int, int]]
) -> None:
    phase = load_phase(f"cell {cell}", 7, 0)
    strong = {tuple(hkl): value for hkl, value in zip(phase.hkl.tolist(), phase.intensity.tolist(), strict=True)}
    flips = [(a, b, c) for a in (1, -1) for b in (1, -1) for c in (1, -1)]
    same = {
        flip
        for flip in flips
        if all(
            strong[h, k, m] == strong[h * flip[0], k * flip[1], m * flip[2]]
            for h, k, m in strong
            if h > 0 and k > 0 and m > 0
        )
    }
    assert set(mates) <= same
    assert len(same) == {3: 8, 2: 4, 1: 2}[len(mates)]


def test_drawn_intensities_have_the_distribution_of_wilson() -> None:
    phase = load_phase("cell 9 10 11 95 103 99", 7, 0)
    d_star = np.linalg.norm(phase.hkl @ phase.ub.T, axis=1)
    shell = phase.intensity[(d_star > 0.9) & (d_star < 1.0)]
    share = shell / shell.mean()
    assert np.mean(share < 1.0) == pytest.approx(1 - np.exp(-1), abs=0.05), "acentric"
    assert np.mean(share**2) == pytest.approx(2.0, abs=0.3)


def test_a_phase_of_a_structure_is_that_of_its_file() -> None:
    phase, crystal = load_phase("", 0, 0), load_crystal(None, 3)
    assert np.array_equal(phase.intensity, crystal.intensity)
    assert np.allclose(crystal.orientation @ phase.ub, crystal.ub)


@pytest.mark.parametrize("words", ["cell 8 9", "cell 8 9 10 90 90 190", "cell a b c d e f", "nowhere.cif"])
def test_what_is_no_phase_is_refused(words: str) -> None:
    with pytest.raises(Refused, match=r"no cell|no such file"):
        load_phase(words, 0, 0)
    assert RIGHT_DEG < 0.1
