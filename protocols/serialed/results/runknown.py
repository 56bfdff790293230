"""What a serial run knew of itself that its tables need: how the stage moves its images, where its fields were to be.

From the header of its trace, its plan and its notes; nothing where a crash has left none of them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from drivers.facts import Facts
from engine.errors import CredlineError
from engine.record.remains import Remains
from engine.record.trace import Record
from protocols.serialed.plan import SerialedPlan
from protocols.serialed.raster import raster
from protocols.serialed.records import ROUTE
from protocols.serialed.results.crystaltable import SerialTables, tables_of
from protocols.serialed.results.csvfiles import write_tables
from protocols.serialed.results.placing import Four
from protocols.serialed.scale import field_scale

Pair = tuple[float, float]


def tables_of_remains(remains: Remains) -> SerialTables:
    """Fields and crystals of a run that has just ended, of its replay or its recovery."""
    shape, stage_px = scale_of(remains.header, remains.plan)
    return tables_of(remains.records, remains.frames, shape, stage_px)


def write_run_tables(folder: Path, remains: Remains) -> list[Path]:
    """The tables as CSV, for `ExperimentType.write_files`; which were written. Raises StorageError."""
    return write_tables(folder, tables_of_remains(remains), int(remains.header.get("t_ns") or 0))


def scale_of(header: Record, plan: Mapping[str, Any]) -> tuple[tuple[int, int] | None, Four | None]:
    """Rows and columns of an image on equal pixels, and what a nm of the stage moves it; None for what is not known."""
    try:
        scale = field_scale(Facts.of(header["instrument"]), float(plan["magnification"]))
    except (CredlineError, KeyError, TypeError, ValueError, AttributeError):
        return None, None
    return scale.shape, scale.stage_px


def places_of(records: Sequence[Record], plan: Mapping[str, Any]) -> dict[int, Pair]:
    """Where the stage was to stand for each field, by their numbers."""
    route = next((r for r in records if (r["kind"], r["name"]) == ("note", ROUTE)), None)
    try:
        x_nm, y_nm = (route or {})["centre_nm"]
        fields = raster(SerialedPlan(**plan), (float(x_nm), float(y_nm)))
    except (KeyError, TypeError, ValueError, ValidationError):
        return {}
    return {each.number: (each.x_nm, each.y_nm) for each in fields}
