"""The spool: every frame appended to one raw file as it arrives, readable up to the last whole frame after any crash.

Layout: the 8 bytes of `MAGIC`, then for each frame a fixed header (`HEADER`, little-endian), the raw counts in
row order, and nothing else. The header carries a CRC-32 of itself and of the counts, so a torn tail is recognised.
Why not HDF5 from the start: docs/decisions/0003-raw-spool.md.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from engine.errors import DataError
from engine.frame import Frame, Picture
from engine.record.writer import Writer

MAGIC = b"CREDSPL1"
# mark (one of MARKS), slot, detector's number, start_ns, end_ns, rows, columns, dtype, CRC of counts, CRC of all that
HEADER = struct.Struct("<4siiqqII4sII")
MARKS = {"diffraction": b"FRAM", "snapshot": b"SNAP", "flatfield": b"FLAT"}
KINDS = {mark: kind for kind, mark in MARKS.items()}


@dataclass(frozen=True, slots=True)
class SpooledFrame:
    """A picture in the spool. kind: `diffraction`, `snapshot` or `flatfield` (relative response, slot 0)."""

    kind: str
    slot: int
    number: int
    start_ns: int
    end_ns: int
    counts: Picture


class Spool:
    """Appends frames through the run's writer. `durable` forces each to the disk itself before the next."""

    def __init__(self, path: Path, writer: Writer, *, durable: bool) -> None:
        self.path = path
        self.frames = 0
        self.written = 0
        """How many are whole on the disk; less than `frames` when writing failed."""
        self.crc = 0
        self._writer = writer
        self._durable = durable
        self._file: BinaryIO = path.open("xb", buffering=0)
        self._file.write(MAGIC)

    async def append(self, slot: int, frame: Frame, kind: str = "diffraction") -> int:
        """Queue a frame for the disk; return its index in the spool.

        Takes under 1 ms while the disk keeps up, else waits for it. Raises StorageError if writing failed.
        """
        await self._writer.room()
        counts = np.ascontiguousarray(frame.counts)
        self.crc = crc_of(frame)
        head = HEADER.pack(
            MARKS[kind],
            slot,
            frame.number,
            frame.start_ns,
            frame.end_ns,
            counts.shape[0],
            counts.shape[1],
            counts.dtype.str.encode().ljust(4),
            self.crc,
            0,
        )[:-4]
        self._writer.submit(lambda: self._write(head + struct.pack("<I", zlib.crc32(head)), counts), counts.nbytes)
        self.frames += 1
        return self.frames - 1

    def _write(self, head: bytes, counts: Picture) -> None:
        disk = self._writer.disk
        disk.write(self._file, head)
        disk.write(self._file, counts.data.cast("B"))
        if self._durable:
            disk.sync(self._file)
        self.written += 1

    def close(self) -> None:
        """Close the file; the writer must be drained."""
        self._file.close()


def crc_of(frame: Frame) -> int:
    """The CRC-32 of a frame's counts in row order."""
    return zlib.crc32(np.ascontiguousarray(frame.counts).data) if frame.crc is None else frame.crc


def read_spool(path: Path, kind: str | None = None) -> Iterator[SpooledFrame]:
    """The whole frames of a spool in order of arrival, ending silently before a torn last one.

    kind: only those of one kind; the counts of the others are not read. Raises DataError when the file
    is no spool, or damaged before its last record.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from error
    with file:
        size = path.stat().st_size
        if file.read(len(MAGIC)) != MAGIC:
            raise DataError(f"{path}: is not a spool of credline, or was cut off in its first bytes; left as it is.")
        while head := file.read(HEADER.size):
            if len(head) < HEADER.size:
                return  # torn header
            mark, slot, number, start_ns, end_ns, rows, columns, dtype, crc, head_crc = HEADER.unpack(head)
            if mark not in KINDS or zlib.crc32(head[:-4]) != head_crc:
                begin = file.tell() - HEADER.size
                if _only_zeros(file):
                    return  # its blocks never reached the disk
                raise DataError(f"{path}: damaged at byte {begin}; the frames before are readable.")
            pixel = _pixel(dtype)
            if pixel is None:
                raise DataError(f"{path}: the frame of slot {slot} is damaged; the frames before it are readable.")
            length = rows * columns * pixel.itemsize
            if file.tell() + length > size:
                return  # torn picture
            if kind is not None and KINDS[mark] != kind:
                file.seek(length, 1)
                continue
            data = file.read(length)
            if zlib.crc32(data) != crc:
                if file.tell() == size:
                    return  # its blocks never reached the disk
                raise DataError(f"{path}: the frame of slot {slot} is damaged; the frames before it are readable.")
            yield SpooledFrame(
                KINDS[mark], slot, number, start_ns, end_ns, np.frombuffer(data, pixel).reshape(rows, columns)
            )


def _pixel(dtype: bytes) -> "np.dtype[Any] | None":
    """The kind of counts that a header names; None when there is none such."""
    try:
        pixel = np.dtype(dtype.decode("ascii").strip())
    except (TypeError, ValueError):
        return None
    return pixel if pixel.kind in "iuf" else None


def _only_zeros(file: BinaryIO) -> bool:
    """Whether nothing but zeros follows: a file system may lengthen a file before its contents are there."""
    return not any(block.strip(b"\0") for block in iter(lambda: file.read(1 << 20), b""))
