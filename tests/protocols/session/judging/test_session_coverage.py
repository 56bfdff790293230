"""Completeness of several crystals together, and what crystals that lie flat can show."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from protocols.lattice.cell import Cell
from protocols.lattice.rotationgeometry import RotationGeometry
from protocols.lattice.symmetry import bravais
from protocols.live.coverage import coverage
from protocols.session.judging.coverage import Reach, Stage, union_completeness
from protocols.session.judging.dataset import DataSet, data_set
from protocols.session.judging.phases import Phase, phases_of
from tests.protocols.lattice.rotations import geometry_of
from tests.protocols.session.judging.nights import CHABAZITE, LATTICES, MORDENITE, measured, result_of

STAGE = Stage(RotationGeometry.of(geometry_of(-38.5)), (516, 516), (-60.0, 60.0))
D_MIN_A = 1.0


def lying(cell: Cell, hkl: tuple[int, int, int], spread_deg: float, number: int, rng: np.random.Generator) -> DataSet:
    """A crystal on its face hkl (conventional)."""
    type_ = bravais(cell)
    normal = cell.reciprocal_basis @ np.linalg.inv((type_.basis @ type_.reduction).astype(float)) @ np.array(hkl)
    up, _ = Rotation.align_vectors([[0, 0, 1]], [normal / np.linalg.norm(normal)])
    about = Rotation.from_euler("z", rng.uniform(0, 360), degrees=True)
    tipped = Rotation.from_rotvec(np.radians([*rng.normal(0, spread_deg, 2), 0]))
    ub = (tipped * about * up).as_matrix() @ cell.reciprocal_basis
    sigma = np.concatenate([0.002 * np.array(cell.parameters[:3]), np.full(3, 0.1)])
    return data_set(result_of(cell, ub, sigma, LATTICES[cell]), number, number, "")


def only(sets: list[DataSet]) -> Phase:
    (phase,) = phases_of(sets)
    return phase


def test_one_crystal_is_as_complete_as_live_says() -> None:
    data = measured(MORDENITE, 1, np.random.default_rng(1), noise=1e-5)
    phase = only([data])
    assert data.orientation is not None
    own = coverage(data.orientation, bravais(MORDENITE), STAGE.geometry, STAGE.shape, D_MIN_A)
    assert union_completeness(phase, STAGE, D_MIN_A) == pytest.approx(own.completeness((-60, 60)), abs=0.01)


def test_together_they_are_the_union_of_what_each_passes() -> None:
    rng = np.random.default_rng(4)
    sets = [measured(MORDENITE, n, rng, start_deg=-10.0, end_deg=10.0) for n in (1, 2, 3)]
    reach = Reach(only(sets), STAGE, D_MIN_A)
    each = [reach.share(reach.passed(reach.rotation_of(data), (-10, 10))) for data in sets]
    together = reach.share(reach.together)
    assert max(each) < together < sum(each)
    # Independently: share of classes, by the indices of each crystal's own passes in one common basis.
    seen: set[tuple[int, ...]] = set()
    type_ = bravais(MORDENITE)
    for data, axes in zip(reach.phase.data_sets, reach.phase.basis, strict=True):
        assert data.orientation is not None
        own = coverage(data.orientation, type_, STAGE.geometry, STAGE.shape, D_MIN_A)
        for hkl in own.hkl[own.seen((-10, 10))] @ axes.T:
            niggli = reach.phase.bravais.reduction @ hkl
            seen.add(max(tuple((s * niggli @ r).tolist()) for r in reach.phase.bravais.group for s in (1, -1)))
    assert len(seen) / reach.classes == pytest.approx(together, abs=0.01)


def test_the_same_crystal_twice_brings_nothing() -> None:
    data = measured(CHABAZITE, 1, np.random.default_rng(1), noise=1e-5, start_deg=-20.0, end_deg=20.0)
    again = DataSet(**{name: getattr(data, name) for name in DataSet.__slots__} | {"number": 2})
    assert union_completeness(only([data, again]), STAGE, D_MIN_A) == union_completeness(only([data]), STAGE, D_MIN_A)


@pytest.mark.parametrize(("cell", "hkl"), [(CHABAZITE, (0, 0, 1)), (MORDENITE, (0, 1, 0))])
def test_crystals_that_lie_flat_miss_a_cone(cell: Cell, hkl: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(12)
    reach = Reach(only([lying(cell, hkl, 10.0, n, rng) for n in range(1, 13)]), STAGE, D_MIN_A)
    assert reach.lying is not None
    assert reach.lying.hkl == hkl
    assert 6 < reach.lying.spread_deg < 15
    told = reach.attainable
    assert 0.9 < told.share < 0.995
    assert told.cone_deg is not None
    assert 4 < told.cone_deg < 25
    assert f"lie on ({' '.join(map(str, hkl))})" in told.words
    # Crystals not seen before, that lie alike, do not show more than that.
    others = Reach(only([lying(cell, hkl, 10.0, n, rng) for n in range(1, 31)]), STAGE, D_MIN_A)
    assert others.share(others.together) == pytest.approx(told.share, abs=0.03)


@pytest.mark.parametrize("seed", range(4))
def test_crystals_that_lie_anyhow_show_all(seed: int) -> None:
    rng = np.random.default_rng(70 + seed)
    reach = Reach(only([measured(CHABAZITE, n, rng) for n in range(1, 9)]), STAGE, D_MIN_A)
    assert reach.lying is None
    assert reach.attainable.share > 0.995
    assert reach.attainable.cone_deg is None


def test_a_range_that_is_not_known_shows_nothing() -> None:
    data = measured(CHABAZITE, 1, np.random.default_rng(1), start_deg=None)
    assert union_completeness(only([data]), STAGE, D_MIN_A) == 0
