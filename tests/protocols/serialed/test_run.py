"""Whole runs on the virtual clock: what is done in which order, what goes wrong, how a run goes on."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.record.trace import Record
from engine.replay.replay import replay
from engine.run.continuing import earlier_run
from engine.run.run import Run
from protocols.serialed.plan import SerialedPlan
from tests.protocols.serialed.runs import PLAN, Made, made


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made(tmp_path_factory.mktemp("again"))


def test_each_field_is_imaged_and_each_crystal_in_it_exposed_once(run: Made) -> None:
    result = run.result
    assert run.document["status"] == "done", run.document["reason"]
    assert result["images"] == result["fields_done"] == 4
    assert result["patterns"] == result["crystals_found"] > 4
    exposed = [(frame["field"], frame["crystal"]) for frame in run.of("frame", "pattern")]
    assert len(set(exposed)) == len(exposed)
    assert result["on_target"] == 1.0
    assert result["limit_ratio"] > 0.8  # four fields, of which the first is begun anew


def test_the_beam_is_on_for_exposures_alone_and_off_at_the_end(run: Made) -> None:
    calls = [r["name"] for r in run.of("call") if r["name"] in ("beam.unblank", "beam.blank", "detector.start")]
    exposing = [name for name in calls if name != "beam.blank"]
    assert exposing == ["beam.unblank", "detector.start"] * (len(exposing) // 2)
    on = off = 0
    for name in calls:
        on += name == "beam.unblank"
        off += name == "beam.blank"
        assert on - off <= 1
    assert calls[-1] == "beam.blank"


def test_a_replay_does_the_same(run: Made, assert_trace_matches: Callable[..., None]) -> None:
    without_truth = [r for r in run.trace if r["name"] != "truth"]
    renumbered = [{**record, "seq": seq} for seq, record in enumerate(without_truth)]
    assert_trace_matches(replay(run.trace, run.folder), renumbered)


@pytest.mark.parametrize("file", ["trace.jsonl", "journal.jsonl", "frames.h5", "grid_truth.h5"])
def test_the_same_seed_writes_the_same_bytes(run: Made, again: Made, file: str) -> None:
    assert (again.folder / file).read_bytes() == (run.folder / file).read_bytes()


def test_the_operator_puts_a_field_first_and_leaves_one_out(tmp_path: Path) -> None:
    def tell(record: Record, run: Run) -> None:
        if record["kind"] == "frame" and record["name"] == "image" and record["field"] == 1:
            run.commands.tell("next 3")
            run.commands.tell("skip 2")

    told = made(tmp_path, on=tell)
    assert [frame["field"] for frame in told.of("frame", "image")] == [1, 3, 4]


def test_a_lost_frame_is_repeated_with_the_camera_armed_anew(tmp_path: Path) -> None:
    told = made(tmp_path, faults=["detector.frames 8 drop"])
    assert told.document["status"] == "done"
    assert told.result["patterns"] == told.result["crystals_found"]
    assert len(told.of("call", "detector.arm")) == 2


def test_a_stage_that_fails_once_costs_its_field(tmp_path: Path) -> None:
    told = made(tmp_path, faults=["stagexyz.move_xy 3 error"])
    assert told.document["status"] == "done"
    assert told.result["fields_skipped"] == {"stage": 1}
    assert told.result["images"] == 3


def test_a_beam_that_drifts_is_followed(tmp_path: Path) -> None:
    told = made(tmp_path, {"illumination": {"drift_nm_min": [240.0, 120.0]}}, width_um=52.0, height_um=52.0)
    assert len(told.of("note", "beam")) > 2
    assert told.result["beam"]["largest_move_nm"] > 40.0
    assert told.result["on_target"] > 0.95


def test_a_stage_that_goes_too_far_is_waited_for(tmp_path: Path) -> None:
    goes_too_far = {"stagexyz": {"overshoot_nm": 3000.0, "settling_s": 0.3}}
    assert made(tmp_path, goes_too_far, stage_settling_s=2.0).result["on_target"] == 1.0


def test_an_empty_grid_is_done_and_said_to_be_empty(tmp_path: Path) -> None:
    told = made(tmp_path, {"grid": {"crystals_um2": 0.0, "dirt_um2": 0.0}})
    assert told.document["status"] == "done"
    assert told.result["patterns"] == 0
    assert "no crystal was found" in told.document["reason"]


def test_a_run_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    cut = tmp_path / "cut" / "grid_009"

    def killed(record: Record, run: Run) -> None:
        if record["kind"] == "frame" and record["name"] == "pattern" and record["field"] == 2 and not cut.exists():
            shutil.copytree(run.folder, cut)  # as the disk is when the program is gone

    lands_well = {"stagexyz": {"reproducibility_nm": 5.0}}  # so that both see the same crystals
    whole = made(tmp_path / "first", lands_well, on=killed).result
    plan = SerialedPlan(**PLAN)
    done = earlier_run(cut, "serialed").carried_over(plan)
    assert done["done"]["done"] == [1]
    assert done["done"]["field"] == 2
    went_on = made(tmp_path / "second", lands_well, seed=3, continued=done)
    assert went_on.document["status"] == "done"
    assert went_on.result["images"] == 3
    assert went_on.result["fields_done"] == 4
    both = done["done"]["patterns"] + went_on.result["patterns"]
    assert whole["patterns"] <= both <= whole["patterns"] + 1  # the one in flight is taken again


def test_crystals_that_have_a_pattern_are_known_again_although_the_stage_comes_back_elsewhere(tmp_path: Path) -> None:
    cut, taken = tmp_path / "cut" / "grid_009", 0

    def killed(record: Record, run: Run) -> None:
        nonlocal taken
        taken += record["kind"] == "frame" and record["name"] == "pattern"
        if taken == 4 and not cut.exists():
            shutil.copytree(run.folder, cut)

    here: dict[str, Any] = {"width_um": 13.0, "height_um": 13.0}
    first = made(tmp_path / "first", on=killed, **here)
    done = earlier_run(cut, "serialed").carried_over(SerialedPlan(**{**PLAN, **here}))
    went_on = made(tmp_path / "second", seed=3, continued=done, **here)
    assert len(done["done"]["visited_px"]) in (3, 4)
    assert went_on.result["patterns"] <= went_on.result["crystals_found"] - 2
    lost_at_the_border = 3
    assert done["done"]["patterns"] + went_on.result["patterns"] >= first.result["patterns"] - lost_at_the_border
