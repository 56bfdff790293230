"""Files that are either whole or not there: written beside their place, then renamed into it.

An export that is interrupted, or runs into a full disk, leaves complete files only; a second export replaces them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import StorageError
from engine.record import folder


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path to write; on leaving, it becomes `path`. On an error it is removed and `path` stays.

    OSError becomes StorageError with the file, the cause and what to do.
    """
    try:
        with folder.replacing(path, folder.of_this_process()) as part:
            yield part
    except OSError as error:
        cause = error.strerror or str(error)
        raise StorageError(
            f"{path}: {cause}; this file was not written; what was there before is whole. Make room, or give "
            "another place, and do it again"
        ) from error


def write_file(path: Path, *parts: "bytes | NDArray[Any]") -> None:
    """Write bytes and C-contiguous arrays one after the other into `path`, atomically."""
    with replacing(path) as part, part.open("wb", buffering=0) as file:
        for piece in parts:
            data: Any = np.ascontiguousarray(piece) if isinstance(piece, np.ndarray) else piece
            view = memoryview(data).cast("B")
            while len(view):
                view = view[file.write(view) :]


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
