"""The trace: flat records in order, the same bytes for the same course, observers that cannot hurt a run."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from drivers.contract import Reading
from engine.clock.virtual import VirtualClock
from engine.record.trace import SCHEMA, Record, Trace, jsonable
from tests.engine.virtually import virtual


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@virtual
async def test_the_header_comes_first_and_names_the_schema(clock: VirtualClock, tmp_path: Path) -> None:
    trace = Trace(clock, tmp_path / "trace.jsonl")
    trace.header(protocol="cred", seed=1)
    trace.record("note", "safe state", alarms=0)
    trace.close(sync=False)
    assert lines(tmp_path / "trace.jsonl") == [
        {"seq": 0, "t_ns": 0, "kind": "header", "name": "credline", "schema": SCHEMA, "protocol": "cred", "seed": 1},
        {"seq": 1, "t_ns": 0, "kind": "note", "name": "safe state", "alarms": 0},
    ]


@virtual
async def test_records_bear_the_instant_of_the_event_that_last_entered(clock: VirtualClock) -> None:
    trace = Trace(clock)
    records: list[Record] = []
    trace.observe(records.append)
    await clock.sleep_until(100)
    trace.record("note", "before")
    assert trace.tick() == 100
    trace.record("note", "a")
    trace.record("note", "b")
    assert [(r["seq"], r["t_ns"]) for r in records] == [(0, 0), (1, 100), (2, 100)]


def run_once(path: Path, marks: Iterator[int] | range) -> bytes:
    @virtual
    async def course(clock: VirtualClock) -> None:
        trace = Trace(clock, path)
        trace.header(seed=1, plan={"exposure_s": 0.3, "sample": "grün"})
        for k in marks:
            await clock.sleep_until(k * 1000)
            trace.tick()
            trace.record("step", "expose", slot=k, share=k / 3)
            if k % 3 == 0:
                trace.take_pending()()
        trace.close(sync=True)

    course()
    return path.read_bytes()


def test_the_same_course_writes_the_same_bytes(tmp_path: Path) -> None:
    first = run_once(tmp_path / "a", range(20))
    assert run_once(tmp_path / "b", range(20)) == first
    assert run_once(tmp_path / "c", range(1, 20)) != first
    assert first.endswith(b"\n")
    assert first.count(b"\n") == 21
    assert b"\r" not in first


@virtual
async def test_recording_writes_nothing_until_the_job_is_run(clock: VirtualClock, tmp_path: Path) -> None:
    trace = Trace(clock, tmp_path / "trace.jsonl")
    trace.record("note", "a")
    assert trace.pending == 1
    job = trace.take_pending()
    trace.record("note", "b")
    assert (tmp_path / "trace.jsonl").read_bytes() == b""
    assert trace.pending == 1
    job()
    assert [line["name"] for line in lines(tmp_path / "trace.jsonl")] == ["a"]
    trace.close(sync=False)
    assert [line["name"] for line in lines(tmp_path / "trace.jsonl")] == ["a", "b"]


@virtual
async def test_a_trace_is_never_overwritten(clock: VirtualClock, tmp_path: Path) -> None:
    (tmp_path / "trace.jsonl").write_text("mine")
    with pytest.raises(FileExistsError):
        Trace(clock, tmp_path / "trace.jsonl")
    assert (tmp_path / "trace.jsonl").read_text() == "mine"


@virtual
async def test_an_observer_that_fails_is_dropped_and_logged_and_the_rest_goes_on(
    clock: VirtualClock, tmp_path: Path
) -> None:
    trace = Trace(clock, tmp_path / "trace.jsonl")
    before: list[int] = []
    failing: list[int] = []
    after: list[int] = []

    def fail(record: Record) -> None:
        failing.append(record["seq"])
        if record["seq"] == 1:
            raise KeyError("slack_ns")

    for observer in (lambda r: before.append(r["seq"]), fail, lambda r: after.append(r["seq"])):
        trace.observe(observer)
    with capture_logs() as logs:
        for name in "abc":
            trace.record("note", name)
    assert (before, failing, after) == ([0, 1, 2], [0, 1], [0, 1, 2])
    assert len(logs) == 1
    assert "observer" in logs[0]["event"]
    trace.close(sync=False)
    assert len(lines(tmp_path / "trace.jsonl")) == 3


@virtual
async def test_an_observer_sees_records_from_now_on(clock: VirtualClock) -> None:
    trace = Trace(clock)
    trace.record("note", "a")
    names: list[str] = []
    trace.observe(lambda record: names.append(record["name"]))
    trace.record("note", "b")
    assert names == ["b"]


@virtual
async def test_closing_twice_is_harmless(clock: VirtualClock, tmp_path: Path) -> None:
    trace = Trace(clock, tmp_path / "trace.jsonl")
    trace.close(sync=True)
    trace.close(sync=True)


@dataclass
class Nested:
    reading: Reading
    names: tuple[str, ...]


CASES: list[tuple[object, object]] = [
    (None, None),
    (True, True),
    (3, 3),
    (0.5, 0.5),
    ("stage", "stage"),
    ((1, [2.0, "x"]), [1, [2.0, "x"]]),
    ({"a": (1,), 2: None}, {"a": [1], "2": None}),
    (
        Nested(Reading(1.5, 1, 2), ("a",)),
        {"reading": {"value": 1.5, "t_before_ns": 1, "t_after_ns": 2}, "names": ["a"]},
    ),
    (np.float64(0.25), 0.25),
]


@pytest.mark.parametrize(("value", "expected"), CASES)
def test_arguments_and_results_become_numbers_text_and_lists(value: object, expected: object) -> None:
    assert jsonable(value) == expected
    assert json.loads(json.dumps(jsonable(value))) == expected


@pytest.mark.parametrize("value", [np.zeros((512, 512)), object(), b"raw", {1, 2}, lambda: None])
def test_anything_else_stands_as_the_name_of_its_type(value: object) -> None:
    text = jsonable(value)
    assert isinstance(text, str)
    assert type(value).__name__ in text
    assert "0x" not in text  # an address would differ from run to run


@virtual
async def test_a_long_trace_is_squeezed_and_gives_back_the_same_records(
    clock: VirtualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.record.trace.HELD_RECORDS", 3)
    trace = Trace(clock, tmp_path / "trace.jsonl")
    trace.header(protocol="cred", seed=1)
    held = []
    for batch in range(3):
        for name in ("a", "b"):
            trace.record("note", name, value_deg=0.1 * batch, parts=[batch, None])
        trace.take_pending()()
        held.append(sum(not isinstance(taken, bytes) for taken in trace._taken))
    trace.record("note", "not written yet")
    told = trace.recorded()
    assert held == [1, 0, 0]
    trace.close(sync=False)
    assert told == lines(tmp_path / "trace.jsonl")
