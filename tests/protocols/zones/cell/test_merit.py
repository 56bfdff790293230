"""The figure of merit is high only where everything speaks for a cell, and says what does not."""

from dataclasses import replace
from typing import Any

import pytest

from protocols.zones.cell.merit import CAPPED, HIGH, Grounds, figure_of_merit, reason

GOOD = Grounds(
    surplus=60.0, margin=40.0, zones=24, explained=24, nets=12, free_parameters=6, length_sigma=1e-4, one_row=False
)


def test_a_cell_that_everything_speaks_for_is_high() -> None:
    assert figure_of_merit(GOOD) > 0.999


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"nets": 3, "explained": 3}, "distinct zones fit one cell"),
        ({"nets": 2, "explained": 2}, "no cell fits more than two"),
        ({"explained": 6}, "explains only 6 of 24"),
        ({"length_sigma": 0.02}, "uncertain by 2.0 %"),
        ({"margin": 1.0}, "about equally well"),
        ({"surplus": 8.0}, "by chance as well"),
        ({"nets": 4, "explained": 20, "one_row": True}, "share one row"),
    ],
)
def test_one_thing_against_it_is_enough(change: dict[str, Any], words: str) -> None:
    bad = replace(GOOD, **change)
    assert figure_of_merit(bad) < HIGH
    assert words in reason(bad, distinct=12)


def test_too_few_distinct_zones_are_counted() -> None:
    assert reason(replace(GOOD, nets=4, zones=9, explained=9), distinct=4).startswith("4 distinct zones; at least 5")


@pytest.mark.parametrize("step", [{"surplus": 1.0}, {"margin": 1.0}, {"explained": 1}])
def test_more_for_it_never_lowers_it(step: dict[str, float]) -> None:
    low = replace(GOOD, surplus=16.0, margin=3.0, explained=20)
    high = replace(low, **{name: getattr(low, name) + value for name, value in step.items()})
    assert figure_of_merit(high) > figure_of_merit(low)


def test_what_fails_a_condition_is_capped_and_not_raised() -> None:
    assert figure_of_merit(replace(GOOD, nets=3)) == CAPPED
    assert figure_of_merit(replace(GOOD, nets=3, surplus=0.0)) < 0.01
