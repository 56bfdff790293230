"""Which spots of a still are of one crystal: of a single picture, of which every spot lies on the Ewald sphere.

So of every spot all three coordinates are known, that along the beam to the width of the rocking curve. Along a
lattice vector the phases of all spots of a crystal are equal but for whole numbers; so the Fourier transform of the
spots is high at lattice vectors (as in `search`, but from one picture, where vectors along the beam are not seen). Of
the vectors found the pair is taken that explains the spots best. The place of the primary beam need not be known.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from protocols.lattice.search import explained

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

SHORTEST_A, LONGEST_A = 3.3, 48.0
GRID = 256
REACH_PER_A = 1.28
"""Spots farther out are not used to find vectors. Half the width of the grid: the transform is in steps of 0.39 A."""
LEAST_POWER = 0.3
"""Of the number of spots: what the transform is at a vector, at least."""
CANDIDATES, VECTORS = 60, 24
PHASE_WIDTHS = (0.2, 0.12, 0.08, 0.08)
PLACED_PER_A, PLACED_ALONG_PER_A = 0.0027, 0.0035
"""How well spots are placed across and along the beam: a spot is on a lattice if its phases are as whole as that."""
LEAST_WITHIN, MOST_WITHIN = 0.035, 0.1
MORE_LARGE = 2.0
"""So many more pairs of vectors there are to choose from, as a power of the area they span."""
ASIDE = 0.3
"""Sine of the angle of two vectors as the picture shows them, at least."""
FEWEST = 7


@dataclass(frozen=True, slots=True, eq=False)
class StillLattice:
    """vectors_A: (2, 3) of the crystal, x and y as the picture's, z along the beam. on: (n,) spots of the lattice.

    by_chance: share of points anywhere that are as near.
    """

    vectors_A: Array
    on: Mask
    by_chance: float

    @property
    def share(self) -> float:
        """Of all spots, those of the lattice."""
        return float(self.on.mean())


def still_lattice(xy_per_A: Array, wavelength_A: float = 0.0251) -> StillLattice | None:
    """The lattice of most of the (n, 2) spots, in 1/A from the beam or thereabouts. None for fewer than FEWEST, and
    where no two vectors are seen. Some milliseconds.
    """
    count = len(xy_per_A)
    if count < FEWEST:
        return None
    squared = np.einsum("ni,ni->n", xy_per_A, xy_per_A)
    points = np.column_stack([xy_per_A, 0.5 * wavelength_A * squared, np.ones(count)])
    vectors = _refined(points, _candidates(points))
    if len(vectors) < 2:
        return None
    first, second = np.triu_indices(len(vectors), 1)
    length = np.hypot(vectors[:, 0], vectors[:, 1])
    across = np.abs(vectors[first, 0] * vectors[second, 1] - vectors[first, 1] * vectors[second, 0])
    aside = across > ASIDE * length[first] * length[second]
    first, second, across = first[aside], second[aside], across[aside]
    if not len(first):
        return None
    near, within = _near(points, vectors)
    on = near[first] & near[second]
    chance = 4 * within[first] * within[second]
    worth = explained(on.sum(axis=1), count, chance) - MORE_LARGE * np.log(across)
    best = int(worth.argmax())
    pair = vectors[[first[best], second[best]]]
    kept = on[best]
    for _ in range(3):
        if kept.sum() < FEWEST - 1:
            break
        pair = _fitted(points, pair, np.broadcast_to(kept.astype(np.float64), (2, count)))
        near, within = _near(points, pair)
        kept = near.all(axis=0)
    return StillLattice(pair[:, :3], kept, float(4 * within.prod()))


def _near(points: Array, vectors: Array) -> tuple[Mask, Array]:
    """(m, n) whether the phases of the points are whole numbers, and (m,) within what."""
    phases = vectors @ points.T
    placed = PLACED_PER_A * np.hypot(vectors[:, 0], vectors[:, 1]) + PLACED_ALONG_PER_A * np.abs(vectors[:, 2])
    within = np.clip(placed, LEAST_WITHIN, MOST_WITHIN)
    return np.abs(phases - np.rint(phases)) < within[:, None], within


def _candidates(points: Array) -> Array:
    """(m, 4) vectors across the beam, and the phase at the beam, at the highest places of the transform of the picture.

    What they are along the beam, where the spots are within 0.013 1/A of each other, only the refinement tells.
    """
    from scipy.fft import rfft2

    place = ((points[:, :2] + REACH_PER_A) * (GRID / (2 * REACH_PER_A))).astype(np.intp)
    inside = ((place >= 0) & (place < GRID)).all(axis=1)
    flat = (place[:, 1] * GRID + place[:, 0])[inside]
    picture = np.bincount(flat, minlength=GRID * GRID).reshape(GRID, GRID).astype(np.float32)
    power = np.abs(rfft2(picture))  # of a vector and its opposite, which are one, it has the one with x >= 0
    along_x, along_y, sensible = _lengths()
    rows, columns = np.nonzero(sensible & (power > LEAST_POWER * len(flat)))
    here = power[rows, columns]
    for i, j in ((1, 0), (0, 1), (1, 1), (1, -1)):
        for sign in (1, -1):
            neighbour = power[(rows + sign * i) % GRID, (columns + sign * j) % power.shape[1]]
            highest = here >= neighbour
            rows, columns, here = rows[highest], columns[highest], here[highest]
    best = np.argsort(-here, kind="stable")[:CANDIDATES]
    vectors = np.column_stack([along_x[columns[best]], along_y[rows[best]], np.zeros(len(best))])
    phases = np.exp(2j * np.pi * vectors @ points[:, :3].T).sum(axis=1)
    return np.column_stack([vectors, -np.angle(phases) / (2 * np.pi)])


@cache
def _lengths() -> tuple[Array, Array, Mask]:
    """Of the transform, in A: along x and y, and where a vector is neither too short nor too long."""
    along_x = np.asarray(np.fft.rfftfreq(GRID, 2 * REACH_PER_A / GRID), dtype=np.float64)
    along_y = np.asarray(np.fft.fftfreq(GRID, 2 * REACH_PER_A / GRID), dtype=np.float64)
    length = np.hypot(along_x, along_y[:, None])
    return along_x, along_y, (length > SHORTEST_A) & (length < LONGEST_A)


def _refined(points: Array, vectors: Array) -> Array:
    """(k, 4) the best different vectors, refined by the phases of the points."""
    for width in PHASE_WIDTHS:
        if not len(vectors):
            return vectors
        phases = vectors @ points.T
        off = phases - np.rint(phases)
        vectors = _fitted(points, vectors, np.exp(-0.5 * (off / width) ** 2))
    phases = vectors @ points.T
    score = np.cos(2 * np.pi * phases).mean(axis=1)
    length = np.linalg.norm(vectors[:, :3], axis=1)
    # Where nearly all points have one phase there is no period in them.
    sensible = (length > SHORTEST_A) & (length < 1.2 * LONGEST_A) & (np.ptp(np.rint(phases), axis=1) >= 2)
    vectors, score = vectors[sensible], score[sensible]
    vectors = vectors[np.argsort(-score)]
    across = vectors[:, :2]
    # A vector and its opposite are one.
    away2 = np.square(across[:, None] - across).sum(axis=2)
    opposite2 = np.square(across[:, None] + across).sum(axis=2)
    same = np.minimum(away2, opposite2) < 0.25
    kept: list[int] = []
    left = np.ones(len(vectors), dtype=bool)
    while left.any() and len(kept) < VECTORS:
        number = int(left.argmax())
        kept.append(number)
        left &= ~same[number]
        left[number] = False
    return np.asarray(vectors[kept])


def _fitted(points: Array, vectors: Array, weight: Array) -> Array:
    """(m, 4) vectors moved so that the points' phases are whole numbers, each point with its (m, n) weight."""
    phases = vectors @ points.T
    off = phases - np.rint(phases)
    squares = (points[:, :, None] * points[:, None, :]).reshape(len(points), 16)
    normal = (weight @ squares).reshape(len(vectors), 4, 4)
    # The part along the beam is told least; it is not to run away.
    normal += np.diag([1e-4, 1e-4, 3e-4, 1e-4]) * weight.sum(axis=1)[:, None, None]
    return np.asarray(vectors - np.linalg.solve(normal, ((weight * off) @ points)[:, :, None])[:, :, 0])
