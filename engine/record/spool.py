"""The spool: every frame appended to one raw file as it arrives, readable up to the last whole frame after any crash.

The run writes it through its writer; readers (products, recovery, computations in worker processes) may read it while
it grows. It knows no kind of frame: kind and columns are the protocol's. The bytes: engine/record/spoolformat.py. Why
not HDF5 from the start: docs/decisions/0003-raw-spool.md; why any kind: docs/decisions/0014-frames-of-any-kind.md.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from engine.errors import DataError
from engine.frame import Frame, Picture, is_picture_type
from engine.record.spoolformat import (
    HEAD_SIZES,
    MAGIC,
    UNKNOWN_INDEX,
    Columns,
    FrameInfo,
    Head,
    counts_of,
    head_at,
    info_of,
    packed,
)
from engine.record.writer import Writer

SPOOL_FILE = "frames.spool"
"""Its name in a run folder."""


@dataclass(frozen=True, slots=True)
class SpooledFrame(FrameInfo):
    """A frame in the spool: what is said of it, and its counts as the camera gave them, (rows, columns)."""

    counts: Picture

    def integer(self, name: str) -> int:
        """A column that holds an integer. Raises DataError when it holds none."""
        return integer_column(self, name)


def integer_column(info: FrameInfo, name: str) -> int:
    """A frame's column that holds an integer. Raises DataError when it holds none, or the frame has no such column."""
    value = info.columns.get(name)
    if type(value) is not int:
        raise DataError(
            f"frame {info.index} ({info.kind}) in the spool: its column {name!r} is {value!r} and no integer; the "
            "spool is left as it is."
        )
    return value


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

    async def append(self, frame: Frame, kind: str, columns: Columns) -> int:
        """Queue a frame for the disk; return its index in the spool.

        kind: any identifier. columns: what is known of the frame on its arrival, beyond its number and instants.
        Takes under 1 ms while the disk keeps up, else waits for it. Raises StorageError if writing failed, DataError
        for counts of a type that cannot be kept (`engine.frame.is_picture_type`): nothing of the frame is written then.
        """
        if not kind.isidentifier():
            raise ValueError(f"a kind of frame is an identifier, not {kind!r}")
        if frame.counts.ndim != 2 or not is_picture_type(frame.counts.dtype):
            raise DataError(
                f"a frame of {frame.counts.shape} {frame.counts.dtype} cannot be kept; it was not written. A camera "
                "gives integers of up to 64 bits or float32, as rows and columns."
            )
        await self._writer.room()
        counts = np.ascontiguousarray(frame.counts)
        self.crc = crc_of(frame)
        index = self.frames
        head = packed(index, frame, kind, columns, self.crc)
        self._writer.submit(lambda: self._write(head, counts), counts.nbytes)
        self.frames += 1
        return index

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


def with_counts(info: FrameInfo, counts: Picture) -> SpooledFrame:
    """The frame of which a record speaks, with its counts."""
    return SpooledFrame(
        info.index,
        info.kind,
        info.columns,
        info.number,
        info.start_ns,
        info.end_ns,
        info.start_bounds_ns,
        info.end_bounds_ns,
        counts,
    )


def read_spool(path: Path, kind: str | None = None) -> Iterator[SpooledFrame]:
    """The whole frames of a spool in order of arrival, ending silently before a torn last one.

    kind: only those of one kind; the counts of the others are not read. Raises DataError when the file
    is no spool, or damaged before its last record.
    """
    with _opened(path) as (file, size, head_size):
        for head, info in _records(path, file, size, head_size):
            if kind is not None and info.kind != kind:
                continue
            counts = counts_of(file, head)
            if counts is not None:
                yield with_counts(info, counts)
            elif head.end == size:
                return  # its blocks never reached the disk
            else:
                raise _damaged_frame(path, info)


def read_infos(path: Path, kind: str | None = None) -> Iterator[FrameInfo]:
    """What a spool says of its frames, in order of arrival, without reading their counts. Raises as `read_spool`."""
    with _opened(path) as (file, size, head_size):
        for _, info in _records(path, file, size, head_size):
            if kind is None or info.kind == kind:
                yield info


class SpooledPictures:
    """The pictures of a spool by their indices, also while it is being written.

    Where they begin is remembered, so that the next one is found without the heads of all before it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._begins = [len(MAGIC)]

    def picture(self, index: int) -> Picture:
        """The counts of one frame, (rows, columns). Reads no other counts.

        Raises DataError when that frame is not in the spool, or not yet, or not whole, or when the file is no spool.
        """
        with _opened(self._path) as (file, size, _):
            head = self._head(file, index, size) if index >= 0 else None
            counts = counts_of(file, head) if head is not None else None
        if counts is None:
            raise DataError(
                f"{self._path}: frame {index} is not there as a whole; it is not written yet, or it was lost."
            )
        return counts

    def _head(self, file: BinaryIO, index: int, size: int) -> Head | None:
        begins = self._begins
        nearest = min(index, len(begins) - 1)
        head = head_at(file, begins[nearest])
        info = info_of(file, head) if head is not None and nearest else None
        if nearest and (info is None or info.index != nearest):  # another file has its name now, or it has format 1
            del begins[1:]
            nearest, head = 0, head_at(file, begins[0])
        while nearest < index and head is not None:
            nearest += 1
            if nearest == len(begins):
                begins.append(head.end)
            head = head_at(file, begins[nearest]) if begins[nearest] < size else None
        return head


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, int, int]]:
    """The file, its size, and the size of a head in it. Raises DataError when it is no spool."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from error
    with file:
        head_size = HEAD_SIZES.get(file.read(len(MAGIC)))
        if head_size is None:
            raise DataError(f"{path}: is not a spool of credline, or was cut off in its first bytes; left as it is.")
        yield file, path.stat().st_size, head_size


def _records(path: Path, file: BinaryIO, size: int, head_size: int) -> Iterator[tuple[Head, FrameInfo]]:
    """The records up to the end or a torn one. Raises DataError for damage before the last."""
    at, index = len(MAGIC), 0
    while at + head_size <= size:  # else a torn head
        head = head_at(file, at)
        if head is None:
            if _only_zeros(file, at + head_size):
                return  # its blocks never reached the disk
            raise DataError(f"{path}: damaged at byte {at}; the frames before are readable.")
        if head.end > size:
            return  # torn
        info = info_of(file, head)
        if info is None and head.end == size:
            return  # its blocks never reached the disk
        if info is None:
            raise DataError(f"{path}: damaged at byte {at}; the frames before are readable.")
        yield head, numbered(info, index)
        at, index = head.end, index + 1


def numbered(info: FrameInfo, index: int) -> FrameInfo:
    """The same with its index, for a frame of format 1, which holds none."""
    return replace(info, index=index) if info.index == UNKNOWN_INDEX else info


def _damaged_frame(path: Path, info: FrameInfo) -> DataError:
    return DataError(f"{path}: frame {info.index} ({info.kind}) is damaged; the frames before it are readable.")


def _only_zeros(file: BinaryIO, at: int) -> bool:
    """Whether nothing but zeros follows: a file system may lengthen a file before its contents are there."""
    file.seek(at)
    return not any(block.strip(b"\0") for block in iter(lambda: file.read(1 << 20), b""))
