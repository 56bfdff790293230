"""The pictures of a run folder, found again for the frames of its trace: for a replay and for computing again.

A frame is found by its kind and its place in the spool, which the trace and the table in frames.h5 both have, whatever
kinds and columns the protocol declares. Where the table does not know the place (schema 1, salvaged spools of it), it
is the slot.
"""

from pathlib import Path

import numpy as np

from engine.errors import DataError, shown
from engine.frame import Picture
from engine.record.frametable import DATA_FILE, UNREADABLE, FramesFile
from engine.record.spoolformat import UNKNOWN_INDEX
from engine.record.trace import Record

OLD_SNAPSHOTS = "snapshots"
"""Where schema 1 kept the pictures of its second kind of frames, a TIFF file each."""


class StoredPictures:
    """The pictures of a finished run, from frames.h5; snapshots of a folder of schema 1 from their TIFF files.

    Raises DataError, at once or when a picture is asked for, where a file is there and cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: FramesFile | None = None
        self._rows: dict[tuple[str, int], int] = {}
        self._rows_by_slot: dict[tuple[str, int], int] = {}
        if (folder / DATA_FILE).exists():
            try:
                self._file = FramesFile(folder / DATA_FILE)
                for kind in self._file.kinds:
                    self._find_rows(self._file, kind)
            except (DataError, *UNREADABLE) as error:
                self.close()
                raise self._damaged(DATA_FILE, error) from error

    def _find_rows(self, file: FramesFile, kind: str) -> None:
        table = file.table(kind)
        for row, index in enumerate(table["index"]):
            if index != UNKNOWN_INDEX:
                self._rows[kind, int(index)] = row
            elif "slot" in (table.dtype.names or ()):
                self._rows_by_slot[kind, int(table["slot"][row])] = row

    def _damaged(self, name: str, error: Exception) -> DataError:
        return DataError(
            f"{self._folder}: {name} is damaged ({shown(error)}); nothing was changed. Without the pictures it can be "
            f"replayed: credline replay {self._folder / 'trace.jsonl'}"
        )

    @property
    def dtype(self) -> str:
        """Type of the pictures in frames.h5; empty where there are none."""
        if self._file is None:
            return ""
        try:
            kinds = (kind for kind in self._file.kinds if self._file.pictures(kind))
            return next((self._file.dtype(kind).str for kind in kinds), "")
        except UNREADABLE as error:
            raise self._damaged(DATA_FILE, error) from error

    def find(self, record: Record) -> Picture | None:
        """The counts of a recorded frame; None where the folder does not have them."""
        if record["kind"] == "refused" or record.get("index") is None:
            return None
        try:
            return self._read(record)
        except UNREADABLE as error:
            raise self._damaged(f"picture {record['index']}", error) from error

    def _read(self, record: Record) -> Picture | None:
        kind, slot = str(record["name"]), record.get("slot")
        row = self._rows.get((kind, record["index"]))
        if row is None and slot is not None:
            row = self._rows_by_slot.get((kind, slot))
        if row is not None and self._file is not None:
            return self._file.picture(kind, row)
        return None if self._file is not None and self._file.schema > 1 else self._old_snapshot(kind, slot)

    def _old_snapshot(self, kind: str, slot: object) -> Picture | None:
        path = self._folder / OLD_SNAPSHOTS / f"{slot:05d}.tiff" if isinstance(slot, int) else None
        if kind != "snapshot" or path is None or not path.exists():
            return None
        import fabio

        with fabio.open(str(path)) as image:
            counts: Picture = np.asarray(image.data)
        return counts

    def close(self) -> None:
        """Close frames.h5; no picture is found any more."""
        self._rows, self._rows_by_slot = {}, {}
        if self._file is not None:
            self._file.close()
