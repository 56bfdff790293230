"""Every reflection that passed the Ewald sphere in a rotation, found or not, with its class of equivalents.

Which rotations of the lattice are those of the crystal is told by the intensities themselves, as POINTLESS does (Evans,
2006). `protocols.live.damage` compares what passed early with what passed late.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.lattice.indexkeys import met_in, met_last
from protocols.lattice.rotationfit import RotationFit
from protocols.lattice.symmetry import Bravais
from protocols.live.coverage import Coverage
from protocols.spots.joining import Reflections
from protocols.spots.shadow import Part

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Numbers = NDArray[np.intp]
Indices = NDArray[np.int64]

FEWEST_FOUND, FEWEST_CLASSES = 60, 40
NEAR_DEG = 0.5
"""A reflection that is seen so far from where it should pass is another one."""
QUICK = 0.35
"""Of its distance from the origin, by which a point moves per radian: of slower ones parts are missed."""
BEAM_PX = 16.0
"""Nearer to the primary beam nothing is looked for."""
WEAK_QUANTILE = 0.1
"""Of the reflections found at a spacing so many are weaker than the limit."""
NEIGHBOURS = 60
"""Reflections of nearly the same spacing that tell the limit."""
SMOOTH = 31
"""Reflections of nearly the same spacing whose mean is what is usual there."""
PAIRS, GO_TOGETHER = 10, 0.6
"""So many pairs at least, and their correlation at least, make a rotation one of the crystal."""


@dataclass(frozen=True, slots=True, eq=False)
class Passages:
    """Reflections that passed the sphere, (n,) each. group: number of their class of equivalents. d_star: 1/A.

    way: (n, 3) unit vectors of their points in the crystal. turned: share of the rotation so far, 0 to 1, after which
    they passed. lorentz: times by which slow ones are stronger. intensity: counts; NaN where nothing was found;
    sigma: of it. limit: counts below which nothing is found.
    """

    group: Numbers
    d_star: Array
    way: Array
    turned: Array
    lorentz: Array
    intensity: Array
    sigma: Array
    limit: Array

    @property
    def found(self) -> Mask:
        """(n,) which were."""
        return ~np.isnan(self.intensity)


def passages(
    reflections: Reflections,
    fit: RotationFit,
    covered: Coverage,
    whole: Part,
    parts: Sequence[Part],
    frame_deg: float,
    d_min_A: float,
    bravais: Bravais,
) -> Passages | None:
    """All that passed in these parts of a rotation and could be seen; None for too few. Arguments as of `damage`."""
    if not parts:
        return None
    start_deg, end_deg = whole
    geometry = fit.geometry
    near = np.flatnonzero((covered.d_star <= 1 / d_min_A) & (covered.d_star > BEAM_PX * geometry.per_px))
    row, column = np.nonzero(~np.isnan(covered.angle_deg[near]))
    row = near[row]
    angle_deg = covered.angle_deg[row, column]
    way = 1.0 if end_deg >= start_deg else -1.0
    since_deg = (way * (angle_deg - start_deg)) % 360
    total_deg = abs(end_deg - start_deg)
    inside = (since_deg > frame_deg) & (since_deg < total_deg - 1.5 * frame_deg)
    since_parts = [[way * (edge - start_deg) for edge in part] for part in parts]
    inside &= np.any([(since_deg > a + frame_deg) & (since_deg < b - frame_deg) for a, b in since_parts], axis=0)
    points = covered.hkl[row] @ fit.ub.T
    lab = geometry.turned(points, angle_deg)
    moving = np.abs(geometry.axis[0] * lab[:, 1] - geometry.axis[1] * lab[:, 0])
    inside &= moving > QUICK * covered.d_star[row]
    intensity, variance = _intensities(reflections, fit, covered, row, angle_deg)
    # What passes in a gap is not missing; where the gaps are, is told by the reflections that they cut.
    gaps_deg = np.sort(reflections.angle_deg[reflections.cut])
    if len(gaps_deg):
        place = np.clip(np.searchsorted(gaps_deg, angle_deg), 1, len(gaps_deg) - 1) if len(gaps_deg) > 1 else 0
        apart = np.minimum(np.abs(gaps_deg[place] - angle_deg), np.abs(gaps_deg[place - 1] - angle_deg))
        inside &= ~(np.isnan(intensity) & (apart < frame_deg))
    inside &= ~np.isneginf(intensity)
    found = inside & ~np.isnan(intensity)
    if found.sum() < FEWEST_FOUND:
        return None
    d_star = covered.d_star[row]
    hkl = covered.hkl[row] @ bravais.reduction.T
    strength = intensity[found] * moving[found]
    group = equivalents(hkl[inside], agreeing(hkl[found], d_star[found], strength, bravais.group))
    if len(np.unique(group[~np.isnan(intensity[inside])])) < FEWEST_CLASSES:
        return None
    return Passages(
        group=group,
        d_star=d_star[inside],
        way=(points / d_star[:, None])[inside],
        turned=since_deg[inside] / total_deg,
        lorentz=(1 / moving)[inside],
        intensity=intensity[inside],
        sigma=np.sqrt(variance[inside]),
        limit=_limits(d_star[found], intensity[found], d_star[inside]),
    )


def _intensities(
    reflections: Reflections, fit: RotationFit, covered: Coverage, row: Numbers, angle_deg: Array
) -> tuple[Array, Array]:
    """(n,) counts of the passages; NaN where none are found, -inf where some of them are missing. Their variances."""
    number, passage = met_in(fit.hkl, covered.hkl[row])
    near = np.abs(angle_deg[passage] - reflections.angle_deg[number]) < NEAR_DEG
    number, passage = number[near], passage[near]
    counts, variance = np.full(len(row), np.nan), np.zeros(len(row))
    counts[passage] = 0.0
    np.add.at(counts, passage, reflections.intensity[number])
    np.add.at(variance, passage, reflections.intensity_sigma[number] ** 2)
    counts[passage[reflections.cut[number]]] = -np.inf
    return counts, variance


def _limits(d_star: Array, intensity: Array, wanted: Array) -> Array:
    """(n,) counts below which nothing is found at the spacings `wanted`, from what is found."""
    order = np.argsort(d_star)
    near, counts = d_star[order], intensity[order]
    half = min(NEIGHBOURS, len(counts)) // 2
    middles = np.arange(half, len(counts) - half + 1, max(half, 1))
    limits = [float(np.quantile(counts[middle - half : middle + half], WEAK_QUANTILE)) for middle in middles]
    return np.interp(wanted, near[np.minimum(middles, len(near) - 1)], limits)


def agreeing(hkl: Indices, d_star: Array, strength: Array, rotations: Sequence[Indices]) -> tuple[Indices, ...]:
    """Of the rotations of a lattice those of its crystal, as far as they show: the reflections (n,) that they relate
    have intensities that go together. They are a group.
    """
    # What is usual at a spacing is taken away.
    order = np.argsort(d_star)
    near = np.convolve(np.log(np.maximum(strength, 1e-12))[order], np.ones(SMOOTH) / SMOOTH, mode="same")
    level = np.empty(len(order))
    level[order] = near / np.convolve(np.ones(len(order)), np.ones(SMOOTH) / SMOOTH, mode="same")
    above = np.log(np.maximum(strength, 1e-12)) - level
    kept = [np.eye(3, dtype=np.int64)]
    for rotation in rotations:
        pairs = np.concatenate([met_last(sign * hkl @ rotation, hkl) for sign in (1, -1)], axis=1)
        one, other = pairs[:, pairs[0] != pairs[1]]
        if len(one) >= PAIRS and np.corrcoef(above[one], above[other])[0, 1] > GO_TOGETHER:
            kept.append(rotation)
    group = {each.tobytes(): each for each in kept}
    while more := {
        made.tobytes(): made
        for a in group.values()
        for b in group.values()
        if (made := np.ascontiguousarray(a @ b)).tobytes() not in group
    }:
        group |= more
    return tuple(group.values())


def equivalents(hkl: Indices, rotations: Sequence[Indices]) -> Numbers:
    """(n,) numbers of the classes of equivalents under rotations, Friedel mates in one."""
    key = np.full(len(hkl), np.iinfo(np.int64).min)
    for rotation in rotations:
        for sign in (1, -1):
            h, k, l = (sign * hkl @ rotation).T + 1000  # noqa: E741
            np.maximum(key, (h * 4000 + k) * 4000 + l, out=key)
    return np.asarray(np.unique(key, return_inverse=True)[1].reshape(-1), dtype=np.intp)
