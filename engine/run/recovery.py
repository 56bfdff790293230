"""A run whose program was cut off, brought into the form that the run itself would have given it: any protocol's.

Four steps, each whole or not at all, so that recovery may be cut off and repeated at any point: the data (frames.h5
and the protocol's own files) are written beside the spool; run.json says what they hold, and what is missing; the spool
goes; the products are made, and run.json says so.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import ValidationError

from engine.errors import CredlineError, DataError, StorageError
from engine.record.document import TRACE_FILE, RunDocument
from engine.record.endings import Status
from engine.record.folder import children_of, to_disk
from engine.record.found import Found, read_found
from engine.record.frametable import DATA_FILE, missing_file
from engine.record.lock import alone_in
from engine.record.remains import Remains, RunEnd
from engine.record.salvage import has_begun, nothing_began, protocol_of
from engine.record.shownframe import SHOWN_FILE
from engine.record.spool import SPOOL_FILE
from engine.record.warned import warnings_in
from engine.run.contract import AnyExperiment
from engine.run.data import write_data
from engine.run.lastwords import LastWords
from engine.run.registry import experiment_type
from engine.run.runrow import note_in_table

DAMAGED_SPOOL_FILE = "frames.damaged.spool"
OTHER_SPOOL_FILE = "frames.other.spool"
# What run.json says under `recovered: products` until they are made.
PENDING = "pending"
LATE = "was not written any more"

Kind = AnyExperiment


def recover_run(folder: Path, *, draw: bool = False) -> Sequence[str]:
    """Write what the run could not; lines for a person. May be repeated, and cut off, at any point.

    The runs that it has performed come first: what they have left is whole when their parent's ending is written.
    draw: whether the timing strip is drawn too (half a second of another process). Raises DataError for a folder that
    holds no run, or whose frames are gone, and for one at which a program is still at work; StorageError when the disk
    fails or is full. What could not be read stays as it is.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: is no folder; give the folder of a run.")
    try:
        protocol = protocol_of(folder)
        if protocol is None:
            return nothing_began(folder)
        kind = experiment_type(protocol)
        with alone_in(folder):
            before = [line for child in children_of(folder) for line in _recover_child(child, draw=draw)]
            lines = list(_recover(kind, folder))
            if draw:
                _draw(folder)
            return [*before, f"{folder}: {lines[0]}", *lines[1:]]
    except OSError as error:
        raise StorageError(
            f"{folder}: could not be recovered ({error.strerror or error}); the spool is kept as it is. See to the "
            "disk, then repeat the command."
        ) from error


def _recover_child(folder: Path, *, draw: bool) -> Sequence[str]:
    """The same of a child; one whose folder was made and nothing else does not keep its parent from being recovered."""
    return recover_run(folder, draw=draw) if has_begun(folder) else nothing_began(folder)


def _recover(kind: Kind, folder: Path) -> Iterator[str]:
    found = read_found(folder, {k.name: tuple(c.name for c in k.arrival) for k in kind.frame_kinds})
    spool = (folder / SPOOL_FILE).exists()
    document = found.document or RunDocument.from_header(found.remains.header or None, folder.name)
    if document.created_at is None and (folder / TRACE_FILE).exists():
        document = _dated(found, document)
    if found.document is not None and not spool and _is_over(found, document):
        if _data_lost(kind, found, document):
            raise missing_file(folder / DATA_FILE)
        reason = document.reason or "no reason"
        yield _sentence(f"nothing to recover; its status is {document.status!r}: {reason}")
        return
    _clear_up(folder)
    if spool or not document.has_ended:
        document = _recover_data(kind, found, document)
    elif found.document is None:
        document.write(folder)
    yield from _told(kind, document)
    yield _make_products(kind, found, document)


def _is_over(found: Found, document: RunDocument) -> bool:
    """Whether the run, or its recovery, came to its end: then there is nothing to do."""
    if not document.has_ended:
        return False
    if document.recovered is not None:
        return document.recovered.get("products") != PENDING
    return found.remains.states[-1:] == [document.ended_as] or not found.remains.states


def _data_lost(kind: Kind, found: Found, document: RunDocument) -> bool:
    """Whether frames were taken and written, as far as anybody knows, and are gone, with no spool beside them."""
    if (found.folder / DATA_FILE).exists() or document.recovered is not None or document.disk_failed:
        return False
    kinds = {frames.name for frames in kind.frame_kinds}
    return any(record["kind"] == "frame" and record["name"] in kinds for record in found.remains.records)


def _clear_up(folder: Path) -> None:
    """Remove what was being written when the program ended, which is made anew, and what was for the eyes only."""
    for path in [folder / SHOWN_FILE, *folder.glob(".*.new"), *folder.rglob(".*.part*")]:
        with suppress(FileNotFoundError):
            path.unlink()


def _recover_data(kind: Kind, found: Found, document: RunDocument) -> RunDocument:
    """frames.h5 and the like from the spool, if it is there still; then run.json; then the spool may go."""
    folder, spool = found.folder, found.folder / SPOOL_FILE
    durable = document.clock != "virtual"
    before = document.recovered  # a recovery that was cut off itself has said already how the run ended
    ended = _ended(found.remains)
    cut_off = before.get("cut_off") is True if before is not None else not document.has_ended and ended is None
    remains = replace(found.remains, cut_off=cut_off)
    end = kind.finish(remains)
    files: list[Path] = []
    if spool.exists():
        files = write_data(kind, folder, remains, end, found.frames, found.extra)
    words = kind.last_words(remains)
    if not document.has_ended:
        alarms = [*document.alarms, *(alarm for alarm in words.alarms if alarm not in document.alarms)]
        reason = _reason(remains, words, "the spool" if spool.exists() else "what was left")
        if ended is not None:
            reason = f"so its trace says; why stood in run.json, which {'was lost' if found.document is None else LATE}"
        document = replace(document, status=(ended or Status.FAILED).value, reason=reason, alarms=tuple(alarms))
    document = replace(
        document,
        warnings=warnings_in(remains.records) or document.warnings,
        result=end.result,
        own={**document.own, **end.sections},
        recovered={
            "state": remains.states[-1] if remains.states else None,
            "instrument": [*words.alarms, *words.notes],
            "missing": list(end.missing),
            "lost_records": [*found.lost, *_lost_files(found)],
            "cut_off": cut_off,
            "products": PENDING,
        },
    )
    if durable:
        to_disk(folder, files)
    document.write(folder, durable=durable)
    if durable:
        to_disk(folder)
    if spool.exists():
        if found.damaged or found.misfits:
            # Not written anew, only called otherwise: a rename is the whole of it.
            spool.replace(folder / (DAMAGED_SPOOL_FILE if found.damaged else OTHER_SPOOL_FILE))
        else:
            spool.unlink()
    return document


def _ended(remains: Remains) -> Status | None:
    """How a run ended whose trace reaches its end; None of one that was cut off before."""
    last = next((record["name"] for record in reversed(remains.records) if record["kind"] == "state"), None)
    return next((status for status in Status if status.value == last), None)


def _lost_files(found: Found) -> list[str]:
    lost = []
    folder = found.folder
    if not (folder / SPOOL_FILE).exists() and not (folder / DATA_FILE).exists() and not found.remains.data_written:
        lost.append(f"{SPOOL_FILE}: is missing")
    if found.damaged:
        lost.append(f"{SPOOL_FILE}: parts of it are damaged; it is kept as {DAMAGED_SPOOL_FILE}")
    elif found.misfits:
        lost.append(f"frames of another type or shape than the first: they are whole, and kept in {OTHER_SPOOL_FILE}")
    if found.remains.plan.get("truth") and not (folder / "truth.h5").exists():
        lost.append("truth.h5: was not written any more; only the simulation knew what stands in it")
    return lost


def _dated(found: Found, document: RunDocument) -> RunDocument:
    """The document of a run whose run.json is lost, with the wall time that files want: when its trace was last
    written, less the trace's own time of its last record. That stands among what was lost.
    """
    found.document = None
    line = "run.json: when the run began is taken from the time at which its trace was last written"
    found.lost.append(line)
    if document.recovered is not None:  # by a version that gave it none
        lost = [*document.recovered.get("lost_records", ()), line]
        document = replace(document, recovered={**document.recovered, "lost_records": lost})
    written = datetime.fromtimestamp((found.folder / TRACE_FILE).stat().st_mtime, UTC)
    last_ns = found.remains.records[-1]["t_ns"] if found.remains.records else 0
    return replace(document, created_at=(written - timedelta(microseconds=last_ns / 1000)).isoformat())


def _reason(remains: Remains, words: LastWords, source: str) -> str:
    state = f"in state {remains.states[-1]!r}" if remains.states else "before its first state"
    after = f", after {_last_frame(remains)}" if remains.frames else ", before the first frame"
    beam = "; " + "; ".join(words.alarms) if words.alarms else ""
    return f"the program ended {state}{after}; recovered from {source}{beam}"


def _last_frame(remains: Remains) -> str:
    """The last frame by the first of its columns (a slot, a field), or by its number."""
    last = remains.frames[-1]
    name = next(iter(last.columns), None)
    return f"{name} {last.columns[name]}" if name is not None else f"frame {len(remains.frames)}"


def _told(kind: Kind, document: RunDocument) -> Iterator[str]:
    """What the run holds, what it does not, and what to look after, for a person."""
    recovered = document.recovered or {}
    yield kind.held(document.result)
    yield _sentence(f"Status {document.status}: {document.reason}")
    by_reason: dict[str, list[int]] = {}
    for gap in recovered.get("missing", []):
        by_reason.setdefault(gap["reason"], []).append(next(v for k, v in gap.items() if k != "reason"))
    names = {k for gap in recovered.get("missing", []) for k in gap if k != "reason"}
    name = "/".join(sorted(names))
    for reason, numbers in by_reason.items():
        yield _sentence(f"Missing: {name}{'s' if len(numbers) > 1 else ''} {_ranges(numbers)}: {reason}")
    for line in recovered.get("lost_records", []):
        yield _sentence(f"Lost: {line}")
    for line in document.warnings:
        yield _sentence(f"Warning: {line}")
    for line in recovered.get("instrument", []):
        yield _sentence(f"Instrument: {line}")


def _sentence(text: str) -> str:
    """With one full stop at its end: what others said, as a reason, may bring its own."""
    return text if text.endswith(".") else f"{text}."


def _ranges(numbers: Sequence[int]) -> str:
    """7, 9-12: consecutive numbers joined."""
    words: list[str] = []
    begin = 0
    for k, number in enumerate(numbers):
        if k + 1 == len(numbers) or numbers[k + 1] != number + 1:
            words.append(f"{numbers[begin]}-{number}" if k > begin else f"{number}")
            begin = k + 1
    return ", ".join(words)


def _make_products(kind: Kind, found: Found, document: RunDocument) -> str:
    """What the run itself would have made at its end; what became of it, for a person, stands in run.json too."""
    made = _products(kind, found, document)
    document = replace(document, recovered={**(document.recovered or {}), "products": made})
    document.write(found.folder, durable=document.clock != "virtual")
    note_in_table(kind, found.folder, document)
    return _sentence(f"Products: {made}")


def _products(kind: Kind, found: Found, document: RunDocument) -> str:
    try:
        plan = kind.plan_type.model_validate(found.remains.plan)
    except ValidationError:
        return "none were asked for"
    formats = kind.products(plan)
    if not formats:
        return "none were asked for"
    aborted = document.status == Status.ABORTED.value or any(
        record["kind"] == "command" and record["name"] == Status.ABORTED.value for record in found.remains.records
    )
    end: RunEnd = kind.finish(found.remains)
    if end.unusable or aborted:
        return f"none; {'the run had been aborted' if aborted else end.unusable}"
    try:
        return "; ".join(kind.export(found.folder, formats, lambda done, total: None))
    except CredlineError as error:
        return f"none; {error}"


def _draw(folder: Path) -> None:
    """The timing strip, as a run draws it at its end."""
    from engine.views.strip import StripProcess

    picture = folder / "report" / "timing.png"
    if picture.exists():
        return
    strip = StripProcess()
    try:
        strip.draw(folder / "trace.jsonl", picture)
    finally:
        strip.close()
