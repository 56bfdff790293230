"""The row of an ended run in runs.csv, where its protocol has one."""

from pathlib import Path

import structlog

from engine.errors import CredlineError
from engine.record.document import RunDocument
from engine.record.runtable import TABLE_FILE, add_row
from engine.run.contract import AnyExperiment

log = structlog.get_logger()


def note_in_table(kind: AnyExperiment, folder: Path, document: RunDocument) -> None:
    """Add the row beside the run folder. What goes wrong costs the row and nothing else, and is said."""
    path = folder.parent / TABLE_FILE
    try:
        if row := kind.row(document):
            add_row(path, row)
    except (OSError, CredlineError, LookupError, TypeError, ValueError) as error:
        log.warning("no row for this run in the table", table=str(path), cause=str(error))
