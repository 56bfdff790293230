"""Trial lattices find their way to the true one, and the true one stands out among its multiples."""

from dataclasses import replace

import numpy as np
import pytest

from protocols.lattice.cell import Cell, lattice_difference
from protocols.zones.cell.merging import Net, merged, triangle
from protocols.zones.cell.planes import reduced_metric
from protocols.zones.cell.trials import Trial, _keep, neighbours, ranked, refined, screened
from tests.protocols.zones.madezones import zones_of

CELL = Cell(7.2, 8.4, 10.1, 93.0, 104.0, 98.0).reduced()


@pytest.fixture(scope="module")
def nets() -> list[Net]:
    """Of ten zones of the cell."""
    return merged([triangle(zone) for zone in zones_of(CELL)])


def trial(nets: list[Net], cell: Cell) -> Trial:
    return screened(nets, [(cell.reciprocal_metric, (0, 0.0))])[0]


def test_a_lattice_that_is_a_little_off_is_refined_to_the_true_one(nets: list[Net]) -> None:
    off = Cell(7.25, 8.37, 10.05, 93.4, 103.8, 98.3)
    better = refined(trial(nets, off), nets)
    assert better is not None
    length, angle = lattice_difference(better.cell, CELL)
    assert length < 1e-3
    assert angle < 0.05
    assert len(better.planes.net) == len(nets)


def test_there_are_as_many_neighbours_as_sublattices() -> None:
    # 7 sublattices of index 2 and 13 of index 3, and as many superlattices.
    found = neighbours(CELL.reciprocal_metric)
    volumes = [round(float(np.sqrt(np.linalg.det(CELL.reciprocal_metric) / np.linalg.det(m))), 3) for m in found]
    assert {v: volumes.count(v) for v in set(volumes)} == {2.0: 7, 0.5: 7, 3.0: 13, 0.333: 13}
    assert len({tuple(np.round(m, 9).ravel()) for m in found}) == 40


@pytest.mark.parametrize("change", [np.diag([0.5, 1.0, 1.0]), np.diag([1.0, 1.0, 0.5]), np.diag([1.0, 1 / 3, 1.0])])
def test_a_multiple_gives_way_to_the_lattice_itself(nets: list[Net], change: np.ndarray) -> None:
    metric = reduced_metric(change @ CELL.reciprocal_metric @ change)
    assert metric is not None
    best = ranked([trial(nets, Cell.from_reciprocal_metric(metric))], nets)[0]
    assert lattice_difference(best.cell, CELL)[0] < 1e-3


@pytest.mark.parametrize("poor_first", [True, False])
def test_of_two_forms_of_a_lattice_the_better_one_stays(nets: list[Net], poor_first: bool) -> None:
    # A poor form once kept the true cell from being looked at, and a threefold one was called determined.
    good = refined(trial(nets, CELL), nets)
    assert good is not None
    poor = replace(good, metric=good.metric * 1.004, evidence=good.evidence / 3)
    done: list[Trial] = []
    for one in (poor, good) if poor_first else (good, poor):
        _keep(done, one)
    assert [one.evidence for one in done] == [good.evidence]
