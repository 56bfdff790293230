"""The bytes of a spool: how a frame's record is made, found again and checked, in both formats that there are.

Called by the spool (engine/record/spool.py), which refuses damage, and by salvage, which passes over it. Nothing here
raises for damage: what is not whole is None.

Format 2, little-endian: the 8 bytes of `MAGIC`, then for each frame `HEAD`, JSON in UTF-8, the counts in row order.
`HEAD` carries a CRC-32 of the counts, one of the JSON and one of itself, so a torn tail is recognised, and the next
record can be found after damage and without reading what lies between.
"""

import json
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from engine.frame import Bounds, Frame, Picture, PixelType, is_picture_type

MAGIC = b"CREDSPL2"
HEAD = struct.Struct("<4sIII8sIII")
"""Mark, length of the JSON, rows, columns, dtype, CRC of the counts, CRC of the JSON, CRC of all that."""
MARK = b"FRM2"
PIXEL_NAME = re.compile(rb"[<>|]([iu][1248]|f[248])")
INFO_LIMIT_BYTES = 2**16
"""No frame's JSON comes near this."""

OLD_MAGIC = b"CREDSPL1"
OLD_HEAD = struct.Struct("<4siiqqII4sII")
"""Format 1: mark, slot, detector's number, start_ns, end_ns, rows, columns, dtype, CRC of counts, CRC of all that."""
OLD_KINDS = {b"FRAM": "diffraction", b"SNAP": "snapshot", b"FLAT": "flatfield"}

HEAD_SIZES = {MAGIC: HEAD.size, OLD_MAGIC: OLD_HEAD.size}
MARKS = (MARK, *OLD_KINDS)
LONGEST_HEAD = max(HEAD.size, OLD_HEAD.size)

UNKNOWN_INDEX = -1
"""Of a frame of format 1 behind damage: how many were before it cannot be told."""

Value = int | float | str | bool | None
Columns = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class FrameInfo:
    """What the spool says of a frame besides its counts. index: its place in the spool, from 0."""

    index: int
    kind: str
    columns: Columns
    number: int
    start_ns: int
    end_ns: int
    start_bounds_ns: Bounds
    end_bounds_ns: Bounds


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a record, found whole at byte `at`. old: what format 1 holds in the head itself."""

    at: int
    size: int
    info_length: int
    rows: int
    columns: int
    pixel: PixelType
    counts_crc: int
    info_crc: int
    old: FrameInfo | None = None

    @property
    def counts_at(self) -> int:
        """Where the counts begin."""
        return self.at + self.size + self.info_length

    @property
    def end(self) -> int:
        """Where the next record begins."""
        return self.counts_at + self.rows * self.columns * self.pixel.itemsize


def packed(index: int, frame: Frame, kind: str, columns: Columns, crc: int) -> bytes:
    """Head and JSON of a frame whose counts have the CRC-32 `crc`; the counts follow them in row order."""
    info = json.dumps(
        {
            "index": index,
            "kind": kind,
            "number": frame.number,
            "start_ns": frame.start_ns,
            "end_ns": frame.end_ns,
            "start_bounds_ns": frame.start_bounds_ns,
            "end_bounds_ns": frame.end_bounds_ns,
            "columns": dict(columns),
        },
        separators=(",", ":"),
    ).encode()
    rows, wide = frame.counts.shape
    pixel = frame.counts.dtype.str.encode()
    head = HEAD.pack(MARK, len(info), rows, wide, pixel, crc, zlib.crc32(info), 0)[:-4]
    return head + struct.pack("<I", zlib.crc32(head)) + info


def head_at(file: BinaryIO, at: int) -> Head | None:
    """The head of the record that begins at this byte; None if none does."""
    file.seek(at)
    data = file.read(LONGEST_HEAD)
    mark = data[:4]
    if mark in OLD_KINDS:
        return _old_head(at, data)
    if mark != MARK or len(data) < HEAD.size:
        return None
    data = data[: HEAD.size]
    _, length, rows, columns, dtype, counts_crc, info_crc, crc = HEAD.unpack(data)
    pixel = _pixel(dtype)
    if zlib.crc32(data[:-4]) != crc or pixel is None:
        return None
    return Head(at, HEAD.size, length, rows, columns, pixel, counts_crc, info_crc)


def _old_head(at: int, data: bytes) -> Head | None:
    """A record of format 1 as one of format 2: its slot becomes a column, and nothing is known of bounds."""
    if len(data) < OLD_HEAD.size:
        return None
    data = data[: OLD_HEAD.size]
    mark, slot, number, start_ns, end_ns, rows, columns, dtype, counts_crc, crc = OLD_HEAD.unpack(data)
    pixel = _pixel(dtype)
    if zlib.crc32(data[:-4]) != crc or pixel is None:
        return None
    old = FrameInfo(
        UNKNOWN_INDEX,
        OLD_KINDS[mark],
        {"slot": slot},
        number,
        start_ns,
        end_ns,
        (start_ns, start_ns),
        (end_ns, end_ns),
    )
    return Head(at, OLD_HEAD.size, 0, rows, columns, pixel, counts_crc, 0, old)


def _pixel(dtype: bytes) -> PixelType | None:
    """The type of counts that a head names; None when there is none such."""
    name = dtype.strip(b" \0")
    if not PIXEL_NAME.fullmatch(name):
        return None
    pixel = np.dtype(name.decode("ascii"))
    return pixel if is_picture_type(pixel) or pixel.kind == "f" else None


def info_of(file: BinaryIO, head: Head) -> FrameInfo | None:
    """What a record says of its frame; None when that is not whole."""
    if head.old is not None:
        return head.old
    if head.info_length > INFO_LIMIT_BYTES:
        return None
    file.seek(head.at + head.size)
    data = file.read(head.info_length)
    if len(data) < head.info_length or zlib.crc32(data) != head.info_crc:
        return None
    try:
        told = json.loads(data)
        start, end = (told[name] for name in ("start_bounds_ns", "end_bounds_ns"))
        return FrameInfo(
            int(told["index"]),
            str(told["kind"]),
            dict(told["columns"]),
            int(told["number"]),
            int(told["start_ns"]),
            int(told["end_ns"]),
            (int(start[0]), int(start[1])),
            (int(end[0]), int(end[1])),
        )
    except (ValueError, KeyError, IndexError, TypeError, RecursionError, OverflowError):
        return None


def counts_of(file: BinaryIO, head: Head) -> Picture | None:
    """The counts of a record, (rows, columns), as the camera gave them; None when they are not whole."""
    file.seek(head.counts_at)
    data = file.read(head.end - head.counts_at)
    if len(data) < head.end - head.counts_at or zlib.crc32(data) != head.counts_crc:
        return None
    return np.frombuffer(data, head.pixel).reshape(head.rows, head.columns)
