"""Nets are found as planes of a lattice, and chance is what random lattices show."""

import gemmi
import numpy as np
import pytest

from protocols.lattice.cell import Cell
from protocols.zones.cell.planes import chance, lattice_vectors, planes, reduced_metric
from protocols.zones.patterns.randomcells import random_cell

CELL = Cell(7.0, 9.0, 11.0, 95.0, 105.0, 100.0).reduced()


def sides_of(metric: np.ndarray, v: tuple[int, ...], w: tuple[int, ...]) -> list[float]:
    """|v|, |w| and |v - w|, the acute way round."""
    one, two = np.array(v), np.array(w)
    two = two if one @ metric @ two >= 0 else -two
    return [float(np.sqrt(x @ metric @ x)) for x in (one, two, one - two)]


def test_every_vector_up_to_a_length_is_listed_once() -> None:
    hkl, length = lattice_vectors(CELL.reciprocal_metric, 0.6)
    theirs = gemmi.make_miller_array(gemmi.UnitCell(*CELL.parameters), gemmi.SpaceGroup("P -1"), 1 / 0.6)
    assert len(hkl) == len(theirs)
    assert np.all(np.diff(length) >= 0)
    assert not {tuple(x) for x in hkl.tolist()} & {tuple(x) for x in (-hkl).tolist()}


@pytest.mark.parametrize(
    ("v", "w", "content"),
    [((1, 0, 0), (0, 1, 0), 1), ((1, 1, 0), (0, 1, -1), 1), ((0, 2, 0), (0, 0, 1), 2), ((2, 0, 0), (0, 2, 0), 4)],
)
def test_a_net_is_found_as_the_plane_it_is(v: tuple[int, ...], w: tuple[int, ...], content: int) -> None:
    metric = CELL.reciprocal_metric
    sides = np.array([sides_of(metric, v, w)])
    found = planes(metric, sides, np.array([1e-6])).best()
    assert found.net.tolist() == [0]
    assert found.content.tolist() == [content]
    assert sides_of(metric, tuple(found.v[0]), tuple(found.w[0])) == pytest.approx(sides[0].tolist())


def test_a_strange_net_is_not_found() -> None:
    assert not len(planes(CELL.reciprocal_metric, np.array([[0.1234, 0.2345, 0.2222]]), np.array([1e-4])).net)


def test_chance_is_what_random_lattices_explain() -> None:
    """Averaged over lattices of one volume, the pairs that look like a net are as many as `chance` says."""
    rng = np.random.default_rng(3)
    sides = np.array([[0.30, 0.35, 0.33], [0.25, 0.45, 0.40], [0.40, 0.42, 0.30]])
    tolerance = np.full((3, 3), 0.02)
    counts = np.zeros(3)
    for _ in range(150):
        metric = random_cell(rng, "triclinic", 800.0, 2.0).reduced().reciprocal_metric
        counts += np.bincount(planes(metric, sides, tolerance).net, minlength=3)
    assert counts / 150 == pytest.approx(chance(800.0, sides, tolerance), rel=0.25)


def test_no_lattice_has_no_reduced_metric() -> None:
    assert reduced_metric(np.outer([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])) is None
    assert reduced_metric(np.full((3, 3), np.nan)) is None
