"""What can still be read of a damaged run folder: every whole record of trace, journal and spool, and what was lost.

The strict readers refuse a damaged file, because what is missing may matter. Recovery takes what is whole, passes
over what is not, and says so: a record counts only if its own check (schema, sequence, CRC-32) holds.
"""

import json
import zlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from engine.errors import DataError, shown
from engine.record import journal, trace
from engine.record.schema import problem
from engine.record.spool import HEADER, KINDS, MAGIC, SpooledFrame

BLOCK_BYTES = 2**20


@dataclass(slots=True)
class Lines:
    """What a file of JSON Lines still holds, in order. lost: what it does not, one line each for a person."""

    records: list[dict[str, Any]] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class DamagedFrame:
    """A frame of a spool whose counts are not whole. torn: cut off at the end of the file, so it was being written."""

    kind: str
    slot: int
    torn: bool


@dataclass(frozen=True, slots=True)
class DamagedBytes:
    """A stretch of a spool in which no record could be found. torn: it reaches to the end of the file."""

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
        found.records.append(record)
    if not found.records:
        lost = "its header is lost, so nothing of it was used" if found.lost else "is empty or missing"
        return Lines([], [f"{path.name}: {lost}"])
    return found


def _check_header(path: Path, header: dict[str, Any]) -> None:
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


def _json(data: bytes) -> dict[str, Any] | None:
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

    After damage the next record is looked for: a header is one only if its own CRC-32 holds. Raises OSError.
    """
    with path.open("rb") as file:
        size = path.stat().st_size
        if size < len(MAGIC):
            return  # cut off as it was made
        at = len(MAGIC) if file.read(len(MAGIC)) == MAGIC else 0
        if at == 0:  # the beginning is damaged, or this is no spool at all: records tell
            at = yield from _passed_over(file, 0, size)
        while at < size:
            head = _head(file, at)
            if head is None:
                at = yield from _passed_over(file, at, size)
                continue
            kind, slot, number, start_ns, end_ns, rows, columns, pixel, crc = head
            length = rows * columns * pixel.itemsize
            data = file.read(length) if at + HEADER.size + length <= size else b""
            end = at + HEADER.size + length
            if len(data) == length and zlib.crc32(data) == crc:
                counts = np.frombuffer(data, pixel).reshape(rows, columns)
                yield SpooledFrame(kind, slot, number, start_ns, end_ns, counts)
                at = end
                continue
            yield DamagedFrame(kind, slot, torn=end >= size)
            at = end


def _passed_over(file: BinaryIO, at: int, size: int) -> Generator[DamagedBytes, None, int]:
    """Say what is passed over on the way to the next record; returns where that is."""
    found = _next_record(file, at, size)
    yield DamagedBytes(at, found, torn=found >= size)
    return found


def _head(file: BinaryIO, at: int) -> tuple[str, int, int, int, int, int, int, "np.dtype[Any]", int] | None:
    """The header of the record at `at`, and the file at its counts; None if there is none."""
    file.seek(at)
    head = file.read(HEADER.size)
    if len(head) < HEADER.size:
        return None
    mark, slot, number, start_ns, end_ns, rows, columns, dtype, crc, head_crc = HEADER.unpack(head)
    if mark not in KINDS or zlib.crc32(head[:-4]) != head_crc:
        return None
    try:
        pixel = np.dtype(dtype.decode("ascii").strip())
    except (TypeError, ValueError):
        return None
    if pixel.kind not in "iuf":
        return None
    return KINDS[mark], slot, number, start_ns, end_ns, rows, columns, pixel, crc


def _next_record(file: BinaryIO, at: int, size: int) -> int:
    """Where the next record begins, at `at` or later; `size` if there is none."""
    overlap = HEADER.size
    while at < size:
        file.seek(at)
        block = file.read(BLOCK_BYTES + overlap)
        found = sorted(k for mark in KINDS for k in _places(block, mark) if k < BLOCK_BYTES)
        for k in found:
            if _head(file, at + k) is not None:
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


def protocol_of(run: Path) -> str | None:
    """Which protocol a run folder is of, from its run.json or the header of its trace; None if neither can be read.

    Raises DataError when it is no run folder at all.
    """
    if not any((run / name).exists() for name in ("run.json", "trace.jsonl", "journal.jsonl")):
        raise DataError(f"{run}: holds neither run.json nor a trace; give the folder of a run.")
    try:
        document = json.loads((run / "run.json").read_text(encoding="utf-8"))
        return str(document["protocol"])
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
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
    spool = run / "frames.spool"
    if spool.exists() and spool.stat().st_size > len(MAGIC):
        raise DataError(
            f"{run}: run.json and the header of the trace are both lost, so nothing tells what was asked; the pictures "
            "stay in frames.spool. Take a copy of run.json from elsewhere if there is one."
        )
    return [
        f"{run}: the program ended before the run began: nothing was moved and nothing was measured; there is nothing "
        "to recover. The folder may be deleted."
    ]
