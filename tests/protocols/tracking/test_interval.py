"""When a crystal is looked at again: before it may be too far off, within the shortest and the longest interval."""

import pytest

from protocols.tracking.interval import Interval, off_middle_nm
from protocols.tracking.place import Place

# (how far off it may be after so many slots, slots until the next snapshot)
CASES = {
    "it fits just so": (lambda slots: 10.0 * slots, 10),
    "never unsure": (lambda slots: 0.0, 20),
    "unsure at once": (lambda slots: 1000.0, 4),
    "unsure after the longest": (lambda slots: 5.1 * slots, 19),
    "unsure after the shortest": (lambda slots: 24.9 * slots, 4),
}


@pytest.mark.parametrize("case", CASES)
def test_the_next_snapshot_comes_before_it_may_be_too_far_off(case: str) -> None:
    off_nm, slots = CASES[case]
    assert Interval(4, 20, 100.0).next(off_nm) == slots


def test_it_is_asked_no_more_than_a_few_times() -> None:
    asked: list[int] = []

    def off_nm(slots: int) -> float:
        asked.append(slots)
        return 3.0 * slots

    assert Interval(5, 68, 100.0).next(off_nm) == 33
    assert len(asked) <= 7


def test_a_crystal_is_off_by_where_it_is_and_by_how_unsure_that_is() -> None:
    assert off_middle_nm(Place.even(30.0, 0.0, 40.0)) == pytest.approx(50.0)
