"""Data sets of one phase merged: in one symmetry, indexed alike, on one scale, those that do not agree left out.

1. The Laue class is the highest of the lattice's that the equivalents within each data set do not speak against.
2. A lattice may be more symmetric than its crystal, or nearly so: then a data set can be indexed in several ways that
   its cell does not tell apart. The one is taken in which its intensities agree with those of the others (Brehm &
   Diederichs 2014; here against the mean of the others, turn by turn).
3. Where the equivalents within a data set tell that its crystal was brighter at some angles than at others, that is
   taken out (`protocols.integration.scaling`). Each gets a scale and a fall with resolution that bring it nearest to
   the others.
4. A data set whose intensities do not correlate with the others' is left out, and said: a wrong lattice, several
   crystals, or another phase with the same cell; if those left out agree with each other, it is said, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from protocols.integration.laue import HIGHEST, UNRELATED, disagreement, rotations
from protocols.integration.merging import Merged, Shell, merge
from protocols.integration.scaling import fitted_scale
from protocols.lattice.cell import Cell
from protocols.lattice.symmetry import bravais_types
from protocols.session.judging.cellnumbers import right_handed_like
from protocols.session.judging.integrated import Integrated
from protocols.session.judging.phases import Phase

if TYPE_CHECKING:
    import gemmi

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

ROUNDS = 4
NEAR_SYMMETRY_DEG = 3.0
"""Rotations that bring a lattice so nearly upon itself may be taken for ones of it."""
FEWEST_COMMON = 20
"""Reflections that two data sets have to share, to be compared."""
LEAST_CC = 0.5
"""Correlation with the others, of a data set that is merged."""
AGREE_CC = 0.6
KNOWN_TO = 0.1
"""Of an intensity: crystals of a phase differ by so much at least, by their thickness alone."""
LARGEST_B_A2 = 20.0


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """A data set as it was merged. number: of the data set. turned: (3, 3) what its indices (columns, conventional)
    were turned by. scale, b_A2: what its intensities were multiplied by, scale * exp(2 B / (4 d^2)). cc: correlation
    with the others; NaN where too few are common. observations: that were merged.
    """

    number: int
    turned: Indices
    scale: float
    b_A2: float
    cc: float
    observations: int


@dataclass(frozen=True, slots=True, eq=False)
class MergedPhase:
    """group: of the Laue class, without screws and glides. cell: conventional. merged: None where there is nothing to
    merge. placed: what was merged. left_out: by number, why not. words: what else there is to say.
    """

    phase: Phase
    group: "gemmi.SpaceGroup"
    d_min_A: float
    merged: Merged | None
    placed: tuple[Placed, ...]
    left_out: dict[int, str] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    observed: tuple[Indices, Array, Array] | None = None
    """(n, 3) indices, (n,) intensities and sigmas of all observations, indexed alike and on one scale."""

    @property
    def whole(self) -> Shell | None:
        """Of all shells together."""
        return None if self.merged is None else self.merged.whole


@dataclass(slots=True, eq=False)
class _Set:
    """One data set on its way: hkl (n, 3) conventional, of the choice so far; the rest as in `Placed`."""

    number: int
    own: Indices
    intensity: Array
    sigma: Array
    stol2: Array
    angle_deg: Array
    turned: Indices
    key: NDArray[np.int64]
    scale: float = 1.0
    b_A2: float = 0.0
    cc: float = np.nan

    @property
    def factor(self) -> Array:
        return np.asarray(self.scale * np.exp(2 * self.b_A2 * self.stol2))


def merge_phase(phase: Phase, measured: dict[int, Integrated], d_min_A: float) -> MergedPhase:
    """measured: by the number of the data set. d_min_A: no farther. Seconds for some tens of data sets."""
    left_out = {n: each.why_not for n, each in measured.items() if each.why_not}
    to_conventional = np.asarray(phase.bravais.basis @ phase.bravais.reduction, dtype=np.int64)
    from_reduced = np.rint(np.linalg.inv(phase.cell.reduction())).astype(np.int64)
    cell = phase.bravais.cell
    sets: list[_Set] = []
    for data in phase.data_sets:
        each = measured.get(data.number)
        if each is None or each.why_not:
            left_out.setdefault(data.number, "it was not integrated")
            continue
        # Not `phase.basis`: the axes are those of the look with which it was integrated, and may be others.
        reduced = right_handed_like(Cell.from_reciprocal_metric(each.ub.T @ each.ub), phase.cell)
        if reduced is None:
            left_out[data.number] = "it was integrated with another cell than its phase's"
            continue
        own = each.hkl @ reduced.T @ from_reduced.T @ to_conventional.T
        stol2 = np.einsum("ni,ij,nj->n", own, cell.reciprocal_metric, own) / 4
        near = stol2 <= 0.25 / d_min_A**2
        angle_deg = each.angle_deg[near]
        sets.append(_set(data.number, own[near], each.intensity[near], each.sigma[near], stol2[near], angle_deg))
    group = laue_group(phase.bravais.symbol, sets)
    for each_set in sets:
        _scale_frames(each_set, group)
    if not sets:
        return MergedPhase(phase, group, d_min_A, None, (), left_out)
    kept, aside = _agreed(sets, group, _choices(phase, group, to_conventional))
    words = _words(aside)
    left_out |= {each.number: _why(each) for each in aside}
    observed = _together(kept)
    merged = merge(cell, group, *observed, d_min_A)
    placed = tuple(Placed(s.number, s.turned, s.scale, s.b_A2, s.cc, len(s.own)) for s in kept)
    return MergedPhase(phase, group, d_min_A, merged, placed, left_out, words, observed)


def laue_group(symbol: str, sets: Sequence[_Set]) -> "gemmi.SpaceGroup":
    """The highest of a lattice's classes that no more than half of the data sets, by themselves, speak against."""
    import gemmi

    names = HIGHEST[symbol]
    lowest = gemmi.SpaceGroup(names[-1])
    for name in names[:-1]:
        group = gemmi.SpaceGroup(name)
        told = [disagreement(group, lowest, s.own, s.intensity, s.sigma) for s in sets]
        known = [each for each in told if each is not None]
        if not known or np.median(known) < UNRELATED:
            return group
    return lowest


def _set(number: int, own: Indices, intensity: Array, sigma: Array, stol2: Array, angle_deg: Array) -> _Set:
    return _Set(number, own, intensity, sigma, stol2, angle_deg, np.eye(3, dtype=np.int64), np.empty(0, np.int64))


def _scale_frames(each: _Set, group: "gemmi.SpaceGroup") -> None:
    """As if the crystal had always been equally bright, where its own equivalents tell that it was not."""
    scale = fitted_scale(group, each.own, each.intensity, each.sigma, each.angle_deg)
    if scale is not None and scale.used:
        each.intensity, each.sigma = scale.apply(each.angle_deg, each.intensity, each.sigma)


def _choices(phase: Phase, group: "gemmi.SpaceGroup", to_conventional: Indices) -> list[Indices]:
    """(3, 3) turns of conventional indices (columns), one of each way in which the lattice can be indexed; the first is
    none.
    """
    niggli = phase.cell.reduction()
    most = max(bravais_types(phase.cell, NEAR_SYMMETRY_DEG), key=lambda each: each.rotations)
    back = np.linalg.inv(to_conventional.astype(np.float64))
    inverse = np.linalg.inv(niggli.astype(np.float64))
    laue = [rotation.T for rotation in rotations(group)]
    found: list[Indices] = [np.eye(3, dtype=np.int64)]
    for rotation in most.group:
        turn = to_conventional @ inverse @ rotation.T @ niggli @ back
        whole = np.rint(turn).astype(np.int64)
        if not np.allclose(turn, whole, atol=1e-6):
            continue  # of a lattice of more symmetry, and not of whole indices of this cell
        if not any(np.array_equal(each @ known, whole) for known in found for each in laue):
            found.append(whole)
    return found


def _agreed(sets: list[_Set], group: "gemmi.SpaceGroup", choices: Sequence[Indices]) -> tuple[list[_Set], list[_Set]]:
    """Those that agree, indexed and scaled alike, and those that do not."""
    order = sorted(sets, key=lambda each: -len(each.own))
    keys = {each.number: [unique_keys(group, each.own @ turn.T) for turn in choices] for each in order}
    first = order[0]
    for each in order:
        each.key = keys[each.number][0]
        each.turned = choices[0]
    used = [first]
    for each in order[1:]:  # the one with most in common with those before comes in
        _place(each, used, keys[each.number], choices)
        used.append(each)
    for _ in range(ROUNDS):
        for each in order:
            others = [other for other in used if other is not each]
            if others:
                _place(each, others, keys[each.number], choices)
        good = [each for each in order if not each.cc < LEAST_CC]
        used = good if len(good) > 1 else order
        _level(order, used)
    aside = [each for each in order if each not in used]
    if len(order) == 2 and order[1].cc < LEAST_CC:
        used, aside = [order[0]], [order[1]]
    return sorted(used, key=lambda s: s.number), sorted(aside, key=lambda s: s.number)


def _place(each: _Set, others: Sequence[_Set], keys: Sequence[NDArray[np.int64]], choices: Sequence[Indices]) -> None:
    """Index and scale it like the mean of the others."""
    key, mean = _mean(others)
    best: tuple[float, int] | None = None
    for number, own in enumerate(keys):
        cc = _correlation(own, each, key, mean)
        if np.isfinite(cc) and (best is None or cc > best[0] + 1e-9):
            best = cc, number
    if best is None:
        each.cc = np.nan
        return
    each.cc, number = best
    each.key, each.turned = keys[number], choices[number]
    _scale(each, key, mean)


def _level(sets: Sequence[_Set], used: Sequence[_Set]) -> None:
    """Scales of which the middle one is 1, and falls of which it is 0: else all would drift together."""
    scale, b_A2 = (float(np.median([getattr(each, name) for each in used])) for name in ("scale", "b_A2"))
    for each in sets:
        each.scale /= scale
        each.b_A2 -= b_A2


def _mean(sets: Sequence[_Set]) -> tuple[NDArray[np.int64], Array]:
    """(n,) keys of unique reflections, ascending, and their mean intensities."""
    key = np.concatenate([each.key for each in sets])
    factor = [each.factor for each in sets]
    intensity = np.concatenate([f * each.intensity for f, each in zip(factor, sets, strict=True)])
    sigma = np.concatenate([f * each.sigma for f, each in zip(factor, sets, strict=True)])
    unique, row = np.unique(key, return_inverse=True)
    weight = 1 / (sigma**2 + (KNOWN_TO * intensity) ** 2)
    return unique, np.bincount(row, weight * intensity) / np.bincount(row, weight)


def _common(own: NDArray[np.int64], each: _Set, key: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Indices of observations, and of reflections in `key`, that are the same."""
    place = np.minimum(np.searchsorted(key, own), len(key) - 1)
    there = np.flatnonzero(key[place] == own)
    return there, np.asarray(place[there], dtype=np.intp)


def _correlation(own: NDArray[np.int64], each: _Set, key: NDArray[np.int64], mean: Array) -> float:
    """Of intensities less what is usual at their resolution; NaN where too few are common."""
    there, place = _common(own, each, key)
    if len(np.unique(place)) < FEWEST_COMMON:
        return float("nan")
    one, two = each.intensity[there], mean[place]
    stol2 = each.stol2[there]
    shells = np.searchsorted(np.quantile(stol2, np.linspace(0, 1, 1 + max(1, len(stol2) // 40))[1:-1]), stol2)
    count = np.bincount(shells)
    usual = [np.maximum(np.bincount(shells, x) / count, 1e-12)[shells] for x in (one, two)]
    # Roots: a few strong reflections do not decide alone.
    a, b = (np.sqrt(np.maximum(x / u, 0)) for x, u in zip((one, two), usual, strict=True))
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else float("nan")


def _scale(each: _Set, key: NDArray[np.int64], mean: Array) -> None:
    """The scale and the fall with resolution that bring it nearest, by reflections that are seen in both."""
    there, place = _common(each.key, each, key)
    one, two = each.intensity[there], mean[place]
    strong = (one > 3 * each.sigma[there]) & (two > 0)
    if strong.sum() < FEWEST_COMMON:
        strong = (one > 0) & (two > 0)
        if strong.sum() < 2:
            return
    ratio, stol2 = np.log(two[strong] / one[strong]), each.stol2[there][strong]
    weight = np.ones(len(ratio))
    line = np.column_stack([np.ones(len(ratio)), 2 * stol2])
    answer = np.array([np.median(ratio), 0.0])
    for _ in range(10):  # least absolute deviations: reflections that do not agree do not decide
        normal = line.T @ (line * weight[:, None])
        answer = np.linalg.solve(normal + 1e-9 * np.eye(2), line.T @ (weight * ratio))
        weight = 1 / np.maximum(np.abs(ratio - line @ answer), 0.05)
    each.b_A2 = float(np.clip(answer[1], -LARGEST_B_A2, LARGEST_B_A2))
    each.scale = float(np.exp(np.median(ratio - 2 * each.b_A2 * stol2)))


def _together(sets: Sequence[_Set]) -> tuple[Indices, Array, Array]:
    hkl = np.concatenate([each.own @ each.turned.T for each in sets])
    intensity = np.concatenate([each.factor * each.intensity for each in sets])
    sigma = np.concatenate([each.factor * each.sigma for each in sets])
    return hkl, intensity, sigma


def unique_keys(group: "gemmi.SpaceGroup", hkl: Indices) -> NDArray[np.int64]:
    """(n,) a number for each reflection, the same for equivalents and Friedel mates."""
    key = np.full(len(hkl), np.iinfo(np.int64).min)
    for rotation in rotations(group):
        h, k, l = (hkl @ rotation).T + 1000  # noqa: E741
        np.maximum(key, (h * 4000 + k) * 4000 + l, out=key)
    return key


def _why(each: _Set) -> str:
    return f"its intensities do not agree with the others' (correlation {each.cc:.2f})"


def _words(aside: Sequence[_Set]) -> tuple[str, ...]:
    """Whether those left out agree with each other: then they may be a phase of their own with the same cell."""
    if len(aside) < 2:
        return ()
    best = max(aside, key=lambda each: len(each.own))
    alike = [each for each in aside if each is not best and _correlation(each.key, each, *_mean([best])) > AGREE_CC]
    if not alike:
        return ()
    numbers = ", ".join(str(each.number) for each in sorted([best, *alike], key=lambda each: each.number))
    return (f"data sets {numbers} agree with each other and not with the rest: perhaps another phase with this cell",)
