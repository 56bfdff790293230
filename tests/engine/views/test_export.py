"""`credline trace export`: what other programs get, read here as they would read it."""

import json
from collections import defaultdict
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from engine.errors import DataError, Refused, StorageError
from engine.record.trace import SCHEMA, Record
from tests.engine.traces import record_run, records_of, trace, write_trace


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def perfetto(run: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    out = tmp_path_factory.mktemp("out") / "trace.json"
    done = trace("export", run, "--format", "perfetto", "-o", out)
    assert done.exit_code == 0, done.output
    return json.loads(out.read_text(encoding="utf-8"))["traceEvents"]


@pytest.fixture(scope="module")
def bluesky(run: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, dict[str, Any]]]:
    out = tmp_path_factory.mktemp("out") / "trace.jsonl"
    assert trace("export", run, "--format", "bluesky", "-o", out).exit_code == 0
    return [tuple(json.loads(line)) for line in out.read_text(encoding="utf-8").splitlines()]


def tracks(events: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The slices and marks of each named track."""
    names = {e["tid"]: e["args"]["name"] for e in events if e["ph"] == "M" and e["name"] == "thread_name"}
    found = defaultdict(list)
    for event in events:
        if event["ph"] in "Xi":
            found[names[event["tid"]]].append(event)
    return dict(found)


def test_every_trace_event_has_what_its_phase_needs(perfetto: list[dict[str, Any]]) -> None:
    # The Trace Event Format: https://chromium.googlesource.com/catapult, docs/trace-event-format
    needs = {"M": {"args"}, "X": {"dur", "cat"}, "i": {"s"}, "C": {"args"}}
    for event in perfetto:
        assert {"ph", "pid", "tid", "ts", "name"} <= set(event), event
        assert needs[event["ph"]] <= set(event), event
        assert event["pid"] == 1
        assert isinstance(event["tid"], int)
        assert event["ts"] >= 0
        assert event.get("dur", 0) >= 0
        assert event.get("s", "t") in "gpt"
        if event["ph"] == "C":
            assert all(isinstance(value, int | float) for value in event["args"].values())


def test_each_device_has_a_track_and_process_and_tracks_have_names(perfetto: list[dict[str, Any]]) -> None:
    assert next(e["args"]["name"] for e in perfetto if e["name"] == "process_name") == "credline cred"
    named = {e["args"]["name"] for e in perfetto if e["name"] == "thread_name"}
    assert {"states", "slots", "steps", "exposures", "marks", "stage", "beam", "optics", "detector"} <= named
    assert {e["tid"] for e in perfetto if e["ph"] in "Xi"} <= {e["tid"] for e in perfetto if e["name"] == "thread_name"}


def test_slices_of_one_track_never_overlap(perfetto: list[dict[str, Any]]) -> None:
    for name, events in tracks(perfetto).items():
        slices = sorted((e["ts"], e["ts"] + e["dur"]) for e in events if e["ph"] == "X")
        for (_, end), (begin, _) in pairwise(slices):
            assert begin >= end - 1e-3, name  # a thousandth of a microsecond: times are fractions


def test_slots_states_and_calls_stand_at_their_times(run: Path, perfetto: list[dict[str, Any]]) -> None:
    records = records_of(run)
    begun_ns = records[0]["t_ns"]  # times count from the header

    def us(t_ns: int) -> object:
        return pytest.approx((t_ns - begun_ns) / 1e3)

    found = tracks(perfetto)
    planned = {
        r["slot"]: us(r["planned_ns"]) for r in records if r["kind"] == "step" and r["name"] in ("frame", "defocus")
    }
    slots = {e["args"]["first"]: e for e in found["slots"]}
    assert {slot: e["ts"] for slot, e in slots.items()} == planned
    assert slots[9]["name"] == "slot 9"
    assert slots[9]["dur"] == pytest.approx(512_000)
    states = [(e["name"], e["ts"]) for e in found["states"]]
    assert states == [(r["name"], us(r["t_ns"])) for r in records if r["kind"] == "state"]
    calls = [r for r in records if r["kind"] == "call" and r["name"].startswith("optics.")]
    assert [(e["name"], e["ts"], e["dur"]) for e in found["optics"]] == [
        (
            r["name"].split(".")[1],
            us(r["begin_ns"]),
            pytest.approx((r["end_ns"] - r["begin_ns"]) / 1e3),
        )
        for r in calls
    ]


def test_slack_is_a_counter(run: Path, perfetto: list[dict[str, Any]]) -> None:
    slack = [e["args"]["ms"] for e in perfetto if e["ph"] == "C" and e["name"] == "slack, frame"]
    steps = [r for r in records_of(run) if r["kind"] == "step" and r["name"] == "frame"]
    assert slack == [pytest.approx(r["slack_ns"] / 1e6) for r in steps]


def test_lost_slots_overruns_and_overlapping_calls_are_seen(tmp_path: Path) -> None:
    step: Record = {"kind": "step", "name": "frame", "slack_ns": 0, "verdict": "ok", "left_ns": 0}
    call: Record = {"kind": "call", "name": "stage.angle", "args": [], "result": None}
    records: list[Record] = [
        {"t_ns": 5000, "kind": "header", "name": "credline", "schema": SCHEMA},
        {"t_ns": 6000, **step, "slot": 1, "planned_ns": 5000, "start_ns": 5000, "end_ns": 6000},
        {"t_ns": 7000, "kind": "slot", "name": "lost", "slot": 2, "reason": "late"},
        {"t_ns": 9000, **step, "slot": 3, "planned_ns": 7000, "start_ns": 7000, "end_ns": 9000, "verdict": "over"},
        {"t_ns": 9000, **step, "slot": 4, "planned_ns": 8000, "verdict": "underflow"},
        {"t_ns": 9100, **call, "begin_ns": 9000, "end_ns": 9100},
        {"t_ns": 9200, **call, "begin_ns": 9050, "end_ns": 9200},
        {"t_ns": 9300, **call, "begin_ns": None, "end_ns": 9300},
    ]
    path = write_trace(tmp_path / "t.jsonl", [{"seq": k, **record} for k, record in enumerate(records)])
    done = trace("export", path, "--format", "perfetto", "-o", tmp_path / "t.json")
    assert "1 records without a known time were left out" in done.stderr
    found = tracks(json.loads((tmp_path / "t.json").read_text())["traceEvents"])
    assert [(e["name"], e["ts"], e["dur"]) for e in found["slots"]] == [
        ("slots 1-2", 0, 2), ("slot 3", 2, 1), ("slot 4", 3, 1),
    ]  # fmt: skip
    assert [e.get("cname") for e in found["steps"]] == [None, "terrible"]
    assert [e["name"] for e in found["marks"]] == ["slot 2 lost", "underflow: frame, slot 4"]
    assert (len(found["stage"]), len(found["stage (2)"])) == (1, 1)


def test_bluesky_documents_are_valid(bluesky: list[tuple[str, dict[str, Any]]]) -> None:
    event_model = pytest.importorskip(
        "event_model", reason="event-model is not installed (pip install -e '.[bluesky]')"
    )
    for name, document in bluesky:
        event_model.schema_validators[event_model.DocumentNames[name]].validate(document)


def test_bluesky_documents_hang_together(bluesky: list[tuple[str, dict[str, Any]]]) -> None:
    names = [name for name, _ in bluesky]
    assert (names[0], names[-1]) == ("start", "stop")
    start, stop = bluesky[0][1], bluesky[-1][1]
    descriptors: dict[str, dict[str, Any]] = {}
    counts: dict[str, int] = defaultdict(int)
    for name, document in bluesky[1:-1]:
        if name == "descriptor":
            assert document["run_start"] == start["uid"]
            descriptors[document["uid"]] = document
        else:
            descriptor = descriptors[document["descriptor"]]  # before its first event
            counts[descriptor["name"]] += 1
            assert document["seq_num"] == counts[descriptor["name"]]
            assert set(document["data"]) == set(document["timestamps"]) == set(descriptor["data_keys"])
    assert stop["run_start"] == start["uid"]
    assert stop["num_events"] == counts
    assert len({document["uid"] for _, document in bluesky}) == len(bluesky)


def test_bluesky_events_are_the_frames_and_readings(run: Path, bluesky: list[tuple[str, dict[str, Any]]]) -> None:
    records = records_of(run)
    document = json.loads((run / "run.json").read_text())
    began = datetime.fromisoformat(document["created_at"]).timestamp()
    streams = {d["uid"]: d["name"] for name, d in bluesky if name == "descriptor"}
    events = defaultdict(list)
    for name, event in bluesky:
        if name == "event":
            events[streams[event["descriptor"]]].append(event)
    frames = [r for r in records if r["kind"] == "frame" and r["name"] == "diffraction"]
    assert [e["data"]["slot"] for e in events["primary"]] == [r["slot"] for r in frames]
    assert [e["time"] for e in events["primary"]] == [pytest.approx(began + r["start_ns"] / 1e9) for r in frames]
    assert [e["data"]["slot"] for e in events["snapshots"]] == [10, 20]
    readings = [r["result"]["value"] for r in records if r["name"] == "stage.angle"]
    assert [e["data"]["angle_deg"] for e in events["stage"]] == readings
    start, stop = bluesky[0][1], bluesky[-1][1]
    assert (start["plan_name"], start["plan_args"]["range_deg"], start["time_known"]) == ("cred", 6.0, True)
    assert (stop["exit_status"], stop["reason"]) == ("success", "")


@pytest.mark.parametrize(("cut", "state", "expected"), [
    (1, None, ("fail", "the trace ends before the run did")),
    (1, "stopped", ("success", "enough")),
    (1, "aborted", ("abort", "enough")),
])  # fmt: skip
def test_bluesky_is_told_how_the_run_ended(
    run: Path, tmp_path: Path, cut: int, state: str | None, expected: tuple[str, str]
) -> None:
    records = records_of(run)[:-cut]
    if state is not None:
        seq, t_ns = len(records), records[-1]["t_ns"]
        records.append({"seq": seq, "t_ns": t_ns, "kind": "command", "name": "stopped", "reason": "enough"})
        records.append({"seq": seq + 1, "t_ns": t_ns, "kind": "state", "name": state, "trigger": "end"})
    path = write_trace(tmp_path / "t.jsonl", records)
    done = trace("export", path, "--format", "bluesky", "-o", tmp_path / "out.jsonl")
    assert "its times count from 1970-01-01" in done.stderr  # there is no run.json
    name, stop = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[-1])
    assert name == "stop"
    assert (stop["exit_status"], stop["reason"]) == expected


def test_the_same_trace_is_exported_to_the_same_bytes(run: Path, tmp_path: Path) -> None:
    for format_ in ("perfetto", "bluesky"):
        for name in ("a", "b"):
            assert trace("export", run, "--format", format_, "-o", tmp_path / f"{format_}.{name}").exit_code == 0
        assert (tmp_path / f"{format_}.a").read_bytes() == (tmp_path / f"{format_}.b").read_bytes()


def test_nothing_is_overwritten_and_no_half_is_left(run: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    words = ("--format", "perfetto", "-o")
    assert isinstance(trace("export", run, *words, tmp_path / "mine").exception, Refused)
    assert (tmp_path / "mine").read_text() == "mine"
    records = records_of(run)
    damaged = write_trace(tmp_path / "t.jsonl", [*records[:50], *records[60:]])
    assert isinstance(trace("export", damaged, *words, tmp_path / "out").exception, DataError)
    assert isinstance(trace("export", run, *words, tmp_path / "no" / "out").exception, StorageError)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "t.jsonl"]
