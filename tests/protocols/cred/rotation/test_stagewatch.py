"""The stage watched while it turns: one wrong reading is left out; of a stage that strays what is known is kept."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from drivers.contract import Reading, Stage
from engine.clock import NS_PER_MS, NS_PER_S
from engine.record.trace import read_trace
from engine.run.perform import Request, execute
from engine.run.registry import experiment_type
from engine.run.run import Run
from engine.run.trial import Case
from engine.testing.soak import try_case
from protocols.cred import CRED
from protocols.cred.plan import CredPlan
from protocols.cred.rotation.stagewatch import POLL_NS, StageWatch
from tests.protocols.cred.conftest import Finished

# 50 slots without snapshots: the stage is read in slots 1, 2, 10, 20, 30, 40 and 50. Slot 1 begins at 3.4 s or so.
PLAN: dict[str, Any] = {
    "range_deg": 11.5,
    "start_deg": 0.0,
    "rotation": "commanded",
    "snapshot_interval": 0,
    "truth": True,
    "formats": (),
}
SLOTS = 50
TRUE_DEG = 0.05  # what scatter, and the time that a reading takes, leave open here


def perform(out: Path, *faults: str, devices: str = "simulated-timing", **plan: Any) -> Finished:
    whole = CredPlan(**{**PLAN, **plan})
    report = execute(Request(CRED, whole, out, devices, virtual=True, seed=1, draw=False, faults=faults))
    document = json.loads((report.folder / "run.json").read_text())
    return Finished(report.folder, document, list(read_trace(report.folder)))


def kept(run: Finished) -> list[int]:
    """The slots of the frames that are for use, and a check of their angles."""
    rows = run.frames()
    good = rows[rows["kept"].astype(bool)]
    if len(good):
        told = np.stack([good["start_deg"], good["end_deg"]], axis=1)
        assert np.abs(told - run.truth_deg()).max() < TRUE_DEG
    return [int(slot) for slot in good["slot"]]


def moment_s(run: Finished, slot: int) -> float:
    """When a slot began."""
    rows = run.frames()
    return float(rows["start_ns"][rows["slot"] == slot][0]) / 1e9


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return perform(tmp_path_factory.mktemp("undisturbed"))


def reading_number(run: Finished, slot: int) -> int:
    """Which call of stage.angle, counted from 1, was made during a slot."""
    begin_ns = round(moment_s(run, slot) * 1e9)
    return 1 + sum(call["begin_ns"] < begin_ns for call in run.calls("stage.angle"))


def test_undisturbed_all_frames_are_kept_at_their_true_angles(undisturbed: Finished) -> None:
    assert kept(undisturbed) == list(range(1, SLOTS + 1))
    assert undisturbed.of("note", "stage reading left out") == []


def test_a_stage_that_answers_at_once_is_not_asked_without_a_pause(tmp_path: Path) -> None:
    devices = tmp_path / "devices.toml"
    devices.write_text(
        '[microscope]\ndriver = "simulated-timing"\napi_call_s = 0.001\n[microscope.stage]\nstage_read_s = 0.001\n'
    )
    run = perform(tmp_path, devices=str(devices), rotation="pedal", range_deg=0.5)
    (waiting,) = [record["t_ns"] for record in run.of("state", "wait-for-rotation")]
    asked = [call["begin_ns"] for call in run.calls("stage.angle") if waiting <= call["begin_ns"] < waiting + 1e9]
    assert len(asked) > 100
    assert np.diff(asked[3:]).min() >= POLL_NS  # after three readings of where it rests


@pytest.mark.parametrize("off_deg", [0.5, -0.5, 5, -40])
@pytest.mark.parametrize("slot", [1, 2, 10, 40, 50])
def test_a_single_wrong_reading_is_left_out_and_costs_nothing(
    undisturbed: Finished, tmp_path: Path, slot: int, off_deg: float
) -> None:
    run = perform(tmp_path, f"stage.angle {reading_number(undisturbed, slot)} wrong {off_deg}")
    assert run.document["status"] == "done"
    assert kept(run)[-1] >= SLOTS - 1
    assert len(kept(run)) >= SLOTS - 2  # with a first reading that was wrong nobody knows about the first slots
    assert len(run.of("note", "stage reading left out")) == 1


@pytest.mark.parametrize("number", [1, 2, 3])
def test_where_the_stage_rests_is_the_middle_of_three_readings(tmp_path: Path, number: int) -> None:
    run = perform(tmp_path, f"stage.angle {number} wrong 7", start_deg=-5.0)
    assert run.document["status"] == "done"
    assert len(kept(run)) == SLOTS


@pytest.mark.parametrize("slot", [2, 20])
def test_an_error_is_answered_by_asking_once_more(undisturbed: Finished, tmp_path: Path, slot: int) -> None:
    run = perform(tmp_path, f"stage.angle {reading_number(undisturbed, slot)} error")
    assert run.document["status"] == "done"
    assert len(kept(run)) == SLOTS


def test_what_was_exposed_long_before_the_first_reading_is_not_kept(undisturbed: Finished, tmp_path: Path) -> None:
    # It slips during the first slot, before its slow reading: the line through all readings says nothing of that.
    slow, slip = f"stage.angle {reading_number(undisturbed, 1)} slow 0.7", moment_s(undisturbed, 1) + 0.3
    run = perform(tmp_path, slow, f"stage.motion {slip:.3f} slip 0.2")
    assert run.document["status"] == "done"
    # The second slot has begun as well: the readings were made one after the other.
    assert kept(run)[0] in (2, 3)
    assert kept(run)[-1] >= SLOTS - 1


def test_two_errors_are_not_answered(undisturbed: Finished, tmp_path: Path) -> None:
    number = reading_number(undisturbed, 20)
    run = perform(tmp_path, f"stage.angle {number} error", f"stage.angle {number + 1} error")
    assert run.document["status"] == "failed"
    assert "the stage answered with an error" in run.document["reason"]
    assert kept(run)[-1] <= 20


@pytest.mark.parametrize("slot", [5, 14, 25, 38])
def test_a_stage_that_stops_ends_the_run_and_its_standing_frames_are_not_kept(
    undisturbed: Finished, tmp_path: Path, slot: int
) -> None:
    run = perform(tmp_path, f"stage.motion {moment_s(undisturbed, slot):.3f} stop")
    assert run.document["status"] == "stopped"
    assert "the stage stopped" in run.document["reason"]
    assert kept(run)[-1] < slot
    assert kept(run) == list(range(1, kept(run)[-1] + 1))
    # When it stopped is found from where it stands, so nearly all frames before are kept.
    assert len(kept(run)) >= slot - 3
    assert run.result["frames_not_kept"] > 0


@pytest.mark.parametrize("slot", [10, 20, 30, 40])
def test_of_a_stage_that_stops_during_a_reading_all_is_kept_until_that_reading_began(
    undisturbed: Finished, tmp_path: Path, slot: int
) -> None:
    slot_ns = round(moment_s(undisturbed, slot) * 1e9)
    during = next(note for note in undisturbed.of("note", "stage reading") if note["t_before_ns"] >= slot_ns)
    run = perform(tmp_path, f"stage.motion {during['t_after_ns'] / 1e9 - 0.05:.3f} stop")
    (stopped,) = run.of("note", "stage stopped")
    # The line leaves more open than the reading: it turned when the reading began, and no longer is known.
    assert stopped["kept_until_ns"] == during["t_before_ns"] < stopped["at_ns"] < during["t_after_ns"]
    assert kept(run) == list(range(1, slot))


@pytest.mark.parametrize("what", ["jump 0.4", "jump -0.4", "jump 3", "slip 0.5", "reverse"])
@pytest.mark.parametrize("slot", [14, 25, 38])
def test_a_stage_that_strays_ends_the_run_and_what_followed_the_last_good_reading_is_not_kept(
    undisturbed: Finished, tmp_path: Path, slot: int, what: str
) -> None:
    run = perform(tmp_path, f"stage.motion {moment_s(undisturbed, slot):.3f} {what}")
    assert run.document["status"] == "failed"
    assert "its rotation at constant speed cannot have taken it" in run.document["reason"]
    assert "Check the goniometer" in run.document["reason"]
    last_reading = slot // 10 * 10
    assert kept(run)[-1] in (last_reading - 1, last_reading)
    assert kept(run) == list(range(1, kept(run)[-1] + 1))
    assert run.result["frames_not_kept"] > 0


@pytest.mark.parametrize("what", ["jump 0.4", "slip 0.5", "reverse"])
def test_a_stage_that_strays_before_it_is_known_how_it_turns_leaves_little(
    undisturbed: Finished, tmp_path: Path, what: str
) -> None:
    run = perform(tmp_path, f"stage.motion {moment_s(undisturbed, 5):.3f} {what}")
    assert run.document["status"] == "failed"
    assert len(kept(run)) < 5


def test_a_stage_that_stands_when_it_is_looked_at_counts_as_stopped_though_it_might_go_on(
    undisturbed: Finished, tmp_path: Path
) -> None:
    run = perform(tmp_path, f"stage.motion {moment_s(undisturbed, 38):.3f} slip 3")
    assert run.document["status"] == "stopped"
    assert 30 < kept(run)[-1] < 38


def test_the_beam_is_off_soon_after_it_was_noticed(undisturbed: Finished, tmp_path: Path) -> None:
    run = perform(tmp_path, f"stage.motion {moment_s(undisturbed, 25):.3f} reverse")
    noticed = run.of("note", "stage astray")[0]
    assert run.calls("beam.blank")[0]["begin_ns"] == noticed["t_ns"]


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("what", ["stop", "slip 0.5", "reverse"])
def test_it_is_the_same_for_a_rotation_by_pedal_and_backwards(tmp_path: Path, what: str, backwards: bool) -> None:
    run = perform(
        tmp_path, f"stage.motion 12 {what}", rotation="pedal", start_deg=0.0, range_deg=-11.5 if backwards else 11.5
    )
    assert run.document["status"] == ("stopped" if what == "stop" else "failed")
    assert 0 < len(kept(run)) < len(run.frames())
    assert max(frame["end_ns"] for frame in run.frames() if frame["kept"]) <= 12e9


def test_a_stage_that_does_not_stop_raises_the_alarm(tmp_path: Path) -> None:
    run = perform(tmp_path, *(f"stage.stop {number} ignored" for number in range(1, 60)), range_deg=2.0)
    # Told to stop in vain, it turns on until the end of its travel; within the time there is, that is said.
    turning = any("THE STAGE MAY STILL BE ROTATING" in alarm for alarm in run.document["alarms"])
    last = [call["result"]["value"] for call in run.calls("stage.angle") if "result" in call][-2:]
    assert turning or abs(last[1] - last[0]) < 0.03


DEAF = tuple(f"stage.stop {number} ignored" for number in range(1, 60))
"""A stage that never stops."""

EARLY: dict[str, tuple[dict[str, Any], str]] = {
    "on the way to the start": ({"start_deg": -60.0}, "operator relax+2 abort"),
    "in its backlash": ({"rotation": "commanded"}, "operator wait-for-rotation+0.14 abort"),
    "while it gathers speed": ({"rotation": "commanded"}, "operator wait-for-rotation+0.3 abort"),
    "slow, in its backlash": ({"speed_deg_s": 0.1, "range_deg": 2.0}, "operator wait-for-rotation+0.2 abort"),
    "while the pedal is waited for": ({"rotation": "pedal"}, "operator wait-for-rotation+3.5 abort"),
    "when it was just seen to turn": ({"rotation": "commanded"}, "operator delay+0 abort"),
}


@pytest.mark.parametrize("when", EARLY)
def test_a_stage_that_ignores_every_stop_raises_the_alarm_in_whatever_state_the_run_is_left(when: str) -> None:
    plan, command = EARLY[when]
    usual = {"exposure_s": 0.5, "speed_deg_s": 0.45, "relax_cycles": 0}
    case = Case(1, {**PLAN, **usual, "truth": False, **plan}, (*DEAF, command))
    verdict = try_case(experiment_type("cred"), case)
    assert verdict.broken == ()
    assert verdict.status == "aborted"


def test_a_stage_too_slow_to_be_seen_standing_in_time_raises_the_alarm(tmp_path: Path) -> None:
    # Nobody can see within 2 s whether it is in its backlash: at 0.01 deg/s that takes 5 s.
    run = perform(tmp_path, "stage.angle 9 hang", speed_deg_s=0.01, range_deg=1.0)
    assert run.document["status"] == "failed"
    assert any("cannot be told in 2 s whether it stands" in alarm for alarm in run.document["alarms"])


def test_the_stop_of_a_stage_that_nobody_moved_is_not_looked_at(tmp_path: Path) -> None:
    run = perform(tmp_path, "optics.focus 2 error")
    assert run.document["status"] == "failed"
    assert len(run.calls("stage.stop")) == 1
    assert run.calls("stage.angle") == []


def test_a_last_reading_that_does_not_come_holds_up_no_stop(undisturbed: Finished, tmp_path: Path) -> None:
    number = len([c for c in undisturbed.calls("stage.angle") if c["begin_ns"] <= undisturbed.of("state")[-2]["t_ns"]])
    run = perform(tmp_path, f"stage.angle {number + 1} hang")
    finalize_ns = next(r["t_ns"] for r in run.of("state", "finalize"))
    assert run.calls("stage.stop")[0]["begin_ns"] - finalize_ns < 1_500_000_000
    assert run.document["status"] == "done"
    assert 0 < len(kept(run)) <= SLOTS


# Readings so many seconds apart of a stage that turns at 0.5 deg/s instead of the plan's 0.45, and the slots of 0.5 s
# that 11.5 deg need then; None while the speed is not known well.
COUNTED = {"two": (2, 5, None), "three": (3, 5, 46), "three within 2 s": (3, 1, None), "many": (9, 1, 46)}


@pytest.mark.parametrize(("count", "apart_s", "slots"), COUNTED.values(), ids=COUNTED)
def test_the_slots_of_the_range_are_counted_anew_once_three_readings_tell_the_speed(
    count: int, apart_s: int, slots: int | None
) -> None:
    run = SimpleNamespace(timeline=None)
    watch = StageWatch(cast("Run", run), cast("Stage", None), CredPlan(**{**PLAN, "speed_deg_s": 0.45}), 11.5)
    begun_s = [apart_s * k for k in range(count)]
    watch.readings = [Reading(0.5 * at_s, at_s * NS_PER_S, at_s * NS_PER_S + NS_PER_MS) for at_s in begun_s]
    assert watch.slots_for_range(0.5) == slots
    assert watch.rate_deg_s == pytest.approx(0.45 if slots is None else 0.5)


def test_no_slots_are_counted_of_a_stage_that_stands() -> None:
    run = SimpleNamespace(timeline=None)
    watch = StageWatch(cast("Run", run), cast("Stage", None), CredPlan(**PLAN), 11.5)
    watch.readings = [Reading(0.5 * k, k * NS_PER_S, k * NS_PER_S + NS_PER_MS) for k in range(9)]
    watch.stopped_ns = 9 * NS_PER_S
    assert watch.slots_for_range(0.5) is None
