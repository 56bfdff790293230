"""The rows of a timing strip: every event has a place and a name, and none is too short for it."""

from collections.abc import Sequence
from typing import Any

import pytest

from engine.record.trace import Record
from engine.views.lanes import (
    ELSE,
    NAME_LETTERS,
    ROWS_OF_A_GROUP,
    Lane,
    Window,
    close_ups,
    from_header,
    is_alarm,
    lanes_of,
    span,
    visible,
)

S = 1_000_000_000
MS = 1_000_000


def state(name: str, at_ns: int) -> Record:
    return {"t_ns": at_ns, "kind": "state", "name": name, "trigger": ""}


def step(name: str, start_ns: int, end_ns: int, left_ns: int, slot: int | None = 1) -> Record:
    verdict = "over" if left_ns < 0 else "ok"
    told: Record = {"t_ns": end_ns, "kind": "step", "name": name, "slot": slot, "planned_ns": start_ns, "slack_ns": 0}
    return {**told, "verdict": verdict, "start_ns": start_ns, "end_ns": end_ns, "left_ns": left_ns}


def frame(name: str, start_ns: int, **more: Any) -> Record:
    return {"t_ns": start_ns, "kind": "frame", "name": name, "start_ns": start_ns, "end_ns": start_ns + 50 * MS, **more}


def call(name: str, begin_ns: int, end_ns: int) -> Record:
    return {"t_ns": end_ns, "kind": "call", "name": name, "args": [], "begin_ns": begin_ns, "end_ns": end_ns}


def rows(records: Sequence[Record], last_s: float = 10.0) -> dict[tuple[str, str], Lane]:
    return {(lane.group, lane.name): lane for lane in lanes_of(records, last_s)}


def test_each_state_has_a_row_and_lasts_until_the_next() -> None:
    found = rows([state("warm", 0), state("flash", 2 * S), state("warm", 2 * S + 5 * MS), state("end", 9 * S)])
    assert [name for _, name in found] == ["warm", "flash", "end"]
    first, again = found["states", "warm"].bars
    assert first == (0.0, 2.0)
    assert again == pytest.approx((2.005, 6.995))
    assert found["states", "flash"].bars == ((2.0, 0.005),)
    assert found["states", "end"].bars == ((9.0, 1.0),)


def test_steps_frames_and_calls_stand_under_their_names_in_this_order() -> None:
    found = rows(
        [call("beam.on", 0, S), frame("still", S), step("expose", 0, S, 5 * MS), call("beam.off", 2 * S, 3 * S)]
    )
    assert list(found) == [("steps", "expose"), ("frames", "still"), ("calls", "beam")]
    assert found["calls", "beam"].bars == ((0.0, 1.0), (2.0, 1.0))
    assert found["steps", "expose"].left == ((1.0, 0.005),)


def test_a_step_over_its_budget_says_where_the_budget_ended() -> None:
    lane = rows([step("lens", S, 2 * S, -400 * MS)])["steps", "lens"]
    assert (lane.over, lane.budget_ends, lane.left) == (((1.0, 1.0),), (1.6,), ())


def test_computations_and_children_have_rows_of_their_own() -> None:
    computed = {"t_ns": 3 * S, "kind": "computation", "name": "score", "begin_ns": S, "end_ns": 3 * S}
    begun = {"t_ns": S, "kind": "child", "name": "1_a", "event": "begin", "protocol": "tiny", "digest": ""}
    ended = {**begun, "t_ns": 5 * S, "event": "end", "begin_ns": S, "end_ns": 5 * S}
    found = rows([computed, begun, ended])
    assert found["computations", "score"].bars == ((1.0, 2.0),)
    assert found["children", "tiny"].bars == ((1.0, 4.0),)


@pytest.mark.parametrize(
    ("record", "row", "alarming"),
    [
        ({"kind": "slot", "name": "lost", "slot": 3}, "lost slots", True),
        ({"kind": "slot", "name": "stretched", "slot": 3}, "longer period", False),
        ({"kind": "fault", "name": "DeviceLost"}, "faults", True),
        ({"kind": "command", "name": "stopped"}, "commands", True),
        ({"kind": "refused", "name": "frame"}, "refused frames", True),
        ({"kind": "injected", "name": "host"}, "injected faults", False),
        ({"kind": "note", "name": "operator"}, "notes", False),
        ({"kind": "wake", "name": "grid", "woke_ns": 4 * S}, "late wakes", False),
    ],
)
def test_every_other_event_is_a_mark_in_a_row_by_its_name(record: Record, row: str, alarming: bool) -> None:
    (lane,) = lanes_of([{"t_ns": 4 * S, **record}], 10.0)
    assert (lane.group, lane.name, lane.marks) == ("marks", row, (4.0,))
    assert is_alarm(lane) == alarming


def test_a_step_that_was_not_begun_and_a_frame_of_unknown_exposure_are_marks() -> None:
    late = {"t_ns": 2 * S, "kind": "step", "name": "expose", "slot": 4, "slack_ns": -5, "verdict": "underflow"}
    arrived = {"t_ns": S, "kind": "frame", "name": "image", "arrived_ns": S}
    found = rows([late, arrived])
    assert found["steps", "expose"].marks == (2.0,)
    assert is_alarm(found["steps", "expose"])
    assert found["frames", "image"].marks == (1.0,)


def test_more_names_than_rows_share_the_last_and_long_names_are_cut() -> None:
    found = lanes_of([state(f"{k}-{'x' * 200}", k * S) for k in range(500)], 500.0)
    assert len(found) == ROWS_OF_A_GROUP
    assert found[-1].name == ELSE
    assert sum(lane.events for lane in found) == 500
    assert max(len(lane.name) for lane in found) <= NAME_LETTERS + len("...")


def test_instants_count_from_the_header_and_bounds_durations_and_unknowns_do_not() -> None:
    record = {"t_ns": 5, "end_ns": None, "left_ns": 3, "start_bounds_ns": [4, 6], "text": "t"}
    assert from_header(record, 2) == {"t_ns": 3, "left_ns": 3, "start_bounds_ns": [4, 6], "text": "t"}


@pytest.mark.parametrize(
    ("bars", "seen"),
    [
        ([(0.0, 0.001)], [(0.0, 1.0)]),
        ([(0.0, 3.0)], [(0.0, 3.0)]),
        ([(5.0, 0.0), (0.0, 0.0)], [(0.0, 1.0), (5.0, 1.0)]),
        ([(0.0, 2.0), (2.1, 2.0)], [(0.0, 4.1)]),
        ([(0.0, 2.0), (2.3, 2.0)], [(0.0, 2.0), (2.3, 2.0)]),
        ([(0.0, 9.0), (1.0, 0.0)], [(0.0, 9.0)]),
    ],
)
def test_nothing_is_too_short_to_be_seen(bars: list[tuple[float, float]], seen: list[tuple[float, float]]) -> None:
    assert [pytest.approx(bar) for bar in visible(bars, 1.0)] == seen


def kinds(*names: str) -> list[Record]:
    return [frame(name, k * 100 * MS, slot=k + 1) for k, name in enumerate(names)]


@pytest.mark.parametrize(
    ("names", "title", "middle_s"),
    [
        (("still", "still", "still", "view", "still"), "around the first view", 0.3),
        (("still", "still", "still"), "around the first frame", 0.0),
        (("$a$", "$b$"), "around the first $b$", 0.1),
    ],
)
def test_the_close_up_is_where_another_kind_first_comes(names: tuple[str, ...], title: str, middle_s: float) -> None:
    (window,) = close_ups(kinds(*names))
    assert window.title == title
    assert (window.begin_s + window.end_s) / 2 == pytest.approx(middle_s)
    assert window.end_s - window.begin_s == pytest.approx(12 * 0.1)


@pytest.mark.parametrize(
    ("record", "title"),
    [
        ({"kind": "slot", "name": "lost", "slot": 7, "t_ns": 3 * S}, "around the first trouble: lost, slot 7"),
        ({"kind": "fault", "name": "DeviceLost", "t_ns": 3 * S}, "around the first trouble: fault: DeviceLost"),
        (step("lens", 3 * S, 4 * S, -1), "around the first trouble: lens over its budget, slot 1"),
    ],
)
def test_the_first_trouble_has_a_close_up_of_its_own(record: Record, title: str) -> None:
    later = {"kind": "fault", "name": "Other", "t_ns": 8 * S}
    _, window = close_ups([*kinds("still", "view"), record, later])
    assert window.title == title
    assert (window.begin_s + window.end_s) / 2 == pytest.approx(3.0)


def test_a_trouble_that_the_first_close_up_shows_anyway_has_none_of_its_own() -> None:
    (window,) = close_ups([*kinds("still", "view"), step("lens", 200 * MS, 300 * MS, -1, slot=2)])
    assert window.title == "around the first view; first trouble: lens over its budget, slot 2"


def test_without_frames_and_trouble_there_is_no_close_up() -> None:
    assert close_ups([state("warm", 0)]) == []


def test_a_row_is_seen_where_something_of_it_lies_in_the_window() -> None:
    lane = Lane("calls", "beam", bars=((1.0, 1.0),), marks=(5.0,))
    assert [lane.is_seen(Window("", a, a + 0.5)) for a in (0.0, 1.2, 3.0, 4.8)] == [False, True, False, True]


def test_the_span_of_nothing_is_not_empty() -> None:
    assert span([]) == (0.0, 1.0)
    assert span([state("a", 2 * S)]) == (2.0, 2.001)
