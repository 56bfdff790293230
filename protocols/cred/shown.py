"""How a display shows a run of cRED: its kinds of frames with rings of resolution, and the stage's angle over time.

Pure, from run.json alone, which may be damaged: then the frames are shown without rings.
"""

import math

from drivers.geometry import per_px_A
from engine.record.document import RunDocument
from engine.record.jsonobject import JsonObject
from engine.record.trace import Record
from engine.run.contract import Course, Shown
from protocols.cred.records import DIFFRACTION, PRESCAN_IMAGE, SNAPSHOT
from protocols.products.cross import raw_place

RINGS_A = (4.0, 2.0, 1.5, 1.2, 1.0, 0.8)
DEGREES = "deg"


def shown_of(document: RunDocument) -> list[Shown]:
    """Diffraction with its beam and rings of resolution, then the pictures of the crystal."""
    try:
        pattern = _pattern(document.instrument["geometry"], document.instrument["detector"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError, OverflowError):
        pattern = Shown(DIFFRACTION.name, DIFFRACTION.name)
    return [pattern, Shown(SNAPSHOT.name, "snapshot"), Shown(PRESCAN_IMAGE.name, "pre-scan")]


def _pattern(geometry: JsonObject, detector: JsonObject) -> Shown:
    """With a ring of radius tan(2 theta) L / pixel for each spacing d, sin(theta) = wavelength / 2d."""
    wavelength_A, pixel_mm = float(geometry["wavelength_A"]), float(geometry["pixel_size_mm"])
    length_mm = float(geometry["camera_length_mm"])
    centre_px = float(geometry["beam_fast_px"]), float(geometry["beam_slow_px"])
    if not all(map(math.isfinite, (per_px_A(pixel_mm, length_mm, wavelength_A), *centre_px))):
        raise ValueError("not known before the instrument was connected")
    if detector["wide_cross"]:
        rows, columns = detector["shape"]
        centre_px = raw_place(centre_px[0], columns), raw_place(centre_px[1], rows)
    rings = [
        (math.tan(2 * math.asin(wavelength_A / 2 / d_A)) * length_mm / pixel_mm, f"{d_A:g} A")
        for d_A in RINGS_A
        if wavelength_A < d_A
    ]
    return Shown(DIFFRACTION.name, DIFFRACTION.name, centre_px, rings)


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
