"""What can still be read of a damaged run folder: every whole record of trace, journal and spool, and what was lost.

The strict readers refuse a damaged file, because what is missing may matter. Recovery takes what is whole, passes
over what is not, and says so: a record counts only if its own check (schema, sequence, CRC-32) holds.
"""

import json
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from engine.errors import DataError, shown
from engine.record import journal, trace
from engine.record.document import RunDocument
from engine.record.jsonobject import JsonDict
from engine.record.schema import problem
from engine.record.spool import SPOOL_FILE, SpooledFrame, numbered, with_counts
from engine.record.spoolformat import (
    HEAD_SIZES,
    LONGEST_HEAD,
    MAGIC,
    MARKS,
    UNKNOWN_INDEX,
    Columns,
    Head,
    counts_of,
    head_at,
    info_of,
)

BLOCK_BYTES = 2**20


@dataclass(slots=True)
class Lines:
    """What a file of JSON Lines still holds, in order. lost: what it does not, one line each for a person."""

    records: list[JsonDict] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class DamagedFrame:
    """A frame of a spool whose counts are not whole. torn: cut off at the end of the file, so it was being written."""

    kind: str
    columns: Columns
    torn: bool


@dataclass(frozen=True, slots=True)
class DamagedBytes:
    """A stretch of a spool in which no record could be found, or a record that does not tell whose it is any more.

    torn: it reaches to the end of the file.
    """

    begin: int
    end: int
    torn: bool


Spooled = SpooledFrame | DamagedFrame | DamagedBytes


def salvage_trace(path: Path) -> Lines:
    """Every whole record of a trace, header first; without a readable header none: nothing says what they mean.

    Raises DataError for a trace of a newer schema or an imported one, OSError if the disk fails; a file that is not
    there holds nothing.
    """
    found = Lines()
    last_seq = -1
    for number, data in _lines(path, trace.LINE_LIMIT_BYTES):
        record = _json(data)
        if record is None or problem(record) is not None or record["seq"] <= last_seq:
            found.lost.append(_lost(path, number, data))
            continue
        if not found.records and (record["kind"], record["seq"]) != ("header", 0):
            return Lines([], [f"{path.name}: its header is lost, so nothing of it was used"])
        if not found.records:
            _check_header(path, record)
        last_seq = record["seq"]
        found.records.append(trace.upgraded(record))
    if not found.records:
        lost = "its header is lost, so nothing of it was used" if found.lost else "is empty or missing"
        return Lines([], [f"{path.name}: {lost}"])
    return found


def _check_header(path: Path, header: JsonDict) -> None:
    if header["schema"] > trace.SCHEMA:
        raise DataError(
            f"{path}: has schema {header['schema']}, this program reads up to {trace.SCHEMA}; nothing was touched. Use "
            "the version of credline that wrote it, or a newer one."
        )
    if "source" in header:
        raise DataError(f"{path}: was imported from {shown(header['source'])}; there is no run to recover.")


def salvage_journal(path: Path) -> Lines:
    """Every whole line of a journal. A file that is not there holds nothing. Raises OSError if the disk fails."""
    found = Lines()
    for number, data in _lines(path, journal.LINE_LIMIT_BYTES):
        line, _ = journal.parse_line(data)
        if line is None:
            found.lost.append(_lost(path, number, data))
        else:
            found.records.append(line)
    return found


def salvage_lines(path: Path) -> Lines:
    """Every whole JSON object of a file of JSON Lines. A file that is not there holds nothing. Raises OSError."""
    found = Lines()
    for number, data in _lines(path, journal.LINE_LIMIT_BYTES):
        line = _json(data)
        if line is None:
            found.lost.append(_lost(path, number, data))
        else:
            found.records.append(line)
    return found


def _lines(path: Path, limit: int) -> Iterator[tuple[int, bytes]]:
    """The lines of a file with their numbers; of one that is too long only the beginning."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        number = 0
        while data := file.readline(limit + 1):
            number += 1
            rest = data
            while len(rest) > limit and not rest.endswith(b"\n"):
                rest = file.readline(limit + 1)
            yield number, data


def _json(data: bytes) -> JsonDict | None:
    if not data.endswith(b"\n"):
        return None  # also where it is JSON: the number at its end may have had more digits
    try:
        record = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return record if type(record) is dict else None


def _lost(path: Path, number: int, data: bytes) -> str:
    what = "is damaged" if data.endswith(b"\n") else "was cut off"
    return f"{path.name}: line {number} {what} and was left out"


def salvage_spool(path: Path) -> Iterator[Spooled]:
    """The whole frames of a spool in order, and between them what is not whole.

    After damage the next record is looked for: a head is one only if its own CRC-32 holds. Frames of a spool of format
    1 have no index (UNKNOWN_INDEX) after the first damage. Raises OSError.
    """
    with path.open("rb") as file:
        size = path.stat().st_size
        if size < len(MAGIC):
            return  # cut off as it was made
        at, index = len(MAGIC), 0
        if file.read(len(MAGIC)) not in HEAD_SIZES:  # the beginning is damaged, or this is no spool: records tell
            at, index = (yield from _passed_over(file, 0, size)), UNKNOWN_INDEX
        while at < size:
            head = head_at(file, at)
            if head is None:
                at, index = (yield from _passed_over(file, at, size)), UNKNOWN_INDEX
                continue
            yield _salvaged(file, head, index, size)
            at, index = head.end, index + 1 if index != UNKNOWN_INDEX else UNKNOWN_INDEX


def _salvaged(file: BinaryIO, head: Head, index: int, size: int) -> Spooled:
    """What is left of the record with this head."""
    torn = head.end >= size
    info = info_of(file, head)
    if info is None:
        return DamagedBytes(head.at, min(head.end, size), torn)
    counts = counts_of(file, head) if head.end <= size else None
    if counts is None:
        return DamagedFrame(info.kind, info.columns, torn)
    return with_counts(numbered(info, index), counts)


def _passed_over(file: BinaryIO, at: int, size: int) -> Generator[DamagedBytes, None, int]:
    """Say what is passed over on the way to the next record; returns where that is."""
    found = _next_record(file, at, size)
    yield DamagedBytes(at, found, torn=found >= size)
    return found


def _next_record(file: BinaryIO, at: int, size: int) -> int:
    """Where the next record begins, at `at` or later; `size` if there is none."""
    overlap = LONGEST_HEAD
    while at < size:
        file.seek(at)
        block = file.read(BLOCK_BYTES + overlap)
        found = sorted(k for mark in MARKS for k in _places(block, mark) if k < BLOCK_BYTES)
        for k in found:
            if head_at(file, at + k) is not None:
                return at + k
        at += BLOCK_BYTES
    return size


def _places(block: bytes, mark: bytes) -> Iterator[int]:
    k = block.find(mark)
    while k >= 0:
        yield k
        k = block.find(mark, k + 1)


def whole_frames(
    path: Path, kind: str, fits: Callable[[SpooledFrame], bool] = lambda _: True
) -> Iterator[SpooledFrame]:
    """The whole frames of one kind that fit, in order of arrival: what `read_spool` gives of a spool without damage."""
    for item in salvage_spool(path):
        if isinstance(item, SpooledFrame) and item.kind == kind and fits(item):
            yield item


def has_begun(run: Path) -> bool:
    """Whether a run has left anything in its folder: between the making of a folder and its first file a program can be
    cut off as well.
    """
    return any((run / name).exists() for name in ("run.json", "trace.jsonl", "journal.jsonl"))


def protocol_of(run: Path) -> str | None:
    """Which protocol a run folder is of, from its run.json or the header of its trace; None if neither can be read.

    Raises DataError when it is no run folder at all.
    """
    if not has_begun(run):
        raise DataError(f"{run}: holds neither run.json nor a trace; give the folder of a run.")
    try:
        return RunDocument.read(run).protocol
    except DataError:
        pass
    try:
        header = next(iter(salvage_trace(run / "trace.jsonl").records), {})
    except OSError as error:
        raise DataError(f"{run}: cannot be read ({error.strerror or error}); nothing was touched.") from error
    protocol = header.get("protocol")
    return str(protocol) if protocol else None


def nothing_began(run: Path) -> list[str]:
    """What to tell of a run folder without run.json and without the header of a trace. Raises DataError if it has data.

    A program that was cut off before run.json was written had not touched the instrument.
    """
    spool = run / SPOOL_FILE
    if spool.exists() and spool.stat().st_size > len(MAGIC):
        raise DataError(
            f"{run}: run.json and the header of the trace are both lost, so nothing tells what was asked; the pictures "
            f"stay in {SPOOL_FILE}. Take a copy of run.json from elsewhere if there is one."
        )
    return [
        f"{run}: the program ended before the run began: nothing was moved and nothing was measured; there is nothing "
        "to recover. The folder may be deleted."
    ]
