"""How whole runs end that met with a fault: 12 slots of 0.5 s at 0.45 deg/s by command, exposed from 6.2 s on."""

import json
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from engine.errors import Refused
from engine.run.perform import Report, Request, execute
from protocols.cred import CRED
from protocols.cred.plan import CredPlan

PLAN: dict[str, Any] = {
    "range_deg": 2.7,
    "start_deg": 0.0,
    "rotation": "commanded",
    "snapshot_interval": 5,
    "relax_cycles": 1,
    "formats": (),
}
BEAM, STAGE, LENS = "THE BEAM MAY STILL BE ON", "THE STAGE MAY STILL BE ROTATING", "the lens may be left defocused"

ENDINGS: dict[str, tuple[str, str, str]] = {
    # fault: status, words of the reason, alarm
    "beam.blank 1 hang": ("done", "range covered", ""),
    "beam.blank 1 error": ("done", "range covered", ""),
    "beam.blank 1 ignored": ("done", "range covered", ""),
    "beam.blank 1 slow 1": ("done", "range covered", ""),
    "beam.blank 1 away 1": ("done", "range covered", ""),
    "beam.blank 1 away 60": ("done", "range covered", BEAM),
    "beam.unblank 1 ignored": ("failed", "the blanker stays closed", ""),
    "beam.unblank 1 hang": ("failed", "beam.unblank: no answer for 10 s", ""),
    "stage.angle 6 wrong 5": ("done", "range covered", ""),
    "stage.angle 1 error": ("done", "range covered", ""),
    "stage.angle 1 hang": ("failed", "stage.angle: no answer for 10 s", ""),
    "stage.rotate 1 ignored": ("done", "range covered", ""),  # it stands there already
    "stage.rotate 2 ignored": ("failed", "no rotation within rotation_timeout_s", ""),
    "stage.stop 1 away 60": ("done", "range covered", STAGE),
    "optics.focus 2 wrong 400": ("done", "range covered", ""),
    "optics.set_focus 1 error": ("failed", "the optics answered with an error", ""),
    "optics.set_focus 4 away 60": ("failed", "optics: not connected", LENS),
    "detector.arm 1 error": ("failed", "the detector answered with an error", ""),
    "detector.start 4 error": ("failed", "the detector answered with an error", ""),
    "detector.disarm 1 error": ("done", "range covered", ""),
    "detector.frames 4 drop": ("failed", "no frame 5 s after its exposure", ""),
    "detector.frames 4 double": ("failed", "lost or doubled", ""),
    "detector.frames 4 torn": ("failed", "a frame of (16, 32) pixels", ""),
    "detector.frames 4 late 0.3": ("done", "range covered", ""),
    "detector.frames 1 late 1.2": ("done", "range covered", ""),
    "detector.frames 4 late 9": ("failed", "no frame 5 s after its exposure", ""),
    "disk.write 20 full": ("failed", "No space left on device", ""),
    "disk.write 20 error": ("failed", "Input/output error", ""),
    "disk.sync 11 error": ("failed", "Input/output error", ""),
    "disk.sync 6 slow 3": ("done", "range covered", ""),
    "disk.write 12 slow 2": ("done", "range covered", ""),
}


def perform(out: Path, *faults: str) -> Report:
    plan = CredPlan(**PLAN)
    return execute(Request(CRED, plan, out, "simulated-timing", virtual=True, seed=1, draw=False, faults=faults))


@pytest.mark.parametrize("words", ENDINGS)
def test_how_a_run_ends_that_meets_with_a_fault(tmp_path: Path, words: str) -> None:
    status, reason, alarm = ENDINGS[words]
    report = perform(tmp_path, words)
    records = [json.loads(line) for line in (report.folder / "trace.jsonl").read_text().splitlines()]
    assert [record["fault"] for record in records if record["kind"] == "injected"] == [words]
    assert (report.ending.status.value, reason in report.ending.reason) == (status, True), report.ending
    assert [alarm in told for told in report.alarms] == ([True] if alarm else []), report.alarms


@pytest.mark.parametrize("words", ["disk.write {} full", "disk.write {} error", "disk.sync {} error"])
def test_a_disk_that_fails_ends_the_run_unless_only_the_trace_is_cut_off(tmp_path: Path, words: str) -> None:
    for number in range(1, 36, 4):
        report = perform(tmp_path, words.format(number))
        if report.ending.status.value == "failed":
            assert report.document["disk_failed"] == report.ending.reason
        else:
            assert (report.ending.status.value, report.document["result"]["frames"]) == ("done", 10)
            assert report.document["trace_cut_off"]


def test_several_faults_befall_one_run(tmp_path: Path) -> None:
    report = perform(tmp_path, "beam.blank 1 ignored", "stage.angle 9 wrong 3", "detector.frames 5 late 0.3")
    trace = (report.folder / "trace.jsonl").read_text()
    assert trace.count('"kind":"injected"') == 3
    assert report.ending.status.value == "done"
    assert report.document["result"]["lost_slots"] == 1


def test_faults_that_never_came_about_are_named_at_the_end(tmp_path: Path) -> None:
    asked = "beam.unblank 1 ignored", "stage.motion 400 stop", "disk.write 4000 full", "beam.unblank 1 ignored"
    with capture_logs() as told:
        perform(tmp_path, *asked)
    assert [entry["event"] for entry in told if "came about" in entry["event"]] == [
        "1 of 4 faults came about; not: stage.motion 400 stop, disk.write 4000 full, beam.unblank 1 ignored"
    ]


def test_of_faults_that_all_came_about_nothing_is_said(tmp_path: Path) -> None:
    with capture_logs() as told:
        perform(tmp_path, "beam.blank 1 ignored", "disk.sync 6 slow 3")
    assert not [entry for entry in told if "came about" in entry["event"]]


def test_faults_that_are_none_leave_no_folder(tmp_path: Path) -> None:
    with pytest.raises(Refused):
        perform(tmp_path / "out", "beam.blank 1 explode")
    assert not (tmp_path / "out").exists()
