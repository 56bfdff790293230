"""A run folder as a crash has left it, read as far as it can be: what `engine.run.recovery` works on.

The spool (or frames.h5, if that was whole) says which pictures are safe; the trace what entered the run; run.json what
was asked. What could not be read is said, one line each for a person, and stays as it is.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from engine.errors import DataError
from engine.record.document import RUN_FILE, RunDocument
from engine.record.frametable import DATA_FILE, Extra, FramesFile
from engine.record.jsonobject import JsonObject
from engine.record.remains import LostFrame, Remains
from engine.record.salvage import (
    DamagedBytes,
    DamagedFrame,
    salvage_journal,
    salvage_lines,
    salvage_spool,
    salvage_trace,
)
from engine.record.spool import SPOOL_FILE, SpooledFrame
from engine.record.spoolformat import Columns, FrameInfo
from engine.record.trace import Record

ENDS = ("done", "stopped", "aborted", "failed")


@dataclass(slots=True)
class Found:
    """What is left. document: run.json; None where it is lost. lost: what could not be read, for a person.

    damaged: whether parts of the spool are damaged otherwise than by having been cut off. misfits: whether it holds
    frames that cannot stand in frames.h5 beside the others of their kind; they are whole, and stay in the spool.
    """

    folder: Path
    document: RunDocument | None
    remains: Remains
    extra: dict[str, Extra]
    lost: list[str]
    damaged: bool = False
    misfits: bool = False

    def frames(self, kind: str) -> Iterator[SpooledFrame]:
        """The frames of `remains` of one kind, from the spool, in order."""
        wanted = {frame.index for frame in self.remains.frames if frame.kind == kind}
        for item in salvage_spool(self.folder / SPOOL_FILE):
            if isinstance(item, SpooledFrame) and item.index in wanted and item.kind == kind:
                yield item


@dataclass(slots=True)
class _Spooled:
    """What a spool holds. like: shape and type of each kind's first frame."""

    frames: list[FrameInfo] = field(default_factory=list)
    lost: list[LostFrame] = field(default_factory=list)
    extra: dict[str, Extra] = field(default_factory=dict)
    like: dict[str, tuple[tuple[int, ...], str]] = field(default_factory=dict)
    damaged: bool = False
    misfits: bool = False


def read_found(folder: Path, kinds: Mapping[str, Sequence[str]]) -> Found:
    """Read what is left. kinds: the protocol's kinds of frames, each with its columns known on arrival.

    Raises DataError for a trace of a newer schema and for a frames.h5 that is damaged with no spool beside it, OSError
    when the disk fails.
    """
    trace = salvage_trace(folder / "trace.jsonl")
    journal = salvage_journal(folder / "journal.jsonl")
    lost = [*trace.lost, *journal.lost]
    if not (folder / "journal.jsonl").exists():
        lost.append("journal.jsonl: is missing")
    document = _document(folder, lost)
    header: Record = trace.records[0] if trace.records else {}
    states = max(
        [record["name"] for record in trace.records if record["kind"] == "state"],
        [line["state"] for line in journal.records if "state" in line],
        key=len,
    )
    spooled = _Spooled()
    if (folder / SPOOL_FILE).exists():
        spooled = _from_spool(folder / SPOOL_FILE, kinds)
    elif (folder / DATA_FILE).exists():
        spooled.frames = _from_data(folder / DATA_FILE, kinds, trace.records)
    remains = Remains(
        header=header,
        plan=_plan(document, header),
        records=trace.records,
        frames=spooled.frames,
        states=states,
        lost=spooled.lost,
        data_written=_written(folder, states),
        watchdog=salvage_lines(folder / "watchdog.jsonl").records,
    )
    return Found(folder, document, remains, spooled.extra, lost, spooled.damaged, spooled.misfits)


def _document(folder: Path, lost: list[str]) -> RunDocument | None:
    if not (folder / RUN_FILE).exists():
        lost.append("run.json: is missing")
        return None
    try:
        return RunDocument.read(folder)
    except DataError:
        lost.append("run.json: is damaged")
        return None


def _plan(document: RunDocument | None, header: Record) -> JsonObject:
    """What was asked; run.json knows the paths of files as well. Empty if neither says so."""
    if document is not None and document.plan:
        return document.plan
    plan = header.get("plan")
    return plan if isinstance(plan, dict) else {}


def _written(folder: Path, states: Sequence[str]) -> bool:
    """Whether the run itself had written its data, and let the spool go: then its instrument was safe before."""
    if (folder / SPOOL_FILE).exists():
        return False
    return (folder / DATA_FILE).exists() or bool(states and states[-1] in ("finalize", *ENDS))


def _from_spool(path: Path, kinds: Mapping[str, Sequence[str]]) -> _Spooled:
    spooled = _Spooled()
    for item in salvage_spool(path):
        if isinstance(item, DamagedBytes):
            spooled.damaged |= not item.torn or item.begin == 0
        elif isinstance(item, DamagedFrame):
            spooled.damaged |= not item.torn
            reason = "its record in the spool is damaged"
            spooled.lost.append(LostFrame(item.kind, item.columns, reason, item.torn))
        elif item.kind not in kinds:
            spooled.extra[item.kind] = Extra(item.counts, item.index)
        else:  # a spool of format 1 lacks columns that were declared since
            _take(spooled, replace(item, columns={name: item.columns.get(name) for name in kinds[item.kind]}))
    return spooled


def _take(spooled: _Spooled, frame: SpooledFrame) -> None:
    """A frame that is whole: with the others of its kind, or a misfit among them."""
    this = frame.counts.shape, frame.counts.dtype.newbyteorder("<").name
    like = spooled.like.setdefault(frame.kind, this)
    if this == like:
        spooled.frames.append(without_counts(frame))
        return
    spooled.misfits = True
    shape, pixel = like
    reason = f"its picture is {this[0]} {frame.counts.dtype}, others are {shape} {pixel}; it is kept in the spool"
    spooled.lost.append(LostFrame(frame.kind, frame.columns, reason))


def without_counts(frame: SpooledFrame) -> FrameInfo:
    """What is said of a frame."""
    return FrameInfo(
        frame.index,
        frame.kind,
        frame.columns,
        frame.number,
        frame.start_ns,
        frame.end_ns,
        frame.start_bounds_ns,
        frame.end_bounds_ns,
    )


def _from_data(path: Path, kinds: Mapping[str, Sequence[str]], records: Sequence[Record]) -> list[FrameInfo]:
    """The frames of a frames.h5; of a kind that is not in it, as in files of schema 1, those that the trace has."""
    frames: list[FrameInfo] = []
    with FramesFile(path) as file:
        held = file.kinds
        for kind in held:
            frames += _rows(file, kind, kinds.get(kind, ()))
    known: set[str] = {*held}
    for record in records:
        if record["kind"] != "frame" or record["name"] in known or record["name"] not in kinds:
            continue
        columns: Columns = {name: record.get(name) for name in kinds[record["name"]]}
        start_ns, end_ns, number = (record.get(key) for key in ("start_ns", "end_ns", "number"))
        if type(start_ns) is int and type(end_ns) is int and type(number) is int:
            bounds = (start_ns, start_ns), (end_ns, end_ns)
            frames.append(FrameInfo(len(frames), record["name"], columns, number, start_ns, end_ns, *bounds))
    return frames


def _rows(file: FramesFile, kind: str, columns: Sequence[str]) -> Iterator[FrameInfo]:
    """The frames of one kind as the file's table has them."""
    for k, row in enumerate(file.table(kind)):
        own = {name: row[name].item() if name in (row.dtype.names or ()) else None for name in columns}
        instants = {name: int(row[name]) for name in ("index", "number", "start_ns", "end_ns")}
        bounds = [(int(row[f"{end}_min_ns"]), int(row[f"{end}_max_ns"])) for end in ("start", "end")]
        index = instants["index"] if instants["index"] >= 0 else k
        yield FrameInfo(index, kind, own, instants["number"], instants["start_ns"], instants["end_ns"], *bounds)
