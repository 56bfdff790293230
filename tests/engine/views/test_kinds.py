"""Frames of whatever kinds an experiment has: views know none of them by name."""

from pathlib import Path
from typing import Any

from engine.record.trace import SCHEMA, Record
from engine.views.bluesky import Documents, WallTime
from tests.engine.traces import trace, write_trace

MS = 1_000_000


def frames(*kinds: str, slot_ns: int = 100 * MS) -> list[Record]:
    """A header and a frame of each kind, slot after slot."""
    header: Record = {"seq": 0, "t_ns": 0, "kind": "header", "name": "credline", "schema": SCHEMA}
    made: list[Record] = [header]
    for k, kind in enumerate(kinds):
        start_ns = k * slot_ns
        record = {"seq": k + 1, "t_ns": start_ns + 60 * MS, "kind": "frame", "name": kind, "slot": k + 1}
        known = {"arrived_ns": start_ns + 60 * MS, "angle_deg": None, "index": k, "crc": 0}
        made.append({**record, "start_ns": start_ns, "end_ns": start_ns + 50 * MS, **known})
    return made


def test_a_strip_of_more_kinds_than_colours_is_drawn(tmp_path: Path) -> None:
    path = write_trace(tmp_path / "t.jsonl", frames("a", "b", "c", "d", "e", "f"))
    done = trace("plot", path, "-o", tmp_path / "t.png")
    assert done.exit_code == 0, done.exception
    assert (tmp_path / "t.png").stat().st_size > 0


def streams(*kinds: str) -> dict[str, list[int]]:
    """The slots in each stream."""
    header, *records = frames(*kinds)
    names: dict[str, str] = {}
    found: dict[str, list[int]] = {}
    document: dict[str, Any]
    for name, document in Documents(header, WallTime(0.0, 0, False)).make(records):
        if name == "descriptor":
            names[document["uid"]] = document["name"]
        elif name == "event":
            found.setdefault(names[document["descriptor"]], []).append(document["data"]["slot"])
    return found


def test_the_kind_that_comes_first_is_primary_and_each_other_kind_has_a_stream_of_its_own() -> None:
    assert streams("still", "view", "still", "map") == {"primary": [1, 3], "views": [2], "maps": [4]}


def test_a_kind_named_like_another_stream_does_not_mix_with_it() -> None:
    assert streams("still", "call") == {"primary": [1], "call_frames": [2]}
