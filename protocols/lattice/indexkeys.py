"""Indices of reflections found among others, without a list of Python's for each: for tens of thousands of them."""

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
Numbers = NDArray[np.intp]

BITS = 21
"""Of each index: it is below a million."""


def index_keys(hkl: Indices) -> Indices:
    """(n,) one whole number for each row of indices (n, 3), equal for equal ones."""
    h, k, l = hkl.T + (1 << BITS - 1)  # noqa: E741
    return np.asarray((h << 2 * BITS) + (k << BITS) + l, dtype=np.int64)


def met_in(hkl: Indices, among: Indices) -> tuple[Numbers, Numbers]:
    """(m,) each, of all pairs of a row of `hkl` (n, 3) and one of `among` (k, 3) with the same indices: their numbers,
    those of `hkl` ascending, and for each of them those of `among`.
    """
    wanted, known = index_keys(hkl), index_keys(among)
    order = np.argsort(known, kind="stable")
    known = known[order]
    begin = np.searchsorted(known, wanted, side="left")
    many = np.searchsorted(known, wanted, side="right") - begin
    one = np.repeat(np.arange(len(hkl)), many)
    within = np.arange(len(one)) - np.repeat(np.cumsum(many) - many, many)
    return one, order[np.repeat(begin, many) + within]


def met_last(hkl: Indices, among: Indices) -> Numbers:
    """(2, m) as `met_in`, of each row of `hkl` only the last of `among`."""
    one, other = met_in(hkl, among)
    last = np.diff(one, append=-1) != 0
    return np.stack([one[last], other[last]])
