"""runs.csv beside the run folders: a row for each run that has ended, for a spreadsheet.

What counts is run.json; this is a copy of some of it, which a person may edit, sort or delete. A run that ends twice
(recovered after a crash) has two rows, of which the later one counts.
"""

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path

from engine.errors import DataError, shown

TABLE_FILE = "runs.csv"


def add_row(path: Path, row: Mapping[str, object]) -> None:
    """Add a row at the end of a table, which is made where there is none. All of it is read for that. Raises OSError.

    A line is written at once, so two programs may do it at the same time. Columns that the table does not have yet are
    added to it, and then all of it is written anew. Raises DataError for a file that is no table; it stays as it is.
    """
    texts = {name: _text(value) for name, value in row.items()}
    rows = read_rows(path) if path.exists() else []
    names = list(rows[0]) if rows else []
    if names and set(texts) <= set(names):
        with path.open("a", encoding="utf-8", newline="") as file:
            file.write(_lines(names, [texts]))
        return
    names = [*names, *(name for name in texts if name not in names)]
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.write_text(_lines(names, [{name: name for name in names}, *rows, texts]), encoding="utf-8", newline="")
    new.replace(path)


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a table, each by the names of its columns. Raises DataError for a file that is none."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return [
                {name: text or "" for name, text in row.items() if name} for row in csv.DictReader(file, strict=True)
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{shown(str(path))}: cannot be read as a table ({error}); nothing was changed. Give a CSV file with names "
            "of columns in its first line."
        ) from error


def _lines(names: list[str], rows: list[dict[str, str]]) -> str:
    text = io.StringIO()
    csv.DictWriter(text, names, restval="", lineterminator="\n").writerows(rows)
    return text.getvalue()


def _text(value: object) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
