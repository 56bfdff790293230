"""How the parts of several drivers become one instrument: who gives which part, and the figures of geometry and timing.

Used by `drivers.contract` for what is connected and by `drivers.declared` for what is only declared, so that both are
put together by the same rules.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import MISSING, fields
from typing import Any

from drivers.facts import DetectorFacts, Geometry, Timing
from drivers.judged import grid
from drivers.options import is_number, no_such_key
from drivers.parts import OPTIONAL_PARTS
from engine.errors import Refused, shown

REMEDIES = {"camera_length_mm": "A microscope tells it in diffraction mode only: go there. Or: "}
NOBODY_KNOWS = {"rotation_axis_deg": 0.0, "distortion_amplitude_percent": 0.0, "distortion_azimuth_deg": 0.0}
"""What holds of a geometry where no source has it. An axis is a guess, and asked about (`drivers.judged`): without one
no run could be made that tells it.
"""


def middle_of(camera: DetectorFacts) -> dict[str, float]:
    """The beam in the middle of a camera, as keys of the geometry; empty for one of unknown size."""
    if (shape := grid(camera)) is None:
        return {}
    rows, columns = shape
    return {"beam_fast_px": columns / 2, "beam_slow_px": rows / 2}


def parts_of(own: object, others: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of an instrument by their names: its own, and those that are taken from `others`.

    Raises Refused naming a part that nobody has.
    """
    parts = {name: getattr(others.get(name, own), name) for name in ("stage", "beam", "optics", "detector")}
    for name, part in parts.items():
        if part is None:
            raise Refused(f"devices: there is no {name}; nothing was started. Add a table [{name}] with its driver.")
    for name in OPTIONAL_PARTS:
        parts[name] = getattr(others.get(name, own), name)
        if name in others and parts[name] is None:
            raise Refused(
                f"devices: the driver of [{name}] has no {name}; nothing was started. Leave this table out, or "
                "name a driver that has one."
            )
    return parts


def figures(
    kind: type[Geometry] | type[Timing], table: str, given: Mapping[str, float], unknown: Collection[str] = ()
) -> dict[str, float]:
    """The figures of a table, all there and all numbers; those of `unknown` may be missing and are NaN then."""
    known = {item.name: item for item in fields(kind)}
    for name, value in given.items():
        if name not in known:
            raise no_such_key(f"[{table}]", name, known)
        if not is_number(value):
            raise Refused(f"devices: [{table}] {name} = {shown(repr(value))} is not a number; nothing was started.")
    for name, item in known.items():
        if name not in given and name not in unknown and item.default is MISSING:
            raise Refused(
                f"devices: [{table}] {name} is known to no driver; nothing was started. {REMEDIES.get(name, '')}Write "
                f"it into the table [{table}] of the devices file."
            )
    return {**dict.fromkeys(unknown, math.nan), **{name: float(value) for name, value in given.items()}}
