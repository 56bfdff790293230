"""Reading a trace: one record at a time, whatever became of the file."""

import json
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from engine.errors import CredlineError, DataError
from engine.record.trace import LINE_LIMIT_BYTES, SCHEMA, Record, open_trace, read_trace
from engine.replay.replay import load_run
from engine.views.bluesky import Documents, WallTime, bluesky_text
from engine.views.lines import Selection, view
from engine.views.perfetto import Perfetto, perfetto_text
from engine.views.stats import TraceStats
from tests.engine.traces import record_run, records_of, write_trace

HEADER: Record = {"seq": 0, "t_ns": 0, "kind": "header", "name": "credline", "schema": SCHEMA, "version": "9.9"}
NOTE: Record = {"seq": 1, "t_ns": 5, "kind": "note", "name": "a", "text": "grün"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record_run(tmp_path_factory.mktemp("run"))


def read_until_error(path: Path) -> tuple[list[Record], str]:
    """What can be read, and the error after it ("" for none)."""
    found: list[Record] = []
    try:
        found.extend(read_trace(path))
    except DataError as error:
        return found, str(error)
    return found, ""


def damaged(path: Path, *lines: bytes) -> Path:
    path.write_bytes(b"".join(lines))
    return path


def line(record: Any) -> bytes:
    return json.dumps(record).encode() + b"\n"


def test_a_run_folder_and_its_trace_file_read_the_same(run: Path) -> None:
    assert list(read_trace(run)) == list(read_trace(run / "trace.jsonl")) == records_of(run)


def test_open_trace_gives_the_header_and_the_rest(run: Path) -> None:
    header, records = open_trace(run)
    assert header["kind"] == "header"
    assert [header, *records] == records_of(run)


def test_a_record_cut_off_at_any_byte_is_left_out_with_a_warning(tmp_path: Path) -> None:
    last = line({"seq": 2, "t_ns": 7, "kind": "note", "name": "b", "text": "grün", "n": 12})
    before = line(HEADER) + line(NOTE)
    for cut in range(1, len(last) - 1):
        path = damaged(tmp_path / "trace.jsonl", before, last[:cut])
        with capture_logs() as logs:
            assert read_until_error(path) == ([HEADER, NOTE], "")
        assert [entry["log_level"] for entry in logs] == ["warning"], cut
        assert logs[0]["line"] == 3


def test_a_whole_last_record_counts_without_its_line_end(tmp_path: Path) -> None:
    path = damaged(tmp_path / "trace.jsonl", line(HEADER), line(NOTE).rstrip())
    assert read_until_error(path) == ([HEADER, NOTE], "")


DAMAGE = {
    "empty": ([], 0, "is empty"),
    "cut off within the header": ([line(HEADER)[:20]], 0, "is no trace: its first line is no JSON"),
    "binary": ([bytes(range(256)) * 40], 0, "is no trace"),
    "another JSON file": ([b'{"plan": 3}\n'], 0, "is no trace: its first line lacks 'seq'"),
    "a list": ([b"[1, 2]\n"], 0, "holds no JSON object"),
    "without its header": ([line(NOTE)], 0, "does not begin with a header"),
    "shuffled, header elsewhere": ([line(NOTE), line(HEADER)], 0, "does not begin with a header"),
    "shuffled after the header": ([line(HEADER), line({**NOTE, "seq": 2}), line(NOTE)], 1, "is record 2 where 1 was"),
    "a line missing": ([line(HEADER), line({**NOTE, "seq": 2})], 1, "is record 2 where 1 was"),
    "a line twice": ([line(HEADER), line(NOTE), line(NOTE)], 2, "is record 1 where 2 was"),
    "two headers": ([line(HEADER), line(HEADER)], 1, "is record 0 where 1 was"),
    "junk between": ([line(HEADER), b"\xff\x00\xfe\n", line(NOTE)], 1, "line 2 is no JSON"),
    "nested without end": ([line(HEADER), b"[" * 100_000 + b"\n"], 1, "line 2 is no JSON"),
    "a number without end": ([line(HEADER), b'{"seq":' + b"1" * 9000 + b"}\n"], 1, "line 2 is no JSON"),
    "a time beyond 64 bits": ([line(HEADER), line({**NOTE, "t_ns": 2**63})], 1, "has a 't_ns' that is no integer"),
    "a time that is text": ([line(HEADER), line({**NOTE, "t_ns": "5"})], 1, "has a 't_ns' that is no integer or null"),
    "a name that is none": ([line(HEADER), line({**NOTE, "name": None})], 1, "has a 'name' that is no text"),
    "a call without its end": ([line(HEADER), line({**NOTE, "kind": "call", "args": []})], 1, "lacks 'begin_ns'"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_what_is_damaged_is_read_up_to_the_damage_and_named(tmp_path: Path, name: str) -> None:
    parts, readable, expected = DAMAGE[name]
    path = damaged(tmp_path / "trace.jsonl", *parts)
    records, error = read_until_error(path)
    assert len(records) == readable
    assert expected in error
    assert error.startswith(f"{path}: ")
    assert "\n" not in error
    assert len(error) < len(str(path)) + 300


def test_a_missing_file_is_an_error_of_one_line(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere", tmp_path):  # a folder without a trace, too
        assert "cannot be read" in read_until_error(path)[1]


@pytest.mark.parametrize("before", [b"", line(HEADER)])
def test_a_line_of_100_megabytes_costs_no_memory(tmp_path: Path, before: bytes) -> None:
    path = tmp_path / "trace.jsonl"
    with path.open("wb") as file:
        file.write(before + b'{"seq":1')
        file.truncate(100_000_000)  # sparse: zeros, and no line end
    tracemalloc.start()
    records, error = read_until_error(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(records) == bool(before)
    assert f"is longer than {LINE_LIMIT_BYTES} bytes" in error
    assert peak < 8 * LINE_LIMIT_BYTES


def test_reading_a_long_trace_takes_the_memory_of_one_record(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    with path.open("w") as file:
        file.writelines(json.dumps(r) + "\n" for r in (HEADER, *({**NOTE, "seq": k} for k in range(1, 20_000))))
    tracemalloc.start()
    assert sum(1 for _ in view(path, Selection())) == 20_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 500_000


@pytest.mark.parametrize(
    ("schema", "words"),
    [(SCHEMA + 1, ["schema 3, this program reads up to 2", "9.9", "newer"]), (0, ["none below 1"])],
)
def test_a_schema_that_is_not_ours_is_refused(tmp_path: Path, schema: int, words: list[str]) -> None:
    path = write_trace(tmp_path / "trace.jsonl", [{**HEADER, "schema": schema}, NOTE])
    records, error = read_until_error(path)
    assert records == []
    assert all(word in error for word in words)


def test_replay_reads_by_the_same_rules(tmp_path: Path, run: Path) -> None:
    assert load_run(run) == records_of(run)
    path = write_trace(tmp_path / "trace.jsonl", [{**HEADER, "schema": SCHEMA + 1}])
    with pytest.raises(DataError, match="schema 3"):
        load_run(path)


def test_kinds_and_fields_of_later_versions_are_let_through(tmp_path: Path) -> None:
    records = [HEADER, {**NOTE, "kind": "tracking", "x_px": 3.5}]
    path = write_trace(tmp_path / "trace.jsonl", records)
    assert read_until_error(path) == (records, "")
    assert any("x_px=3.5" in text for text in view(path, Selection()))


@pytest.mark.parametrize("args", [[{"exposure_s": 0.5, "snapshot_exposure_s": 0.01}], [[0.5, 0.01]]])
def test_a_camera_was_armed_with_a_table_and_now_with_a_list(tmp_path: Path, args: list[object]) -> None:
    armed = {**NOTE, "kind": "call", "name": "detector.arm", "args": args, "begin_ns": 0, "end_ns": 1, "result": None}
    path = write_trace(tmp_path / "trace.jsonl", [HEADER, armed])
    assert read_until_error(path)[0][1]["args"] == [[0.5, 0.01]]


def use_everything(path: Path) -> None:
    """Whatever reads a trace, except the picture."""
    for _ in view(path, Selection()):
        pass
    list(view(path, Selection(slots=(1, 3), devices=("detector",))))
    json.dumps(TraceStats.read(read_trace(path)).document())
    header, records = open_trace(path)
    json.loads("".join(perfetto_text(Perfetto(header), records)), parse_constant=pytest.fail)
    header, records = open_trace(path)
    for text in bluesky_text(Documents(header, WallTime.of_run(path, header)), records):
        json.loads(text, parse_constant=pytest.fail)


@pytest.fixture(scope="module")
def one_of_each(run: Path) -> list[Record]:
    """A short trace with one record of every kind and name."""
    found: dict[tuple[str, str], Record] = {}
    for record in records_of(run):
        found.setdefault((record["kind"], record["name"]), record)
    extra: list[Record] = [
        {"t_ns": 9, "kind": "wake", "name": "frame", "deadline_ns": 5, "woke_ns": 9},
        {"t_ns": 9, "kind": "command", "name": "stopped", "reason": "enough"},
        {"t_ns": 9, "kind": "fault", "name": "DeviceLost", "reason": "gone", "alarm": "look"},
        {"t_ns": 9, "kind": "slot", "name": "lost", "slot": 4, "reason": "late"},
        {"t_ns": 9, "kind": "slot", "name": "stretched", "slot": 5, "start_ns": 9, "period_ns": 3},
        {
            "t_ns": 9,
            "kind": "step",
            "name": "frame",
            "slot": 4,
            "planned_ns": 1,
            "slack_ns": -1,
            "verdict": "underflow",
        },
    ]
    return [{**record, "seq": seq} for seq, record in enumerate([*found.values(), *extra])]


VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [None, 0, -1, 2**62, -(2**63) + 1, 10**30, 1e308, float("nan"), float("inf"), "", "\ud800\x1b[2J", [], {}, True]
)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch") / "trace.jsonl"


@given(data=st.data())
def test_no_value_anywhere_in_a_trace_brings_a_traceback(
    one_of_each: list[Record], scratch: Path, data: st.DataObject
) -> None:
    path = changed(one_of_each, scratch, data)
    with suppress(CredlineError), capture_logs():
        use_everything(path)


def changed(records: list[Record], path: Path, data: st.DataObject) -> Path:
    """The trace with a few fields replaced or removed."""
    lines = [dict(record) for record in records]
    for _ in range(data.draw(st.integers(1, 4))):
        record = data.draw(st.sampled_from(lines))
        name = data.draw(st.sampled_from(sorted(record)))
        if data.draw(st.booleans()):
            record[name] = data.draw(VALUES)
        elif name not in ("seq", "kind"):
            del record[name]
    return write_trace(path, lines)


@given(data=st.data())
def test_no_byte_anywhere_in_a_trace_brings_a_traceback(
    one_of_each: list[Record], scratch: Path, data: st.DataObject
) -> None:
    content = bytearray(b"".join(line(record) for record in one_of_each))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        if data.draw(st.booleans()):
            content[at] = data.draw(st.integers(0, 255))
        else:
            del content[at : at + data.draw(st.integers(1, 300))]
    scratch.write_bytes(content)
    with suppress(CredlineError), capture_logs():
        use_everything(scratch)
