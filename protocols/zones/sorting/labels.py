"""What a pattern is, from its indices alone: `2DZone`, `hybrid` or `3DLaueIntersections`, if it is of one crystal.

2DZone: all excited reflections lie in one plane of the reciprocal lattice, h u + k v + l w = 0 for one [uvw], and
not on one row. hybrid: all but one to three lie in such a plane (figure 2 of Gorelik and co-workers, 2025). There is
no free parameter; the simulation says which reflections are excited, and of how many crystals. severalCrystals: of
two and more. noHit: of none, or fewer than five spots.
"""

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]

LABELS = ("2DZone", "hybrid", "3DLaueIntersections", "severalCrystals", "noHit")
ZONE, HYBRID, INTERSECTIONS, SEVERAL, NO_HIT = range(5)
FEWEST_SPOTS = 5
"""With fewer a pattern tells nothing: no hit."""
MOST_OUTSIDE = 3
"""Reflections outside the best plane of a hybrid."""


def rows_of(hkl: Indices) -> Indices:
    """(m,) a number for the row through the origin on which each (m, 3) hkl lies; equal for h and -h, h and 2h."""
    primitive = hkl // np.maximum(np.gcd.reduce(hkl, axis=1), 1)[:, None]
    span = int(np.abs(primitive).max(initial=0)) * 2 + 1
    # Read as digits of one number, h k l and -h -k -l give opposite numbers.
    return np.asarray(np.abs(primitive @ [span * span, span, 1]), dtype=np.int64)


def best_planes(hkl: Indices, start: Indices) -> tuple[Indices, Indices]:
    """The plane with most reflections, of every pattern: its primitive [uvw] (n, 3) and the reflections outside (n,).

    hkl: (m, 3) indices of all patterns, those of pattern i in the rows start[i] to start[i + 1]. (0, 0, 0) stands for
    a spot that no reflection made and lies outside every plane.

    Of the first five rows (lines through the origin) of a pattern, at least two lie in the best plane if no more than
    three reflections are outside; their cross product is [uvw]. So a count up to three is exact, and a larger
    one means: more than three. A pattern on fewer than two rows has no plane: [0 0 0], and all its spots are outside.
    """
    count = len(start) - 1
    owner = np.repeat(np.arange(count), np.diff(start))
    real = hkl.any(axis=1)
    rows = rows_of(hkl)
    _, first = np.unique(owner[real] * (rows.max(initial=0) + 1) + rows[real], return_index=True)
    chosen = np.flatnonzero(real)[first]
    rank = np.arange(len(chosen)) - np.searchsorted(owner[chosen], owner[chosen])
    few = np.zeros((count, 5, 3), dtype=np.int64)
    within = rank < 5
    few[owner[chosen][within], rank[within]] = hkl[chosen][within]
    axis = np.zeros((count, 3), dtype=np.int64)
    outside = np.diff(start)
    for i, j in combinations(range(5), 2):
        normal = np.cross(few[:, i], few[:, j])
        normal //= np.maximum(np.gcd.reduce(normal, axis=1), 1)[:, None]
        off = (np.einsum("mi,mi->m", hkl, normal[owner]) != 0) | ~real
        off_count = np.bincount(owner[off], minlength=count)
        better = normal.any(axis=1) & (off_count < outside)
        axis[better], outside[better] = normal[better], off_count[better]
    return axis, outside


def labels_of(axis: Indices, outside: Indices) -> NDArray[np.int8]:
    """(n,) index into LABELS from what `best_planes` found."""
    planar = axis.any(axis=1)
    return np.select(
        [planar & (outside == 0), planar & (outside <= MOST_OUTSIDE)], [ZONE, HYBRID], INTERSECTIONS
    ).astype(np.int8)
