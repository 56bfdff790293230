"""The confidence is a probability in a world with another share of zonal patterns."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.zones.sorting.confidence import NATURAL_SHARE, confidence, reliability

SHARES = st.floats(1e-4, 1 - 1e-4)


def test_where_the_network_cannot_tell_the_share_itself_is_the_confidence() -> None:
    assert confidence(np.zeros(3), 0.07) == pytest.approx(0.07)
    assert confidence(np.zeros(1)) == pytest.approx(NATURAL_SHARE)


@given(st.floats(0.001, 0.999), SHARES, SHARES)
def test_it_is_bayes_rule(balanced: float, share: float, trained: float) -> None:
    # Of N patterns as in training a share `balanced` with this logit is zonal; now weigh both classes anew.
    zonal, other = balanced * share / trained, (1 - balanced) * (1 - share) / (1 - trained)
    logit = np.log(balanced / (1 - balanced))
    assert confidence(np.array([logit]), share, trained)[0] == pytest.approx(zonal / (zonal + other), rel=1e-9)


@given(st.lists(st.floats(-30, 30), min_size=2, max_size=20), SHARES)
def test_the_order_of_patterns_stays(logits: list[float], share: float) -> None:
    ordered = np.sort(np.array(logits))
    assert (np.diff(confidence(ordered, share)) >= 0).all()


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_a_share_that_is_none_is_named(share: float) -> None:
    with pytest.raises(ValueError, match="share of zonal patterns"):
        confidence(np.zeros(1), share)


def test_confidences_corrected_to_the_true_share_are_reliable() -> None:
    # Scores for which the Bayes logit is known: two normal distributions a distance d apart with width 1.
    rng = np.random.default_rng(5)
    d, share, n = 3.0, 0.04, 400_000
    zonal = rng.random(n) < share
    score = rng.normal(np.where(zonal, d / 2, -d / 2))
    for corrected, expected in ((confidence(d * score, share), True), (confidence(d * score, 0.5), False)):
        bins = [b for b in reliability(corrected, zonal) if b.patterns > 500]
        off = max(abs(b.mean_confidence - b.zonal / b.patterns) for b in bins)
        assert (off < 0.03) is expected, off


def test_bins_hold_every_pattern_once_their_edges_too() -> None:
    values = np.array([0.0, 0.01, 0.5, 0.5, 0.99, 1.0])
    bins = reliability(values, np.array([False, False, True, False, True, True]))
    assert [(b.low, b.patterns, b.zonal) for b in bins] == [(0.0, 1, 0), (0.01, 1, 0), (0.5, 2, 1), (0.99, 2, 2)]
