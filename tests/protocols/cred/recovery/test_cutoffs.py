"""A run, and a recovery, cut off before each single step that changes a file: the outcome is the same."""

import json
from pathlib import Path
from typing import Any

import pytest

from engine.record.salvage import nothing_began, protocol_of
from engine.record.trace import Record
from engine.run.recovery import recover_run
from engine.run.run import Run
from protocols.cred.soak.agreement import check_run
from tests.protocols.cred.wrecks import StepCopies, contents, copy_of, cut_off_run, held, perform, spooled

FAST_PICTURES: dict[str, Any] = {"range_deg": 1.6, "snapshot_interval": 4, "formats": ("smv", "tiff", "xds")}


def test_a_run_killed_before_any_step_of_its_beginning_or_end_is_recovered(tmp_path: Path) -> None:
    copies: list[StepCopies] = []

    def end_begins(record: Record, run: Run) -> None:
        if record["kind"] == "state" and record["name"] == "finalize":
            copies.append(StepCopies(run.folder, tmp_path))
            copies[0].__enter__()

    folder = perform(tmp_path / "runs", end_begins)
    copies[0].__exit__()
    whole = held(folder)
    steps = copies[0].steps
    assert len(steps) > 10
    assert {"os.rename .frames.h5.new", "os.rename .run.json.new", "os.remove frames.spool"} <= set(steps)
    last = {(kind, slot) for kind, slot in whole if slot == max(slot for _, slot in whole)}
    statuses = set()
    for k, step in enumerate(steps):
        cut = tmp_path / f"{k:03d}"
        recover_run(cut)
        document = json.loads((cut / "run.json").read_text())
        statuses.add(document["status"])
        # The last frame is written when the beam is off; before that it is the one in flight.
        missing = set(whole.items()) ^ set(held(cut).items())
        assert {key for key, _ in missing} <= last, step
        if "recovered" in document:
            assert document["result"]["frames"] == sum(kind == "diffraction" for kind, _ in held(cut))
        assert check_run(cut) == [], step
        before = contents(cut)
        assert "nothing to recover" in recover_run(cut)[0]
        assert contents(cut) == before
    assert statuses == {"failed", "done"}


def test_a_run_killed_while_its_products_are_made_gets_them(tmp_path: Path) -> None:
    copies: list[StepCopies] = []

    def end_begins(record: Record, run: Run) -> None:
        if record["kind"] == "state" and record["name"] == "finalize":
            copies.append(StepCopies(run.folder, tmp_path))
            copies[0].__enter__()

    folder = perform(tmp_path / "runs", end_begins, devices="simulated", **FAST_PICTURES)
    copies[0].__exit__()
    steps = copies[0].steps
    frames = json.loads((folder / "run.json").read_text())["result"]["frames"]
    exporting = steps.index("os.mkdir tiff")
    writing = next(k for k, step in enumerate(steps) if "XDS.INP" in step)
    for k in (steps.index("os.rename .frames.h5.new"), steps.index("os.remove frames.spool"), exporting, writing):
        cut = tmp_path / f"{k:03d}"
        told = recover_run(cut)
        document = json.loads((cut / "run.json").read_text())
        assert "files in" in told[-1], steps[k]
        assert len(list((cut / "tiff").glob("*.tiff"))) == frames
        assert (cut / "SMV" / "XDS.INP").exists()
        assert not list(cut.rglob(".*"))
        # Once the run had said in run.json how it ended, that is how it ended.
        assert document["status"] == ("done" if k >= exporting else "failed")
        assert check_run(cut) == []
        assert "nothing to recover" in recover_run(cut)[0]


def test_a_run_killed_before_it_began_left_nothing_to_recover(tmp_path: Path) -> None:
    folder = tmp_path / "grain_001"
    folder.mkdir()
    for name, content in (
        ("trace.jsonl", b""),
        ("journal.jsonl", b""),
        ("frames.spool", b"CRED"),
        (".run.json.new", b"{"),
    ):
        (folder / name).write_bytes(content)
        assert protocol_of(folder) is None
        before = contents(folder)
        for _ in range(2):
            assert "nothing was moved" in nothing_began(folder)[0]
            assert "nothing was moved" in recover_run(folder)[0]
        assert contents(folder) == before


@pytest.mark.parametrize("damaged", [False, True], ids=["cut off", "damaged as well"])
def test_a_recovery_killed_before_any_of_its_steps_is_repeated(tmp_path: Path, damaged: bool) -> None:
    wreck = cut_off_run(tmp_path / "runs", 14)
    whole = spooled(wreck / "frames.spool")
    if damaged:
        data = bytearray((wreck / "frames.spool").read_bytes())
        data[3000] ^= 1
        (wreck / "frames.spool").write_bytes(data)
    once = copy_of(wreck, tmp_path / "once")
    recover_run(once)
    watched = copy_of(wreck, tmp_path / "watched")
    with StepCopies(watched, tmp_path) as copies:
        recover_run(watched)
    assert len(copies.steps) >= 10
    for k, step in enumerate(copies.steps):
        cut = tmp_path / f"{k:03d}"
        recover_run(cut)
        # HDF5 and TIFF do not promise the same bytes; their pictures are compared below.
        again, first = ({n: c for n, c in contents(f).items() if n[-3:] not in (".h5", "iff")} for f in (cut, once))
        assert again == first, step
        assert held(cut) == held(once)
    assert len(held(once)) == len(whole) - damaged


def test_what_was_half_written_is_cleared_up(tmp_path: Path) -> None:
    wreck = cut_off_run(tmp_path / "runs", 9)
    (wreck / "tiff").mkdir()
    (wreck / "snapshots").mkdir(exist_ok=True)
    (wreck / "snapshots" / "00005.tiff").write_bytes(b"II*")
    for name in (".frames.h5.new", ".run.json.new", "tiff/.00001.tiff.part4711"):
        (wreck / name).write_bytes(b"half")
    recover_run(wreck)
    assert not list(wreck.rglob(".*"))
    assert check_run(wreck) == []
