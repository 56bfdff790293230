"""The disk of a run: the few calls through which a run's bytes leave the program, so that faults can be put there."""

import os
from pathlib import Path
from typing import BinaryIO


class Disk:
    """The machine's own disk. Every method blocks and raises OSError; all are called in the writer's thread."""

    def write(self, file: BinaryIO, data: bytes | memoryview) -> None:
        """Hand all of `data` to the operating system; an unbuffered file may take less than asked at a time."""
        view = memoryview(data)
        while view:
            view = view[file.write(view) :]

    def sync(self, file: BinaryIO) -> None:
        """Force what was written to the disk itself (4-20 ms)."""
        os.fsync(file.fileno())

    def finish(self, path: Path) -> None:
        """Called before a whole file (frames.h5, products) is made at `path` by a library of its own."""
