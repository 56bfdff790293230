"""Which of the crystals in a new image are those of an old table: by the constellation that they make, not only by the
nearest. Pure.

The stage comes back a little elsewhere, so all that was seen lies shifted by one and the same unknown way. Each pair of
an old and a new crystal proposes one; each proposal is judged by how many of the others it explains, how well, and by
how far the stage would have been off. The answer is the most likely proposal with its probability among all of them,
one of which is that nothing here is what was seen before.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Array = NDArray[np.float64]
Pair = tuple[float, float]

SEEN_AGAIN = 0.85
"""Of the crystals of the table that are in view, the finder sees this share again."""
PLACE_NM = 60.0
"""Standard deviation of a crystal's place from one image to the next, along an axis."""
PLACE_SHARE = 0.01
"""And of its distance from the one that is recalled, for what the scale may have changed."""
LENGTH_SIGMA = 0.35
"""Of the logarithm of its length."""
GATE = 5.0
"""A crystal lies within so many standard deviations of where it should be."""
ELSEWHERE = 1e-3
"""How likely it is beforehand that this is another place altogether."""
CLUTTER_UM2 = 0.02
"""Things per um^2 that nobody saw before, at least."""
SAME_NM = 200.0
"""Proposals that differ by less are one."""
MOST_JUDGED = 60


@dataclass(frozen=True, slots=True)
class Known:
    """A crystal of the table. x_nm, y_nm: from the one that is recalled; length_nm: NaN where nobody knows it."""

    x_nm: float
    y_nm: float
    length_nm: float


@dataclass(frozen=True, slots=True)
class Match:
    """How the table lies in the image.

    off_nm: (x, y) of the recalled crystal from where it was to be. target: which of the crystals found it is, None
    where only its neighbours were found. matched: how many of the expected, which are those in view, the recalled one
    among them. sure: how likely it is that this is so. left_nm: rms of what the matched ones are off after it.
    """

    off_nm: Pair
    target: int | None
    matched: int
    expected: int
    sure: float
    left_nm: float


def matched(
    found: Sequence[Known],
    table: Sequence[Known],
    view_nm: tuple[float, float, float, float],
    stage_sigma_nm: float,
) -> Match | None:
    """found: in the new image, from where the recalled crystal was to be. table: the recalled one first, at (0, 0).
    view_nm: lowest and highest x, lowest and highest y that the image shows, likewise. stage_sigma_nm: standard
    deviation of where the stage lands, along an axis.

    None where no proposal is any better than nothing.
    """
    if not found or not table:
        return None
    new = np.array([[each.x_nm, each.y_nm] for each in found])
    new_length = np.array([each.length_nm for each in found])
    old = np.array([[each.x_nm, each.y_nm] for each in table])
    old_length = np.array([each.length_nm for each in table])
    sigma = np.hypot(PLACE_NM, PLACE_SHARE * np.hypot(*old.T))
    area_um2 = max((view_nm[1] - view_nm[0]) * (view_nm[3] - view_nm[2]) / 1e6, 1e-6)
    clutter = max(len(found) / area_um2, CLUTTER_UM2) / 1e6
    proposals = [
        made
        for shift in _proposed(new, old, 5.0 * stage_sigma_nm)
        if (made := _judged(shift, new, new_length, old, old_length, sigma, view_nm, clutter, stage_sigma_nm))
    ]
    proposals.sort(key=lambda each: -each.log)
    kept: list[_Proposal] = []
    for each in proposals:
        if all(np.hypot(*(each.shift - other.shift)) > SAME_NM for other in kept):
            kept.append(each)
    if not kept:
        return None
    logs = np.array([*(each.log for each in kept), math.log(ELSEWHERE)])
    shares = np.exp(logs - logs.max())
    best = kept[0]
    if best.log <= math.log(ELSEWHERE):
        return None
    return Match(
        (float(best.shift[0]), float(best.shift[1])),
        best.target,
        best.matched,
        best.expected,
        float(shares[0] / shares.sum()),
        best.left_nm,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Proposal:
    shift: Array
    log: float
    target: int | None
    matched: int
    expected: int
    left_nm: float


def _proposed(new: Array, old: Array, reach_nm: float) -> Array:
    """(n, 2) shifts by pairs of an old and a new crystal that are worth a judgement: those that most other pairs say
    as well.
    """
    shifts = (new[:, None] - old[None]).reshape(-1, 2)
    shifts = shifts[np.hypot(*shifts.T) <= reach_nm]
    if len(shifts) <= MOST_JUDGED:
        return np.asarray(shifts)
    tree = cKDTree(shifts)
    said = tree.query_ball_point(shifts, SAME_NM, return_length=True)
    chosen: list[int] = []
    for place in np.argsort(-said, kind="stable"):
        if all(np.hypot(*(shifts[place] - shifts[other])) > SAME_NM / 2 for other in chosen):
            chosen.append(int(place))
            if len(chosen) == MOST_JUDGED:
                break
    return np.asarray(shifts[chosen])


def _judged(
    shift: Array,
    new: Array,
    new_length: Array,
    old: Array,
    old_length: Array,
    sigma: Array,
    view_nm: tuple[float, float, float, float],
    clutter: float,
    stage_sigma_nm: float,
) -> _Proposal | None:
    """A proposal with the logarithm of how likely it is, against that all that was found is something else."""
    for _ in range(2):
        pairs = _paired(old + shift, new, sigma)
        if not pairs:
            return None
        rows, columns = (np.array(each) for each in zip(*pairs, strict=True))
        weight = 1.0 / sigma[rows] ** 2
        shift = np.average(new[columns] - old[rows], axis=0, weights=weight)
    pairs = _paired(old + shift, new, sigma)
    if not pairs:
        return None
    there = old + shift
    in_view = (there[:, 0] >= view_nm[0]) & (there[:, 0] <= view_nm[1])
    in_view &= (there[:, 1] >= view_nm[2]) & (there[:, 1] <= view_nm[3])
    log = -float(shift @ shift) / (2 * stage_sigma_nm**2)
    off = []
    for i, j in pairs:
        away = new[j] - there[i]
        off.append(float(away @ away))
        log += math.log(SEEN_AGAIN) - off[-1] / (2 * sigma[i] ** 2) - math.log(2 * math.pi * sigma[i] ** 2 * clutter)
        if math.isfinite(old_length[i]) and math.isfinite(new_length[j]) and min(old_length[i], new_length[j]) > 0:
            log -= min((math.log(new_length[j] / old_length[i]) / LENGTH_SIGMA) ** 2 / 2, 8.0)
    hit = {i for i, _ in pairs}
    log += sum(math.log(1 - SEEN_AGAIN) for i in np.flatnonzero(in_view) if i not in hit)
    expected = len(hit | set(np.flatnonzero(in_view).tolist()) | {0})
    target = next((j for i, j in pairs if i == 0), None)
    return _Proposal(shift, log, target, len(pairs), expected, math.sqrt(float(np.mean(off))))


def _paired(there: Array, new: Array, sigma: Array) -> list[tuple[int, int]]:
    """The pairs (old, new) that lie together, nearest first, each in one pair only."""
    away = np.hypot(*(there[:, None] - new[None]).transpose(2, 0, 1)) / sigma[:, None]
    near = np.argwhere(away <= GATE)
    pairs: list[tuple[int, int]] = []
    used_old: set[int] = set()
    used_new: set[int] = set()
    for i, j in near[np.argsort(away[near[:, 0], near[:, 1]], kind="stable")].tolist():
        if i not in used_old and j not in used_new:
            pairs.append((i, j))
            used_old.add(i)
            used_new.add(j)
    return pairs
