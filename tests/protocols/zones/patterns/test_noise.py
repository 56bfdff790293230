"""What spoils patterns does what it says, and labels follow."""

import numpy as np
import pytest

from protocols.zones.patterns.noise import (
    displaced,
    distorted,
    emptied,
    miscentred,
    overlaid,
    speckled,
    thinned,
    with_random_intensities,
)
from protocols.zones.patterns.randomcells import random_cell
from protocols.zones.patterns.simulation import Patterns, simulate
from protocols.zones.sorting.labels import FEWEST_SPOTS, HYBRID, NO_HIT, SEVERAL, ZONE


@pytest.fixture(scope="module")
def patterns() -> Patterns:
    return simulate(random_cell(np.random.default_rng(1), volume_A3=500.0), 400, np.random.default_rng(2))


def test_spots_are_displaced_by_the_given_amount(patterns: Patterns) -> None:
    moved = displaced(patterns, np.random.default_rng(0), 0.003).xy - patterns.xy
    assert moved.std(axis=0) == pytest.approx([0.003, 0.003], rel=0.05)


def test_a_miscentred_pattern_moves_as_a_whole(patterns: Patterns) -> None:
    moved = miscentred(patterns, np.random.default_rng(0), 0.01).xy - patterns.xy
    first = moved[patterns.start[:-1]]
    assert moved == pytest.approx(first[patterns.owner], abs=1e-12)
    assert first.std() == pytest.approx(0.01, rel=0.1)


def test_a_distortion_stretches_along_its_axis(patterns: Patterns) -> None:
    stretched = distorted(patterns, np.diag([1.01, 0.99]))
    assert stretched.xy == pytest.approx(patterns.xy * [1.01, 0.99])


def test_missing_spots_leave_fewer_and_can_turn_a_hybrid_into_a_zone(patterns: Patterns) -> None:
    thin = thinned(patterns, np.random.default_rng(0), 0.3)
    assert len(thin.xy) == pytest.approx(0.7 * len(patterns.xy), rel=0.02)
    assert ((patterns.label == HYBRID) & (thin.label == ZONE)).any()
    assert (thin.label[patterns.label == ZONE] == ZONE).mean() > 0.99


def test_an_additional_spot_makes_a_zone_a_hybrid(patterns: Patterns) -> None:
    zones = patterns.take(np.flatnonzero(patterns.label == ZONE))
    more = speckled(zones, np.random.default_rng(0), 0.05)
    extra = np.diff(more.start) - np.diff(zones.start)
    assert len(more.xy) == pytest.approx(1.05 * len(zones.xy), rel=0.03)
    assert np.array_equal(more.label == ZONE, extra == 0)
    assert np.hypot(*more.xy.T).max() <= 1.001


def test_several_crystals_are_a_class_of_their_own(patterns: Patterns) -> None:
    zones = patterns.take(np.flatnonzero(patterns.label == ZONE))
    double = overlaid(zones, np.random.default_rng(0))
    assert len(double.xy) == 2 * len(zones.xy)
    assert (double.label == SEVERAL).all()


def test_some_patterns_are_of_several_crystals_some_of_none_and_the_others_stay(patterns: Patterns) -> None:
    rng = np.random.default_rng(0)
    mixed = emptied(overlaid(patterns, rng, 3, share=0.3), rng, 0.2)
    crystals = mixed.crystals_in_beam
    assert (crystals == 3).mean() == pytest.approx(0.24, abs=0.06)
    assert (crystals == 0).mean() == pytest.approx(0.2, abs=0.05)
    spots = np.diff(mixed.start)
    assert spots[crystals == 0].max() < FEWEST_SPOTS
    assert np.array_equal(mixed.label == NO_HIT, (crystals == 0) | (spots < FEWEST_SPOTS))
    assert np.array_equal(mixed.label == SEVERAL, crystals == 3)
    one = np.flatnonzero(crystals == 1)
    assert np.array_equal(mixed.take(one).xy, patterns.take(one).xy)
    assert np.array_equal(mixed.label[one], patterns.label[one])
    again = mixed.take(np.arange(0, 400, 7))
    assert np.array_equal(again.label, mixed.label[::7])


@pytest.mark.parametrize("crystals", [2, 3])
def test_no_pattern_is_laid_over_itself(patterns: Patterns, crystals: int) -> None:
    few = patterns.take(np.arange(5))
    for seed in range(10):
        together = overlaid(few, np.random.default_rng(seed), crystals)
        for i in range(5):
            spots = together.spots(i)
            assert len(np.unique(spots.round(9), axis=0)) == len(spots)


def test_random_intensities_reach_one_in_every_pattern(patterns: Patterns) -> None:
    strong = with_random_intensities(patterns, np.random.default_rng(0))
    assert [strong.intensity[a:b].max() for a, b in zip(strong.start, strong.start[1:], strict=False)] == pytest.approx(
        np.ones(len(patterns))
    )
    assert np.median(strong.intensity) < 0.5
