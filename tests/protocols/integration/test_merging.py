"""Merged means, sigmas and figures, against sums by hand."""

import gemmi
import numpy as np
import pytest

from protocols.integration.merging import SHELLS, merge
from protocols.lattice.cell import Cell

CELL = Cell(7.0, 8.5, 11.0, 90, 90, 90)
PMMM = gemmi.SpaceGroup("P m m m")


def test_equivalents_and_friedel_mates_are_one_with_a_mean_weighted_by_their_sigmas() -> None:
    hkl = np.array([[1, 2, 3], [-1, 2, 3], [-1, -2, -3], [2, 0, 0]])
    merged = merge(CELL, PMMM, hkl, np.array([10.0, 12.0, 14.0, 5.0]), np.array([1.0, 1.0, 2.0, 1.0]), 1.0)
    assert merged.hkl.tolist() == [[1, 2, 3], [2, 0, 0]]
    assert merged.count.tolist() == [3, 1]
    assert merged.intensity == pytest.approx([(10 + 12 + 14 / 4) / 2.25, 5.0])
    assert merged.sigma == pytest.approx([1 / 1.5, 1.0])
    assert merged.whole.r_meas == pytest.approx(np.sqrt(1.5) * 4 / 36)
    assert (merged.whole.observations, merged.whole.unique, merged.whole.multiplicity) == (4, 2, 2.0)


def test_completeness_counts_all_unique_reflections_but_those_the_group_forbids() -> None:
    group = gemmi.SpaceGroup("P 21 21 21")
    every = np.array(gemmi.make_miller_array(gemmi.UnitCell(*CELL.parameters), group, 1.0), dtype=np.int64)
    ones = np.ones(len(every))
    whole = merge(CELL, group, every, ones, ones, 1.0).whole
    assert whole.completeness == 1.0
    more = np.concatenate([every[::2], [[1, 0, 0], [0, 3, 0]]])
    half = merge(CELL, group, more, np.ones(len(more)), np.ones(len(more)), 1.0)
    assert half.whole.completeness == pytest.approx(0.5, abs=0.01)
    assert sum(each.unique for each in half.shells) == half.whole.unique == len(every[::2])
    assert len(half.shells) == SHELLS


@pytest.mark.parametrize("noise", [0.05, 0.5, 3.0])
def test_cc_half_is_the_correlation_of_random_halves(noise: float) -> None:
    rng = np.random.default_rng(2)
    unique = np.array(gemmi.make_miller_array(gemmi.UnitCell(*CELL.parameters), PMMM, 0.7), dtype=np.int64)
    true = rng.exponential(1.0, len(unique))
    several = np.concatenate([unique, unique * [-1, 1, 1], unique * [1, -1, 1], -unique])
    value = np.tile(true, 4) + noise * rng.standard_normal(4 * len(unique))
    told = merge(CELL, PMMM, several, value, np.full(len(value), noise), 0.7).whole.cc_half
    one, other = value.reshape(4, -1)[:2].mean(axis=0), value.reshape(4, -1)[2:].mean(axis=0)
    assert told == pytest.approx(np.corrcoef(one, other)[0, 1], abs=0.06)


def test_too_few_equivalents_tell_nothing() -> None:
    merged = merge(CELL, PMMM, np.array([[1, 2, 3]]), np.array([4.0]), np.array([1.0]), 1.0)
    assert merged.whole.r_meas is None
    assert merged.whole.cc_half is None
