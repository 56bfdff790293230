"""Maps, tables and marks of one run, kept row by row as its records say. Pure, and bounded."""

from collections.abc import Mapping
from typing import Generic, TypeVar

import structlog

from engine.errors import shown
from engine.record.document import RunDocument
from engine.record.jsonobject import JsonDict
from engine.record.trace import Record
from engine.run.contract import AnyExperiment
from engine.run.panels import Cell, FrameMarks, Panel, TablePanel

log = structlog.get_logger()

T = TypeVar("T")

ROWS_MOST = 20_000
"""Of all panels; later ones are left out."""
LETTERS_MOST = 300


class Changing(Generic[T]):
    """Things by their keys, of which whoever has seen some is given those that have changed since."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[int, T]] = {}
        self.number = 0

    def put(self, key: str, value: T) -> None:
        """New, or anew."""
        if key not in self._kept and len(self._kept) >= ROWS_MOST:
            return
        self.number += 1
        self._kept.pop(key, None)  # the newest stands last
        self._kept[key] = self.number, value

    def get(self, key: str) -> T | None:
        """What is kept; None without."""
        found = self._kept.get(key)
        return None if found is None else found[1]

    def after(self, seen: int) -> list[T]:
        """Those that have changed since then, in that order."""
        new = []
        for number, value in reversed(self._kept.values()):
            if number <= seen:
                break
            new.append(value)
        return new[::-1]


class PanelView:
    """What the records so far say of the panels of one run."""

    def __init__(self, kind: AnyExperiment | None, document: RunDocument) -> None:
        self._kind, self.document = kind, document
        self.rows, self.marks = Changing[JsonDict](), Changing[JsonDict]()
        self._keys: dict[str, dict[str, dict[str, Cell]]] = {}
        self._frames: dict[int, tuple[str, int]] = {}
        self._told: dict[str, JsonDict] = {}
        self._counts: dict[str, int] = {}
        self._first_ns = self._last_ns = 0

    def take(self, record: Record) -> None:
        """One record of the trace; a protocol that fails at one is asked no more."""
        frame = self._frame(record)
        if self._kind is None:
            return
        try:
            rows = self._kind.panel_read(record, self.document)
            marks = self._kind.marks_read(record, self.document)
        except Exception as error:  # somebody's protocol, or an older trace
            log.warning("a protocol cannot read its trace", protocol=self.document.protocol, cause=repr(error))
            self._kind = None
            return
        for row in rows:
            known = self._keys.setdefault(row.panel, {})
            values = known.setdefault(row.key, {})
            is_new = not values
            values.update({key: _sayable(value) for key, value in row.values.items()})
            told: JsonDict = {"panel": row.panel, "key": row.key, "values": values}
            before = self.rows.get(f"{row.panel}/{row.key}") or {}
            told["place"] = before.get("place", len(known) - 1)
            if frame is not None and (is_new or "x" in row.values):
                told["frame"] = list(frame)
            elif "frame" in before:
                told["frame"] = before["frame"]
            self.rows.put(f"{row.panel}/{row.key}", told)
        if marks is not None and (at := self._frames.get(marks.index)) is not None:
            self._mark(marks, *at)

    def _frame(self, record: Record) -> tuple[str, int] | None:
        """Kind, and place among those of its kind, of a frame that a record tells of."""
        if record["kind"] != "frame":
            return None
        kind = str(record["name"])
        row = self._counts.get(kind, 0)
        self._counts[kind] = row + 1
        self._first_ns, self._last_ns = self._first_ns or record["t_ns"], record["t_ns"]
        if (index := record.get("index")) is not None:
            self._frames[index] = kind, row
        return kind, row

    def _mark(self, marks: FrameMarks, kind: str, row: int) -> None:
        told = {
            "kind": kind,
            "row": row,
            "marks": [
                [round(each.fast_px, 2), round(each.slow_px, 2), round(each.radius_px, 2), _sayable(each.words)]
                for each in marks.marks
            ],
            "trail": marks.trail,
            "click": _sayable(marks.click),
        }
        self.marks.put(f"{kind}/{row}", told)
        self._told[f"{kind}/{row}"] = dict(marks.told)

    def told_of(self, kind: str, row: int) -> JsonDict | None:
        """What `ExperimentType.pointed` needs to know of a frame; None of one without marks."""
        return self._told.get(f"{kind}/{row}")

    def rows_of(self, panel: str) -> Mapping[str, Mapping[str, Cell]]:
        """The rows of one panel, by their keys."""
        return self._keys.get(panel, {})

    @property
    def panels(self) -> list[JsonDict]:
        """Which there are, for the page."""
        if self._kind is None:
            return []
        try:
            return [_told(panel) for panel in self._kind.panels(self.document)]
        except Exception:  # a damaged run.json
            return []

    def hourly(self, t_ns: int) -> list[tuple[str, float]]:
        """How many frames came in an hour, from the first frame of any kind up to an instant, by their kinds."""
        kinds = () if self._kind is None else self._kind.hourly
        hours = (max(t_ns, self._last_ns) - self._first_ns) / 3.6e12
        return [(kind, round(self._counts.get(kind, 0) / hours, 1)) for kind in kinds] if hours > 0 else []


def _told(panel: Panel) -> JsonDict:
    told: JsonDict = {"name": panel.name, "title": shown(panel.title), "offers": panel.offers}
    if isinstance(panel, TablePanel):
        columns = [[each.key, each.title, each.unit, each.digits] for each in panel.columns]
        return {**told, "type": "table", "columns": columns, "runs": panel.runs}
    states = [list(state) for state in panel.states]
    return {
        **told,
        "type": "map",
        "unit": panel.unit,
        "states": states,
        "points": panel.points,
        "value_title": panel.value_title,
    }


def _sayable(value: Cell) -> Cell:
    """JSON has no word for a number that is none; a text is as long as a person reads."""
    if isinstance(value, float) and value - value != 0.0:
        return None
    return shown(value, LETTERS_MOST) if isinstance(value, str) else value
