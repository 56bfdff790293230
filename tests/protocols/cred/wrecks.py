"""Run folders as a crash leaves them, for the tests of recovery: made once, copied, damaged, judged."""

import json
import os
import shutil
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py

from engine.record.spool import SpooledFrame, read_spool
from engine.record.trace import Record
from engine.run.contract import Prepared
from engine.run.perform import Request, execute
from engine.run.recovery import recover_run
from engine.run.run import Run
from protocols.cred import CRED

SHORT: dict[str, Any] = {"range_deg": 4.5, "relax_cycles": 0, "snapshot_interval": 5, "formats": ()}


def perform(out: Path, on: Callable[[Record, Run], object], devices: str = "simulated-timing", **plan: Any) -> Path:
    """A virtual run of 20 slots; `on` sees every record. Its folder."""

    def watch(run: Run, _: Prepared) -> None:
        def observe(record: Record) -> None:
            on(record, run)

        run.trace.observe(observe)

    wanted = CRED.plan_type.model_validate({**SHORT, **plan})
    return execute(Request(CRED, wanted, out, devices, virtual=True, seed=1, draw=False), watch).folder


def cut_off_run(out: Path, at_slot: int, **plan: Any) -> Path:
    """A folder as it would be had the program been killed just after the record of a slot's frame was written."""
    cut = out / "cut_off"

    def copy(record: Record, run: Run) -> None:
        if record["kind"] == "frame" and record["slot"] == at_slot:
            run.write_trace()
            # The writer has one queue: what this job finds on disk is what a kill here would have left.
            run.writer.submit_observation(lambda: shutil.copytree(run.folder, cut))

    perform(out, copy, **plan)
    (cut / "run.lock").unlink(missing_ok=True)
    return cut


def copy_of(folder: Path, to: Path) -> Path:
    """A fresh copy at `to`, whatever stood there."""
    shutil.rmtree(to, ignore_errors=True)
    return Path(shutil.copytree(folder, to))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, hidden ones too."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


class StepCopies:
    """Copies of a folder before every step that changes it: what a kill at that instant would have left.

    Python's audit events tell of every file that is opened for writing, renamed or removed, and of every folder made.
    An audit hook cannot be taken away again, so there is one for all tests, and it mostly looks away.
    """

    watching: "StepCopies | None" = None
    installed = False

    def __init__(self, folder: Path, to: Path) -> None:
        self.folder, self.to = folder, to
        self.steps: list[str] = []

    def __enter__(self) -> "StepCopies":
        if not StepCopies.installed:
            sys.addaudithook(StepCopies.heard)
            StepCopies.installed = True
        StepCopies.watching = self
        return self

    def __exit__(self, *_: object) -> None:
        StepCopies.watching = None

    @staticmethod
    def heard(event: str, args: tuple[Any, ...]) -> None:
        this = StepCopies.watching
        if this is None or event not in ("open", "os.rename", "os.remove", "os.mkdir"):
            return
        path = args[0]
        if not isinstance(path, str | Path) or not str(path).startswith(str(this.folder)):
            return
        if event == "open" and not (isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)):
            return
        StepCopies.watching = None  # the copying itself is not watched
        copy = Path(shutil.copytree(this.folder, this.to / f"{len(this.steps):03d}"))
        (copy / "run.lock").unlink(missing_ok=True)
        this.steps.append(f"{event} {Path(path).name}")
        StepCopies.watching = this


Held = dict[tuple[str, int], int]
"""(kind, slot) of pictures: CRC-32 of their counts."""


def spooled(spool: Path) -> Held:
    """What a spool without damage holds."""
    frames: list[SpooledFrame] = list(read_spool(spool))
    return {
        (frame.kind, frame.integer("slot") if frame.columns else 0): zlib.crc32(frame.counts.tobytes())
        for frame in frames
    }


def held(folder: Path) -> Held:
    """What a recovered folder holds."""
    found: Held = {}
    if (folder / "frames.h5").exists():
        with h5py.File(folder / "frames.h5") as file:
            for row, counts in zip(file["diffraction/frames"][:], file["diffraction/data"][:], strict=True):
                found["diffraction", int(row["slot"])] = zlib.crc32(counts.tobytes())
    if (folder / "snapshots").exists():
        from fabio import open as open_image

        for path in (folder / "snapshots").glob("*.tiff"):
            found["snapshot", int(path.stem)] = zlib.crc32(open_image(str(path)).data.tobytes())
    return found


def recovered(folder: Path) -> tuple[dict[str, Any], str]:
    """Recover, judge what must hold of any recovered run, and return its run.json and what was told."""
    told = "\n".join(recover_run(folder))
    document = json.loads((folder / "run.json").read_text())
    result, pictures = document["result"], held(folder)
    assert result["frames"] + result["frames_not_kept"] == sum(kind == "diffraction" for kind, _ in pictures)
    assert result["snapshots"] == sum(kind == "snapshot" for kind, _ in pictures)
    missing = {gap["slot"] for gap in document["recovered"]["missing"]}
    slots = {slot for _, slot in pictures}
    snapshots = {slot for kind, slot in pictures if kind == "snapshot"}
    assert not missing & slots
    cycles = {slot for slot in range(1, result["slots"] + 1) if last_held(slot, slots) in snapshots}
    assert set(range(1, result["slots"] + 1)) <= slots | missing | cycles
    assert result["lost_slot_numbers"] == sorted(slot for slot in missing if slot <= result["slots"])
    assert not (folder / "frames.spool").exists()
    assert not (folder / "run.lock").exists()
    assert document["status"] != "running"
    return document, told


def last_held(slot: int, slots: set[int]) -> int:
    """The last slot of these that is not after `slot`; 0 if there is none."""
    return max((held for held in slots if held <= slot), default=0)
