"""Where the probe lies in an image, and the primary beam in a pattern: a computation of a run, in equal pixels."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, gaussian_filter, label

from engine.run.compute import Computation
from protocols.calibrate.moves.disc import find_disc
from protocols.calibrate.moves.mover import SeenBy
from protocols.calibrate.moves.picture import filled, lonely
from protocols.calibrate.moves.seen import camera_of, place

Array = NDArray[np.float64]

PROBE = Computation(
    "probe", "protocols.serialed.probeseen:seen_in", latency_s=0.05, limit_s=20.0, resolution=1e-3, quick=True
)
SMOOTH_PX = 2.0
HALF = 0.5
AROUND = 2.0
"""So many diameters around the middle of the bright place are looked at: the disc is small beside the picture."""
LEAST_PX = 24


def told(index: int, *, of_pattern: bool, wide_cross: bool, saturation: float | None) -> dict[str, Any]:
    """The arguments of `seen_in` for a frame."""
    seen_by = SeenBy.BEAM if of_pattern else SeenBy.DISC
    return {"frame": index, "seen_by": seen_by.value, "wide_cross": wide_cross, "saturation": saturation}


def seen_in(arguments: Mapping[str, Any], picture: Callable[[int], NDArray[np.generic]]) -> dict[str, Any]:
    """`at`, along (fast, slow), None where nothing is seen, and `radius` of the probe."""
    camera = camera_of(arguments)
    even = camera.equal(picture(arguments["frame"]))
    if SeenBy(arguments["seen_by"]) is SeenBy.BEAM:
        beam = place(even, SeenBy.BEAM, camera)
        return {"at": None if beam is None else list(beam), "radius": 0.0}
    probe = probe_in(filled(even, lonely(even)))
    return {"at": None, "radius": 0.0} if probe is None else {"at": [probe[0], probe[1]], "radius": probe[2]}


def probe_in(even: Array) -> tuple[float, float, float] | None:
    """Middle (fast, slow) and radius of a small lit disc in a picture of equal pixels; None where there is none that
    lies wholly inside.
    """
    smooth = gaussian_filter(even, SMOOTH_PX)
    labels, count = label(smooth > HALF * smooth.max())
    if not count:
        return None
    largest = int(np.argmax(np.bincount(labels.ravel())[1:]))
    rows, columns = find_objects(labels)[largest]
    half = max(AROUND * max(rows.stop - rows.start, columns.stop - columns.start), LEAST_PX)
    middle = (rows.start + rows.stop) / 2, (columns.start + columns.stop) / 2
    low = [max(0, int(each - half)) for each in middle]
    high = [min(size, int(each + half)) for each, size in zip(middle, even.shape, strict=True)]
    disc = find_disc(even[low[0] : high[0], low[1] : high[1]])
    return None if disc is None else (disc.fast_px + low[1], disc.slow_px + low[0], disc.radius_px)
