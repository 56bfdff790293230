"""The crystals of a session's region, from the tables that screenings tell. Pure."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from engine.record.jsonobject import JsonDict, JsonObject

SAME_NM = 150.0
"""Nearer to each other they are one crystal, seen in two fields (as `serialed.recall.recalledtable` has it)."""
REACH_NM, MOST_NEIGHBOURS = 6000.0, 60
"""Of the neighbours by which a crystal is known again; the same."""
COLUMNS = (
    *("field", "x_nm", "y_nm", "length_nm", "width_nm", "neighbour_nm", "border_nm", "is_isolated"),
    *("score_good", "score_several", "d_min_A", "spots"),
)


@dataclass(frozen=True, slots=True)
class Crystal:
    """One crystal of the region.

    number: in the session, from 1. block: of the screening that found it, field: in that. x_nm, y_nm: where the stage
    stands with it in the middle. neighbour_nm, border_nm: from its edge to the next thing, and to the edge of the
    image or of a bar. score_good, score_several, d_min_A: of its pattern; None where nobody knows. spots: of the
    pattern, fast and slow from the beam in 1/A, one after the other; None where they were not kept.
    """

    number: int
    block: int
    field: int
    x_nm: float
    y_nm: float
    length_nm: float | None
    width_nm: float | None
    neighbour_nm: float | None
    border_nm: float | None
    is_isolated: bool
    score_good: float | None
    score_several: float | None
    d_min_A: float | None
    spots: list[float] | None = None

    @property
    def row(self) -> list[object]:
        """For a table, by `COLUMNS`, with its block before them."""
        return [self.block, *(getattr(self, name) for name in COLUMNS)]


@dataclass(frozen=True, slots=True)
class Bar:
    """A field of which nothing was seen because a bar of the mesh lies there."""

    x_nm: float
    y_nm: float


def crystals_in(result: JsonObject, block: int, before: Sequence[Crystal]) -> list[Crystal]:
    """The crystals of a serial run's result (its plan's `tell_crystals`) that are not known yet, numbered on."""
    spots: Any = result.get("spots") or {}
    rows = (row for row in rows_of(result.get("crystals")) if _has_place(row))
    told = [row | {"spots": spots.get(str(row.get("number")))} for row in rows]
    grid = _Places([(crystal.x_nm, crystal.y_nm) for crystal in before])
    found: list[Crystal] = []
    # Of a crystal that two fields show, the better pattern counts.
    for row in sorted(told, key=lambda row: -(row.get("score_good") or 0.0)):
        if grid.has_near(row["x_nm"], row["y_nm"]):
            continue
        grid.add(row["x_nm"], row["y_nm"])
        values: Any = {name: row.get(name) for name in COLUMNS}
        values |= {"is_isolated": bool(row.get("is_isolated")), "field": int(row.get("field") or 0)}
        found.append(Crystal(0, block, **values))
    found.sort(key=lambda crystal: (crystal.y_nm, crystal.x_nm))
    return [_numbered(crystal, len(before) + n) for n, crystal in enumerate(found, 1)]


def bars_in(result: JsonObject) -> list[Bar]:
    """The fields that a bar covers: those that were skipped for it, and those in which nothing was seen."""
    rows = (row for row in rows_of(result.get("field_table")) if row.get("how") in ("bar", "barren"))
    return [Bar(row["x_nm"], row["y_nm"]) for row in rows if _has_place(row)]


def crystals_again(rows: Iterable[Sequence[object]]) -> list[Crystal]:
    """From `Crystal.row` of each, in order."""
    return [Crystal(n, int(str(row[0])), *row[1:]) for n, row in enumerate(rows, 1)]  # type: ignore[arg-type]


def rows_of(table: object) -> Iterator[JsonDict]:
    """Rows of a table with `columns` and `rows`, each by its columns; nothing for what is none."""
    if not isinstance(table, dict):
        return
    columns = table.get("columns")
    if not isinstance(columns, list):
        return
    for row in table.get("rows") or ():
        if isinstance(row, list) and len(row) == len(columns):
            yield dict(zip(columns, row, strict=True))


def neighbours_of(crystal: Crystal, crystals: Sequence[Crystal]) -> tuple[tuple[float, float, float], ...]:
    """What lies around a crystal, the nearest first: x, y in nm from it, length (0: not known).

    Of the same field alone: how two fields lie to each other is known no better than where the stage lands.
    """
    near = [
        (round(other.x_nm - crystal.x_nm, 1), round(other.y_nm - crystal.y_nm, 1), other.length_nm or 0.0)
        for other in crystals
        if other.number != crystal.number
        and (other.block, other.field) == (crystal.block, crystal.field)
        and math.hypot(other.x_nm - crystal.x_nm, other.y_nm - crystal.y_nm) <= REACH_NM
    ]
    near.sort(key=lambda each: math.hypot(each[0], each[1]))
    return tuple(near[:MOST_NEIGHBOURS])


def free_deg(crystal: Crystal, bars: Sequence[Bar], step_nm: float, bar_height_nm: float) -> float:
    """To how much tilt no bar shades a crystal: the stage tilts about its x, so bars above and below it along y count.

    90 where no bar is known near it.
    """
    away = [abs(bar.y_nm - crystal.y_nm) - step_nm / 2 for bar in bars if abs(bar.x_nm - crystal.x_nm) <= step_nm]
    if not away or bar_height_nm <= 0:
        return 90.0
    return math.degrees(math.atan2(max(min(away), 0.0), bar_height_nm))


class _Places:
    """Places in squares of `SAME_NM`, for whether one is near."""

    def __init__(self, places: Iterable[tuple[float, float]]) -> None:
        self._squares: dict[tuple[int, int], list[tuple[float, float]]] = {}
        for x, y in places:
            self.add(x, y)

    def add(self, x: float, y: float) -> None:
        self._squares.setdefault((int(x // SAME_NM), int(y // SAME_NM)), []).append((x, y))

    def has_near(self, x: float, y: float) -> bool:
        i, j = int(x // SAME_NM), int(y // SAME_NM)
        around = (self._squares.get((i + a, j + b), ()) for a in (-1, 0, 1) for b in (-1, 0, 1))
        return any(math.hypot(x - u, y - v) < SAME_NM for places in around for u, v in places)


def _numbered(crystal: Crystal, number: int) -> Crystal:
    return Crystal(number, crystal.block, *crystal.row[1:])  # type: ignore[arg-type]


def _has_place(row: JsonObject) -> bool:
    return all(isinstance(row.get(name), int | float) and math.isfinite(row[name]) for name in ("x_nm", "y_nm"))
