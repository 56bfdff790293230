"""Indices found among others are those that comparing each with each finds."""

import numpy as np

from protocols.lattice.indexkeys import met_in, met_last


def test_pairs_are_those_of_comparing_each_with_each() -> None:
    rng = np.random.default_rng(5)
    hkl, among = rng.integers(-2, 3, (40, 3)), rng.integers(-2, 3, (60, 3))
    pairs = [(i, k) for i, one in enumerate(hkl.tolist()) for k, other in enumerate(among.tolist()) if one == other]
    one, other = met_in(hkl, among)
    assert len(pairs) > 10
    assert list(zip(one.tolist(), other.tolist(), strict=True)) == pairs
    last = dict(pairs)  # a later pair takes the place of an earlier one
    assert met_last(hkl, among).T.tolist() == [list(pair) for pair in last.items()]


def test_large_indices_are_told_apart() -> None:
    far = 1 << 19
    hkl = np.array([[0, 0, far], [0, 1, -far], [far, -far, 0], [-far, far, 0]])
    one, other = met_in(hkl, hkl)
    assert one.tolist() == other.tolist() == [0, 1, 2, 3]


def test_nothing_meets_nothing() -> None:
    nothing = np.empty((0, 3), dtype=np.int64)
    assert met_last(nothing, np.array([[1, 2, 3]])).shape == (2, 0)
    assert met_last(np.array([[1, 2, 3]]), nothing).shape == (2, 0)
