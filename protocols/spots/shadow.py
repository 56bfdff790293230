"""Frames in a shadow: a grid bar or the holder stands in the beam, and nothing of the crystal reaches the camera.

At high tilt a bar comes in from the side, covers the crystal within some degrees, and with it the primary beam and the
film. What a lattice says should pass in these frames is not there: it counts neither as measured nor as weak. Pure
functions of how much light each frame has.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

Part = tuple[float, float]
"""Of a rotation: from one stage angle to another, in deg, in the order in which it was turned."""

USUAL = 0.8
"""Quantile of the frames' light that is usual: most of a rotation may lie in a shadow."""
DARK = 0.25
"""Of the usual light; a frame with less is in a shadow."""
BESIDE = 0.7
"""Frames beside it that have less are at its edge, and are in it as well."""
FEWEST = 3
"""Dark frames in a row. A beam stop, and no film: then the light is that of spots, and changes from frame to frame."""


def shadowed(light: ArrayLike) -> NDArray[np.bool_]:
    """(n,) which frames are in a shadow. light: (n,) of each, all its counts, for equal exposures, in their order."""
    counts = np.asarray(light, dtype=np.float64)
    if not len(counts) or not (usual := float(np.quantile(counts, USUAL))) > 0:
        return np.zeros(len(counts), dtype=bool)
    dark, dim = counts < DARK * usual, counts < BESIDE * usual
    found = np.zeros(len(counts), dtype=bool)
    for first, end in _runs(dark):
        if end - first >= FEWEST:
            found[first:end] = True
    for first, end in _runs(dim):  # with the edges of what is dark
        found[first:end] |= found[first:end].any()
    return found


def shadows(start_deg: ArrayLike, end_deg: ArrayLike, dark: NDArray[np.bool_]) -> list[Part]:
    """The parts of a rotation whose frames, (n,) with these stage angles, are dark."""
    starts, ends = np.asarray(start_deg, np.float64), np.asarray(end_deg, np.float64)
    return [(float(starts[first]), float(ends[end - 1])) for first, end in _runs(dark)]


def beside_shadows(whole: Part, dark: Sequence[Part]) -> list[Part]:
    """What is left of a rotation without its shadows, which ascend as it was turned."""
    way = 1.0 if whole[1] >= whole[0] else -1.0
    edges_deg = [whole[0], *(edge for part in dark for edge in part), whole[1]]
    return [(begin, end) for begin, end in list(pairwise(edges_deg))[::2] if way * (end - begin) > 0]


def without(parts: Sequence[Part], gone: Sequence[Part]) -> list[Part]:
    """What is left of parts of a rotation without others, in any order and of either direction."""
    left = list(parts)
    for low, high in (sorted(each) for each in gone):
        cut: list[Part] = []
        for begin, end in left:
            first, last = sorted((begin, end))
            left_deg, right_deg = (first, max(first, min(low, last))), (min(last, max(high, first)), last)
            parts_deg = (left_deg, right_deg) if end >= begin else (right_deg[::-1], left_deg[::-1])
            cut += [part for part in parts_deg if part[0] != part[1]]
        left = cut
    return left


def _runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and end of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
