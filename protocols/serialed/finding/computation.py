"""Finding as a computation of a run: a pure function of JSON and of one picture in the run's spool.

It goes through `engine.run.compute`, in a worker, while the microscope changes its mode: `FIND` is what an experiment
declares, `told` the arguments, and what comes back `answered` reads.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from engine.frame import Picture
from engine.record.jsonobject import JsonDict, JsonObject
from engine.run.compute import Computation
from protocols.calibrate.moves.picture import Camera
from protocols.serialed.finding.crystals import Found, FoundCrystal, find_crystals
from protocols.serialed.finding.settings import FinderSettings

LATENCY_S, LIMIT_S = 0.1, 5.0
"""On a virtual clock, and the longest. A picture of 512 x 512 takes 0.04 s, one of 4096 x 4096 up to 2 s."""
MOST_CRYSTALS, MOST_BYTES = 300, 60_000
"""Of one image, the largest crystals; and as JSON, for it stands in the trace. Outlines of many have fewer corners."""

FIND = Computation(
    "find",
    "protocols.serialed.finding.computation:find_in",
    latency_s=LATENCY_S,
    limit_s=LIMIT_S,
    resolution={"crystals": 1e-2, "film": 1e-4},
)


def told(
    index: int,
    nm_per_px: float,
    settings: FinderSettings,
    *,
    wide_cross: bool = False,
    flatfield: int | None = None,
) -> JsonDict:
    """The arguments of `find_in`. index: of the image in the spool. nm_per_px: on the specimen. wide_cross: see
    `Camera`. flatfield: index of the camera's response in the spool, None where nobody knows it.
    """
    camera: JsonDict = {"wide_cross": wide_cross, "flatfield": flatfield}
    return {"image": index, "nm_per_px": round(nm_per_px, 6), "settings": asdict(settings), **camera}


def find_in(arguments: JsonObject, picture: Callable[[int], Picture]) -> JsonDict:
    """What an image shows, as `answered` reads it.

    Places are on pixels of equal size, as those of the probe are; a wide cross counts two more of each side of the
    middle.
    """
    flatfield = arguments["flatfield"]
    response = None if flatfield is None else np.asarray(picture(flatfield), np.float32)
    camera = Camera(bool(arguments["wide_cross"]), None, response)
    image = np.asarray(camera.equal(picture(arguments["image"])), np.float32)
    found = find_crystals(image, arguments["nm_per_px"], FinderSettings(**arguments["settings"]))
    kept = found.crystals[:MOST_CRYSTALS]
    for corners in (16, 8, 4):
        result = {
            "crystals": [_row(each, corners) for each in kept],
            "left_out": len(found.crystals) - len(kept),
            "film": round(found.film, 4),
            "note": found.note,
        }
        if len(json.dumps(result)) <= MOST_BYTES:
            break
    return result


def answered(result: JsonObject) -> Found:
    """What `find_in` found. Its note says how many were left out."""
    values: dict[str, Any] = dict(result)
    left_out = f"{values['left_out']} smaller ones are left out" if values["left_out"] else ""
    note = "; ".join(part for part in (values["note"], left_out) if part)
    return Found(tuple(_crystal(row) for row in values["crystals"]), values["film"], note)


def _row(crystal: FoundCrystal, corners: int) -> list[Any]:
    """Numbers in the order of the fields; at the end the outline, from the middle, in tenths of a pixel."""
    *values, outline = (getattr(crystal, field.name) for field in fields(crystal))
    every = max(1, len(outline) // corners)
    middle = (crystal.fast_px, crystal.slow_px)
    steps = [round(10.0 * (place[k] - middle[k])) for place in outline[::every] for k in (0, 1)]
    return [value if isinstance(value, bool) else round(value, 2) for value in values] + [steps]


def _crystal(row: list[Any]) -> FoundCrystal:
    *values, steps = row
    fast, slow = values[:2]
    outline = tuple((fast + steps[k] / 10.0, slow + steps[k + 1] / 10.0) for k in range(0, len(steps), 2))
    names = [field.name for field in fields(FoundCrystal)][:-1]
    told: dict[str, Any] = dict(zip(names, values, strict=True))
    return FoundCrystal(**told, outline_px=outline)
