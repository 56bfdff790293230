"""A look at a snapshot as a computation of a run: a pure function of JSON and of pictures in the run's spool."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.frame import Picture
from engine.record.jsonobject import JsonDict, JsonObject
from protocols.products.corrections import correction
from protocols.tracking.disc import Disc, disc_seen
from protocols.tracking.locating import Earlier, Looks, Optics, Refusal, Told, locate
from protocols.tracking.place import Place


def locate_in(arguments: JsonObject, picture: Callable[[int], Picture]) -> JsonDict:
    """Where the crystal is; see `protocols.tracking.locating`.

    arguments: `index` of the snapshot in the spool; `angle_deg`; `flatfield`, its index or None; `wide_cross`;
    `saturation`, in counts, or None; `disc`, its middle (fast, slow) and radius in px as they should be;
    `px_per_nm`, by rows, for a disc of that radius; `expected`, a place or None; `earlier`, the snapshots in which
    it was found, as objects with `index`, `angle_deg`, `disc`, `place` and `looks`. A place is x, y and its covariance in nm.

    Answers `why`, empty where it was found; then `disc` as it was, `place`, `looks` (area in nm^2, depth) and `quality`.
    """
    flatfield = arguments["flatfield"]
    response = None if flatfield is None else np.asarray(picture(flatfield), dtype=np.float32)
    apply = correction(response, bool(arguments["wide_cross"]), int(arguments["saturation"] or 0))
    fast_px, slow_px, radius_px = (float(number) for number in arguments["disc"])
    nominal = Disc(fast_px, slow_px, radius_px)
    px_per_nm: Any = arguments["px_per_nm"]

    def seen(index: int) -> NDArray[np.number]:
        return apply.apply(picture(index))[0]

    def optics(disc: Disc, angle_deg: float) -> Optics:
        a, b, c, d = (disc.radius_px / radius_px * number for number in px_per_nm)
        return Optics((disc.fast_px, disc.slow_px), disc.radius_px, (a, b, c, d), angle_deg)

    earlier = [
        Earlier(
            optics(Disc(*each["disc"]), each["angle_deg"]),
            _place(each["place"]),
            Looks(*each["looks"]),
            partial(seen, each["index"]),
        )
        for each in arguments["earlier"]
    ]
    counts = seen(arguments["index"])
    # Where a bar hides its borders, the disc lies and is as large as in the last snapshot.
    disc = disc_seen(counts, nominal) or (Disc(*arguments["earlier"][-1]["disc"]) if earlier else nominal)
    expected = arguments["expected"]
    told = Told(
        optics(disc, arguments["angle_deg"]),
        None if expected is None else _place(expected),
        tuple(earlier),
        float(arguments["saturation"] or 0),
    )
    found = locate(counts, told)
    if isinstance(found, Refusal):
        return {"why": found.reason}
    place = found.place
    return {
        "why": "",
        "disc": [disc.fast_px, disc.slow_px, disc.radius_px],
        "place": [place.x_nm, place.y_nm, *place.covariance_nm2],
        "looks": [found.looks.area_nm2, found.looks.depth],
        "quality": found.quality,
    }


def _place(told: list[float]) -> Place:
    x_nm, y_nm, xx, xy, yy = told
    return Place(x_nm, y_nm, (xx, xy, yy))
