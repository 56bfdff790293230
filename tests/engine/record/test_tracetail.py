"""The tail of a trace while it grows."""

import json

import pytest

from engine.record.tracetail import TraceTail


def _line(seq: int) -> bytes:
    return json.dumps({"seq": seq, "t_ns": seq, "kind": "note", "name": "operator", "text": "x"}).encode() + b"\n"


def _add(folder, data: bytes, name: str = "trace.jsonl") -> None:
    with (folder / name).open("ab") as file:
        file.write(data)


def test_records_come_when_their_lines_are_whole(tmp_path):
    tail = TraceTail(tmp_path)
    assert tail.new() == []
    _add(tmp_path, _line(0) + _line(1)[:20])
    assert [record["seq"] for record in tail.new()] == [0]
    assert tail.new() == []
    _add(tmp_path, _line(1)[20:] + _line(2))
    assert [record["seq"] for record in tail.new()] == [1, 2]


@pytest.mark.parametrize(
    "bad", [b"{\n", b"[]\n", b'{"kind": 3}\n', b"\xff\n", b'{"seq": 1, "kind": "step", "name": "x"}\n']
)
def test_a_line_that_is_no_record_is_passed_over(tmp_path, bad):
    tail = TraceTail(tmp_path)
    _add(tmp_path, _line(0) + bad + _line(2))
    assert [record["seq"] for record in tail.new()] == [0, 2]
