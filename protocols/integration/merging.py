"""Equivalent reflections merged, and how well they agree: by shells of resolution, and in all.

R_meas as Diederichs & Karplus (1997); CC1/2 from the variances (Assmann, Brehm & Diederichs 2016), which needs no
random halves, so that it is the same each time.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from protocols.lattice.cell import Cell

if TYPE_CHECKING:
    import gemmi

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
Numbers = NDArray[np.intp]

SHELLS = 10
FEWEST_FOR_CC = 8
"""Reflections with equivalents that tell a correlation."""


@dataclass(frozen=True, slots=True)
class Shell:
    """From one spacing to another, in A: observations, unique reflections, how many there are in all; mean I / sigma of
    the merged ones; R_meas and CC1/2 of those that were seen more than once, None where they are too few.
    """

    from_A: float
    to_A: float
    observations: int
    unique: int
    possible: int
    i_over_sigma: float
    r_meas: float | None
    cc_half: float | None

    @property
    def completeness(self) -> float:
        """0 to 1."""
        return self.unique / max(self.possible, 1)

    @property
    def multiplicity(self) -> float:
        """Observations of each."""
        return self.observations / max(self.unique, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Merged:
    """Unique reflections, (n,) each: hkl (n, 3) in the reciprocal asymmetric unit, mean weighted by 1 / sigma^2, its
    sigma, how many observations. shells; whole: all of them as one.
    """

    hkl: Indices
    intensity: Array
    sigma: Array
    count: Numbers
    shells: tuple[Shell, ...]
    whole: Shell


def merge(
    cell: Cell, group: "gemmi.SpaceGroup", hkl: Indices, intensity: Array, sigma: Array, d_min_A: float
) -> Merged:
    """Observations (m,) with indices (m, 3), in the Laue class of the group; its absent reflections are left out."""
    import gemmi

    unit = gemmi.UnitCell(*cell.parameters)
    operations = group.operations()
    there = ~np.asarray(operations.systematic_absences(hkl.astype(np.int32)), dtype=bool)
    hkl, intensity, sigma = hkl[there], intensity[there], sigma[there]
    unique, row = unique_of(group, hkl)
    n = len(unique)
    weight = 1 / sigma**2
    total = np.bincount(row, weight, n)
    mean = np.bincount(row, weight * intensity, n) / np.maximum(total, 1e-300)
    count = np.bincount(row, minlength=n)
    all_of = np.asarray(gemmi.make_miller_array(unit, group, d_min_A, 0, True), dtype=np.int64)
    d_star = np.sqrt(np.einsum("ni,ij,nj->n", unique, cell.reciprocal_metric, unique))
    d_star_all = np.sqrt(np.einsum("ni,ij,nj->n", all_of, cell.reciprocal_metric, all_of))
    error = 1 / np.sqrt(np.maximum(total, 1e-300))
    spread = _Spread.of(row, n, intensity, count)
    edge = (np.linspace(0, 1, SHELLS + 1) / d_min_A**3) ** (1 / 3) * (1 + 1e-9)

    def shell(low: float, high: float) -> Shell:
        mine = (d_star > low) & (d_star <= high)
        possible = int(((d_star_all > low) & (d_star_all <= high)).sum())
        return Shell(
            from_A=1 / max(low, 0.01),
            to_A=1 / high,
            observations=int(count[mine].sum()),
            unique=int(mine.sum()),
            possible=possible,
            i_over_sigma=float((mean[mine] / error[mine]).mean()) if mine.any() else 0.0,
            r_meas=spread.r_meas(mine),
            cc_half=spread.cc_half(mine),
        )

    shells = tuple(shell(low, high) for low, high in pairwise(edge.tolist()))
    return Merged(unique, mean, error, count.astype(np.intp), shells, shell(0.0, float(edge[-1])))


def unique_of(group: "gemmi.SpaceGroup", hkl: Indices) -> tuple[Indices, Numbers]:
    """(n, 3) reflections of the asymmetric unit, and which of them each of (m, 3) is equivalent to."""
    import gemmi

    asu, operations = gemmi.ReciprocalAsu(group), group.operations()
    standing = np.array([asu.to_asu(index, operations)[0] for index in hkl.tolist()], dtype=np.int64).reshape(-1, 3)
    unique, row = np.unique(standing, axis=0, return_inverse=True)
    return unique, np.asarray(row.reshape(-1), dtype=np.intp)


@dataclass(frozen=True, slots=True, eq=False)
class _Spread:
    """(n,) of unique reflections: plain mean, sums of |deviation| and of deviation^2, sum, and how many."""

    mean: Array
    absolute: Array
    square: Array
    total: Array
    count: Numbers

    @classmethod
    def of(cls, row: Numbers, n: int, intensity: Array, count: Numbers) -> "_Spread":
        def total(values: Array) -> Array:
            return np.asarray(np.bincount(row, values, n), dtype=np.float64)

        mean = total(intensity) / np.maximum(count, 1)
        off = intensity - mean[row]
        return cls(mean, total(np.abs(off)), total(off**2), total(intensity), count)

    def r_meas(self, which: NDArray[np.bool_]) -> float | None:
        several = which & (self.count > 1)
        below = float(self.total[several].sum())
        if not several.any() or below <= 0:
            return None
        n = self.count[several]
        return float((np.sqrt(n / (n - 1)) * self.absolute[several]).sum() / below)

    def cc_half(self, which: NDArray[np.bool_]) -> float | None:
        several = which & (self.count > 1)
        if several.sum() < FEWEST_FOR_CC:
            return None
        n = self.count[several]
        means = float(self.mean[several].var(ddof=1))
        halves = float((self.square[several] / (n - 1) / (n / 2)).mean()) / 2
        return (means - halves) / (means + halves) if means + halves > 0 else None
