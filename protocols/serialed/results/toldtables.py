"""The tables of a serial run as its result tells them to who goes on with its crystals. Pure."""

import math
from collections.abc import Sequence
from typing import Any

from engine.record.jsonobject import JsonDict
from engine.record.remains import Remains
from protocols.serialed.results.crystaltable import PATTERN, CrystalRow, FieldRow, SerialTables
from protocols.serialed.tellspots import SPOTS

CRYSTALS = (
    *("number", "field", "x_nm", "y_nm", "length_nm", "width_nm", "neighbour_nm", "border_nm", "is_isolated"),
    *("score_good", "score_several", "d_min_A"),
)
"""As `crystaltable.CrystalRow` has them."""
FIELDS = ("field", "x_nm", "y_nm", "film", "how")
DIGITS = {"_nm": 1, "_A": 3}


def told_tables(tables: SerialTables, remains: Remains) -> JsonDict:
    """`crystals` and `field_table`, each with `columns` and `rows`, None for what is not known; `spots` of good
    patterns, by the number of the crystal (`protocols.serialed.tellspots`).
    """
    return {
        "crystals": _table(CRYSTALS, tables.crystals),
        "field_table": _table(FIELDS, tables.fields),
        "spots": _spots(tables, remains),
    }


def _spots(tables: SerialTables, remains: Remains) -> JsonDict:
    patterns = remains.of_kind(PATTERN)
    seen = {
        record["pictures"][0]: record["result"]["xy_per_A"]
        for record in remains.records
        if record["kind"] == "computation" and record["name"] == SPOTS.name and "result" in record
    }
    of = {row.number: patterns[row.pattern].index for row in tables.crystals if 0 <= row.pattern < len(patterns)}
    return {str(number): seen[index] for number, index in of.items() if index in seen}


def _table(columns: Sequence[str], rows: Sequence[CrystalRow | FieldRow]) -> JsonDict:
    return {"columns": list(columns), "rows": [[_plain(name, getattr(row, name)) for name in columns] for row in rows]}


def _plain(name: str, value: Any) -> Any:
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return None
    return round(value, next((digits for end, digits in DIGITS.items() if name.endswith(end)), 4))
