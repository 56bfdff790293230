"""Whether the files of a run folder tell the same story: run.json, journal, trace, and the spool or frames.h5.

For tests and for whoever doubts a folder; what a protocol knows beyond this it checks itself. Milliseconds for a short
run.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from engine.errors import DataError
from engine.frame import Picture
from engine.record.document import RUNNING, RunDocument
from engine.record.endings import Status
from engine.record.frametable import DATA_FILE, FramesFile
from engine.record.journal import read_journal
from engine.record.spool import SPOOL_FILE, read_spool
from engine.record.spoolformat import UNKNOWN_INDEX
from engine.record.trace import Record, read_trace

ENDS = tuple(status.value for status in Status)


@dataclass(frozen=True, slots=True)
class Stored:
    """A picture on disk: what identifies it, and the CRC-32 of its counts, in either order of bytes.

    index: its place in the spool, UNKNOWN_INDEX where it is not known. slot: None for kinds without slots.
    """

    kind: str
    index: int
    slot: int | None
    start_ns: int
    end_ns: int
    crcs: tuple[int, ...]


@dataclass(slots=True)
class RunFiles:
    """A run folder, read: what each of its files says. problems: what could not be read.

    document: None where run.json cannot be read. kinds_in_files: kinds of which each picture is a file of its own.
    """

    folder: Path
    document: RunDocument | None = None
    records: list[Record] = field(default_factory=list)
    journal_states: list[str] = field(default_factory=list)
    stored: list[Stored] = field(default_factory=list)
    kinds_in_files: frozenset[str] = frozenset()
    problems: list[str] = field(default_factory=list)

    def of(self, kind: str, name: str | None = None) -> list[Record]:
        """The records of a kind, and of a name where one is given."""
        return [r for r in self.records if r["kind"] == kind and name in (None, r["name"])]

    @property
    def status(self) -> str | None:
        """How the run ended, as run.json has it."""
        return self.document.status if self.document else None

    @property
    def disk_failed(self) -> bool:
        """Whether the run says that it could not write: then its files end where that happened."""
        document = self.document
        if document and (document.trace_cut_off or document.disk_failed or "could not be written" in document.reason):
            return True
        return any(r.get("source") == "disk" for r in self.of("command"))

    @property
    def recovered(self) -> bool:
        """Whether a recovery has put the folder together."""
        return self.document is not None and self.document.recovered is not None

    @property
    def excused(self) -> set[int]:
        """Slots that a recovery has named as missing."""
        recovered = (self.document.recovered if self.document else None) or {}
        return {gap["slot"] for gap in recovered.get("missing", [])}

    @property
    def identity(self) -> str:
        """The field by which pictures on disk and frames of the trace are the same: files of schema 1 have slots."""
        return "slot" if any(item.index == UNKNOWN_INDEX for item in self.stored) else "index"


def read_folder(folder: Path) -> RunFiles:
    """Read what the files say; what cannot be read stands in `problems`."""
    files = RunFiles(folder)
    try:
        files.document = RunDocument.read(folder)
    except DataError as error:
        files.problems.append(str(error))
    try:
        files.records.extend(read_trace(folder))
    except DataError as error:
        if files.document is None or not files.document.trace_cut_off:
            files.problems.append(str(error))
    try:
        files.journal_states.extend(line["state"] for line in read_journal(folder) if "state" in line)
    except DataError as error:
        files.problems.append(str(error))
    try:
        _read_pictures(files)
    except (DataError, OSError) as error:
        files.problems.append(f"pictures: cannot be read ({error})")
    return files


def check_folder(folder: Path) -> list[str]:
    """Where the files of a run folder disagree, one line each; nothing when they tell the same story.

    For a run that has ended or was recovered. Whatever is wrong with the files is in the lines; raises nothing.
    """
    return check(read_folder(folder))


def check(files: RunFiles) -> list[str]:
    """The same for a folder that was read already."""
    return [*files.problems, *_states(files), *_frames(files), *_leftovers(files)]


def _read_pictures(files: RunFiles) -> None:
    spool, data = files.folder / SPOOL_FILE, files.folder / DATA_FILE
    if spool.exists():
        told = {record["name"] for record in files.of("frame")}  # the others are no exposures: a flatfield
        for frame in read_spool(spool):
            if frame.kind in told or not files.records:
                slot = frame.columns.get("slot")
                number = slot if type(slot) is int else None
                crcs = _crcs(frame.counts)
                files.stored.append(Stored(frame.kind, frame.index, number, frame.start_ns, frame.end_ns, crcs))
    elif data.exists():
        with FramesFile(data) as frames:
            if frames.schema == 1:
                files.kinds_in_files = frozenset({"snapshot"})
            for kind in frames.kinds:
                files.stored.extend(_stored(frames, kind))


def _stored(frames: FramesFile, kind: str) -> Iterator[Stored]:
    table = frames.table(kind)
    has_slots = "slot" in (table.dtype.names or ())
    for k, row in enumerate(table):
        slot = int(row["slot"]) if has_slots else None
        crcs = _crcs(frames.picture(kind, k))
        yield Stored(kind, int(row["index"]), slot, int(row["start_ns"]), int(row["end_ns"]), crcs)


def _crcs(counts: Picture) -> tuple[int, ...]:
    counts = np.ascontiguousarray(counts)
    return zlib.crc32(counts.data), zlib.crc32(counts.byteswap().data)


def _states(files: RunFiles) -> Iterator[str]:
    """Journal and trace went through the same states, and run.json names the last of them."""
    states = [record["name"] for record in files.of("state")]
    status, reason = files.status, files.document.reason if files.document else ""
    cut_off = files.recovered or files.disk_failed
    shorter = min(len(states), len(files.journal_states))
    if states[:shorter] != files.journal_states[:shorter] or (len(states) != len(files.journal_states) and not cut_off):
        yield f"states: the trace has {_brief(states)}, the journal {_brief(files.journal_states)}"
    if status == RUNNING:
        yield "run.json: its status is 'running'; the run goes on, or was cut off: credline recover"
    elif status not in ENDS:
        yield f"run.json: its status {status!r} is none"
    elif files.document is not None and states and states[-1] != files.document.ended_as and not cut_off:
        yield f"run.json: its status is {status!r}, the trace ends in state {states[-1]!r}"
    if status in ENDS and not reason:
        yield f"run.json: no reason for its status {status!r}"


def _brief(states: Sequence[str]) -> str:
    return f"{len(states)} ending in {', '.join(states[-3:]) or 'none'}"


def _frames(files: RunFiles) -> Iterator[str]:
    """Frames of the trace and pictures on disk are the same, in the same order, unless the disk failed and says so."""
    by_index = files.identity == "index"
    stored: dict[tuple[str, object], Stored] = {
        (item.kind, item.index if by_index else item.slot): item for item in files.stored
    }
    slots = [(item.kind, item.slot) for item in files.stored if item.slot is not None]
    if len(stored) != len(files.stored) or len(set(slots)) != len(slots):
        yield "pictures: two of the same kind and slot"
    traced: dict[tuple[str, object], Record] = {}
    traced_slots: set[tuple[str, object]] = set()
    for record in files.of("frame"):
        if record["name"] in files.kinds_in_files:
            continue  # for the protocol to check
        key, slot = (record["name"], record.get(files.identity)), record.get("slot")
        if key in traced or (slot is not None and (record["name"], slot) in traced_slots):
            yield f"trace: two {key[0]} frames of {_where(slot, key[1])}"
        traced[key] = record
        traced_slots.add((record["name"], slot))
    cut_off = files.recovered or files.disk_failed
    for (kind, identity), record in traced.items():
        item, where = stored.get((kind, identity)), _where(record.get("slot"), identity)
        if item is None:
            if record.get("slot") not in files.excused and not files.disk_failed:
                yield f"{where}: its {kind} frame is in the trace and not on disk"
            continue
        if (item.start_ns, item.end_ns) != (record.get("start_ns"), record.get("end_ns")):
            yield f"{where}: exposed {item.start_ns} to {item.end_ns} on disk, otherwise in the trace"
        if item.slot != record.get("slot"):
            yield f"{where}: is that of slot {item.slot} on disk"
        if record.get("crc") not in item.crcs:
            yield f"{where}: its counts on disk are not those that the camera delivered (CRC-32)"
    for (kind, identity), item in stored.items():
        if (kind, identity) not in traced and not cut_off:
            yield f"{_where(item.slot, identity)}: its {kind} frame is on disk and not in the trace"
    for kind in {item.kind for item in files.stored}:
        order = [item.start_ns for item in files.stored if item.kind == kind]
        if order != sorted(order):
            yield "pictures: not in the order of their exposure"


def _where(slot: object, identity: object) -> str:
    return f"frame {identity}" if slot is None else f"slot {slot}"


def _leftovers(files: RunFiles) -> Iterator[str]:
    """Nothing half-written is left, and the spool only where the run could not finish it."""
    folder = files.folder
    for path in [*folder.glob(".*.new"), *folder.rglob(".*.part*")]:
        yield f"{path.relative_to(folder)}: was left half-written"
    # Who aborts while the data are written has them in the spool.
    ended = files.status in ENDS and files.status != Status.ABORTED.value
    if (folder / SPOOL_FILE).exists() and ended and not files.disk_failed:
        yield f"{SPOOL_FILE}: is still there although the run has ended"
