"""The tail of a trace: new records, read while it grows, from any run folder, whoever performs the run.

What is not whole yet is read the next time; nothing here raises for a file that is not there, or no more.
"""

import json
import os
from pathlib import Path

from engine.record.schema import problem
from engine.record.trace import LINE_LIMIT_BYTES, Record

TAKEN_BYTES = 4 * 1024 * 1024
"""So much of a trace is read at once: a run of hours is caught up with in a few steps."""


class TraceTail:
    """The records of one trace, as they come."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "trace.jsonl"
        self._at = 0

    def new(self) -> list[Record]:
        """Those that are whole since the last time; a line that is no record is left out."""
        try:
            with self._path.open("rb") as file:
                if os.fstat(file.fileno()).st_size <= self._at:
                    return []
                file.seek(self._at)
                text = file.read(TAKEN_BYTES)
        except OSError:
            return []
        whole = text.rfind(b"\n") + 1
        if not whole and len(text) > LINE_LIMIT_BYTES:  # damage
            whole = len(text)
        self._at += whole
        return [record for line in text[:whole].splitlines() if (record := _record(line)) is not None]


def _record(line: bytes) -> Record | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if problem(record) is None and record["t_ns"] is not None else None
