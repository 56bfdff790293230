"""What a display shows of a cRED run beside its frames: what looks at the crystal tell, and where snapshots show it.

Pure, from the records of the trace and run.json, which may be damaged. A click on a snapshot becomes the words by which
the crystal is held elsewhere (`protocols.cred.trackingwords`).
"""

import math
from typing import Any

import numpy as np

from engine.errors import Refused
from engine.record.document import RunDocument
from engine.record.jsonobject import JsonDict, JsonObject
from engine.record.trace import Record
from engine.run.panels import FrameMarks, Mark, PanelColumn, PanelRow, Pointed, TablePanel
from protocols.cred.livelook import LOOK
from protocols.cred.seencrystal import LOCATE
from protocols.cred.trackingwords import words_of
from protocols.products.cross import corrected_place, raw_place

CRYSTAL = "crystal"
CLICK = "click where the crystal is to be held"
MARK_PX = 6.0
TABLE = TablePanel(CRYSTAL, "Crystal, as seen so far", (PanelColumn("what", ""), PanelColumn("told", "")))


def crystal_read(record: Record) -> list[PanelRow]:
    """Cell, type of the lattice, completeness, resolution, damage: from a look at the frames so far."""
    if (record["kind"], record["name"]) != ("computation", LOOK.name) or "result" not in record:
        return []
    told: Any = record["result"]
    rows = {"seen": f"{told['deg']:.1f} deg, {told['reflections']} reflections"}
    if told["determined"]:
        cell, sigma = told["cell"], told.get("cell_sigma")
        lengths = ", ".join(f"{value:.2f}" for value in cell[:3])
        angles = ", ".join(f"{value:.1f}" for value in cell[3:])
        rows["cell"] = f"{lengths} A, {angles} deg" + (f" (a +- {sigma[0]:.2f} A)" if sigma else "")
        rows["lattice"] = told["bravais"] or "type not known yet"
        if told["lattices"] > 1:
            rows["lattices"] = f"{told['lattices']}: not one crystal"
    else:
        rows["cell"] = "; ".join(told["reasons"]) or "not known yet"
        rows["lattice"] = "not known yet"
    rows["indexed"] = f"{told['indexed']:.0%} of the reflections"
    rows["completeness"] = "not known yet" if told["completeness"] is None else f"{told['completeness']:.1%}"
    rows["resolution"] = "not known yet" if told["resolution_A"] is None else f"{told['resolution_A']:.2f} A"
    rows["damage"] = _damage(told.get("damage"))
    return [PanelRow(CRYSTAL, name, {"what": name, "told": text}) for name, text in rows.items()]


def _damage(told: Any) -> str:
    if told is None:
        return "too few reflections tell it"
    words = {
        "none": lambda: f"none seen, {told['lost_at_most']:.0%} at most",
        "leaves the beam": lambda: f"none; all are {told['fallen']:.0%} weaker alike: it leaves the beam",
        "damage": lambda: f"the outer shell has lost {told['lost']:.0%}",
    }
    return words.get(told["verdict"], lambda: "cannot be told")()


def snapshot_read(record: Record, document: RunDocument) -> FrameMarks | None:
    """Where the crystal was found in a snapshot."""
    if (record["kind"], record["name"]) != ("computation", LOCATE.name) or "result" not in record:
        return None
    result: Any = record["result"]
    optics = result["optics"]
    shape: Any = (document.instrument.get("detector") or {}).get("shape")
    wide = bool(record["arguments"]["detector"]["wide_cross"]) and bool(shape)
    told: JsonDict = {
        "centre_px": optics["centre_px"],
        "px_per_nm": optics["px_per_nm"],
        "radius_px": optics["radius_px"],
        "raw_shape": list(shape) if wide else None,
    }
    marks = []
    if "place" in result:
        at = _pixel(told, result["place"]["x_nm"], result["place"]["y_nm"])
        x_nm, y_nm = result["place"]["x_nm"], result["place"]["y_nm"]
        marks.append(Mark(*at, MARK_PX, f"the crystal, {x_nm:.0f}, {y_nm:.0f} nm from the middle"))
    click = CLICK if document.plan.get("tracking") == "correct" else ""
    return FrameMarks(record["pictures"][0], marks, trail=True, click=click, told=told)


def _pixel(told: JsonObject, x_nm: float, y_nm: float) -> tuple[float, float]:
    """Where a place in the aperture lies, in pixels as the camera gave them, from the middle of the first one."""
    off: Any = np.reshape(told["px_per_nm"], (2, 2)) @ np.array([x_nm, y_nm])
    place = [float(middle + away) - 0.5 for middle, away in zip(told["centre_px"], off, strict=True)]
    if shape := told["raw_shape"]:
        place = [raw_place(place[0], shape[1]), raw_place(place[1], shape[0])]
    return place[0], place[1]


def held_at(told: JsonObject, fast_px: float, slow_px: float) -> Pointed:
    """The words for a click. told: of the snapshot. Raises Refused where nothing is lit."""
    place = [fast_px, slow_px]
    if shape := told.get("raw_shape"):
        place = [corrected_place(fast_px, shape[1]), corrected_place(slow_px, shape[0])]
    off = np.array(place) + 0.5 - np.array(told["centre_px"])
    if math.hypot(*off.tolist()) > float(told["radius_px"]):
        raise Refused("outside of the aperture a crystal is lit no more; nothing was told. Click inside the disc.")
    x_nm, y_nm = (round(value) for value in np.linalg.solve(np.reshape(told["px_per_nm"], (2, 2)), off).tolist())
    return Pointed(
        words_of(x_nm, y_nm),
        f"From the next snapshot on the crystal is held {x_nm} nm along the tilt axis and {y_nm} nm across it from the "
        "middle of the aperture.",
    )
