"""Of damaged files every whole record is found, and nothing that is not one."""

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest

from engine.clock.virtual import VirtualLoop
from engine.errors import DataError
from engine.frame import Frame
from engine.record.salvage import (
    DamagedBytes,
    DamagedFrame,
    nothing_began,
    protocol_of,
    salvage_journal,
    salvage_spool,
    salvage_trace,
    whole_frames,
)
from engine.record.spool import Spool, SpooledFrame
from engine.record.spoolformat import MAGIC
from engine.record.trace import SCHEMA
from engine.record.writer import Writer

KINDS = ("shot", "snap", "shot", "shot", "snap")
"""Of equal length, so that all records are."""
SIZE = 24


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """Five frames of 3 x 4 pixels, slots 1 to 5; the counts of slot 3 contain the mark of a header."""

    async def write() -> None:
        writer = Writer()
        spool = Spool(tmp_path / "frames.spool", writer, durable=False)
        for slot, kind in enumerate(KINDS, start=1):
            counts = np.arange(12, dtype="<u2").reshape(3, 4) + slot
            if slot == 3:
                counts = np.frombuffer(b"FRM2SNAPFRM2" * 2, "<u2").reshape(3, 4)
            await spool.append(Frame(counts, slot, 10 + slot, 20 + slot), kind, {"slot": slot})
        await writer.drain()
        writer.close()
        spool.close()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(write())
    return tmp_path / "frames.spool"


def slots(path: Path) -> list[int]:
    return [item.integer("slot") for item in salvage_spool(path) if isinstance(item, SpooledFrame)]


def test_without_damage_all_frames_are_there_and_nothing_else(spool: Path) -> None:
    found = list(salvage_spool(spool))
    assert [item.integer("slot") for item in found if isinstance(item, SpooledFrame)] == [1, 2, 3, 4, 5]
    assert len(found) == 5
    assert [frame.integer("slot") for frame in whole_frames(spool, "snap")] == [2, 5]
    assert [
        frame.integer("slot") for frame in whole_frames(spool, "shot", lambda frame: frame.integer("slot") != 3)
    ] == [1, 4]


def test_any_damaged_byte_costs_one_frame_at_most(spool: Path) -> None:
    whole = spool.read_bytes()
    record = (len(whole) - len(MAGIC)) // 5
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 0x20
        spool.write_bytes(damaged)
        struck = (at - len(MAGIC)) // record + 1
        assert slots(spool) == [slot for slot in range(1, 6) if slot != struck], at


def test_what_is_not_whole_is_said(spool: Path) -> None:
    whole = spool.read_bytes()
    record = (len(whole) - len(MAGIC)) // 5
    second = len(MAGIC) + record
    damaged = bytearray(whole)
    damaged[second + record - 1] ^= 1
    spool.write_bytes(damaged)
    assert list(salvage_spool(spool))[1] == DamagedFrame("snap", {"slot": 2}, torn=False)
    damaged[second] ^= 1
    spool.write_bytes(damaged)
    assert list(salvage_spool(spool))[1] == DamagedBytes(second, second + record, torn=False)
    spool.write_bytes(whole[:-1])
    assert list(salvage_spool(spool))[-1] == DamagedFrame("snap", {"slot": 5}, torn=True)
    spool.write_bytes(whole[: -SIZE - 1])
    assert list(salvage_spool(spool))[-1] == DamagedBytes(len(whole) - record, len(whole) - SIZE - 1, torn=True)


def test_a_hole_of_zeros_costs_the_frames_in_it(spool: Path) -> None:
    whole = spool.read_bytes()
    record = (len(whole) - len(MAGIC)) // 5
    first, fourth = len(MAGIC) + 7, len(MAGIC) + 3 * record - 3
    spool.write_bytes(whole[:first] + bytes(fourth - first) + whole[fourth:])
    assert slots(spool) == [4, 5]


@pytest.mark.parametrize("content", [b"", MAGIC[:5], MAGIC, b"something else entirely" * 100])
def test_a_spool_without_frames_has_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "frames.spool").write_bytes(content)
    assert slots(tmp_path / "frames.spool") == []


HEADER_LINE = {"seq": 0, "t_ns": 0, "kind": "header", "name": "credline", "schema": SCHEMA, "protocol": "cred"}
NOTES = [{"seq": k, "t_ns": k, "kind": "note", "name": f"n{k}"} for k in range(1, 5)]


def trace_of(folder: Path, *lines: object) -> Path:
    path = folder / "trace.jsonl"
    path.write_bytes(b"".join(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines))
    return path


def test_whole_records_after_a_damaged_line_count(tmp_path: Path) -> None:
    found = salvage_trace(trace_of(tmp_path, HEADER_LINE, NOTES[0], b'{"seq":2,\n', NOTES[2], b"\0\0\0"))
    assert found.records == [HEADER_LINE, NOTES[0], NOTES[2]]
    assert found.lost == [
        "trace.jsonl: line 3 is damaged and was left out",
        "trace.jsonl: line 5 was cut off and was left out",
    ]


def test_a_record_out_of_its_place_does_not_count(tmp_path: Path) -> None:
    found = salvage_trace(trace_of(tmp_path, HEADER_LINE, NOTES[1], NOTES[0], NOTES[2]))
    assert [record["seq"] for record in found.records] == [0, 2, 3]


@pytest.mark.parametrize("lines", [(b"",), (NOTES[0], NOTES[1]), (b"\0" * 300,), (b"broken\n", NOTES[0])])
def test_without_its_header_nothing_of_a_trace_is_used(tmp_path: Path, lines: tuple[object, ...]) -> None:
    found = salvage_trace(trace_of(tmp_path, *lines))
    assert found.records == []
    assert len(found.lost) == 1
    assert salvage_trace(tmp_path / "none.jsonl").lost == ["none.jsonl: is empty or missing"]


def test_a_trace_of_a_newer_schema_or_of_another_program_is_refused(tmp_path: Path) -> None:
    for change in ({"schema": SCHEMA + 1}, {"source": "another program"}):
        with pytest.raises(DataError):
            salvage_trace(trace_of(tmp_path, {**HEADER_LINE, **change}))


def test_whole_lines_of_a_journal_count(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"t_ns":0,"began":true}\nx\n{"t_ns":1,"state":"relax"}\n{"t_ns":2,"sta')
    found = salvage_journal(path)
    assert [line["t_ns"] for line in found.records] == [0, 1]
    assert len(found.lost) == 2
    assert salvage_journal(tmp_path / "none").records == []


def test_the_protocol_of_a_folder_is_found_in_run_json_or_in_the_trace(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="give the folder of a run"):
        protocol_of(tmp_path)
    trace_of(tmp_path, HEADER_LINE)
    assert protocol_of(tmp_path) == "cred"
    for content in ("", "[]", "{}", '{"protocol"', "[" * 100_000):
        (tmp_path / "run.json").write_text(content)
        assert protocol_of(tmp_path) == "cred"
    (tmp_path / "run.json").write_text('{"schema": 1, "protocol": "other"}')
    assert protocol_of(tmp_path) == "other"


def test_a_run_that_never_began_has_nothing_to_recover_but_a_spool_is_never_given_up(tmp_path: Path) -> None:
    trace_of(tmp_path, b"")
    assert protocol_of(tmp_path) is None
    (tmp_path / "frames.spool").write_bytes(MAGIC)
    assert "nothing was moved" in nothing_began(tmp_path)[0]
    (tmp_path / "frames.spool").write_bytes(MAGIC + b"FRAM")
    with pytest.raises(DataError, match=r"stay in frames\.spool"):
        nothing_began(tmp_path)
