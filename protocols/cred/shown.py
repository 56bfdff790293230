"""How a display shows a run of cRED: its kinds of frames with rings of resolution, and the stage's angle over time.

Pure, from run.json alone, which may be damaged: then the frames are shown without rings.
"""

import math

from engine.record.document import RunDocument
from engine.record.jsonobject import JsonObject
from engine.record.trace import Record
from engine.run.contract import Course, Shown
from protocols.cred.records import DIFFRACTION, PRESCAN_IMAGE, SNAPSHOT
from protocols.products.resolutionrings import resolution_rings

DEGREES = "deg"


def shown_of(document: RunDocument) -> list[Shown]:
    """Diffraction with its beam and rings of resolution, then the pictures of the crystal."""
    try:
        known = resolution_rings(document.instrument)
    except ValueError:
        pattern = Shown(DIFFRACTION.name, DIFFRACTION.name)
    else:
        pattern = Shown(DIFFRACTION.name, DIFFRACTION.name, known.centre_px, known.rings)
    return [pattern, Shown(SNAPSHOT.name, "snapshot"), Shown(PRESCAN_IMAGE.name, "pre-scan")]


def course_of(plan: JsonObject) -> Course | None:
    """The stage's angle, as the plan asks for it."""
    try:
        begin_deg, range_deg, speed_deg_s = (float(plan[key]) for key in ("start_deg", "range_deg", "speed_deg_s"))
    except (KeyError, TypeError, ValueError):
        return None
    rate_deg_s = math.copysign(speed_deg_s, range_deg)
    return Course("stage angle", DEGREES, begin_deg, begin_deg + range_deg, rate_deg_s)


def angle_read(record: Record) -> float | None:
    """The stage's angle, where a reading or a frame tells it."""
    told = None
    if (record["kind"], record["name"]) == ("call", "stage.angle"):
        result = record.get("result")
        told = result.get("value") if isinstance(result, dict) else None
    elif record["kind"] == "frame":
        told = record.get("angle_deg")
    return float(told) if isinstance(told, int | float) else None
