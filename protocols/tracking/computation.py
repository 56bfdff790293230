"""A look at a snapshot as a computation of a run: a pure function of JSON and of pictures in the run's spool."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.frame import Picture
from engine.record.jsonobject import JsonDict, JsonObject
from protocols.products.corrections import correction
from protocols.tracking.disc import disc_middle
from protocols.tracking.locating import Earlier, Looks, Matrix, Optics, Refusal, Told, locate
from protocols.tracking.place import Place


def locate_in(arguments: JsonObject, picture: Callable[[int], Picture]) -> JsonDict:
    """Where the crystal is; see `protocols.tracking.locating`.

    arguments: `index` of the snapshot in the spool; `angle_deg`; `flatfield`, its index or None; `wide_cross`;
    `saturation`, in counts, or None; `beam_px`, fast and slow, about which the disc lies; `radius_px`, of the disc;
    `px_per_nm`, by rows, at the defocus of the snapshot; `expected`, a place or None; `earlier`, the snapshots in which
    it was found, as objects with `index`, `angle_deg`, `place` and `looks`. A place is x, y and its covariance in nm.

    Answers `why`, empty where it was found; else `place`, `looks` (area in nm^2, depth) and `quality`.
    """
    flatfield = arguments["flatfield"]
    response = None if flatfield is None else np.asarray(picture(flatfield), dtype=np.float32)
    apply = correction(response, bool(arguments["wide_cross"]), int(arguments["saturation"] or 0))
    beam_px: Any = arguments["beam_px"]
    radius_px = float(arguments["radius_px"])
    px_per_nm: Matrix = tuple(arguments["px_per_nm"])

    def seen(index: int) -> NDArray[np.number]:
        return apply.apply(picture(index))[0]

    def optics(counts: NDArray[np.number], angle_deg: float) -> Optics:
        middle = disc_middle(counts, beam_px, radius_px)
        return Optics(middle or (beam_px[0], beam_px[1]), radius_px, px_per_nm, angle_deg)

    earlier = []
    for each in arguments["earlier"]:
        counts = seen(each["index"])
        looks = Looks(*each["looks"])
        earlier.append(Earlier(optics(counts, each["angle_deg"]), _place(each["place"]), looks, lambda c=counts: c))
    counts = seen(arguments["index"])
    expected = arguments["expected"]
    found = locate(
        counts,
        Told(
            optics(counts, arguments["angle_deg"]),
            None if expected is None else _place(expected),
            tuple(earlier),
            float(arguments["saturation"] or 0),
        ),
    )
    if isinstance(found, Refusal):
        return {"why": found.reason}
    place = found.place
    return {
        "why": "",
        "place": [place.x_nm, place.y_nm, *place.covariance_nm2],
        "looks": [found.looks.area_nm2, found.looks.depth],
        "quality": found.quality,
    }


def _place(told: list[float]) -> Place:
    x_nm, y_nm, xx, xy, yy = told
    return Place(x_nm, y_nm, (xx, xy, yy))
