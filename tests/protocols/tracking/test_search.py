"""Where a lost crystal is looked for, and what may be taken for it."""

import math

import pytest

from protocols.tracking.locating import Looks
from protocols.tracking.search import AROUND, FARTHER, may_be, places


def test_it_is_looked_for_where_it_should_be_and_then_once_all_around() -> None:
    (first, *around) = places(750.0, None)
    assert first == (0.0, 0.0)
    assert [math.hypot(*place) for place in around] == pytest.approx([FARTHER * 750.0] * AROUND)
    turns = sorted(round(math.degrees(math.atan2(y, x))) % 360 for x, y in around)
    assert turns == [60 * k for k in range(AROUND)]


def test_first_there_whither_it_went() -> None:
    around = places(750.0, (-30.0, 0.0))[1:]
    assert around[0] == pytest.approx((-FARTHER * 750.0, 0.0))
    assert around[-1] == pytest.approx((FARTHER * 750.0, 0.0))


# (area and depth of what was found, whether it may be the crystal of 0.25 um^2 and depth 0.3)
FOUND = {
    "as it was": (0.25e6, 0.3, True),
    "seen from another side": (0.4e6, 0.2, True),
    "a larger neighbour": (0.6e6, 0.3, False),
    "a smaller one": (0.1e6, 0.3, False),
    "one that is hardly seen": (0.25e6, 0.05, False),
}


@pytest.mark.parametrize("case", FOUND)
def test_what_is_found_elsewhere_has_to_look_like_the_crystal(case: str) -> None:
    area_nm2, depth, is_it = FOUND[case]
    assert may_be(Looks(area_nm2, depth), Looks(0.25e6, 0.3)) is is_it
