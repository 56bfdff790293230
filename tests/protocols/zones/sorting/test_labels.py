"""Labels from indices, against a search through all planes."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.zones.patterns.randomcells import random_cell
from protocols.zones.patterns.simulation import simulate
from protocols.zones.sorting.labels import HYBRID, INTERSECTIONS, ZONE, best_planes, labels_of, rows_of

CASES = {
    "a net": ([(1, 0, 0), (0, 1, 0), (1, 1, 0), (-2, 1, 0)], ZONE, 0),
    "a net and one outside": ([(1, 0, 0), (0, 1, 0), (1, 1, 0), (-2, 1, 0), (0, 0, 1)], HYBRID, 1),
    "a net and three outside": (
        [(1, 0, 0), (0, 1, 0), (1, 1, 0), (2, 1, 0), (0, 1, 1), (1, 0, 1), (1, 1, 1)],
        HYBRID,
        3,
    ),
    "one row": ([(1, 0, 0), (-2, 0, 0), (3, 0, 0)], INTERSECTIONS, 3),
    "nothing": ([], INTERSECTIONS, 0),
    "a net and a spot without an index": ([(1, 0, 0), (0, 1, 0), (1, 1, 0), (0, 0, 0)], HYBRID, 1),
}


@pytest.mark.parametrize(("hkl", "label", "outside"), CASES.values(), ids=CASES.keys())
def test_labels(hkl: list[tuple[int, int, int]], label: int, outside: int) -> None:
    indices = np.array(hkl, dtype=np.int64).reshape(-1, 3)
    axis, count = best_planes(indices, np.array([0, len(indices)]))
    assert labels_of(axis, count).tolist() == [label]
    assert count.tolist() == [outside]


@given(st.lists(st.tuples(*[st.integers(-4, 4)] * 3).filter(any), max_size=9))
def test_the_best_plane_is_the_best_of_all_planes(hkl: list[tuple[int, int, int]]) -> None:
    indices = np.array(hkl, dtype=np.int64).reshape(-1, 3)
    normals = [np.cross(p, q) for p, q in combinations(indices, 2)]
    outside = min((int((indices @ n != 0).sum()) for n in normals if n.any()), default=len(indices))
    axis, count = best_planes(indices, np.array([0, len(indices)]))
    # Exact up to three; beyond, only known to be more than three.
    assert count[0] == outside if outside <= 3 else count[0] > 3
    assert int((indices @ axis[0] != 0).sum()) == count[0] or not axis.any()


@given(st.tuples(*[st.integers(-20, 20)] * 3).filter(any), st.integers(-3, 3).filter(bool))
def test_a_row_is_known_by_any_of_its_points(hkl: tuple[int, int, int], factor: int) -> None:
    point = np.array(hkl)
    aside = np.array([1, 0, 0] if np.cross(point, [1, 0, 0]).any() else [0, 1, 0])
    rows = rows_of(np.array([point, factor * point, point + aside]))
    assert rows[0] == rows[1]
    assert rows[0] != rows[2]


@pytest.mark.parametrize(("volume_A3", "low", "high"), [(500.0, 5.0, 9.0), (700.0, 3.6, 6.6), (1000.0, 2.2, 4.6)])
def test_share_of_zones_is_that_of_the_paper_and_falls_with_the_volume(
    volume_A3: float, low: float, high: float
) -> None:
    rng = np.random.default_rng(7)
    shares = []
    for anisotropy in (1.5, 6.0, 1.5, 6.0):
        patterns = simulate(random_cell(rng, "triclinic", volume_A3, anisotropy), 1000, rng)
        shares.append(100 * float((patterns.label == ZONE).mean()))
    assert low < np.mean(shares) < high
