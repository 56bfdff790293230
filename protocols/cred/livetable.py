"""What each frame of a run told while it went on, as a table for people: `live.csv`. From the records of the trace."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from engine.errors import StorageError
from engine.record.trace import Record
from protocols.cred.livelook import SEARCH

LIVE_FILE = "live.csv"
"""Its name in a run folder."""


def live_rows(records: Sequence[Record]) -> list[dict[str, object]]:
    """What was told of each frame that was searched, as `protocols.live.framevalues.FrameValues` with its slot."""
    searched = [r for r in records if r["kind"] == "computation" and r["name"] == SEARCH.name and "result" in r]
    return [values for record in searched for values in record["result"]["frames"]]


def write_live_table(folder: Path, records: Sequence[Record]) -> list[Path]:
    """Write the table, where there is anything to write; which files were. Raises StorageError."""
    rows = live_rows(records)
    if not rows:
        return []
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(rows[0])
    table.writerows([_shown(value) for value in row.values()] for row in rows)
    file = folder / LIVE_FILE
    try:
        file.write_text(text.getvalue(), encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"{file}: could not be written ({error}); the spool holds every frame. Free some space, then run "
            "'credline recover' on the run folder."
        ) from error
    return [file]


def _shown(value: object) -> object:
    """None as nothing, a list with spaces, yes and no as 1 and 0."""
    if isinstance(value, list):
        return " ".join(f"{each:g}" for each in value)
    return "" if value is None else int(value) if isinstance(value, bool) else value
