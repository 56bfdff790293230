"""A look at a rotation as a computation of a run: a pure function of JSON and of the pictures in the run's spool.

It goes through `engine.run.compute`, in a worker (`protocols.cred.livelook` asks). All frames are read anew for each
look, 8 ms each: so an outcome depends on what it was asked for and on nothing else, and can be computed again.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from drivers.facts import Geometry
from engine.frame import Picture
from engine.record.jsonobject import JsonDict, JsonObject
from protocols.lattice.rotationgeometry import RotationGeometry
from protocols.live.frames import SeriesFrames
from protocols.live.growing import Growing
from protocols.products.corrections import correction, untrusted
from protocols.spots.beam_centre import even_level, filter_px, find_beam

BEAM_FRAMES = 5
KEPT_OF_TOLD = (
    "deg", "frames", "reflections", "determined", "reasons", "cell", "cell_sigma", "bravais", "indexed", "lattices",
    "resolution_A", "completeness", "completeness_after", "mosaicity", "phases", "rings_A", "ice", "geometry",
)  # fmt: skip
"""What a trace holds of a look; the rest is in the look that `credline live` gives of the folder."""


def look_at(arguments: JsonObject, picture: Callable[[int], Picture]) -> JsonDict:
    """What the frames so far tell; see `protocols.live.look`.

    arguments: `frames`, each as [index in the spool, slot, stage angle at its begin and end]; `flatfield`, its index in
    the spool or None; `geometry`, as `drivers.facts.Geometry`; `wide_cross`; `saturation`, in counts, or None.
    """
    rows: Any = arguments["frames"]
    index = [int(row[0]) for row in rows]
    slot, start_deg, end_deg = (np.array([row[k] for row in rows]) for k in (1, 2, 3))
    flatfield = arguments["flatfield"]
    response = None if flatfield is None else np.asarray(picture(flatfield), dtype=np.float32)
    saturation = int(arguments["saturation"] or 0)
    apply = correction(response, bool(arguments["wide_cross"]), saturation)
    raw = picture(index[0])
    made_up = untrusted((raw.shape[0], raw.shape[1]), bool(arguments["wide_cross"]), apply.dead)
    told = Geometry(**arguments["geometry"])
    some = np.unique(np.linspace(0, len(index) - 1, BEAM_FRAMES).astype(np.intp)).tolist()
    level = even_level(saturation or 65535, bool(arguments["wide_cross"]))
    found = [find_beam(apply.apply(picture(index[k]))[0], filter_px(raw.shape[:2]), level) for k in some]
    seen = np.array([each for each in found if each is not None])
    nominal_px = told.beam_fast_px, told.beam_slow_px
    beam_px = nominal_px if not len(seen) else (float(np.median(seen[:, 0])), float(np.median(seen[:, 1])))
    geometry = RotationGeometry.of(told)
    frames = SeriesFrames(
        (made_up.shape[0], made_up.shape[1]),
        lambda number: apply.apply(picture(index[number]))[0],
        made_up,
        beam_px,
        RotationGeometry(
            geometry.wavelength_A, geometry.camera_length_px, *beam_px, geometry.axis_deg, 0.0, geometry.strain,
            geometry.shear,
        ),
        slot.astype(np.int64),
        start_deg.astype(np.float64),
        end_deg.astype(np.float64),
    )  # fmt: skip
    growing = Growing(frames)
    for number in range(len(index)):
        growing.add(frames.counts(number), int(slot[number]), float(start_deg[number]), float(end_deg[number]))
    look = growing.look().told
    return {name: look[name] for name in KEPT_OF_TOLD if name in look}
