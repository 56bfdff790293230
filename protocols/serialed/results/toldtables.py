"""The tables of a serial run as its result tells them to who goes on with its crystals. Pure."""

import math
from collections.abc import Sequence
from typing import Any

from engine.record.jsonobject import JsonDict
from protocols.serialed.results.crystaltable import CrystalRow, FieldRow, SerialTables

CRYSTALS = (
    *("number", "field", "x_nm", "y_nm", "length_nm", "width_nm", "neighbour_nm", "border_nm", "is_isolated"),
    *("score_good", "score_several", "d_min_A"),
)
"""As `crystaltable.CrystalRow` has them."""
FIELDS = ("field", "x_nm", "y_nm", "film", "how")
DIGITS = {"_nm": 1, "_A": 3}


def told_tables(tables: SerialTables) -> JsonDict:
    """`crystals` and `fields`, each with `columns` and `rows`; None for what is not known."""
    return {"crystals": _table(CRYSTALS, tables.crystals), "fields": _table(FIELDS, tables.fields)}


def _table(columns: Sequence[str], rows: Sequence[CrystalRow | FieldRow]) -> JsonDict:
    return {"columns": list(columns), "rows": [[_plain(name, getattr(row, name)) for name in columns] for row in rows]}


def _plain(name: str, value: Any) -> Any:
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return None
    return round(value, next((digits for end, digits in DIGITS.items() if name.endswith(end)), 4))
