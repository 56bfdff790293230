"""Where to look for a crystal that is lost: where it should be, then around that. Pure arithmetic, asked by a run."""

import math

from protocols.tracking.actuator import Pair
from protocols.tracking.locating import LIKE_DEPTH, Looks

AROUND = 6
"""Places around, at equal angles."""
FARTHER = 1.25
"""So far from where it should be they lie, in radii of the aperture: with the first place all is seen that lies within
1.6 radii of it, and a crystal that has slipped has rarely slipped farther."""
LIKE_AREA = 2.0
"""By this factor the outline of a crystal may have changed since it was seen last."""


def places(radius_nm: float, towards_nm: Pair | None) -> list[Pair]:
    """(x, y) in nm from where the crystal should be, in the order in which to look there. radius_nm: of the aperture.
    towards_nm: where it was seen last or slipped to: that way first, and the opposite one last. None: x first.
    """
    first = 0.0 if towards_nm is None else math.atan2(towards_nm[1], towards_nm[0])
    turns = sorted(range(AROUND), key=lambda k: (min(k, AROUND - k), k))
    way = FARTHER * radius_nm
    angles = [first + 2 * math.pi * k / AROUND for k in turns]
    return [(0.0, 0.0), *((way * math.cos(angle), way * math.sin(angle)) for angle in angles)]


def may_be(looks: Looks | None, last: Looks | None) -> bool:
    """Whether what was found far from where it should be looks as the crystal did."""
    if looks is None or last is None:
        return False
    area, depth = looks.area_nm2 / last.area_nm2, looks.depth / last.depth
    return max(area, 1 / area) <= LIKE_AREA and max(depth, 1 / depth) <= LIKE_DEPTH
