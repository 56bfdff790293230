"""Whether the files of a run folder tell the same story: run.json, journal, trace, and the spool or frames.h5.

For tests and for whoever doubts a folder; what a protocol knows beyond this it checks itself. Milliseconds for a short
run.
"""

import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from engine.errors import DataError
from engine.frame import Picture
from engine.record.endings import Status
from engine.record.journal import read_journal
from engine.record.spool import read_spool
from engine.record.trace import Record, read_trace

ENDS = tuple(status.value for status in Status)


@dataclass(frozen=True, slots=True)
class Stored:
    """A picture on disk: what identifies it, and the CRC-32 of its counts, in either order of bytes."""

    kind: str
    slot: int
    start_ns: int
    end_ns: int
    crcs: tuple[int, ...]


@dataclass(slots=True)
class Told:
    """A run folder, read: what each of its files says. problems: what could not be read."""

    folder: Path
    document: dict[str, Any] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    journal_states: list[str] = field(default_factory=list)
    stored: list[Stored] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def of(self, kind: str, name: str | None = None) -> list[Record]:
        """The records of a kind, and of a name where one is given."""
        return [r for r in self.records if r["kind"] == kind and name in (None, r["name"])]

    @property
    def disk_failed(self) -> bool:
        """Whether the run says that it could not write: then its files end where that happened."""
        if self.document.keys() & {"trace_cut_off", "disk_failed"}:
            return True
        return any(r.get("source") == "disk" for r in self.of("command")) or "could not be written" in str(
            self.document.get("reason")
        )

    @property
    def excused(self) -> set[int]:
        """Slots that a recovery has named as missing."""
        return {gap["slot"] for gap in (self.document.get("recovered") or {}).get("missing", [])}


def read_folder(folder: Path) -> Told:
    """Read what the files say; what cannot be read stands in `problems`."""
    told = Told(folder)
    try:
        document = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        told.document = document if isinstance(document, dict) else {}
    except (OSError, ValueError) as error:
        told.problems.append(f"run.json: cannot be read ({error})")
    try:
        told.records.extend(read_trace(folder))
    except DataError as error:
        if "trace_cut_off" not in told.document:
            told.problems.append(str(error))
    try:
        told.journal_states.extend(line["state"] for line in read_journal(folder) if "state" in line)
    except DataError as error:
        told.problems.append(str(error))
    try:
        told.stored.extend(_stored(folder))
    except (DataError, OSError, KeyError, ValueError) as error:
        told.problems.append(f"pictures: cannot be read ({error})")
    return told


def check_folder(folder: Path) -> list[str]:
    """Where the files of a run folder disagree, one line each; nothing when they tell the same story.

    For a run that has ended or was recovered. Whatever is wrong with the files is in the lines; raises nothing.
    """
    return check(read_folder(folder))


def check(told: Told) -> list[str]:
    """The same for a folder that was read already."""
    return [*told.problems, *_states(told), *_frames(told), *_leftovers(told)]


def _stored(folder: Path) -> Iterator[Stored]:
    spool, data = folder / "frames.spool", folder / "frames.h5"
    if spool.exists():
        for frame in read_spool(spool):
            if frame.kind != "flatfield":
                yield Stored(frame.kind, frame.slot, frame.start_ns, frame.end_ns, _crcs(frame.counts))
    elif data.exists():
        with h5py.File(data) as file:
            data_set = file["data"]
            for k, row in enumerate(file["frames"][()]):
                crcs = _crcs(data_set[k])
                yield Stored("diffraction", int(row["slot"]), int(row["start_ns"]), int(row["end_ns"]), crcs)


def _crcs(counts: Picture) -> tuple[int, ...]:
    counts = np.ascontiguousarray(counts)
    return zlib.crc32(counts.data), zlib.crc32(counts.byteswap().data)


def _states(told: Told) -> Iterator[str]:
    """Journal and trace went through the same states, and run.json names the last of them."""
    states = [record["name"] for record in told.of("state")]
    status = told.document.get("status")
    cut_off = "recovered" in told.document or told.disk_failed
    shorter = min(len(states), len(told.journal_states))
    if states[:shorter] != told.journal_states[:shorter] or (len(states) != len(told.journal_states) and not cut_off):
        yield f"states: the trace has {_brief(states)}, the journal {_brief(told.journal_states)}"
    if status == "running":
        yield "run.json: its status is 'running'; the run goes on, or was cut off: credline recover"
    elif status not in ENDS:
        yield f"run.json: its status {status!r} is none"
    elif states and states[-1] != status and not cut_off:
        yield f"run.json: its status is {status!r}, the trace ends in state {states[-1]!r}"
    if status in ENDS and not told.document.get("reason"):
        yield f"run.json: no reason for its status {status!r}"


def _brief(states: Sequence[str]) -> str:
    return f"{len(states)} ending in {', '.join(states[-3:]) or 'none'}"


def _frames(told: Told) -> Iterator[str]:
    """Frames of the trace and pictures on disk are the same, in the same order, unless the disk failed and says so."""
    in_h5 = not (told.folder / "frames.spool").exists()
    stored = {(item.kind, item.slot): item for item in told.stored}
    if len(stored) != len(told.stored):
        yield "pictures: two of the same kind and slot"
    traced: dict[tuple[str, int], Record] = {}
    for record in told.of("frame"):
        if in_h5 and record["name"] == "snapshot":
            continue  # those are files of their own then, for the protocol to check
        key = record["name"], record["slot"]
        if key in traced:
            yield f"trace: two {key[0]} frames of slot {key[1]}"
        traced[key] = record
    cut_off = "recovered" in told.document or told.disk_failed
    for (kind, slot), record in traced.items():
        item = stored.get((kind, slot))
        if item is None:
            if slot not in told.excused and not told.disk_failed:
                yield f"slot {slot}: its {kind} frame is in the trace and not on disk"
            continue
        if (item.start_ns, item.end_ns) != (record.get("start_ns"), record.get("end_ns")):
            yield f"slot {slot}: exposed {item.start_ns} to {item.end_ns} on disk, otherwise in the trace"
        if record.get("crc") not in item.crcs:
            yield f"slot {slot}: its counts on disk are not those that the camera delivered (CRC-32)"
    for kind, slot in stored:
        if (kind, slot) not in traced and not cut_off:
            yield f"slot {slot}: its {kind} frame is on disk and not in the trace"
    order = [item.start_ns for item in told.stored if item.kind == "diffraction"]
    if order != sorted(order):
        yield "pictures: not in the order of their exposure"


def _leftovers(told: Told) -> Iterator[str]:
    """Nothing half-written is left, and the spool only where the run could not finish it."""
    folder = told.folder
    for path in [*folder.glob(".*.new"), *folder.rglob(".*.part*")]:
        yield f"{path.relative_to(folder)}: was left half-written"
    # Who aborts while the data are written has them in the spool.
    ended = told.document.get("status") in ENDS and told.document.get("status") != Status.ABORTED.value
    if (folder / "frames.spool").exists() and ended and not told.disk_failed:
        yield "frames.spool: is still there although the run has ended"
