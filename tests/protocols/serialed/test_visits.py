from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.serialed.visits import rising

POINTS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=14)


def falls(points: list[tuple[float, float]], order: list[int]) -> int:
    return sum(points[b][0] < points[a][0] or points[b][1] < points[a][1] for a, b in pairwise(order))


def longest_falling(points: list[tuple[float, float]]) -> int:
    """The most points of which no two can be in one rising chain: by Dilworth the fewest chains."""
    ordered = sorted(points)
    best: list[int] = []
    for k, (x, y) in enumerate(ordered):
        before = [best[j] for j in range(k) if ordered[j][1] > y and ordered[j][0] < x]
        best.append(1 + max(before, default=0))
    return max(best, default=0)


@settings(deadline=None)
@given(POINTS)
def test_every_crystal_is_visited_once_in_as_few_rising_chains_as_can_be(points: list[tuple[float, float]]) -> None:
    order = rising(points)
    assert sorted(order) == list(range(len(points)))
    assert falls(points, order) <= max(longest_falling(points) - 1, 0)


def test_crystals_on_a_rising_line_are_one_chain() -> None:
    assert rising([(3.0, 3.0), (1.0, 1.0), (2.0, 2.0)]) == [1, 2, 0]
