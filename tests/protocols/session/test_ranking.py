"""Which crystal comes next, and whether it is enough: pure functions."""

import math
from dataclasses import replace
from typing import Any

import pytest

from engine.errors import Refused
from protocols.session.crystals import Bar, Crystal, bars_in, crystals_in, free_deg, neighbours_of
from protocols.session.goal import reached
from protocols.session.night import Night, Over
from protocols.session.orders import Orders, is_order, parsed
from protocols.session.plan import ChoosePlan, GoalPlan, SessionPlan
from protocols.session.ranking import quality, ranked, unfit

GOOD = Crystal(1, 1, 1, 0.0, 0.0, 600.0, 400.0, 3000.0, 3000.0, True, 0.9, 0.05, 0.9)


def numbered(*crystals: Crystal) -> Night:
    night = Night()
    night.crystals = [replace(each, number=n, x_nm=5000.0 * n) for n, each in enumerate(crystals, 1)]
    return night


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({}, ""),
        ({"score_good": None}, "no score"),
        ({"score_good": 0.4}, "score"),
        ({"score_several": 0.6}, "several lattices"),
        ({"d_min_A": 1.4}, "resolution"),
        ({"d_min_A": None}, "resolution"),
        ({"is_isolated": False}, "not isolated"),
        ({"length_nm": 100.0}, "size"),
        ({"length_nm": 5000.0}, "size"),
    ],
)
def test_a_crystal_is_chosen_by_what_the_plan_asks(changed: dict[str, Any], why: str) -> None:
    choose = ChoosePlan(d_min_most_A=1.2, smallest_nm=200, largest_nm=2000)
    assert unfit(replace(GOOD, **changed), choose) == why


def test_without_screening_all_crystals_may_be_chosen_the_larger_ones_first() -> None:
    unknown = replace(GOOD, score_good=None, score_several=None, d_min_A=None)
    assert unfit(unknown, ChoosePlan(score_least=0.1)) == "no score"
    plan = SessionPlan(choose=ChoosePlan(score_least=0.0))
    night = numbered(replace(unknown, length_nm=200.0), unknown)
    assert [each.crystal.number for each in ranked(night, plan, {}, 0.0, 0.0)] == [2, 1]


def test_a_bar_beside_a_crystal_shades_it_when_the_stage_tilts() -> None:
    bars = [Bar(0.0, 20_000.0)]
    assert free_deg(GOOD, bars, 10_000.0, 15_000.0) == pytest.approx(45.0)
    assert free_deg(GOOD, [Bar(50_000.0, 0.0)], 10_000.0, 15_000.0) == 90.0  # along the axis it shades nothing
    assert unfit(GOOD, ChoosePlan(free_deg=50), bars, 10_000.0) == "a bar"
    assert unfit(GOOD, ChoosePlan(free_deg=40), bars, 10_000.0) == ""


def test_a_crystal_that_a_bar_shades_before_the_rotation_is_over_comes_later() -> None:
    night = numbered(GOOD, GOOD)
    night.bars = [Bar(night.crystals[0].x_nm, 12_000.0)]
    night.crystals[1] = replace(night.crystals[1], x_nm=50_000.0)
    assert [each.crystal.number for each in ranked(night, SessionPlan(), {}, 6_000.0, tilt_deg=50.0)] == [2, 1]
    assert [each.crystal.number for each in ranked(night, SessionPlan(), {}, 6_000.0, tilt_deg=20.0)] == [1, 2]


def test_fields_in_which_nothing_was_seen_are_taken_for_bars() -> None:
    rows = [[0.0, 0.0, "visited"], [1.0, 2.0, "bar"], [3.0, 4.0, "barren"], [5.0, 6.0, "no crystals"]]
    fields = {"columns": ["x_nm", "y_nm", "how"], "rows": rows}
    assert bars_in({"field_table": fields}) == [Bar(1.0, 2.0), Bar(3.0, 4.0)]


@pytest.mark.parametrize(
    "worse",
    [{"score_good": 0.6}, {"score_several": 0.4}, {"d_min_A": 1.5}, {"d_min_A": None}, {"length_nm": 200.0}],
)
def test_a_better_crystal_comes_first(worse: dict[str, Any]) -> None:
    assert quality(replace(GOOD, **worse)) < quality(GOOD)
    order = ranked(numbered(replace(GOOD, **worse), GOOD), SessionPlan(), {}, 0.0, 0.0)
    assert [each.crystal.number for each in order] == [2, 1]


def test_what_a_crystal_is_worth_counts_more_than_how_good_it_looks() -> None:
    night = numbered(GOOD, replace(GOOD, score_good=0.7))
    assert [each.crystal.number for each in ranked(night, SessionPlan(), {1: 0.1, 2: 1.0}, 0.0, 0.0)] == [2, 1]


def test_crystals_that_are_over_or_skipped_do_not_come_and_the_operators_come_first() -> None:
    night = numbered(*[replace(GOOD, score_good=0.9 - 0.05 * n) for n in range(6)])
    night.over[1] = Over(1, "collected", "", "collect")
    for words in ("skip 2", "next 6 5", "last 3"):
        night.orders.take(words)
    assert [each.crystal.number for each in ranked(night, SessionPlan(), {}, 0.0, 0.0)] == [6, 5, 4, 3]


def test_a_crystal_that_the_rules_leave_out_comes_where_the_operator_asks_for_it() -> None:
    night = numbered(GOOD, replace(GOOD, score_good=0.1))
    night.orders.take("next 2")
    assert [each.crystal.number for each in ranked(night, SessionPlan(), {}, 0.0, 0.0)] == [2, 1]


@pytest.mark.parametrize(
    "words", ["next", "next x", "hold 3", "goal colour 3", "goal data_sets many", "goal", "skip -1"]
)
def test_words_that_are_none_are_refused_and_change_nothing(words: str) -> None:
    orders = Orders()
    with pytest.raises(Refused, match="nothing was changed"):
        orders.take(words)
    assert orders == Orders()


def test_the_goal_is_told_with_its_key() -> None:
    orders = Orders()
    assert orders.take("goal data_sets 60") == "the goal is now data_sets = 60."
    orders.take("goal completeness none")
    assert orders.goal_of(GoalPlan(completeness=0.9)).completeness is None
    assert orders.goal_of(GoalPlan()).data_sets == 60
    assert Orders.of(orders.as_json()) == orders
    assert parsed("goal max_hours 2.5") == ("goal", ("max_hours", 2.5))
    assert is_order("NEXT 3")
    assert not is_order("offset 100 20")


def data_set(number: int, *, determined: bool) -> dict[str, Any]:
    return {"number": number, "crystal": number, "run_dir": "", "result": {"live": {"determined": determined}}}


@pytest.mark.parametrize(
    ("goal", "why"),
    [
        ({"data_sets": 2}, "data_sets"),
        ({"data_sets": 3}, ""),
        ({"completeness": 0.9}, "completeness"),
        ({"completeness": 0.97}, ""),
        ({"completeness": 0.9, "phases": 3}, ""),
        ({"max_beam_on_h": 0.5}, "max_beam_on_h"),
        ({"max_beam_on_h": 2.0}, ""),
        ({"max_hours": 1.05}, "max_hours"),
        ({"max_hours": 1.2}, ""),
    ],
)
def test_the_night_ends_when_its_goal_is_met_and_not_before(goal: dict[str, Any], why: str) -> None:
    night = Night()
    night.data_sets = [data_set(1, determined=True), data_set(2, determined=False), data_set(3, determined=True)]
    night.judged = {"phases": [{"completeness": 0.98, "data_sets": [1]}, {"completeness": 0.95, "data_sets": [3]}]}
    night.beam_on_s = 3600.0
    said = reached(night, GoalPlan(**goal), elapsed_s=3600.0, next_s=300.0)
    assert said.startswith(f"goal.{why} = ") if why else said == ""


def test_a_phase_of_which_nobody_knows_the_completeness_is_not_complete() -> None:
    night = Night()
    night.judged = {"phases": [{"completeness": None, "data_sets": [1]}]}
    assert reached(night, GoalPlan(completeness=0.1), 0.0, 1.0) == ""


def table(*rows: tuple[float | None, float, float]) -> dict[str, Any]:
    columns = ["x_nm", "y_nm", "score_good"]
    return {"crystals": {"columns": columns, "rows": [list(row) for row in rows]}}


def test_a_crystal_that_two_fields_show_is_one_and_keeps_the_better_pattern() -> None:
    first = crystals_in(table((0.0, 0.0, 0.5), (60.0, 50.0, 0.9), (3000.0, 0.0, 0.2)), 1, [])
    assert [(c.number, c.score_good) for c in first] == [(1, 0.2), (2, 0.9)]
    more = crystals_in(table((80.0, 0.0, 0.99), (9000.0, 0.0, 0.7), (None, 0.0, 0.7)), 2, first)
    assert [(c.number, c.block, c.x_nm) for c in more] == [(3, 2, 9000.0)]


def test_neighbours_are_told_from_the_crystal_nearest_first() -> None:
    night = numbered(GOOD, GOOD, replace(GOOD, length_nm=None))
    far = replace(GOOD, number=4, x_nm=30_000.0)
    elsewhere = replace(GOOD, number=5, x_nm=10_500.0, field=2)  # where that lies to this field is not known so well
    near = neighbours_of(night.crystals[1], [*night.crystals, far, elsewhere])
    assert near == ((-5000.0, 0.0, 600.0), (5000.0, 0.0, 0.0))
    assert math.hypot(*near[0][:2]) <= 6000.0
