"""Excitation and projection, against the geometry written out in full."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from drivers.simulated.crystal import MORDENITE_CIF
from protocols.lattice.reflections import allowed_reflections
from protocols.zones.patterns.orientations import orientations
from protocols.zones.patterns.randomcells import PAPER_CELLS, random_cell
from protocols.zones.patterns.simulation import (
    Geometry,
    diffract,
    electron_wavelength_A,
    joined,
    simulate,
    simulate_cif,
)
from protocols.zones.sorting.labels import ZONE

GEOMETRY = Geometry()
K = 1 / GEOMETRY.wavelength_A


def test_excited_are_exactly_the_reflections_near_the_ewald_sphere() -> None:
    rng = np.random.default_rng(2)
    cell = random_cell(rng, volume_A3=500.0, anisotropy=3.0)
    hkl = allowed_reflections(cell, 1.0)
    turns = orientations(5, rng)
    patterns = diffract(cell, hkl, np.ones(len(hkl)), turns, GEOMETRY)
    for i, turn in enumerate(turns):
        points = hkl @ (turn @ cell.reciprocal_basis).T
        error = np.linalg.norm(points + np.array([0, 0, K]), axis=1) - K
        expected = hkl[np.abs(error) < GEOMETRY.excitation_error_per_A]
        assert np.array_equal(patterns.hkl[patterns.start[i] : patterns.start[i + 1]], expected)


def test_a_spot_lies_where_the_diffracted_beam_meets_the_detector() -> None:
    cell = random_cell(np.random.default_rng(3))
    patterns = simulate(cell, 20, np.random.default_rng(4))
    turned = np.einsum("mij,mj->mi", patterns.orientation[patterns.owner], patterns.hkl @ cell.reciprocal_basis.T)
    across = turned[:, :2]
    diffracted = np.concatenate([across, np.sqrt(K**2 - (across**2).sum(axis=1))[:, None]], axis=1)
    assert np.linalg.norm(diffracted, axis=1) == pytest.approx(K)
    assert patterns.xy == pytest.approx(diffracted[:, :2] / diffracted[:, 2:] * K)


def test_a_crystal_along_its_zone_axis_gives_that_zone() -> None:
    cell = PAPER_CELLS["triclinic, figure 1"][0]
    hkl = allowed_reflections(cell, 1.0)
    axis = cell.direct_basis @ [1, 0, 0]
    turn = Rotation.align_vectors([[0, 0, 1]], [axis])[0].as_matrix()
    patterns = diffract(cell, hkl, np.ones(len(hkl)), turn[None], GEOMETRY)
    assert patterns.label.tolist() == [ZONE]
    assert np.abs(patterns.zone_axis[0]).tolist() == [1, 0, 0]


# D. B. Williams & C. B. Carter, Transmission Electron Microscopy (2009), table 1.2; in pm there.
WAVELENGTHS = {100: 0.0370, 120: 0.0335, 200: 0.0251, 300: 0.0197, 400: 0.0164, 1000: 0.0087}


@pytest.mark.parametrize("voltage_kV", WAVELENGTHS)
def test_the_wavelength_of_electrons(voltage_kV: int) -> None:
    assert electron_wavelength_A(voltage_kV) == pytest.approx(WAVELENGTHS[voltage_kV], abs=6e-5)


def test_a_cell_has_its_patterns_in_blocks_of_memory_or_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = random_cell(np.random.default_rng(3))
    whole = simulate(cell, 50, np.random.default_rng(4))
    monkeypatch.setattr("protocols.zones.patterns.simulation.ENTRIES_AT_ONCE", 10_000)
    parts = simulate(cell, 50, np.random.default_rng(4))
    assert np.array_equal(whole.hkl, parts.hkl)
    assert np.array_equal(whole.start, parts.start)


def test_taking_and_joining_patterns() -> None:
    patterns = simulate(random_cell(np.random.default_rng(3)), 10, np.random.default_rng(4))
    some = patterns.take(np.array([7, 2, 2]))
    assert np.array_equal(some.spots(0), patterns.spots(7))
    assert np.array_equal(some.spots(2), patterns.spots(2))
    assert some.label.tolist() == patterns.label[[7, 2, 2]].tolist()
    both = joined([patterns, some])
    assert np.array_equal(both.spots(10), patterns.spots(7))
    assert len(patterns.take(np.array([], dtype=np.int64))) == 0


def test_leaving_out_spots_changes_the_label() -> None:
    patterns = simulate(random_cell(np.random.default_rng(3), volume_A3=500.0), 300, np.random.default_rng(4))
    in_plane = np.einsum("mi,mi->m", patterns.hkl, patterns.zone_axis[patterns.owner]) == 0
    assert (patterns.label == ZONE).mean() < 0.2
    assert (patterns.only(in_plane).label == ZONE).mean() > 0.9


def test_a_cif_gives_patterns_with_intensities() -> None:
    cell, patterns = simulate_cif(MORDENITE_CIF, 30, np.random.default_rng(1))
    assert cell.a_A == pytest.approx(18.11, abs=0.05)
    assert not ((patterns.hkl[:, 0] + patterns.hkl[:, 1]) % 2).any()
    strongest = [patterns.intensity[patterns.owner == i].max() for i in range(30)]
    assert strongest == pytest.approx(np.ones(30))
    assert patterns.intensity.min() < 0.01


def test_the_same_seed_gives_the_same_patterns() -> None:
    cell = random_cell(np.random.default_rng(3))
    one, other = (simulate(cell, 20, np.random.default_rng(4)) for _ in range(2))
    assert np.array_equal(one.xy, other.xy)
