"""How a display shows a serial run: the map of its fields and crystals, crystals marked on images, runs of one crystal.

Pure, from run.json, which may be damaged, and the records of the trace.
"""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from engine.errors import Refused
from engine.record.document import RunDocument
from engine.record.jsonobject import JsonObject
from engine.record.trace import Record
from engine.run.contract import Shown
from engine.run.panels import Cell, FrameMarks, MapPanel, Mark, Offer, PanelRow
from protocols.products.cross import raw_place
from protocols.screening.computation import SCREEN
from protocols.serialed.finding.computation import FIND
from protocols.serialed.plan import SerialedPlan
from protocols.serialed.raster import NM_PER_UM, raster
from protocols.serialed.records import BEAM, FIELD, IMAGE, PATTERN, ROUTE

GRID = "grid"
TO_COME = "to come"
STATES = (
    (TO_COME, "fields to come"),
    ("under way", "under way"),
    ("visited", "visited"),
    ("no crystals", "no crystals"),
    ("barren", "without film"),
    ("bar", "behind a bar, skipped"),
    ("asked", "skipped, as asked"),
    ("stage", "not reached by the stage"),
    ("lost", "image lost"),
)
NEIGHBOURS_NM, NEIGHBOURS_MOST = 6000.0, 30
"""By so many crystals, no farther than this, one is known again."""
MAP = MapPanel(GRID, "Grid", "um", STATES, "crystals", "chance that it is worth a run", offers=True)


def shown_of() -> list[Shown]:
    """Images before patterns."""
    return [Shown(IMAGE.name, "image"), Shown(PATTERN.name, "pattern"), Shown(BEAM.name, "probe")]


def map_read(record: Record, plan: JsonObject) -> list[PanelRow]:
    """What a record adds to the map: the fields of the region, one that is reached or over, a crystal, its score."""
    kind, name = record["kind"], record["name"]
    if kind == "note" and name == ROUTE:
        x_nm, y_nm = record["centre_nm"]
        asked = SerialedPlan(**plan)
        return [
            _area(field.number, field.x_nm, field.y_nm, asked.step_um, TO_COME) for field in raster(asked, (x_nm, y_nm))
        ]
    if kind == "frame" and name == IMAGE.name:
        step_um = SerialedPlan(**plan).step_um
        return [_area(record["field"], record["x_nm"], record["y_nm"], step_um, "under way")]
    if kind == "note" and name == FIELD:
        words = f"field {record['field']}: {record['how']}, {record['visited']} of {record['found']} crystals"
        return [PanelRow(GRID, f"field {record['field']}", {"state": str(record["how"]), "words": words})]
    if kind == "frame" and name == PATTERN.name:
        where = {"x": record["x_nm"] / NM_PER_UM, "y": record["y_nm"] / NM_PER_UM}
        words = f"field {record['field']}, crystal {record['crystal']}, {record['length_nm']:.0f} nm long"
        said: dict[str, Cell] = {"words": words, "field": record["field"], "crystal": record["crystal"]}
        return [PanelRow(GRID, _crystal(record["index"]), {**where, **said, "length_nm": record["length_nm"]})]
    if kind == "computation" and name == SCREEN.name and "result" in record:
        good, why = float(record["result"]["good"]), str(record["result"].get("why") or "")
        return [PanelRow(GRID, _crystal(record["pictures"][0]), {"value": good, "why": why})]
    return []


def _crystal(index: int) -> str:
    """A crystal by its pattern's index in the spool."""
    return f"pattern {index}"


def _area(number: int, x_nm: float, y_nm: float, step_um: float, state: str) -> PanelRow:
    where: dict[str, Cell] = {"x": x_nm / NM_PER_UM, "y": y_nm / NM_PER_UM, "side": step_um}
    return PanelRow(GRID, f"field {number}", {**where, "state": state, "words": f"field {number}"})


def crystals_read(record: Record, detector: JsonObject) -> FrameMarks | None:
    """The crystals that were found in an image."""
    if (record["kind"], record["name"]) != ("computation", FIND.name) or "result" not in record:
        return None
    told: Any = record["result"]
    sizes: Any = detector.get("shape") if record["arguments"].get("wide_cross") else None
    marks = []
    for fast_px, slow_px, length_px, *_ in told["crystals"]:
        place = fast_px - 0.5, slow_px - 0.5  # from edges to middles of pixels
        if sizes:
            place = raw_place(place[0], sizes[1]), raw_place(place[1], sizes[0])
        marks.append(Mark(*place, max(length_px / 2, 4.0)))
    return FrameMarks(record["pictures"][0], marks)


def runs_of(document: RunDocument, rows: Mapping[str, Mapping[str, Cell]], key: str) -> list[Offer]:
    """The crystal brought back under the beam, and then a rotation of it. Raises Refused."""
    crystal = rows.get(key)
    try:
        plan = SerialedPlan(**document.plan)
    except (ValidationError, TypeError) as error:
        raise Refused("the plan of this run cannot be read; nothing was queued.") from error
    if crystal is None or "side" in crystal or not _is_placed(crystal):
        raise Refused("that is no crystal of this run; nothing was queued.")
    x_nm, y_nm = _nm(crystal)
    others = [
        (x - x_nm, y - y_nm, _number(other.get("length_nm")))
        for name, other in rows.items()
        if name != key and "side" not in other and _is_placed(other)
        for x, y in (_nm(other),)
    ]
    near = sorted((dx * dx + dy * dy, dx, dy, long) for dx, dy, long in others if dx * dx + dy * dy < NEIGHBOURS_NM**2)
    neighbours = [[round(dx, 1), round(dy, 1), round(long, 1)] for _, dx, dy, long in near[:NEIGHBOURS_MOST]]
    sample = f"{plan.sample}-f{crystal.get('field')}-c{crystal.get('crystal')}"[:64]
    recall = [
        f"sample={json.dumps(sample)}",
        f"x_nm={x_nm:.1f}",
        f"y_nm={y_nm:.1f}",
        f"length_nm={_number(crystal.get('length_nm')):.1f}",
        f"neighbours={json.dumps(neighbours)}",
        'correct="stage"',
        f"magnification={plan.magnification:g}",
        f"probe_brightness={plan.probe_brightness:g}",
        *([] if plan.image_brightness is None else [f"image_brightness={plan.image_brightness:g}"]),
    ]
    what = str(crystal.get("words") or "the crystal")
    return [
        Offer(f"{what}: brought back under the beam", "serialed-recall", recall),
        Offer(f"{what}: rotated (cRED)", "cred", [f"sample={json.dumps(sample)}"]),
    ]


def _is_placed(row: Mapping[str, Cell]) -> bool:
    return isinstance(row.get("x"), int | float) and isinstance(row.get("y"), int | float)


def _nm(row: Mapping[str, Cell]) -> tuple[float, float]:
    return _number(row["x"]) * NM_PER_UM, _number(row["y"]) * NM_PER_UM


def _number(value: Cell) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
