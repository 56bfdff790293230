"""Files of a run that tell the same story pass; every way in which they may not is said in a line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest

from engine.record.agreement import check_folder
from engine.record.trace import Record
from engine.run.run import Run
from protocols.cred.soak.agreement import check_run
from tests.protocols.cred.wrecks import copy_of, cut_off_run, perform


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return perform(tmp_path_factory.mktemp("runs"), lambda record, run: None)


def test_a_finished_run_agrees_with_itself(whole: Path) -> None:
    assert check_run(whole) == []
    assert check_folder(whole) == []


@pytest.mark.parametrize("command", ["stop", "abort", "fail"])
def test_so_does_one_that_was_ended(tmp_path: Path, command: str) -> None:
    def end(record: Record, run: Run) -> None:
        if record["kind"] == "frame" and record["slot"] == 12:
            getattr(run.commands, command)("test")

    assert check_run(perform(tmp_path, end)) == []


def test_an_abort_while_the_data_are_written_does_not_cost_them(tmp_path: Path) -> None:
    def end(record: Record, run: Run) -> None:
        if (record["kind"], record["name"]) == ("note", "safe state"):
            run.commands.abort("test")

    folder = perform(tmp_path, end)
    document = json.loads((folder / "run.json").read_text())
    assert (document["status"], document["reason"]) == ("aborted", "test")
    assert (folder / "frames.h5").exists()
    assert not (folder / "frames.spool").exists()
    assert check_run(folder) == []


def in_run_json(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def changing(folder: Path) -> None:
        document = json.loads((folder / "run.json").read_text())
        change(document)
        (folder / "run.json").write_text(json.dumps(document))

    return changing


def in_lines(name: str, change: Callable[[list[Any]], object]) -> Callable[[Path], None]:
    def changing(folder: Path) -> None:
        lines = [json.loads(line) for line in (folder / name).read_text().splitlines()]
        change(lines)
        if name == "trace.jsonl":
            for seq, record in enumerate(lines):
                record["seq"] = seq
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))

    return changing


def in_data(change: Callable[[Any], None]) -> Callable[[Path], None]:
    def changing(folder: Path) -> None:
        with h5py.File(folder / "frames.h5", "r+") as file:
            change(file)

    return changing


def one_count(file: Any) -> None:
    counts = file["diffraction/data"][3]
    counts[5, 5] += 1
    file["diffraction/data"][3] = counts


def one_instant(file: Any) -> None:
    table = file["diffraction/frames"][:]
    table["end_ns"][3] += 1
    file["diffraction/frames"][:] = table


def last_frame_away(file: Any) -> None:
    table, counts = file["diffraction/frames"][:-1], file["diffraction/data"][:-1]
    del file["diffraction/frames"], file["diffraction/data"]
    file["diffraction/frames"], file["diffraction/data"] = table, counts


def frames_of(lines: list[Any], name: str) -> list[int]:
    return [k for k, r in enumerate(lines) if (r["kind"], r["name"]) == ("frame", name)]


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "status of another ending": (in_run_json(lambda d: d.update(status="failed")), "trace ends in state 'done'"),
    "status running": (in_run_json(lambda d: d.update(status="running")), "credline recover"),
    "no status": (in_run_json(lambda d: d.update(status="well")), "is none"),
    "no reason": (in_run_json(lambda d: d.update(reason="")), "no reason"),
    "one frame too many counted": (in_run_json(lambda d: d["result"].update(frames=99)), "counts 99 frames"),
    "snapshots not listed": (in_run_json(lambda d: d["snapshots"].pop()), "snapshots and lists"),
    "a lost slot not counted": (in_run_json(lambda d: d["result"].update(lost_slots=1)), "lost slots and lists"),
    "a lost slot nobody lost": (
        in_run_json(lambda d: d["result"].update(lost_slots=1, lost_slot_numbers=[3])),
        r"\[3\] only in run.json",
    ),
    "a state not in the journal": (in_lines("journal.jsonl", lambda lines: lines.pop()), "the journal"),
    "another state in the journal": (
        in_lines("journal.jsonl", lambda ls: ls[3].update(state="refocus")),
        "the journal",
    ),
    "a frame not in the trace": (
        in_lines("trace.jsonl", lambda ls: ls.pop(frames_of(ls, "diffraction")[3])),
        "on disk and not in the trace",
    ),
    "a frame twice in the trace": (
        in_lines("trace.jsonl", lambda ls: ls.append(dict(ls[frames_of(ls, "diffraction")[3]]))),
        "two diffraction frames",
    ),
    "a frame not on disk": (in_data(last_frame_away), "in the trace and not on disk"),
    "a count of a frame": (in_data(one_count), "CRC-32"),
    "an instant of a frame": (in_data(one_instant), "otherwise in the trace"),
    "a slot without a name": (
        in_lines("trace.jsonl", lambda ls: [ls.pop(k) for k in reversed(frames_of(ls, "diffraction")[3:4])]),
        "not in the trace",
    ),
    "a snapshot away": (lambda folder: (folder / "snapshots/00005.tiff").unlink(), "snapshot is in the trace"),
    "another snapshot": (
        lambda folder: (folder / "snapshots/00005.tiff").write_bytes((folder / "snapshots/00010.tiff").read_bytes()),
        "not what the camera delivered",
    ),
    "a lost slot that is there": (
        in_lines(
            "trace.jsonl",
            lambda ls: ls.append({"seq": 0, "t_ns": 0, "kind": "slot", "name": "lost", "slot": 3, "reason": "x"}),
        ),
        "counts as lost and is on disk",
    ),
    "something half-written": (lambda folder: (folder / ".frames.h5.new").write_bytes(b""), "half-written"),
    "a spool left": (lambda folder: (folder / "frames.spool").write_bytes(b"CREDSPL1"), "still there"),
    "no trace": (lambda folder: (folder / "trace.jsonl").unlink(), "cannot be read"),
    "no journal": (lambda folder: (folder / "journal.jsonl").unlink(), "cannot be read"),
    "no run.json": (lambda folder: (folder / "run.json").unlink(), "run.json: no such file"),
    "frames.h5 damaged": (lambda folder: (folder / "frames.h5").write_bytes(b"no"), "pictures: cannot be read"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_folder_whose_files_do_not_agree_is_told_of(
    whole: Path, tmp_path: Path, wrong: str, request: pytest.FixtureRequest
) -> None:
    change, line = WRONG[wrong]
    folder = copy_of(whole, tmp_path / "changed")
    change(folder)
    import re

    assert any(re.search(line, told) for told in check_run(folder)), check_run(folder)


def test_a_frame_lost_on_the_way_from_the_camera_to_the_disk_is_found(tmp_path: Path) -> None:
    # As if the program dropped it before it wrote anything of it but the step.
    folder = cut_off_run(tmp_path, 14)
    from engine.run.recovery import recover_run

    recover_run(folder)
    assert check_run(folder) == []
    document = json.loads((folder / "run.json").read_text())
    document["recovered"]["missing"] = []
    with h5py.File(folder / "frames.h5", "r+") as file:
        last_frame_away(file)
    (folder / "run.json").write_text(json.dumps(document))
    assert any("the camera delivered a frame that is not on disk" in line for line in check_run(folder))
