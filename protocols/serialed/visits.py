"""Which crystals of a field are visited, and in which order. Pure.

Hysteresis is not seen by who always comes from below. So the crystals are put into the fewest chains along which both
axes of the beam shift rise (a minimum chain cover, by the patience greedy): only between two chains does it fall.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

Pair = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Visit:
    """A crystal to visit: its number within the field from 1 in the order of the finder, where it is in the picture,
    the beam shift for it, its place on the specimen (where the stage stands when it is in the middle of the picture).
    """

    crystal: int
    fast_px: float
    slow_px: float
    beam: Pair
    x_nm: float
    y_nm: float
    length_nm: float
    is_isolated: bool


def rising(points: Sequence[Pair]) -> list[int]:
    """The order of points in the fewest chains along which x and y do not fall; indices, chain after chain."""
    order = sorted(range(len(points)), key=lambda k: points[k])
    chains: list[list[int]] = []
    ends: list[float] = []  # y of the last of each chain, rising
    for k in order:
        y = points[k][1]
        place = bisect_right(ends, y) - 1
        if place < 0:
            chains.insert(0, [k])
            ends.insert(0, y)
        else:  # the chain that ends highest below it; the ends stay in order
            chains[place].append(k)
            ends[place] = y
    return [k for chain in chains for k in chain]
