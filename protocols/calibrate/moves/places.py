"""Where the image stood in each frame, from how far pairs of frames are displaced. Pure functions of arrays.

Each frame is compared with several others that show enough of the same; all displacements together are solved for the
places, and pairs that contradict the others (a wrong maximum) count no more.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.calibrate.moves.registration import Displacement, displacement

Array = NDArray[np.float64]

PARTNERS = 8
"""Each frame is compared with so many others, near and far: where only near ones are compared, errors add up along the
way."""
FARTHEST = 0.5
"""Of each side: frames that are displaced by more show too little of the same."""
NEAR = 0.3
"""The same where it is not well known yet how far they are displaced."""
ROUNDS = 12
CUT = 4.0
LEAST_SCATTER_PX = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """at: (n, 2) of each frame, in pixels along (fast, slow); not a number where a frame could not be placed.
    pairs: how many displacements were measured; kept: how many agree with the others. scatter_px: of these, along one
    axis.
    """

    at: Array
    pairs: int
    kept: int
    scatter_px: float

    @property
    def sigma_px(self) -> float:
        """Standard uncertainty of a place along one axis, by how well displacements agree."""
        frames = int(np.isfinite(self.at[:, 0]).sum())
        return self.scatter_px * float(np.sqrt(frames / max(self.kept, 1)))


def placed(pictures: Sequence[Array], expected_px: Array, visited: Array) -> Places:
    """The places of flattened pictures. expected_px: (n, 2), about where they are. visited: (n, k) where the part was
    set and from which side, on which the places depend linearly.
    """
    size_px = pictures[0].shape[1], pictures[0].shape[0]
    near = _displacements(pictures, expected_px, pairs_of(expected_px, size_px, NEAR))
    expected_px = _followed(expected_px, visited, near)
    pairs = pairs_of(expected_px, size_px, FARTHEST)
    return solved(len(pictures), _displacements(pictures, expected_px, pairs), len(pairs))


Found = Sequence[tuple[int, int, Displacement]]


def _displacements(pictures: Sequence[Array], expected_px: Array, pairs: Sequence[tuple[int, int]]) -> Found:
    """Of those pairs that show the same."""
    found = []
    for i, j in pairs:
        guess = expected_px[j] - expected_px[i]
        seen = displacement(pictures[i], pictures[j], (float(guess[0]), float(guess[1])))
        if seen.sure:
            found.append((i, j, seen))
    return found


def _followed(expected_px: Array, visited: Array, found: Found) -> Array:
    """What near pairs let expect: better than the first moves, which knew no lag and less of the scatter."""
    if len(found) < len(expected_px):
        return expected_px
    moved = np.array([(each.fast_px, each.slow_px) for _, _, each in found])
    by = np.array([visited[j] - visited[i] for i, j, _ in found])
    size = np.maximum(np.abs(by).max(axis=0), 1e-300)
    weight = np.ones(len(found))
    answer = np.zeros((by.shape[1], 2))
    for _ in range(ROUNDS):  # the sum of distances, not of their squares: wrong pairs do not pull
        root = np.sqrt(weight)[:, None]
        answer = np.linalg.lstsq(by / size * root, moved * root, rcond=None)[0]
        weight = 1.0 / np.maximum(np.hypot(*(moved - by / size @ answer).T), 0.5)
    return np.asarray((visited - visited.mean(axis=0)) / size @ answer)


def pairs_of(expected_px: Array, size_px: tuple[int, int], farthest: float) -> list[tuple[int, int]]:
    """Pairs of frames to be compared: each with others, from the nearest to those displaced by this share of a side."""
    pairs: set[tuple[int, int]] = set()
    for k in range(len(expected_px)):
        away = np.max(np.abs(expected_px - expected_px[k]) / size_px, axis=1)
        others = [int(other) for other in np.argsort(away, kind="stable") if away[other] <= farthest and other != k]
        chosen = {others[round(place)] for place in np.linspace(0, len(others) - 1, PARTNERS)} if others else set()
        pairs |= {(min(k, other), max(k, other)) for other in chosen}
    return sorted(pairs)


def solved(count: int, found: Found, pairs: int) -> Places:
    """Places of `count` frames from displacements, the mean of all at 0."""
    if not found:
        return Places(np.full((count, 2), np.nan), pairs, 0, 0.0)
    first, second = (np.array([each[k] for each in found]) for k in (0, 1))
    moved = np.array([(each[2].fast_px, each[2].slow_px) for each in found])
    weight = np.ones(len(found))
    at, scatter = np.zeros((count, 2)), 0.0
    for _ in range(ROUNDS):
        at = _least_squares(count, first, second, moved, weight)
        off = moved - (at[second] - at[first])
        used = weight > 0
        freedom = max(1.0 - count / max(int(used.sum()), 1), 0.2)
        scatter = max(1.4826 * float(np.median(np.abs(off[used]))) / np.sqrt(freedom), LEAST_SCATTER_PX)
        weight = np.clip(1.0 - np.sum((off / (CUT * scatter)) ** 2, axis=1), 0.0, 1.0) ** 2
    kept = weight > 0.1
    apart = _not_joined(count, first[kept], second[kept])
    at[apart] = np.nan
    return Places(at, pairs, int(kept.sum()), scatter)


def _least_squares(count: int, first: NDArray[np.intp], second: NDArray[np.intp], moved: Array, weight: Array) -> Array:
    normal = np.zeros((count, count))
    np.add.at(normal, (first, first), weight)
    np.add.at(normal, (second, second), weight)
    np.add.at(normal, (first, second), -weight)
    np.add.at(normal, (second, first), -weight)
    right = np.zeros((count, 2))
    np.add.at(right, second, weight[:, None] * moved)
    np.add.at(right, first, -weight[:, None] * moved)
    return np.asarray(np.linalg.lstsq(normal + 1.0 / count, right, rcond=1e-9)[0])  # the mean stays at 0


def _not_joined(count: int, first: NDArray[np.intp], second: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Frames that no chain of pairs joins to most of the others."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(first)), (first, second)), shape=(count, count))
    _, part = connected_components(graph, directed=False)
    return np.asarray(part != np.argmax(np.bincount(part)))
