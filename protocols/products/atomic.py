"""Files that are either whole or not there: written beside their place, then renamed into it.

An export that is interrupted, or runs into a full disk, leaves complete files only; a second export replaces them.
Nothing is forced to the disk: what a power cut takes can be made again.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import StorageError
from engine.record import folder

COPIED_BYTES = 1 << 18
"""At a time, of an array that does not lie in the order of the file."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path to write; on leaving, it becomes `path`. On an error it is removed and `path` stays.

    OSError becomes StorageError with the file, the cause and what to do.
    """
    with _told_of(path), folder.replacing(path, folder.of_this_process()) as part:
        yield part


def write_file(path: Path, *parts: "bytes | NDArray[Any]") -> None:
    """Write bytes and arrays, row after row, one after the other into `path`, atomically."""
    with replacing(path) as part:
        _write(part, parts)


def put_aside(path: str, mark: str, *parts: "bytes | NDArray[Any]") -> None:
    """Write these beside `path`, where `name_put_aside` finds them; `path` stays as it is.

    path: a text, as there are thousands. mark: how the names of what one export puts aside end; `remove_put_aside`
    knows all that begin with `part`.
    """
    with _told_of(path):
        _write(_aside(path, mark), parts)


def name_put_aside(path: str, mark: str, head: bytes, body_bytes: int) -> None:
    """Make what was put aside `path`, with another head before its last `body_bytes`."""
    place = _aside(path, mark)
    with _told_of(path):
        with open(place, "r+b", buffering=0) as file:
            room = file.seek(0, os.SEEK_END) - body_bytes
            if room == len(head):
                file.seek(0)
                file.write(head)
            else:  # the head as it was put aside had a digit more or less
                file.seek(room)
                body = file.read()
                file.truncate(0)
                file.seek(0)
                _write_all(file, (head, body))
        os.replace(place, path)


def remove_put_aside(folder: Path) -> None:
    """Remove what an export put aside in a folder and did not come to name, be it of one that was killed."""
    with suppress(OSError):
        for path in folder.glob(".*.part*"):
            path.unlink(missing_ok=True)


def _aside(path: str, mark: str) -> str:
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.{mark}")


def _write(path: str | Path, parts: "Sequence[bytes | NDArray[Any]]") -> None:
    with open(path, "wb", buffering=0) as file:
        _write_all(file, parts)


def _write_all(file: FileIO, parts: "Sequence[bytes | NDArray[Any]]") -> None:
    for piece in parts:
        for view in _in_order(piece):
            while len(view):
                view = view[file.write(view) :]


def _in_order(piece: "bytes | NDArray[Any]") -> Iterator[memoryview]:
    """Its bytes; of an array that lies otherwise in memory (upside down) some rows at a time, to copy as little."""
    whole: Any = piece
    if not isinstance(piece, np.ndarray) or piece.flags.c_contiguous:
        yield memoryview(whole).cast("B")
        return
    rows = max(1, COPIED_BYTES * len(piece) // piece.nbytes) if piece.nbytes else len(piece)
    for top in range(0, len(piece), rows):
        some: Any = np.ascontiguousarray(piece[top : top + rows])
        yield memoryview(some).cast("B")


@contextmanager
def _told_of(path: str | Path) -> Iterator[None]:
    """OSError becomes StorageError with the file, the cause and what to do."""
    try:
        yield
    except OSError as error:
        cause = error.strerror or str(error)
        raise StorageError(
            f"{path}: {cause}; this file was not written; what was there before is whole. Make room, or give "
            "another place, and do it again"
        ) from error


def write_text(path: Path, text: str, newline: str = "\n") -> None:
    """Write UTF-8 text into `path`, atomically, with the line ends asked for on every platform."""
    write_file(path, text.replace("\n", newline).encode("utf-8"))


def make_folder(path: Path) -> None:
    """Make a folder and those above it. StorageError for what is in the way."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"{path}: {error.strerror or error}; the folder was not made and nothing was written into it. "
            "Make room, or remove what is in the way, and do it again"
        ) from error
