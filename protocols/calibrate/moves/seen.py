"""What one or two frames of a run show, while the run goes on: computed in a worker, decided by in `experiment`.

Arguments and results are JSON (`engine.run.compute`); lengths are in equal pixels of the camera.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from protocols.calibrate.moves.disc import find_disc
from protocols.calibrate.moves.mover import SeenBy
from protocols.calibrate.moves.picture import Camera, binned, dead, filled, lonely
from protocols.calibrate.moves.registration import displacement, flattened
from protocols.spots.beam_centre import brightest_place, even_level, filter_px
from protocols.spots.beam_on_camera import no_beam

Array = NDArray[np.float64]
Pictures = Callable[[int], NDArray[np.generic]]

SMOOTH_PX = 2.0
CLEAR_BEAM = 1.5
"""So many times brighter than the next place is a primary beam."""


def camera_of(arguments: Mapping[str, Any]) -> Camera:
    """The camera that a run tells its computations of."""
    return Camera(bool(arguments["wide_cross"]), arguments["saturation"])


def place(picture: Array, seen_by: SeenBy, camera: Camera) -> tuple[float, float] | None:
    """Where the lit disc or the primary beam is in a picture of equal pixels without defects; None where it is not."""
    if seen_by is SeenBy.DISC:
        disc = find_disc(picture)
        return None if disc is None else (disc.fast_px, disc.slow_px)
    cap = None if camera.saturation is None else even_level(camera.saturation, camera.wide_cross)
    beam, times = brightest_place(picture, filter_px((picture.shape[0], picture.shape[1])), cap)
    return beam if times >= CLEAR_BEAM else None


def look(arguments: Mapping[str, Any], picture: Pictures) -> dict[str, Any]:
    """Of one frame (`frame`): counts of a lit pixel, the share of saturated ones, rows and columns of equal pixels,
    and where the lit disc is (`seen_by` disc) or the primary beam (beam), with `radius` of the disc.
    """
    camera, seen_by = camera_of(arguments), SeenBy(arguments["seen_by"])
    raw = picture(arguments["frame"])
    even = camera.equal(raw)
    even = filled(even, lonely(even)) if seen_by is not SeenBy.BEAM else even
    saturated = (
        0.0 if camera.saturation is None else float(np.mean(np.asarray(raw, np.float64) >= 0.9 * camera.saturation))
    )
    told: dict[str, Any] = {
        "counts": float(gaussian_filter(even, SMOOTH_PX).max()),
        "saturated": saturated,
        "rows": even.shape[0],
        "columns": even.shape[1],
        "at": None,
        "radius": 0.0,
    }
    if seen_by is SeenBy.DISC:
        if (disc := find_disc(even)) is not None:
            told |= {"at": [disc.fast_px, disc.slow_px], "radius": disc.radius_px, "counts": disc.light}
    elif seen_by is SeenBy.BEAM and not no_beam(even) and (beam := place(even, seen_by, camera)) is not None:
        told["at"] = list(beam)
    return told


def displaced(arguments: Mapping[str, Any], picture: Pictures) -> dict[str, Any]:
    """Of two frames (`before`, `after`): how far the image, disc or beam has moved, and whether that is sure. `guess`:
    about how far, (fast, slow).
    """
    camera, seen_by = camera_of(arguments), SeenBy(arguments["seen_by"])
    pictures = [camera.equal(picture(arguments[name])) for name in ("before", "after")]
    if seen_by is SeenBy.DISC:
        pictures = [filled(each, lonely(each)) for each in pictures]
    if seen_by is SeenBy.IMAGE:
        pictures = [filled(each, lonely(each) | dead(each)) for each in pictures]
        bin_px = camera.bin_px((pictures[0].shape[0], pictures[0].shape[1]))
        before, after = (flattened(binned(each, bin_px)) for each in pictures)
        fast, slow = (float(each) / bin_px for each in arguments["guess"])
        found = displacement(before, after, (fast, slow))
        return {"fast": found.fast_px * bin_px, "slow": found.slow_px * bin_px, "sure": found.sure}
    places = [place(each, seen_by, camera) for each in pictures]
    if places[0] is None or places[1] is None:
        return {"fast": 0.0, "slow": 0.0, "sure": False}
    return {"fast": places[1][0] - places[0][0], "slow": places[1][1] - places[0][1], "sure": True}
