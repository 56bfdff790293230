import math
from itertools import pairwise

import pytest

from engine.errors import Refused
from protocols.serialed.plan import SerialedPlan
from protocols.serialed.raster import Queue, parsed, raster, total_fields


def test_fields_stand_a_step_apart_around_the_middle_and_each_is_one_step_from_the_last() -> None:
    plan = SerialedPlan(width_um=65, height_um=39, step_um=13)
    fields = raster(plan, (1000.0, -2000.0))
    assert len(fields) == total_fields(plan) == 15
    assert [field.number for field in fields] == list(range(1, 16))
    assert sum(field.x_nm for field in fields) / 15 == pytest.approx(1000)
    assert sum(field.y_nm for field in fields) / 15 == pytest.approx(-2000)
    ways = [math.dist((a.x_nm, a.y_nm), (b.x_nm, b.y_nm)) for a, b in pairwise(fields)]
    assert ways == pytest.approx([13_000.0] * 14)


def test_the_papers_region_has_225_fields() -> None:
    assert total_fields(SerialedPlan()) == 225


@pytest.mark.parametrize(
    ("words", "left", "told"),
    [
        ("next 4", [4, 1, 2, 3, 5], "come next; 5 are to come"),
        ("skip 1 2", [3, 4, 5], "are skipped; 3 are to come"),
        ("last 1", [2, 3, 4, 5, 1], "come last"),
        ("  NEXT   7 ", [7, 1, 2, 3, 4, 5], "come next; 6"),  # one that was visited is visited again
        ("skip 1 7", [2, 3, 4, 5], "not in the queue any more: 7"),
    ],
)
def test_an_operator_changes_the_order(words: str, left: list[int], told: str) -> None:
    queue = Queue.of(7, done=(6, 7))
    assert told in queue.told(words, 7)
    assert queue.numbers == left


@pytest.mark.parametrize(
    ("words", "why"), [("jump 3", "not understood"), ("next", "not understood"), ("next 9", "fields 1 to 7")]
)
def test_words_that_are_none_change_nothing(words: str, why: str) -> None:
    queue = Queue.of(7)
    with pytest.raises(Refused, match=why):
        queue.told(words, 7)
    assert queue.numbers == [1, 2, 3, 4, 5, 6, 7]
    assert parsed("last 5 2 5", 7) == ("last", (5, 2))


def test_a_queue_goes_on_in_the_order_that_it_was_given() -> None:
    assert Queue.of(6, done=(1, 2), order=(5, 2, 3)).numbers == [5, 3, 4, 6]
