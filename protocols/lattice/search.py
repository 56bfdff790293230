"""A lattice from points of reciprocal space, without any knowledge of the cell: as DPS (Rossmann & van Beek 1999).

Along a lattice vector of the crystal the projections of all reflections are whole multiples of 1 / length. So points
are projected on directions all over a hemisphere, the Fourier transform of each projection shows at which lengths
they are, and the vectors found are refined by their whole-number phases. Of all triples of vectors the one is taken
that explains the points best (`explained`); it is reduced (`cell`). Points that belong to no lattice, or to a second
one, only weaken the transform: a third of them does no harm.
"""

from dataclasses import dataclass
from functools import cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from protocols.lattice.cell import Cell

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]

LONGEST_A, SHORTEST_A = 45.0, 2.4
"""Lengths of lattice vectors that are looked for."""
DIRECTIONS = 12000
"""On the hemisphere: one every 1.3 deg."""
SEARCH_PER_A, SEARCH_FEWEST, SEARCH_POINTS = 0.65, 150, 500
"""Points up to so far from the origin, and farther ones until there are so many; at most so many of them. They are
enough to find vectors, and bear an axis that is 1 deg off: where points are few the cell is small."""
BIN_PER_A = 1 / (3 * LONGEST_A)
TRANSFORM = 512
PEAKS = 500
"""Highest places of all transforms that are refined."""
PHASE_WIDTH = 0.12
"""Of the Gaussian weight of a point by how far its phase is from a whole number, while a vector is refined."""
VECTORS, ASIDE, MOST = 26, 14, 200
"""The shortest refined vectors, of which triples are made, and the shortest that are not in the plane of the first two;
and of how many these are taken."""
NEAR_BEST = 0.6
"""A vector has that much of the best one's score."""
INDEXED_WITHIN = 0.2
"""All three phases of a point that is indexed are so near to whole numbers; a random point is by chance in 6 %."""
KNOWN_PER_A = (0.006, 0.012, 0.02)
"""To one of these are points known; then a phase is to that times the length of the vector, at most INDEXED_WITHIN. So
a small cell that indexes many points sharply is better than a large one that indexes some more of them loosely, which
of many triples one does by chance, or by a second crystal."""
MORE_LARGE = 3.0
"""So many more lattices there are to choose from, as a power of their volume."""
SMALLEST_A3 = 15.0
FEWEST = 8
"""Points of which a lattice can be said at all."""
LEAST_SHARE = 0.35


@dataclass(frozen=True, slots=True, eq=False)
class Lattice:
    """A lattice found in n points.

    ub: (3, 3) columns a*, b*, c* in 1/A in the frame of the points: a reduced cell. hkl: (n, 3) nearest whole indices.
    indexed: (n,) which points are near to them.
    """

    ub: Array
    hkl: Indices
    indexed: Mask

    @property
    def cell(self) -> Cell:
        """The reduced cell."""
        return Cell.from_reciprocal_metric(self.ub.T @ self.ub)

    @property
    def share(self) -> float:
        """Of points indexed."""
        return float(self.indexed.mean())


def find_lattice(points: Array) -> Lattice | None:
    """The lattice of (n, 3) points in 1/A; None where there is none that indexes LEAST_SHARE of them."""
    if len(points) < FEWEST:
        return None
    length = np.linalg.norm(points, axis=1)
    near = np.flatnonzero(length <= max(SEARCH_PER_A, float(np.sort(length)[:SEARCH_FEWEST][-1])))
    if len(near) > SEARCH_POINTS:
        near = near[np.linspace(0, len(near) - 1, SEARCH_POINTS).astype(np.intp)]
    chosen = points[near]
    vectors = _refined(chosen, _candidates(chosen))
    basis = _best_triple(chosen, vectors)
    if basis is None:
        return None
    for _ in range(5):
        phases = points @ basis.T
        hkl = np.rint(phases)
        inside = np.abs(phases - hkl).max(axis=1) < INDEXED_WITHIN
        if np.linalg.matrix_rank(hkl[inside]) < 3:
            return None
        ub = np.linalg.lstsq(hkl[inside], points[inside], rcond=None)[0].T
        basis = np.linalg.inv(ub)
    lattice = indexed_by(reduced_ub(ub), points)
    return lattice if lattice.share >= LEAST_SHARE and lattice.indexed.sum() >= FEWEST else None


def indexed_by(ub: Array, points: Array) -> Lattice:
    """The points as this (3, 3) lattice indexes them."""
    phases = points @ np.linalg.inv(ub).T
    hkl = np.rint(phases)
    inside = (np.abs(phases - hkl).max(axis=1) < INDEXED_WITHIN) & hkl.any(axis=1)
    return Lattice(ub, hkl.astype(np.int64), inside)


def reduced_ub(ub: Array) -> Array:
    """The same lattice by its Niggli cell, right-handed."""
    rows = np.linalg.inv(ub)
    rows = Cell.from_metric(rows @ rows.T).reduction() @ rows
    if np.linalg.det(rows) < 0:
        rows = -rows
    return np.asarray(np.linalg.inv(rows))


@cache
def _hemisphere() -> Array:
    """(DIRECTIONS, 3) unit vectors, evenly (Fibonacci)."""
    number = np.arange(DIRECTIONS) + 0.5
    z = 1 - number / DIRECTIONS
    around = np.pi * (1 + np.sqrt(5)) * number
    flat = np.sqrt(1 - z * z)
    return np.stack([flat * np.cos(around), flat * np.sin(around), z], axis=1)


def _candidates(points: Array) -> Array:
    """(m, 3) vectors in A at the highest places of the transforms of the projections on all directions."""
    directions = _hemisphere()
    reach = float(np.linalg.norm(points, axis=1).max()) + BIN_PER_A
    bins = int(2 * reach / BIN_PER_A) + 2
    transform = max(TRANSFORM, 1 << (bins - 1).bit_length())
    lengths = np.arange(min(transform // 2 + 1, int(LONGEST_A * transform * BIN_PER_A) + 2)) / (transform * BIN_PER_A)
    usable = (lengths > SHORTEST_A) & (lengths < LONGEST_A)
    strength, vectors = [], []
    for part in np.array_split(directions, max(1, len(directions) * len(points) // 1_000_000)):
        place = ((points @ part.T + reach) / BIN_PER_A).astype(np.intp)
        flat = place + np.arange(len(part)) * bins
        histogram = np.bincount(flat.reshape(-1), minlength=bins * len(part)).reshape(len(part), bins)
        power = np.abs(np.fft.rfft(histogram.astype(np.float32), transform, axis=1)[:, : len(lengths)])
        # The first fall from the zero order is no period: what has not fallen to a half yet is not counted.
        begun = np.logical_or.accumulate(power < 0.5 * power[:, :1], axis=1)
        peak = np.zeros(power.shape, dtype=bool)
        peak[:, 1:-1] = (power[:, 1:-1] >= power[:, :-2]) & (power[:, 1:-1] > power[:, 2:])
        which, order = np.nonzero(peak & begun & usable & (power > 0.3 * power[:, :1]))
        strength.append(power[which, order])
        vectors.append(part[which] * lengths[order, None])
    order = np.argsort(-np.concatenate(strength))
    every = np.concatenate(vectors)
    # A maximum is about 1 / reach wide; of all directions that meet one the best is enough.
    for many in (20 * PEAKS, len(order)):
        highest = every[order[:many]]
        first = _firsts(np.floor(highest * reach).astype(np.int64))
        if len(first) >= PEAKS:
            break
    return np.asarray(highest[first[:PEAKS]])


def _firsts(rows: Indices) -> NDArray[np.intp]:
    """Where each different row (n, 3) of whole numbers is for the first time, ascending."""
    if not len(rows):
        return np.empty(0, dtype=np.intp)
    rows = rows - rows.min(axis=0)
    sizes = rows.max(axis=0) + 1
    return np.sort(np.unique((rows[:, 0] * sizes[1] + rows[:, 1]) * sizes[2] + rows[:, 2], return_index=True)[1])


def _refined(points: Array, vectors: Array) -> Array:
    """(k, 3) the best different vectors, refined by the phases of the points, short ones first."""
    for width in (2 * PHASE_WIDTH, PHASE_WIDTH, PHASE_WIDTH, PHASE_WIDTH):
        if not len(vectors):
            return vectors
        phases = vectors @ points.T
        off = phases - np.rint(phases)
        weight = np.exp(-0.5 * (off / width) ** 2)
        normal = np.einsum("mn,ni,nj->mij", weight, points, points, optimize=True)
        normal += 1e-4 * np.trace(normal, axis1=1, axis2=2)[:, None, None] * np.eye(3)
        vectors = vectors - np.linalg.solve(normal, ((weight * off) @ points)[:, :, None])[:, :, 0]
    length = np.linalg.norm(vectors, axis=1)
    phases = vectors @ points.T
    score = np.cos(2 * np.pi * phases).mean(axis=1)
    # Where nearly all points have the phase 0 there is no period in them.
    sensible = (length > SHORTEST_A) & (length < 1.05 * LONGEST_A) & (np.mean(np.abs(phases) > 0.5, axis=1) > 0.2)
    vectors, score, length = vectors[sensible], score[sensible], length[sensible]
    # Of few points long vectors explain some more by chance: all that are about as good count, the shortest first.
    good = np.flatnonzero(score >= NEAR_BEST * score.max(initial=0))
    different: list[int] = []
    for number in good[np.argsort(length[good])].tolist():
        same = np.flatnonzero(_alike(vectors[number], vectors[different]))
        if not len(same):
            different.append(number)
        elif score[number] > score[different[same[0]]]:
            different[same[0]] = number
        if len(different) == MOST:
            break
    found = vectors[different]
    if len(found) <= VECTORS:
        return np.asarray(found)
    # Where one axis is long, the shortest vectors all lie across it.
    normal = np.cross(found[0], found[1])
    rest = found[VECTORS:]
    aside = np.abs(rest @ normal) > 0.15 * np.linalg.norm(normal) * np.linalg.norm(rest, axis=1)
    return np.concatenate([found[:VECTORS], rest[aside][:ASIDE]])


def _alike(one: Array, others: Array) -> Mask:
    """(n,) which of the (n, 3) others are the same vector, but for their sign."""
    apart_A = np.minimum(np.linalg.norm(others - one, axis=1), np.linalg.norm(others + one, axis=1))
    return np.asarray(apart_A < 0.2 + 0.01 * float(np.linalg.norm(one)))


def _best_triple(points: Array, vectors: Array) -> Array | None:
    """(3, 3) rows: the triple of which chance would have made the indexed points most rarely."""
    if len(vectors) < 3:
        return None
    phases = vectors @ points.T
    off = np.abs(phases - np.rint(phases))
    triples = np.array(list(combinations(range(len(vectors)), 3)))
    volumes = np.abs(np.linalg.det(vectors[triples]))
    lengths = np.linalg.norm(vectors, axis=1)
    solid = (volumes > SMALLEST_A3) & (volumes > 0.15 * lengths[triples].prod(axis=1))
    triples, volumes = triples[solid], volumes[solid]
    if not len(triples):
        return None
    best, chosen = -np.inf, triples[0]
    for known_per_A in KNOWN_PER_A:
        within = np.minimum(known_per_A * lengths, INDEXED_WITHIN)
        near = off < within[:, None]
        indexed = (near[triples[:, 0]] & near[triples[:, 1]] & near[triples[:, 2]]).sum(axis=1)
        score = explained(indexed, len(points), (2 * within)[triples].prod(axis=1)) - MORE_LARGE * np.log(volumes)
        if score.max() > best:
            best, chosen = float(score.max()), triples[int(score.argmax())]
    return np.asarray(vectors[chosen])


def explained(indexed: Indices, count: int, by_chance: Array) -> Array:
    """Logarithm of how much better `indexed` of `count` points are explained by a lattice than by none.

    A point lies on it with the share that is indexed, evenly in the parts `by_chance` of space, or else anywhere.
    """
    share = np.clip(indexed / count, 1e-9, 1 - 1e-9)
    return np.asarray(indexed * np.log(share / by_chance) + (count - indexed) * np.log1p(-share))
