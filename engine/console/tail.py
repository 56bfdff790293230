"""The tail of a run's frames: the newest of each kind, read while they are written.

Reads only, and from any run folder, whoever performs the run. What is not whole yet is read the next time; nothing
here raises for a file that is not there, or no more.
"""

import os
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from engine.errors import CredlineError
from engine.frame import Picture
from engine.record.frametable import DATA_FILE, FramesFile
from engine.record.shownframe import read_shown, shown_file
from engine.record.spool import SPOOL_FILE
from engine.record.spoolformat import HEAD_SIZES, MAGIC, FrameInfo, Head, Value, counts_of, head_at, info_of


@dataclass(frozen=True, slots=True)
class SeenFrame:
    """A frame for a display. row: its place among those of its kind, from 0. of: how many of these there are."""

    kind: str
    row: int
    of: int
    columns: Mapping[str, Value]
    start_ns: int
    counts: Picture


class FrameTail:
    """The frames of one run: from its spool while it goes, from frames.h5 when that has taken its place."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._next = len(MAGIC)
        self._newest: dict[str, tuple[Head, FrameInfo]] = {}
        self._number: dict[str, int] = {}
        self._places: dict[str, array[int]] = {}
        """Where in the spool the frames of each kind begin."""
        self._shown: SeenFrame | None = None
        """Of a kind that is shown and not kept."""
        self._shown_as: tuple[int, int, int] | None = None
        """By which the file of that frame is known; it is read where it is another one than at the last look."""

    def look(self) -> dict[str, int]:
        """How many whole frames there are so far of each kind."""
        try:
            with (self._folder / SPOOL_FILE).open("rb") as file:
                if HEAD_SIZES.get(file.read(len(MAGIC))) is not None:
                    self._go_on(file)
        except OSError:
            pass
        self._look_at_shown()
        return dict(self._number)

    def _look_at_shown(self) -> None:
        """The newest frame that is shown and not kept; a large one is not read again 20 times a second."""
        now = shown_file(self._folder)
        if now == self._shown_as:
            return
        if (shown := read_shown(self._folder)) is not None:
            info, counts = shown
            self._shown = SeenFrame(info.kind, info.index, info.index + 1, dict(info.columns), info.start_ns, counts)
            self._number[info.kind] = info.index + 1
        elif self._shown is not None:  # its run is over
            del self._number[self._shown.kind]
            self._shown = None
        self._shown_as = None if shown is None else now

    def _go_on(self, file: BinaryIO) -> None:
        size = os.fstat(file.fileno()).st_size
        while self._next < size and (head := head_at(file, self._next)) is not None and head.end <= size:
            info = info_of(file, head)
            if info is None:
                return  # not written yet, or damaged
            self._newest[info.kind] = head, info
            self._number[info.kind] = self._number.get(info.kind, 0) + 1
            self._places.setdefault(info.kind, array("q")).append(self._next)
            self._next = head.end

    def newest(self, kind: str) -> SeenFrame | None:
        """The newest frame of a kind; None where there is none, or it is not whole."""
        if self._shown is not None and self._shown.kind == kind:
            return self._shown
        found = self._newest.get(kind)
        if found is not None:
            head, info = found
            try:
                with (self._folder / SPOOL_FILE).open("rb") as file:
                    counts = counts_of(file, head)
            except OSError:
                counts = None
            if counts is not None:
                number = self._number[kind]
                return SeenFrame(kind, number - 1, number, dict(info.columns), info.start_ns, counts)
        return self.stored(kind, None)

    def spooled(self, kind: str, row: int) -> SeenFrame | None:
        """A frame of the spool by its place among those of its kind; from frames.h5 where that has taken its place."""
        places = self._places.get(kind, array("q"))
        if places:
            row = min(max(row, 0), len(places) - 1)
            try:
                with (self._folder / SPOOL_FILE).open("rb") as file:
                    head = head_at(file, places[row])
                    info = None if head is None else info_of(file, head)
                    counts = None if head is None or info is None else counts_of(file, head)
                if info is not None and counts is not None:
                    return SeenFrame(kind, row, self._number[kind], dict(info.columns), info.start_ns, counts)
            except OSError:
                pass
        return self.stored(kind, row)

    def stored(self, kind: str, row: int | None) -> SeenFrame | None:
        """A frame of frames.h5, the last one without a row; None where it is not there, or cannot be read."""
        try:
            with FramesFile(self._folder / DATA_FILE) as file:
                if kind not in file.kinds or not (number := file.pictures(kind)):
                    return None
                row = number - 1 if row is None else min(max(row, 0), number - 1)
                table = file.table(kind)
                names = [name for name in table.dtype.names or () if name not in ("index", "number")]
                columns = {name: table[name][row].item() for name in names if not name.endswith("_ns")}
                told = {name: value for name, value in columns.items() if isinstance(value, int | float | str)}
                return SeenFrame(kind, row, number, told, int(table["start_ns"][row]), file.picture(kind, row))
        except (CredlineError, OSError, IndexError):
            return None

    def stored_kinds(self) -> dict[str, int]:
        """How many pictures of each kind frames.h5 has; none where it is not there."""
        try:
            with FramesFile(self._folder / DATA_FILE) as file:
                return {kind: number for kind in file.kinds if (number := file.pictures(kind))}
        except (CredlineError, OSError):
            return {}
