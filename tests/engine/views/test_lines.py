"""`credline trace show`, `stats` and `plot`: what a run did, chosen, counted and drawn."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.errors import DataError, Refused
from engine.record.trace import SCHEMA, Record
from engine.views.lines import plain
from engine.views.stats import TraceStats
from tests.engine.traces import record_run, records_of, trace, write_trace

HEADER: Record = {"seq": 0, "t_ns": 1_000_000_000, "kind": "header", "name": "credline", "schema": SCHEMA}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record_run(tmp_path_factory.mktemp("run"))


def shown(run: Path, *words: str) -> list[str]:
    done = trace("show", run, *words)
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()


def numbered(*records: Record) -> list[Record]:
    return [HEADER, *({"seq": seq, **record} for seq, record in enumerate(records, start=1))]


def test_every_record_is_one_line_of_seconds_state_kind_and_text(run: Path) -> None:
    lines, records = shown(run), records_of(run)
    assert len(lines) == len(records)
    for text, record in zip(lines, records, strict=True):
        assert float(text[:12]) == pytest.approx((record["t_ns"] - records[0]["t_ns"]) / 1e9, abs=1e-6)
        assert text[34:].split()[0] == record["kind"]
    assert "protocol cred, sample mordenite, clock virtual, seed 1, devices simulated-timing, schema 2" in lines[0]
    assert "relax             state   relax begins" in lines[1]


def test_a_computation_is_told_by_its_pictures_verdict_and_result_and_not_by_its_arguments(tmp_path: Path) -> None:
    check: Record = {
        "t_ns": 2_000_000_000,
        "kind": "computation",
        "name": "look",
        "number": 9,
        "arguments": {"words": "x"},
    }
    done = {
        **check,
        "pictures": [7],
        "asked_ns": 0,
        "begin_ns": 0,
        "end_ns": 5_000_000,
        "verdict": "in time",
        "result": 3,
    }
    late = {**done, "begin_ns": None, "verdict": "given up", "result": None}
    lines = shown(write_trace(tmp_path / "trace.jsonl", numbered(done, late)))
    assert lines[1].endswith("computation look 9 of [7]: in time, took 5.000 ms -> 3")
    assert lines[2].endswith("computation look 9 of [7]: given up")


def test_seconds_count_from_the_header(tmp_path: Path) -> None:
    note: Record = {"t_ns": 1_500_000_000, "kind": "note", "name": "a"}
    path = write_trace(tmp_path / "trace.jsonl", numbered(note, {**note, "t_ns": None}))
    assert [text[:12].strip() for text in shown(path)] == ["0.000000", "0.500000", "?"]


def test_states_devices_and_kinds_choose(run: Path) -> None:
    records = records_of(run)
    calls = [r for r in records if r["kind"] == "call"]
    assert len(shown(run, "--kind", "call")) == len(calls)
    assert len(shown(run, "--kind", "call", "--kind", "state")) == len(calls) + sum(
        r["kind"] == "state" for r in records
    )
    stage = [r for r in calls if r["name"].startswith("stage.")]
    assert len(shown(run, "--device", "stage")) == len(stage)
    frames = sum(r["kind"] == "frame" for r in records)
    detector = sum(r["name"].startswith("detector.") for r in calls)
    assert len(shown(run, "--device", "detector")) == detector + frames
    assert {text[16:33].strip() for text in shown(run, "--state", "refocus")} == {"refocus"}
    assert {"optics.set_focus(32500)", "optics.set_focus(31000)", "optics.focus()"} == {
        text[42:].split(")")[0] + ")" for text in shown(run, "--device", "optics", "--slot", "10")
    }


def test_a_slot_has_its_own_records_and_what_happened_meanwhile(run: Path) -> None:
    records = records_of(run)
    bearing = [r for r in records if r.get("slot") == 10]
    lines = shown(run, "--slot", "10")
    texts = "\n".join(lines)
    assert len(lines) > len(bearing)
    assert "refocus begins" in texts
    assert "snapshot, slot 10, exposed 10.000 ms" in texts
    assert "slot 9" not in texts
    assert "slot 11" not in texts
    longer = shown(run, "--slot", "10-12")
    assert set(lines) < set(longer)
    assert any("diffraction, slot 12" in text for text in longer)


@pytest.mark.parametrize("slot", ["x", "0", "3-1", "-4", "1-", "1-2-3", ""])
def test_a_slot_that_is_none_is_refused(run: Path, slot: str) -> None:
    error = trace("show", run, f"--slot={slot}").exception
    assert isinstance(error, Refused)
    assert "Give K or A-B" in str(error)


@pytest.mark.parametrize("words", [["--state", "exposed"], ["--device", "camera"], ["--slot", "999"], ["--kind", "x"]])
def test_asking_for_what_is_not_there_is_no_error_and_tells_what_is(run: Path, words: list[str]) -> None:
    done = trace("show", run, *words)
    assert (done.exit_code, done.stdout) == (0, "")
    (line,) = done.stderr.splitlines()
    assert "states: relax, wait-for-rotation" in line
    assert "detector" in line


def test_what_went_wrong_catches_the_eye(tmp_path: Path) -> None:
    step = {"kind": "step", "name": "frame", "slot": 7, "planned_ns": 5, "slack_ns": -3_000_000}
    took = {"start_ns": 6, "end_ns": 8, "left_ns": -2_500_000}
    call = {"kind": "call", "name": "stage.stop", "args": [], "begin_ns": 1, "end_ns": 2}
    cases: list[tuple[Record, str]] = [
        ({**step, "verdict": "underflow"}, "NOT DONE"),
        ({**step, **took, "verdict": "over"}, "left -2.500 ms OVER BUDGET"),
        ({"kind": "slot", "name": "lost", "slot": 8, "reason": "late"}, "slot 8 LOST: late"),
        ({**call, "error": "DeviceLost", "text": "gone"}, "FAILED: DeviceLost: gone"),
        ({"kind": "fault", "name": "blank", "reason": "no answer", "alarm": "BEAM ON"}, "ALARM: BEAM ON"),
    ]
    path = write_trace(tmp_path / "trace.jsonl", numbered(*({"t_ns": 9, **record} for record, _ in cases)))
    for text, (_, expected) in zip(shown(path)[1:], cases, strict=True):
        assert expected in text


def test_a_terminal_is_told_nothing_by_a_trace(tmp_path: Path) -> None:
    evil = "\x1b[2Jgone\r\n\ud800"
    path = write_trace(tmp_path / "trace.jsonl", numbered({"t_ns": 1, "kind": "note", "name": evil, "text": evil}))
    text = "\n".join(shown(path))
    assert "\x1b" not in text
    assert r"\x1b[2Jgone\r\n\ud800" in text
    assert plain("grün, µ, Å") == "grün, µ, Å"


def test_the_readable_part_of_a_damaged_trace_is_shown_before_the_error(tmp_path: Path) -> None:
    path = write_trace(tmp_path / "trace.jsonl", [*numbered({"t_ns": 1, "kind": "note", "name": "a"}), "junk", HEADER])
    done = trace("show", path)
    assert len(done.stdout.splitlines()) == 2
    assert isinstance(done.exception, DataError)


def test_a_closed_pipe_ends_it_without_a_word(run: Path) -> None:
    program = [sys.executable, "-c", "from engine.commands.trace import trace_app; trace_app()", "show", str(run)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 0


def test_stats_are_those_of_the_calls_and_steps(run: Path) -> None:
    done = trace("stats", run, "--json")
    document = json.loads(done.stdout.splitlines()[-1])
    records = records_of(run)
    for name, row in document["calls_ms"].items():
        durations = [(r["end_ns"] - r["begin_ns"]) / 1e6 for r in records if r["kind"] == "call" and r["name"] == name]
        assert row["n"] == len(durations)
        assert row["max"] == pytest.approx(max(durations), abs=1e-6)
        assert row["p50"] == pytest.approx(float(np.median(durations)), abs=1e-6)
        assert row["p99"] == pytest.approx(float(np.percentile(durations, 99)), abs=1e-6)
        assert (row["unknown"], row["errors"]) == (0, 0)
    (frames,) = [row for row in document["steps_ms"] if row["step"] == "frame"]
    slack = [r["slack_ns"] / 1e6 for r in records if r["kind"] == "step" and r["name"] == "frame"]
    assert frames["state"] == "expose"
    assert frames["slack"] == {"min": pytest.approx(min(slack)), "p50": pytest.approx(float(np.median(slack)))}
    assert document["frames"] == {"diffraction": 24, "snapshot": 2}
    assert document["lost_slots"] == []
    assert document["last_state"] == "done"
    assert document["elapsed_s"] == pytest.approx((records[-1]["t_ns"] - records[0]["t_ns"]) / 1e9)


def test_stats_of_the_command_stand_in_80_columns(run: Path) -> None:
    lines = trace("stats", run).stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(text.startswith("optics.set_focus") for text in lines)
    assert any(text.startswith("defocus-snapshot: defocus") for text in lines)
    assert any(text.startswith("slack: how long before its planned instant") for text in lines)
    assert "…" not in "".join(lines)


def test_what_is_unknown_takes_no_part_in_the_figures() -> None:
    call: Record = {"t_ns": None, "kind": "call", "name": "detector.x", "args": []}
    known = {"begin_ns": 1_000_000, "end_ns": 3_000_000}
    stats = TraceStats.read(
        numbered(
            {**call, **known}, {**call, "begin_ns": 5, "end_ns": None}, {**call, **known, "error": "E", "text": ""}
        )
    )
    assert stats.document()["calls_ms"]["detector.x"] == {
        "n": 3, "p50": 2.0, "p99": 2.0, "max": 2.0, "unknown": 1, "errors": 1,
    }  # fmt: skip
    assert {name: list(values) for name, values in stats.latencies_ns().items()} == {"detector.x": [2_000_000] * 2}


def reddish(picture: Path) -> int:
    """Pixels in the colour of what was over budget."""
    with Image.open(picture) as image:
        red, green, blue = np.asarray(image.convert("RGB"), int).transpose(2, 0, 1)
    return int(((red > 180) & (green < 40) & (blue < 40)).sum())


def test_steps_over_budget_are_red_in_the_strip(run: Path, tmp_path: Path) -> None:
    calm = records_of(run)
    assert not [r for r in calm if r.get("verdict") == "over"]
    over = [
        {**r, "verdict": "over", "left_ns": -5_000_000} if r["kind"] == "step" and r["slot"] == 9 else r for r in calm
    ]
    pictures = []
    for name, records in (("calm", calm), ("over", over)):
        picture = tmp_path / f"{name}.png"
        assert trace("plot", write_trace(tmp_path / f"{name}.jsonl", records), "-o", picture).exit_code == 0
        pictures.append(picture)
    assert reddish(pictures[0]) == 0
    assert reddish(pictures[1]) > 100


def test_a_strip_may_be_svg_and_is_named_after_the_run(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert trace("plot", run).stdout.strip() == f"{run.name}-timing.png"
    assert (tmp_path / f"{run.name}-timing.png").read_bytes().startswith(b"\x89PNG")
    assert trace("plot", run / "trace.jsonl", "-o", "a.svg").exit_code == 0
    assert "<svg" in (tmp_path / "a.svg").read_text(encoding="utf-8")


def test_traces_that_are_files_of_their_own_have_pictures_of_their_own(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    records = records_of(run)
    for name in ("morning", "evening"):
        done = trace("plot", write_trace(tmp_path / f"{name}.jsonl", records))
        assert done.stdout.strip() == f"{name}-timing.png"
        assert (tmp_path / f"{name}-timing.png").exists()
    assert trace("plot", run / "trace.jsonl").stdout.strip() == f"{run.name}-timing.png"


@pytest.mark.parametrize("name", ["strip.jpg", "strip"])
def test_a_picture_of_another_kind_is_refused(run: Path, tmp_path: Path, name: str) -> None:
    assert isinstance(trace("plot", run, "-o", tmp_path / name).exception, Refused)
    assert list(tmp_path.iterdir()) == []


def test_a_trace_without_any_time_is_drawn_too(tmp_path: Path) -> None:
    frame = {"t_ns": None, "kind": "frame", "name": "diffraction", "slot": None, "start_ns": None, "arrived_ns": None}
    state = {"t_ns": None, "kind": "state", "name": "recording", "trigger": ""}
    records = [{**record, "t_ns": None} for record in numbered(frame, state)]
    done = trace("plot", write_trace(tmp_path / "t.jsonl", records), "-o", tmp_path / "t.png")
    assert done.exit_code == 0, done.exception
