"""A cRED run as a row of runs.csv, and back: what it was to be, what became of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.errors import DataError, shown
from engine.record.document import RunDocument

ASKED = ("speed_deg_s", "exposure_s", "snapshot_interval", "snapshot_exposure_s", "tracking")
"""Of the plan, copied as they are."""
GEOMETRY = ("camera_length_mm", "wavelength_A")


@dataclass(frozen=True, slots=True)
class RunRow:
    """What is needed of a run to compare it with others.

    range_deg: that its frames and snapshots cover; planned_deg: that they were to cover. Both without sign. holder_deg:
    what the holder's limits allow, None where nobody knows. tracking: off, show or correct.
    """

    run: str
    status: str
    reason: str
    range_deg: float
    planned_deg: float
    holder_deg: float | None = None
    tracking: str = "off"


def row_of(document: RunDocument) -> dict[str, Any]:
    """The row of a run that has ended."""
    plan, result, instrument = document.plan, document.result, document.instrument
    geometry = instrument.get("geometry") or {}
    planned_deg = plan.get("range_deg")
    return {
        "run": document.run_id,
        "sample": document.label,
        "began": document.created_at,
        "status": document.status,
        "reason": document.reason,
        "range_deg": result.get("range_deg") or 0.0,
        "planned_deg": abs(planned_deg) if isinstance(planned_deg, int | float) else None,
        "start_deg": plan.get("start_deg") if result.get("start_deg") is None else result["start_deg"],
        "frames": result.get("frames"),
        "snapshots": result.get("snapshots"),
        "lost_slots": result.get("lost_slots"),
        **{key: plan.get(key) for key in ASKED if key in plan},
        **{key: geometry.get(key) for key in GEOMETRY},
        "credline": document.version,
    }


def read_row(row: Mapping[str, object], where: str) -> RunRow:
    """A row as it is compared. Raises DataError for one without a run or a range."""
    run = str(row.get("run") or "")
    range_deg = _number(row, "range_deg", where)
    if not run or range_deg is None:
        raise DataError(f"{where}: a row has no {'range_deg' if run else 'run'}; nothing was made of the table.")
    planned_deg = _number(row, "planned_deg", where)
    return RunRow(
        run,
        str(row.get("status") or ""),
        str(row.get("reason") or ""),
        abs(range_deg),
        abs(range_deg) if planned_deg is None else abs(planned_deg),
        _number(row, "holder_deg", where),
        str(row.get("tracking") or "off"),
    )


def _number(row: Mapping[str, object], key: str, where: str) -> float | None:
    value = row.get(key)
    if value in ("", None):
        return None
    try:
        number = float(str(value))
    except ValueError:
        number = float("nan")
    if not abs(number) < 1e6:
        raise DataError(f"{where}: {key} = {shown(str(value))!r} is no angle in deg; nothing was made of the table.")
    return number
