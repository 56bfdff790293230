"""The file read last is kept open: stacks are read picture by picture, and a folder may hold thousands of files."""

from collections.abc import Callable
from pathlib import Path
from typing import Generic, Protocol, TypeVar


class Closed(Protocol):
    """What can be closed."""

    def close(self) -> None:
        """Let go of the file."""


File = TypeVar("File", bound=Closed)


class LastOpened(Generic[File]):
    """Opens files by path, keeps the last one, and opens it anew where it has changed meanwhile."""

    def __init__(self, open_file: Callable[[Path], File]) -> None:
        self._open = open_file
        self._key: tuple[Path, int, int] | None = None
        self._file: File | None = None

    def __call__(self, path: Path) -> File:
        """The open file. Raises what opening it raises."""
        told = path.stat()
        key = (path, told.st_mtime_ns, told.st_size)
        if self._file is None or self._key != key:
            if self._file is not None:
                self._file.close()
            self._file = None
            self._file = self._open(path)
            self._key = key
        return self._file
