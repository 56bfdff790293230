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
HIGHEST = 800
"""Pixels of the transform, the highest, among which candidates are sought first."""
PHASE_WIDTHS = (0.2, 0.12, 0.08, 0.08)
PLACED_PER_A, PLACED_ALONG_PER_A = 0.0027, 0.0035
"""How well spots are placed across and along the beam: a spot is on a lattice if its phases are as whole as that."""
LEAST_WITHIN, MOST_WITHIN = 0.035, 0.1
STEADY = np.diag([1e-4, 1e-4, 3e-4, 1e-4])
"""Added to the normal equations for each point. The part along the beam is told least; it is not to run away."""
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
    first, second = _pairs(len(vectors))
    length = np.hypot(vectors[:, 0], vectors[:, 1])
    across = np.abs(vectors[first, 0] * vectors[second, 1] - vectors[first, 1] * vectors[second, 0])
    aside = across > ASIDE * length[first] * length[second]
    first, second, across = first[aside], second[aside], across[aside]
    if not len(first):
        return None
    near, within = _near(points, vectors)
    on_both = near.astype(np.float32) @ near.T
    chance = 4 * within[first] * within[second]
    worth = explained(on_both[first, second].astype(np.intp), count, chance) - MORE_LARGE * np.log(across)
    best = int(worth.argmax())
    pair = vectors[[first[best], second[best]]]
    kept = near[first[best]] & near[second[best]]
    squares = _squares(points)
    for _ in range(3):
        if kept.sum() < FEWEST - 1:
            break
        off = _off(points, pair)
        pair = _fitted(points, squares, pair, off, np.broadcast_to(kept.astype(np.float64), (2, count)))
        near, within = _near(points, pair)
        kept = near.all(axis=0)
    return StillLattice(pair[:, :3], kept, float(4 * within.prod()))


def _near(points: Array, vectors: Array) -> tuple[Mask, Array]:
    """(m, n) whether the phases of the points are whole numbers, and (m,) within what."""
    placed = PLACED_PER_A * np.hypot(vectors[:, 0], vectors[:, 1]) + PLACED_ALONG_PER_A * np.abs(vectors[:, 2])
    within = np.clip(placed, LEAST_WITHIN, MOST_WITHIN)
    return np.abs(_off(points, vectors)) < within[:, None], within


def _off(points: Array, vectors: Array) -> Array:
    """(m, n) how far the phases of the points are from whole numbers."""
    phases = vectors @ points.T
    return phases - np.rint(phases)


def _candidates(points: Array) -> Array:
    """(m, 4) vectors across the beam, and the phase at the beam, at the highest places of the transform of the picture.

    What they are along the beam, where the spots are within 0.013 1/A of each other, only the refinement tells.
    """
    place = ((points[:, :2] + REACH_PER_A) * (GRID / (2 * REACH_PER_A))).astype(np.intp)
    place = place[((place >= 0) & (place < GRID)).all(axis=1)]
    power2 = _power2(place[:, 0], place[:, 1])
    along_x, along_y, sensible = _lengths()
    width = power2.shape[1]
    high = np.flatnonzero(sensible & (power2 > (LEAST_POWER * len(place)) ** 2))
    power2 = power2.reshape(-1)
    if len(high) > 2 * HIGHEST:  # of few spots a fifth of the transform is high, and hundreds of places the highest
        here = power2[high]
        flat = _summits(power2, width, high[here >= np.partition(here, -HIGHEST)[-HIGHEST]])
    if len(high) <= 2 * HIGHEST or len(flat) < CANDIDATES:
        flat = _summits(power2, width, high)
    rows, columns = np.divmod(flat, width)
    rows, columns = rows - 1, columns - 1
    best = np.argsort(-power2[flat], kind="stable")[:CANDIDATES]
    vectors = np.column_stack([along_x[columns[best]], along_y[rows[best]], np.zeros(len(best))])
    turns = 2 * np.pi * (vectors @ points[:, :3].T)
    return np.column_stack([vectors, -np.arctan2(np.sin(turns).sum(axis=1), np.cos(turns).sum(axis=1)) / (2 * np.pi)])


def _summits(power2: NDArray[np.float32], width: int, flat: NDArray[np.intp]) -> NDArray[np.intp]:
    """Those of the places `flat` in a picture, so wide and laid out line by line, than which no neighbour is higher."""
    here = power2[flat]
    for step in (width, 1, width + 1, width - 1):
        for to in (step, -step):
            highest = here >= power2[flat + to]
            flat, here = flat[highest], here[highest]
    return flat


def _power2(x: NDArray[np.intp], y: NDArray[np.intp]) -> NDArray[np.float32]:
    """(GRID, GRID // 2 + 1) square of the transform of so many points on the grid: of a vector and its opposite, which
    are one, it has the one with x >= 0. With a border of its neighbours, 1 wide.

    By a product of matrices: points are few, so it takes half of a fast Fourier transform.
    """
    half = GRID // 2 + 1
    cos, sin = _waves()
    both = np.concatenate([cos[y], sin[y]], axis=1).T @ np.concatenate([cos[x], sin[x]], axis=1)
    even, odd = both[:half, :half], both[half:, half:]
    mixed, other = both[half:, :half], both[:half, half:]
    power2 = np.empty((GRID + 2, half + 2), dtype=np.float32)
    inside = power2[1:-1, 1:-1]
    np.add(np.square(even - odd), np.square(mixed + other), out=inside[:half])
    # Rows of the second half of the grid are those of the first with the opposite y.
    back = np.s_[half - 2 : 0 : -1]
    np.add(np.square(even[back] + odd[back]), np.square(other[back] - mixed[back]), out=inside[half:])
    power2[1:-1, -1] = 0.0  # as far as that no vector is sought
    power2[1, 0], power2[2:-1, 0] = inside[0, 1], inside[:0:-1, 1]
    power2[0], power2[-1] = power2[-2], power2[1]
    return power2


@cache
def _waves() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(GRID, GRID // 2 + 1) each: cosine and sine of a place on the grid (row) at a frequency (column)."""
    turns = np.outer(np.arange(GRID), np.arange(GRID // 2 + 1)) % GRID * (2 * np.pi / GRID)
    return np.cos(turns).astype(np.float32), np.sin(turns).astype(np.float32)


@cache
def _pairs(count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First and second of each pair of so many."""
    return np.triu_indices(count, 1)


@cache
def _lengths() -> tuple[Array, Array, Mask]:
    """Of the transform, in A: along x and y, and where a vector is neither too short nor too long, with a border."""
    along_x = np.asarray(np.fft.rfftfreq(GRID, 2 * REACH_PER_A / GRID), dtype=np.float64)
    along_y = np.asarray(np.fft.fftfreq(GRID, 2 * REACH_PER_A / GRID), dtype=np.float64)
    length = np.hypot(along_x, along_y[:, None])
    return along_x, along_y, np.pad((length > SHORTEST_A) & (length < LONGEST_A), 1)


def _refined(points: Array, vectors: Array) -> Array:
    """(k, 4) the best different vectors, refined by the phases of the points."""
    squares = _squares(points)
    for width in PHASE_WIDTHS:
        if not len(vectors):
            return vectors
        off = _off(points, vectors)
        vectors = _fitted(points, squares, vectors, off, np.exp((-0.5 / width**2) * (off * off)))
    phases = vectors @ points.T
    score = np.cos(2 * np.pi * phases).mean(axis=1)
    length = np.linalg.norm(vectors[:, :3], axis=1)
    # Where nearly all points have one phase there is no period in them.
    sensible = (length > SHORTEST_A) & (length < 1.2 * LONGEST_A) & (np.ptp(np.rint(phases), axis=1) >= 2)
    vectors, score = vectors[sensible], score[sensible]
    vectors = vectors[np.argsort(-score)]
    across = vectors[:, :2]
    # A vector and its opposite are one: squares of how far each is from the nearer of both.
    products = across @ across.T
    length2 = np.diag(products)
    same = length2[:, None] + length2 - 2 * np.abs(products) < 0.25
    # Rows as the bits of whole numbers: there are no more candidates than these have.
    same_as = (same @ (np.uint64(1) << np.arange(len(same), dtype=np.uint64))).tolist()
    kept: list[int] = []
    taken = 0
    for number, alike in enumerate(same_as):
        if not taken >> number & 1:
            kept.append(number)
            taken |= alike
            if len(kept) == VECTORS:
                break
    return np.asarray(vectors[kept])


def _squares(points: Array) -> Array:
    """(n, 16) products of the coordinates of each point, with what steadies the normal equations added to each."""
    return (points[:, :, None] * points[:, None, :] + STEADY).reshape(len(points), 16)


def _fitted(points: Array, squares: Array, vectors: Array, off: Array, weight: Array) -> Array:
    """(m, 4) vectors moved so that the points' phases are whole numbers. (m, n) each: how far they are off, and what
    each point weighs.
    """
    normal = (weight @ squares).reshape(len(vectors), 4, 4)
    return np.asarray(vectors - np.linalg.solve(normal, ((weight * off) @ points)[:, :, None])[:, :, 0])
