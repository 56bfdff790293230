"""The strip as a picture: what a trace holds is seen in it, however short against the run."""

from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.record.trace import SCHEMA, Record
from engine.views.strip import COLOURS, KIND_COLOURS, draw_strip
from tests.engine.traces import write_trace

S = 1_000_000_000
MS = 1_000_000
HEADER: Record = {"seq": 0, "t_ns": 0, "kind": "header", "name": "credline", "schema": SCHEMA}


def runs_of(picture: Path, colour: str) -> list[int]:
    """How many separate bars of this colour stand side by side, line by line of the picture; lines without any left
    out, and of equal neighbours one.
    """
    wanted = [int(colour[k : k + 2], 16) for k in (1, 3, 5)]
    with Image.open(picture) as image:
        pixels = np.asarray(image.convert("RGB"), int)
    hit = (np.abs(pixels - wanted).max(axis=2) < 12).astype(int)
    counts = (np.diff(hit, axis=1, prepend=0) == 1).sum(axis=1)
    return [int(count) for count, _ in groupby(counts) if count]


def drawn(tmp_path: Path, records: list[Record]) -> Path:
    numbered = [HEADER, *({"seq": seq, **record} for seq, record in enumerate(records, start=1))]
    draw_strip(write_trace(tmp_path / "trace.jsonl", numbered), tmp_path / "strip.png")
    return tmp_path / "strip.png"


def long_run(cycles: int) -> list[Record]:
    """Nine long frames and a short one of another kind, in states of their own, again and again: 5 s each."""
    records: list[Record] = []
    for k in range(10 * cycles):
        at_ns = k * S // 2
        short = k % 10 == 9
        if k % 10 in (0, 9):
            records.append({"t_ns": at_ns, "kind": "state", "name": "flash" if short else "run", "trigger": ""})
        end_ns = at_ns + (10 if short else 490) * MS
        known = {"slot": k + 1, "arrived_ns": end_ns, "index": k, "crc": 0, "angle_deg": None}
        name = "view" if short else "still"
        records.append({"t_ns": end_ns, "kind": "frame", "name": name, "start_ns": at_ns, "end_ns": end_ns, **known})
    return records


@pytest.mark.parametrize("cycles", [6, 55, 120])
def test_each_of_the_short_frames_is_seen_at_any_length_of_the_run(tmp_path: Path, cycles: int) -> None:
    picture = drawn(tmp_path, long_run(cycles))
    assert max(runs_of(picture, KIND_COLOURS[1])) == cycles


def test_short_states_are_seen_and_so_is_the_last_one(tmp_path: Path) -> None:
    records = [*long_run(55), {"t_ns": 275 * S, "kind": "state", "name": "end", "trigger": ""}]
    rows = runs_of(drawn(tmp_path, records), COLOURS["states"])
    assert rows[:3] == [55, 55, 1]


def test_lost_slots_are_seen_one_by_one(tmp_path: Path) -> None:
    lost = [{"t_ns": k * 20 * S, "kind": "slot", "name": "lost", "slot": 40 * k, "reason": ""} for k in range(1, 6)]
    records = sorted([*long_run(30), *lost], key=lambda record: record["t_ns"])
    assert max(runs_of(drawn(tmp_path, records), COLOURS["alarm"])) == 5


def test_a_trace_of_hundreds_of_names_is_a_picture_of_bounded_size(tmp_path: Path) -> None:
    records = [{"t_ns": k * S, "kind": "state", "name": f"s{k}", "trigger": ""} for k in range(400)]
    records += [
        {"t_ns": 400 * S, "kind": "call", "name": f"d{k}.x", "args": [], "begin_ns": k, "end_ns": k} for k in range(400)
    ]
    with Image.open(drawn(tmp_path, records)) as image:
        assert image.height < 2000


def test_frames_of_which_only_bounds_are_known_are_drawn(tmp_path: Path) -> None:
    records = long_run(2)
    for record in records:
        if record["kind"] == "frame":
            record["start_bounds_ns"] = [record["start_ns"] - MS, record["start_ns"]]
    assert drawn(tmp_path, records).stat().st_size > 0
