"""The newest frame of a run that keeps none of its frames: for the eyes of whoever watches, one file of constant size.

A spool (`engine.record.spoolformat`) of one frame, put whole in the place of the one before. Nobody but a display reads
it; it goes with the run. A frame that comes while the disk has not taken the one before is not shown.
"""

import os
from pathlib import Path

import numpy as np
import structlog

from engine.frame import Frame, Picture
from engine.record.spool import crc_of
from engine.record.spoolformat import MAGIC, Columns, FrameInfo, counts_of, head_at, info_of, packed
from engine.record.writer import Writer

log = structlog.get_logger()

SHOWN_FILE = "shown.spool"
"""Its name in a run folder."""
NEXT = f".{SHOWN_FILE}.new"


class ShownFrame:
    """Writes it, through the run's writer."""

    def __init__(self, folder: Path, writer: Writer) -> None:
        self._folder, self._writer = folder, writer
        self._number = 0
        self._writing = self._failed = False

    def show(self, kind: str, frame: Frame, columns: Columns) -> None:
        """Put a frame in the place of the one before; returns at once, and never fails the run."""
        number, self._number = self._number, self._number + 1
        if self._writing:
            return
        self._writing = True
        counts = np.ascontiguousarray(frame.counts)
        head = packed(number, frame, kind, columns, crc_of(frame))
        self._writer.submit_observation(lambda: self._write(head, counts), counts.nbytes)

    def _write(self, head: bytes, counts: Picture) -> None:
        try:
            with (self._folder / NEXT).open("wb") as file:
                for part in (MAGIC, head, counts.data.cast("B")):
                    self._writer.disk.write(file, part)
            os.replace(self._folder / NEXT, self._folder / SHOWN_FILE)
        except OSError as error:  # full; or Windows, where a reader has it open: the next one comes
            if not self._failed:
                log.warning("a frame cannot be shown", cause=str(error))
            self._failed = True
        finally:
            self._writing = False

    def close(self) -> None:
        """The run is over: nothing is shown any more."""
        for name in (SHOWN_FILE, NEXT):
            (self._folder / name).unlink(missing_ok=True)


def shown_file(folder: Path) -> tuple[int, int, int] | None:
    """What tells the file of one frame from that of the next; None where there is none."""
    try:
        about = (folder / SHOWN_FILE).stat()
    except OSError:
        return None
    return about.st_mtime_ns, about.st_ino, about.st_size


def read_shown(folder: Path) -> tuple[FrameInfo, Picture] | None:
    """The newest frame that is shown; its index says how many came before it. None where there is none."""
    try:
        with (folder / SHOWN_FILE).open("rb") as file:
            head = head_at(file, len(MAGIC))
            info = info_of(file, head) if head is not None else None
            counts = counts_of(file, head) if head is not None else None
    except OSError:
        return None
    return None if info is None or counts is None else (info, counts)
