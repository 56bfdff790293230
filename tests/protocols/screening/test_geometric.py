"""The score without a network: how often it is right, kind by kind, and that it says why."""

from collections import defaultdict

import numpy as np
import pytest

from protocols.screening.generation import CameraKind, generate
from protocols.screening.geometric import geometric_score
from protocols.screening.labels import Kind, Verdict


def scored(seed, count, camera=CameraKind.COUNTING):
    for pattern in generate(seed, 0, count, camera):
        yield pattern.label, geometric_score(pattern.counts, pattern.inverse_A_per_px, bad=pattern.mask)


def test_most_patterns_get_the_verdict_of_their_label_and_a_reason():
    """The figures of docs/screening.md are of more patterns; these are to notice that something broke."""
    right = []
    for label, score in scored(41, 48):
        assert 0 <= score.good <= 1
        assert score.why
        if label.verdict is not Verdict.BORDERLINE:
            right.append((score.good >= 0.5) == (label.verdict is Verdict.GOOD))
    assert np.mean(right) >= 0.9


@pytest.mark.long
def test_it_lets_through_less_than_the_network_published_with_instamatic_did():
    """Of several crystals 0.46, of spotty rings 0.67, and 0.71 of the good ones."""
    called = defaultdict(list)
    for label, score in scored(42, 400):
        called[label.kind, label.verdict].append(score.good >= 0.5)
    assert np.mean(called[Kind.ONE_LATTICE, Verdict.GOOD]) > 0.93
    assert np.mean(called[Kind.SEVERAL_CRYSTALS, Verdict.BAD]) < 0.25
    assert np.mean(called[Kind.SPOTTY_RINGS, Verdict.BAD]) < 0.1


def test_a_frame_without_a_pattern_says_so():
    dark = np.random.default_rng(1).poisson(0.1, (516, 516)).astype(np.uint16)
    score = geometric_score(dark)
    assert score.good < 0.05
    assert (score.spots, score.d_min_A) == (0, None)
    assert "no spots" in score.why


def test_without_a_scale_the_resolution_is_not_asked():
    pattern = next(p for p in generate(41, 0, 40) if p.label.verdict is Verdict.GOOD)
    without = geometric_score(pattern.counts, bad=pattern.mask)
    assert without.d_min_A is None
    assert without.good > 0.5
    assert " A" not in without.why
