"""The tables of a run as CSV: everything of every crystal, every field, and the paper's list.

`crystals.csv` and `fields.csv` have their units in the names of the columns; what is not known is an empty cell.
`serialed.csv` has the columns of the paper, which Instamatic reads, without a first line.
"""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from engine.errors import DataError, shown
from protocols.products.atomic import write_text
from protocols.screening.tables import InstamaticRow, write_instamatic_rows
from protocols.serialed.results.crystaltable import CrystalRow, FieldRow, SerialTables
from protocols.serialed.results.selection import selected

CRYSTALS, FIELDS, PAPER = "crystals.csv", "fields.csv", "serialed.csv"

CRYSTAL_COLUMNS = (
    *("number", "field", "crystal", "fast_px", "slow_px", "x_nm", "y_nm", "length_nm", "width_nm", "turned_deg"),
    *("area_um2", "contrast", "neighbour_nm", "border_nm", "is_isolated", "pattern", "start_s", "score_good"),
    *("score_several", "d_min_A", "said", "why_not"),
)
FIELD_COLUMNS = (
    *("field", "x_nm", "y_nm", "nm_per_px", "image", "start_s", "film_share", "crystals", "isolated", "patterns"),
    *("good", "how", "note"),
)
DIGITS = {"_px": 2, "_nm": 1, "_deg": 1, "_um2": 5, "_s": 3, "_A": 3}
"""After the point, by the end of a column's name; others have 4."""


def write_tables(folder: Path, tables: SerialTables, origin_ns: int = 0) -> list[Path]:
    """Write all three into a run folder, each whole or not at all; which were written. Raises StorageError.

    origin_ns: the instant from which `start_s` counts.
    """
    crystals = [_crystal(row, origin_ns) for row in tables.crystals]
    fields = [_field(row, origin_ns) for row in tables.fields]
    _write(folder / CRYSTALS, CRYSTAL_COLUMNS, crystals)
    _write(folder / FIELDS, FIELD_COLUMNS, fields)
    write_paper(folder / PAPER, tables.crystals)
    return [folder / name for name in (CRYSTALS, FIELDS, PAPER)]


def write_paper(path: Path, rows: Iterable[CrystalRow]) -> None:
    """The crystals that the paper's two rules leave, the best first: file and number of the image, number of the
    crystal in it, score, size in um^2, x and y of the stage in nm that bring it into the middle.
    """
    frames = path.parent.resolve() / "frames.h5"
    write_instamatic_rows(
        path,
        [
            InstamaticRow(
                str(frames), row.field, row.crystal, row.score_good or 0.0, _plain("area_um2", row.area_um2),
                _plain("x_nm", row.x_nm), _plain("y_nm", row.y_nm),
            )
            for row in selected(rows)
        ],
    )  # fmt: skip


def _crystal(row: CrystalRow, origin_ns: int) -> list[Any]:
    told = {name: getattr(row, name) for name in CRYSTAL_COLUMNS if name != "start_s"}
    told |= {
        "is_isolated": int(row.is_isolated),
        "pattern": None if row.pattern < 0 else row.pattern,
        "start_s": None if row.start_ns is None else (row.start_ns - origin_ns) / 1e9,
    }
    return [_plain(name, told[name]) for name in CRYSTAL_COLUMNS]


def _field(row: FieldRow, origin_ns: int) -> list[Any]:
    told = {name: getattr(row, name) for name in FIELD_COLUMNS if name not in ("start_s", "film_share")}
    told |= {"start_s": (row.start_ns - origin_ns) / 1e9, "film_share": row.film}
    return [_plain(name, told[name]) for name in FIELD_COLUMNS]


def _plain(name: str, value: Any) -> Any:
    """A number with as many digits as it is known to; an empty cell for none."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, float):
        digits = next((n for end, n in DIGITS.items() if name.endswith(end) and name != "nm_per_px"), 4)
        return f"{value:.{digits}f}"
    return value


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read_crystals(path: Path) -> list[CrystalRow]:
    """The rows of a `crystals.csv`. Raises DataError for a file that is none, with the line that is wrong."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{shown(path)}: cannot be read ({shown(error)}); give the crystals.csv of a run") from error
    reader = csv.DictReader(io.StringIO(text))
    if missing := [name for name in CRYSTAL_COLUMNS[:7] if name not in (reader.fieldnames or ())]:
        raise DataError(f"{shown(path)}: has no column {missing[0]!r}, so it is no crystals.csv; give one")
    rows = []
    for told in reader:
        try:
            rows.append(_read(told))
        except (TypeError, ValueError) as error:
            raise DataError(f"{shown(path)}: line {reader.line_num} is damaged ({shown(error)}); correct it") from error
    return rows


def _read(told: dict[str, str]) -> CrystalRow:
    def number(name: str) -> float:
        return float(told[name]) if told.get(name) else math.nan

    def maybe(name: str) -> float | None:
        return float(told[name]) if told.get(name) else None

    return CrystalRow(
        number=int(told["number"]),
        field=int(told["field"]),
        crystal=int(told["crystal"]),
        fast_px=number("fast_px"),
        slow_px=number("slow_px"),
        length_nm=number("length_nm"),
        width_nm=number("width_nm"),
        turned_deg=number("turned_deg"),
        area_um2=number("area_um2"),
        contrast=number("contrast"),
        x_nm=number("x_nm"),
        y_nm=number("y_nm"),
        neighbour_nm=number("neighbour_nm"),
        border_nm=number("border_nm"),
        is_isolated=told.get("is_isolated") == "1",
        pattern=int(told["pattern"]) if told.get("pattern") else -1,
        start_ns=None,
        score_good=maybe("score_good"),
        score_several=maybe("score_several"),
        d_min_A=maybe("d_min_A"),
        said=told.get("said") or "",
        why_not=told.get("why_not") or "",
    )
