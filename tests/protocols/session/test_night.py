"""What a session knows of its night, from records: what crystals are worth, what was merged."""

from engine.record.trace import Record
from protocols.session.mergedsofar import merged_words
from protocols.session.night import Night
from protocols.session.plan import GoalPlan
from protocols.session.status import status_of

ROW = {
    "number": 1,
    "data_sets": [1, 2],
    "left_out": [3],
    "group": "C m m m",
    "completeness": 0.89,
    "multiplicity": 2.5,
    "r_meas": 0.08,
    "cc_half": None,
}


def judged(worth: dict[str, float], phases: int) -> Record:
    result = {"phases": [{"completeness": 0.5, "data_sets": []}] * phases, "worth": worth}
    return {"seq": 1, "t_ns": 0, "kind": "computation", "name": "judge", "result": result}


def test_what_a_crystal_is_worth_is_known_until_it_is_asked_again() -> None:
    night = Night()
    night.take(judged({"4": 0.3, "5": 0.2}, phases=1))
    night.take(judged({"5": 0.6}, phases=1))
    assert night.known_worth == {4: 0.3, 5: 0.6}
    assert night.asked == {4, 5}


def test_a_pattern_that_fitted_no_cell_is_tried_again_when_there_is_a_new_one() -> None:
    night = Night()
    night.take(judged({"4": 1.7, "5": 0.2}, phases=1))
    assert night.known_worth[4] == 1.7
    night.take(judged({"6": 0.4}, phases=2))
    assert night.known_worth == {5: 0.2, 6: 0.4}
    assert night.asked == {6}
    again = Night.of(night.as_json())
    assert (again.known_worth, again.asked) == (night.known_worth, night.asked)


def test_what_was_merged_is_told_to_other_programs_and_goes_on() -> None:
    night = Night()
    night.take({"seq": 1, "t_ns": 0, "kind": "computation", "name": "merge", "result": {"phases": [ROW]}})
    assert status_of(night, GoalPlan(), 0, 0)["merged"] == [ROW]
    assert Night.of(night.as_json()).merged == {"phases": [ROW]}
    words = "phase 1 (C m m m), 2 merged (1 left out): 89% complete, 2.5 times, R_meas 0.080"
    assert merged_words(night.merged) == words


def test_a_merge_that_failed_leaves_what_is_known() -> None:
    night = Night()
    night.take({"seq": 1, "t_ns": 0, "kind": "computation", "name": "merge", "result": {"phases": [ROW]}})
    night.take({"seq": 2, "t_ns": 9, "kind": "computation", "name": "merge", "error": "late"})
    assert night.merged == {"phases": [ROW]}
