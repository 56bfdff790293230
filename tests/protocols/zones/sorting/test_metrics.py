"""Figures of a sorted set: counted right, hybrids apart, intervals that hold."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.zones.sorting.labels import HYBRID, INTERSECTIONS, ZONE
from protocols.zones.sorting.metrics import Share, area_under_curve, figures


def test_each_figure_counts_what_it_says() -> None:
    # 4 zonal (3 found), 3 hybrids (2 called zonal), 10 others (1 called zonal).
    label = np.array([ZONE] * 4 + [HYBRID] * 3 + [INTERSECTIONS] * 10)
    called = np.array([1, 1, 1, 0] + [1, 1, 0] + [1] + [0] * 9, dtype=bool)
    found = figures(label, called)
    assert (found.recall.hits, found.recall.of) == (3, 4)
    assert (found.specificity.hits, found.specificity.of) == (9, 10)
    assert (found.precision.hits, found.precision.of) == (3, 4)
    assert (found.precision_with_hybrids.hits, found.precision_with_hybrids.of) == (3, 6)
    assert (found.hybrids.hits, found.hybrids.of) == (2, 3)
    assert found.balanced_accuracy == pytest.approx((0.75 + 0.9) / 2)
    assert math.isnan(found.auc)


def test_calling_everything_three_dimensional_is_no_better_than_chance() -> None:
    label = np.array([ZONE] * 3 + [INTERSECTIONS] * 97)
    found = figures(label, np.zeros(100, dtype=bool), np.zeros(100))
    assert found.balanced_accuracy == 0.5
    assert found.auc == 0.5
    assert math.isnan(found.precision.value)
    assert json.loads(json.dumps(found.record(), allow_nan=False))["precision"]["value"] is None


@pytest.mark.parametrize(("hits", "of"), [(0, 10), (10, 10), (5, 10), (119, 120), (3, 4000)])
def test_the_interval_is_wilsons(hits: int, of: int) -> None:
    # By its definition: at either end the share found is 1.96 standard deviations of that end away.
    low, high = Share(hits, of).interval
    assert low <= hits / of <= high
    for end, certain in ((low, hits == 0), (high, hits == of)):
        deviation = 1.959964 * np.sqrt(end * (1 - end) / of)
        assert end == hits / of if certain else abs(hits / of - end) == pytest.approx(deviation, rel=1e-5)


def test_of_nothing_nothing_is_known() -> None:
    assert Share(0, 0).interval == (0.0, 1.0)
    assert math.isnan(Share(0, 0).value)


@given(st.integers(1, 400), st.integers(1, 400), st.data())
def test_the_interval_of_the_balanced_accuracy_holds_it_and_is_no_wider_than_the_two_it_is_made_of(
    zones: int, others: int, data: st.DataObject
) -> None:
    found_zones, found_others = data.draw(st.integers(0, zones)), data.draw(st.integers(0, others))
    label = np.array([ZONE] * zones + [INTERSECTIONS] * others)
    called = np.concatenate([np.arange(zones) < found_zones, np.arange(others) >= found_others])
    found = figures(label, called)
    low, high = found.balanced_accuracy_interval
    assert 0.0 <= low + 1e-9
    assert high <= 1.0 + 1e-9
    assert low <= found.balanced_accuracy + 1e-9
    assert found.balanced_accuracy <= high + 1e-9
    widths = [share.interval[1] - share.interval[0] for share in (found.recall, found.specificity)]
    assert high - low <= sum(widths) / 2 + 1e-9


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=30), st.lists(st.integers(-5, 5), min_size=1, max_size=30))
def test_the_area_is_the_share_of_pairs_in_the_right_order(positive: list[int], negative: list[int]) -> None:
    pairs = [(p > n) + 0.5 * (p == n) for p in positive for n in negative]
    assert area_under_curve(np.array(positive), np.array(negative)) == pytest.approx(np.mean(pairs))
