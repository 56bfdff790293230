"""A run that uses the optional parts of a microscope replays byte for byte, whole or cut off; no what-if answers it."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

import engine.replay.replay as replaying
import engine.replay.whatif as asking
from drivers.replayed.pictures import StoredPictures
from engine.errors import Refused
from engine.frame import Frame
from engine.record.spool import crc_of
from engine.record.trace import Record, read_trace
from engine.replay.computations import recompute_run
from engine.replay.replay import first_divergence, load_run, only_cut_off, replay
from engine.replay.whatif import Question, ask
from tests.drivers.replayed.toy_parts import OPTIONAL, PARTS, PartsPlan, made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded(tmp_path_factory.mktemp("runs"), PartsPlan())


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replaying, "experiment_type", lambda _: PARTS)
    monkeypatch.setattr(asking, "experiment_type", lambda _: PARTS)


def recorded(out: Path, plan: PartsPlan) -> Path:
    report = made(out, plan)
    assert report.ending.status.value == "done", report.ending
    return report.folder


def line_of(record: Record) -> str:
    return json.dumps(record, separators=(",", ":")) + "\n"


def test_every_part_is_called_and_the_run_replays_to_its_bytes(folder: Path) -> None:
    records = load_run(folder)
    devices = {record["name"].split(".")[0] for record in records if record["kind"] == "call"}
    assert devices >= {"beam", "detector", *OPTIONAL}
    again = replay(records)
    assert first_divergence(records, again) is None
    assert "".join(map(line_of, again)).encode() == (folder / "trace.jsonl").read_bytes()


TYPES = {
    "position": "PositionReading",
    "place": "PositionReading",
    "shift": "tuple",
    "spot": "int",
    "mode": "OpticalMode",
    "camera length": "float",
    "magnification": "float",
    "brightness": "float",
    "refused": "str",
}


def test_every_answer_has_the_type_that_the_live_part_gave(folder: Path) -> None:
    notes = {r["name"]: r["type"] for r in replay(load_run(folder)) if r["kind"] == "note" and "type" in r}
    assert {what: notes[what] for what in TYPES} == TYPES


BEFALLS = {
    "stagexyz.move_xy 1 error": "failed",
    "stagexyz.is_moving 3 slow 0.4": "done",
    "stagexyz.position 1 hang": "failed",
    "deflectors.set 1 ignored": "done",
    "deflectors.read 1 hang": "failed",
    "mode.mode 1 wrong 1": "done",
    "mode.set_mode 1 away 30": "failed",
    "illumination.spot_size 1 error": "failed",
    "illumination.set_brightness 1 slow 0.5": "done",
}


@pytest.mark.parametrize(("fault", "status"), BEFALLS.items(), ids=BEFALLS)
def test_whatever_befell_a_part_is_replayed(fault: str, status: str, tmp_path: Path) -> None:
    report = made(tmp_path, PartsPlan(), fault)
    assert report.ending.status.value == status
    assert any(record["kind"] == "injected" for record in read_trace(report.folder))
    records = load_run(report.folder)
    assert first_divergence(records, replay(records)) is None


def test_cut_off_anywhere_it_replays_as_far_as_it_goes(folder: Path) -> None:
    records = load_run(folder)
    final = next(k for k, record in enumerate(records) if record["name"] == "safe state")
    for cut in range(2, final):
        kept = records[:cut]
        divergence = first_divergence(kept, replay(kept))
        assert divergence is not None
        assert only_cut_off(kept, divergence), (cut, divergence)


@pytest.mark.realtime
def test_killed_on_the_real_clock_it_replays_as_far_as_it_went(tmp_path: Path) -> None:
    names = "PartsPlan, made"
    program = f"from pathlib import Path; from {made.__module__} import {names}; "
    program += f"made(Path({str(tmp_path)!r}), PartsPlan(), virtual=False)"
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    trace, overdue = tmp_path / "parts_001" / "trace.jsonl", time.monotonic() + 120
    try:
        while time.monotonic() < overdue and process.poll() is None:
            if trace.exists() and '"mode.set_mode"' in trace.read_text():
                break
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    records = load_run(trace.parent)
    assert '"mode.set_mode"' in trace.read_text()
    assert records[-1]["kind"] != "state"
    divergence = first_divergence(records, replay(records))
    assert divergence is not None
    assert only_cut_off(records, divergence), divergence


def test_another_call_than_the_recorded_one_is_named(folder: Path) -> None:
    records = load_run(folder)
    k = next(k for k, record in enumerate(records) if record["name"] == "deflectors.set")
    records[k] = {**records[k], "args": ["image_shift", 33000, 32000]}
    divergence = first_divergence(records, replay(records))
    assert divergence is not None
    assert divergence.replayed is not None
    assert divergence.replayed["error"] == "NotRecorded"
    assert "deflectors.set" in divergence.replayed["text"]
    assert "('image_shift', 33000, 32000)" in divergence.replayed["text"]


def test_every_kind_of_frame_has_its_pictures_in_a_replay_and_for_computing_again(folder: Path) -> None:
    records = load_run(folder)
    assert first_divergence(records, replay(records, folder)) is None
    assert recompute_run(records, folder) == (1, [])
    frames = [record for record in records if record["kind"] == "frame"]
    assert [(record["name"], record["index"]) for record in frames] == [
        ("field", 0),
        ("still", 1),
        ("still", 2),
        ("still", 3),
    ]
    stored = StoredPictures(folder)
    for record in frames:
        counts = stored.find(record)
        assert counts is not None
        assert crc_of(Frame(counts, 0, 0, 0)) == record["crc"]
    stored.close()


def test_what_if_refuses_a_run_that_used_an_optional_part(folder: Path) -> None:
    records = [record for record in load_run(folder) if record["kind"] != "computation"]
    with pytest.raises(Refused, match=r"used its stagexyz \(\d+ calls\).*Make a run of it instead"):
        ask(records, Question())


def test_what_if_answers_where_the_parts_were_there_and_not_used(tmp_path: Path) -> None:
    records = load_run(recorded(tmp_path, PartsPlan(optional=False)))
    assert set(OPTIONAL) <= set(records[0]["instrument"])
    assert first_divergence(records, replay(records)) is None
    assert ask(records, Question(latencies={"api_latency": "60ms"}))["frames"] == 4
