"""Locating as a computation of a run: a pure function of JSON and of the pictures in the run's spool.

It goes through `engine.run.compute`, in a worker; what a run asks and how it reads the answer is in
`protocols.tracking.question`.
"""

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import scipy.ndimage  # noqa: F401 now, while the worker is warmed: the first snapshot does not wait for it
from numpy.typing import NDArray

from engine.frame import Picture
from engine.record.jsonobject import JsonDict, JsonObject
from protocols.products.corrections import Correction, correction
from protocols.tracking.disc import Disc, brightest_disc, disc_seen
from protocols.tracking.locating import Earlier, Optics, Told, locate
from protocols.tracking.question import Detector, located_from, optics_from, place_from


def locate_in(arguments: JsonObject, picture: Callable[[int], Picture]) -> JsonDict:
    """Where the crystal is, as `answered` reads it. 10 ms for a snapshot of 512 x 512, and its correction."""
    detector = Detector(**arguments["detector"])
    last_optics = [optics_from(each["optics"]) for each in arguments["earlier"][-1:]]
    flatfield = None if detector.flatfield is None else np.asarray(picture(detector.flatfield), np.float32)
    apply = correction(flatfield, detector.wide_cross, detector.saturation)
    expected, last = arguments["expected"], arguments["earlier"][-1:]
    electrons = _electrons(picture(arguments["snapshot"]), apply, detector)
    nominal = optics_from(arguments["optics"])
    if arguments.get("is_elsewhere"):
        about = brightest_disc(electrons, nominal.radius_px)
        nominal = replace(nominal, centre_px=(about.fast_px, about.slow_px))
    optics = _as_seen(electrons, nominal, *last_optics)
    answer = locate(
        electrons,
        Told(
            optics,
            None if expected is None else place_from(expected),
            tuple(_earlier(each, lambda index: _electrons(picture(index), apply, detector)) for each in last),
            detector.saturation / detector.electron_counts,
        ),
    )
    return {"optics": asdict(optics), **asdict(answer)}


def _as_seen(electrons: NDArray[np.number], nominal: Optics, last: Optics | None = None) -> Optics:
    """The optics of a snapshot by its own disc; where a bar hides that, the disc is as it was in the last one."""
    disc = disc_seen(electrons, Disc(*nominal.centre_px, nominal.radius_px))
    if disc is None:
        known = last or nominal
        disc = Disc(*known.centre_px, known.radius_px)
    a, b, c, d = (disc.radius_px / nominal.radius_px * number for number in nominal.px_per_nm)
    return Optics((disc.fast_px, disc.slow_px), disc.radius_px, (a, b, c, d), nominal.tilt_deg)


def _electrons(raw: Picture, apply: Correction, detector: Detector) -> np.ndarray[Any, np.dtype[np.floating[Any]]]:
    return apply.apply(raw)[0] / np.float32(detector.electron_counts)


def _earlier(told: JsonObject, picture: Callable[[int], np.ndarray[Any, np.dtype[np.floating[Any]]]]) -> Earlier:
    located = located_from(told["located"])
    return Earlier(optics_from(told["optics"]), located.place, located.looks, lambda: picture(told["snapshot"]))
