"""Frames of a run that was cut off stand in the slots, and count as late and as kept, as in the run itself."""

import json
from pathlib import Path

import h5py
import numpy as np

from engine.record.spoolformat import FrameInfo
from engine.record.trace import Record
from engine.run.recovery import recover_run
from protocols.cred.finish import _placed
from protocols.cred.records import Collected, FrameRecord
from tests.protocols.cred.conftest import Perform
from tests.protocols.cred.recovery.test_recovery import cut_off

PERIOD_NS = 100_000_000
SLOWER = {"detector": {"slow_first_s": [0.0] * 15 + [0.01] * 1000}}


def frame(slot: int, late_ns: int = 0, begin_ns: int = 0) -> FrameInfo:
    start_ns = begin_ns + slot * PERIOD_NS + late_ns
    end_ns = start_ns + PERIOD_NS // 2
    bounds = (start_ns, start_ns), (end_ns, end_ns)
    return FrameInfo(slot, "diffraction", {"slot": slot}, slot, start_ns, end_ns, *bounds)


def step(slot: int) -> Record:
    return {"kind": "step", "name": "frame", "slot": slot, "planned_ns": slot * PERIOD_NS}


def test_lateness_is_by_the_plan_in_the_trace_and_beyond_it_by_the_grid() -> None:
    late_ns = [3, 5_000_000, 0, 7, 2_000_000]
    frames = [frame(slot, late) for slot, late in zip((1, 2, 4, 5, 6), late_ns, strict=True)]
    for steps in ([1, 2, 4, 5, 6], [1, 2, 4], [1]):
        collected = Collected()
        placed = _placed(frames, [step(slot) for slot in steps], PERIOD_NS, collected)
        assert [f.late_ns for f in placed] == late_ns
        assert collected.stretched_slots == []


def test_a_frame_off_the_grid_begins_a_part_of_its_own() -> None:
    for off_ns in (-1, 7_000_000):
        frames = [frame(1), frame(2), frame(3, begin_ns=off_ns), frame(4, begin_ns=off_ns)]
        collected = Collected()
        placed = _placed(frames, [step(1)], PERIOD_NS, collected)
        assert collected.stretched_slots == [3]
        assert [f.late_ns for f in placed] == [0, 0, 0, 0]


def test_without_a_period_nothing_is_judged() -> None:
    frames = [frame(1), frame(2, 60_000_000), frame(9)]
    placed = _placed(frames, [], 0, Collected())
    assert placed == [FrameRecord(slot, f.start_ns, f.end_ns, 0) for slot, f in zip((1, 2, 9), frames, strict=True)]


def test_a_lengthened_period_is_known_again(perform: Perform, tmp_path: Path) -> None:
    whole, folder = cut_off(perform, tmp_path / "cut", 45, devices=SLOWER, snapshot_interval=0)
    recover_run(folder)
    with h5py.File(folder / "frames.h5") as file:
        table = file["diffraction/frames"][:]
    frames = whole.frames()[: len(table)]
    assert 0 < table["kept"].sum() < len(table)
    for name in ("slot", "kept", "late_ns"):
        assert np.array_equal(table[name], frames[name])
    assert json.loads((folder / "run.json").read_text())["result"]["period_changes"] == 1


def test_where_the_word_of_a_lengthened_period_is_lost_no_two_periods_are_mixed(
    perform: Perform, tmp_path: Path
) -> None:
    whole, folder = cut_off(perform, tmp_path / "cut", 45, devices=SLOWER, snapshot_interval=0)
    lines = (folder / "trace.jsonl").read_bytes().splitlines(keepends=True)
    at = next(k for k, line in enumerate(lines) if b'"name":"stretched"' in line)
    (folder / "trace.jsonl").write_bytes(b"".join(lines[:at]))
    recover_run(folder)
    with h5py.File(folder / "frames.h5") as file:
        table = file["diffraction/frames"][:]
    stretched = whole.of("slot", "stretched")[0]["slot"]
    kept = table[table["kept"] == 1]
    assert len(table) > stretched + 10
    assert (kept["slot"] < stretched + 3).all()  # it is noticed once frames are later than a run lets them be
    assert len(kept) >= stretched - 3
