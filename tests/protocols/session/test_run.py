"""Whole small nights on the virtual clock: what is done in which order, what goes wrong, what stands in the trace."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.record.remains import Remains
from engine.record.trace import Record
from engine.replay.replay import replay
from engine.run.run import Run
from protocols.session.experiment import SESSION
from protocols.session.finish import night_of
from protocols.session.plan import SessionPlan
from protocols.session.status import FILE
from tests.protocols.session.nights import PLAN, Night, night


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Night:
    """Two crystals; while the first is brought back the operator asks for another one first, and leaves one out."""

    def tell(record: Record, run: Run) -> None:
        if record["kind"] == "child" and record["event"] == "begin" and record["protocol"] == "serialed-recall":
            run.commands.tell("next 1")
            run.commands.tell("goal max_hours 7")

    return night(tmp_path_factory.mktemp("whole"), on=tell)


def test_the_region_is_screened_and_each_crystal_brought_back_and_rotated(whole: Night) -> None:
    assert whole.document["status"] == "done", whole.document["reason"]
    assert whole.children == ["serialed", "serialed-recall", "cred", "serialed-recall", "cred"]
    result = whole.result
    assert result["data_sets"] == result["tried"] == 2
    assert result["screened"] > 0
    assert result["beam_untold"] == 0
    assert result["hours"] > 0
    assert [each["run_dir"] for each in whole.document["session"]["data_sets"]] == ["3_crystal", "5_crystal"]
    for each in whole.document["session"]["data_sets"]:
        assert (whole.folder / each["run_dir"] / "run.json").is_file()


def test_what_is_told_while_a_child_is_under_way_is_taken_by_the_session(whole: Night) -> None:
    chosen = [r["crystal"] for r in whole.of("note", "chosen")]
    assert chosen[0] != 1  # the best one
    assert chosen[1] == 1
    assert json.loads((whole.folder / FILE).read_text())["max_hours"] == 7.0


def test_the_beam_is_off_between_the_children_and_the_beam_time_is_that_of_the_children(whole: Night) -> None:
    assert "beam.unblank" not in [r["name"] for r in whole.of("call")]
    told = [r["result"]["beam_on_s"] for r in whole.of("child") if r["event"] == "end"]
    assert whole.result["beam_on_s"] == pytest.approx(sum(told))
    exposed_s = 2 * 3.0  # two rotations of 3 deg at 1 deg/s
    assert exposed_s < sum(told) < exposed_s + 8.0


def test_a_replay_decides_the_same_without_the_childrens_folders(
    whole: Night, assert_trace_matches: Callable[..., None]
) -> None:
    assert_trace_matches(replay(whole.trace), whole.trace)


def test_the_status_file_says_how_the_night_ended(whole: Night) -> None:
    told = json.loads((whole.folder / FILE).read_text())
    assert (told["status"], told["data_sets"], told["crystal"]) == ("done", 2, None)


def cut_off(whole: Night, after: Callable[[Record], bool]) -> Remains:
    """What is left of the night when the program ended after the first such record."""
    records = whole.trace
    at = next(k for k, record in enumerate(records) if after(record))
    plan = SessionPlan(**whole.document["plan"]).model_dump(mode="json")
    return Remains(records[0], plan, records[1 : at + 1], (), (), cut_off=True)


@pytest.mark.parametrize(
    ("state", "aside"),
    [("recall", []), ("collect", ["collect"])],
    ids=["a crystal that was looked for comes again", "one that was rotated has had its dose"],
)
def test_going_on_knows_what_was_done(whole: Night, state: str, aside: list[str]) -> None:
    first = next(r["crystal"] for r in whole.of("note", "chosen"))
    left = cut_off(whole, lambda record: record["kind"] == "state" and record["name"] == state)
    done = SESSION.carried_over(SessionPlan(**left.plan), left)
    assert [each[3] for each in done["over"]] == aside
    assert [each[0] for each in done["over"]] == [first] * len(aside)
    assert done["blocks"] == 1
    assert len(done["crystals"]) == whole.result["crystals"]
    again = Remains({**left.header, "continued": {"run": "night_001", "done": done}}, left.plan, (), (), ())
    night_after = night_of(again)
    assert set(night_after.over) == {first} if aside else night_after.over == {}


def test_data_sets_of_an_earlier_session_are_found_in_its_folder(whole: Night) -> None:
    done = SESSION.carried_over(SessionPlan(**whole.document["plan"]), cut_off(whole, lambda r: r["name"] == "done"))
    again = Remains({"kind": "header", "continued": {"run": "night_001", "done": done}}, {}, (), (), ())
    told = night_of(again)
    assert [each["run_dir"] for each in told.data_sets] == ["../night_001/3_crystal", "../night_001/5_crystal"]
    twice = night_of(Remains({"kind": "header", "continued": {"run": "x", "done": told.as_json()}}, {}, (), (), ()))
    assert [each["run_dir"] for each in twice.data_sets] == ["../night_001/3_crystal", "../night_001/5_crystal"]


def test_a_camera_that_is_lost_for_three_minutes_costs_three_minutes(
    tmp_path: Path, assert_trace_matches: Callable[..., None]
) -> None:
    told = night(tmp_path, faults=["detector.start 12 lost 180"], choose={**PLAN["choose"], "crystals": 1})
    assert told.document["status"] == "done", told.document["reason"]
    assert told.result["data_sets"] == 1
    assert told.result["faults"] == 1
    assert 180 < told.result["waited_s"] < 200
    assert_trace_matches(replay(told.trace), told.trace)


def test_a_device_that_is_lost_for_good_ends_the_night_safe_and_said(tmp_path: Path) -> None:
    told = night(tmp_path, faults=["detector.start 3 lost 100000"], wait_for_device_min=2.0)
    assert told.document["status"] == "failed"
    assert "detector does not answer (after 2." in told.document["reason"]
    assert told.children == ["serialed"]
    after = [r["name"] for r in told.of("call")]
    assert "beam.is_blanked" in after[-24:]


def test_a_night_of_which_no_block_could_be_screened_has_failed_and_says_why(tmp_path: Path) -> None:
    faults = [f"stagexyz.move_xy {n} error" for n in range(1, 100)]
    told = night(tmp_path, faults=faults, failures_in_a_row=1000, width_um=52.0)
    assert told.children == ["serialed", "serialed"]
    assert told.document["status"] == "failed"
    assert "nothing was screened: " in told.document["reason"]
    assert not told.result["data_sets"]


def test_a_block_whose_screening_failed_comes_again(tmp_path: Path) -> None:
    choose = {**PLAN["choose"], "score_least": 0.5}
    screening = {**PLAN["screening"], "crystals_per_field": 1, "score": False}
    told = night(tmp_path, faults=["mode.set_mode 2 error"], choose=choose, screening=screening)
    assert told.document["status"] == "done"
    assert told.children == ["serialed", "serialed"]
    assert [r["how"] for r in told.of("note", "block")] == ["done"]
    (warned,) = told.of("note", "warning")
    assert warned["text"].startswith("block 1 was not screened whole: mode.set_mode")
