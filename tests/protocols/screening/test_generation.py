"""Labelled patterns: what they are made of, labels that keep the rules, and numbers that always give the same."""

from collections import Counter

import numpy as np
import pytest

from protocols.screening.generation import CameraKind, generate
from protocols.screening.generation.composition import BAD, BORDERLINE, GOOD, drawn
from protocols.screening.generation.specimen import PATTERNS_EACH
from protocols.screening.labels import Kind, Verdict

SMALL = 128, 128


def test_the_composition_is_the_one_that_is_stated():
    rng = np.random.Generator(np.random.SFC64(1))
    made = Counter(drawn(rng) for _ in range(40_000))
    verdicts = Counter(verdict for _, verdict in made.elements())
    scored = verdicts[Verdict.GOOD] + verdicts[Verdict.BAD]
    assert verdicts[Verdict.BORDERLINE] / 40_000 == pytest.approx(BORDERLINE, abs=0.01)
    assert BORDERLINE <= 0.1
    assert verdicts[Verdict.GOOD] / scored == pytest.approx(GOOD, abs=0.01)
    assert GOOD == 0.57
    for kind, share in BAD.items():
        assert made[kind, Verdict.BAD] / verdicts[Verdict.BAD] == pytest.approx(share / sum(BAD.values()), abs=0.01)
    assert (BAD[Kind.SEVERAL_CRYSTALS] + BAD[Kind.SPOTTY_RINGS]) / sum(BAD.values()) >= 0.25


@pytest.mark.parametrize("camera", CameraKind)
def test_the_same_seed_and_number_give_the_same_pattern_whatever_else_is_made(camera):
    in_a_row = list(generate(5, 0, 12, camera, SMALL))
    for number in (11, 3):
        (alone,) = generate(5, number, 1, camera, SMALL)
        np.testing.assert_array_equal(alone.counts, in_a_row[number].counts)
        assert alone.label == in_a_row[number].label
    (other,) = generate(6, 3, 1, camera, SMALL)
    assert not np.array_equal(other.counts, in_a_row[3].counts)


def test_patterns_of_one_crystal_stand_together_so_that_training_and_test_can_be_divided():
    crystals = [pattern.label.crystal for pattern in generate(2, PATTERNS_EACH - 2, 4, shape=SMALL)]
    assert crystals == [0, 0, 1, 1]
