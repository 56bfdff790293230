"""Locating as a computation of a run: a pure function of JSON and of the pictures in the run's spool.

It goes through `engine.run.compute`, in a worker; what `told` makes of what a run knows, `locate_in` takes, and what it
answers `answered` reads.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.frame import Picture
from engine.record.jsonobject import JsonDict, JsonObject
from protocols.products.corrections import Correction, correction
from protocols.tracking.disc import Disc, brightest_disc, disc_seen
from protocols.tracking.locating import Earlier, Located, Looks, Optics, Refusal, Told, locate
from protocols.tracking.place import Place


@dataclass(frozen=True, slots=True)
class Found:
    """A snapshot of which it is known where the crystal is: its index in the spool, and the answer."""

    index: int
    optics: Optics
    located: Located


@dataclass(frozen=True, slots=True)
class Detector:
    """How pictures are corrected. flatfield: its index in the spool, None without. saturation: in counts, 0 where
    nobody knows. electron_counts: counts of one electron.
    """

    flatfield: int | None
    wide_cross: bool
    saturation: int
    electron_counts: float = 1.0


def told(
    index: int,
    optics: Optics,
    expected: Place | None,
    earlier: Sequence[Found],
    detector: Detector,
    *,
    is_elsewhere: bool = False,
) -> JsonDict:
    """The arguments of `locate_in`. index: of the snapshot in the spool. optics: as they should be. earlier: the last
    one last; one is enough. is_elsewhere: the disc may be anywhere on the camera.
    """
    return {
        **({"is_elsewhere": True} if is_elsewhere else {}),
        "snapshot": index,
        "optics": asdict(optics),
        "expected": None if expected is None else asdict(expected),
        "earlier": [
            {"snapshot": each.index, "optics": asdict(each.optics), "located": asdict(each.located)} for each in earlier
        ],
        "detector": asdict(detector),
    }


def locate_in(arguments: JsonObject, picture: Callable[[int], Picture]) -> JsonDict:
    """Where the crystal is, as `answered` reads it. 10 ms for a snapshot of 512 x 512, and its correction."""
    detector = Detector(**arguments["detector"])
    last_optics = [_optics(each["optics"]) for each in arguments["earlier"][-1:]]
    flatfield = None if detector.flatfield is None else np.asarray(picture(detector.flatfield), np.float32)
    apply = correction(flatfield, detector.wide_cross, detector.saturation)
    expected, last = arguments["expected"], arguments["earlier"][-1:]
    electrons = _electrons(picture(arguments["snapshot"]), apply, detector)
    nominal = _optics(arguments["optics"])
    if arguments.get("is_elsewhere"):
        about = brightest_disc(electrons, nominal.radius_px)
        nominal = replace(nominal, centre_px=(about.fast_px, about.slow_px))
    optics = _as_seen(electrons, nominal, *last_optics)
    answer = locate(
        electrons,
        Told(
            optics,
            None if expected is None else _place(expected),
            tuple(_earlier(each, lambda index: _electrons(picture(index), apply, detector)) for each in last),
            detector.saturation / detector.electron_counts,
        ),
    )
    return {"optics": asdict(optics), **asdict(answer)}


def answered(result: JsonObject) -> tuple[Located | Refusal, Optics]:
    """What `locate_in` found, and the disc as it was."""
    found = Refusal(result["reason"]) if "reason" in result else _located(result)
    return found, _optics(result["optics"])


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
    located = _located(told["located"])
    return Earlier(_optics(told["optics"]), located.place, located.looks, lambda: picture(told["snapshot"]))


def _located(told: JsonObject) -> Located:
    looks = told["looks"]
    return Located(_place(told["place"]), told["quality"], None if looks is None else Looks(**looks))


def _optics(told: JsonObject) -> Optics:
    return Optics(tuple(told["centre_px"]), told["radius_px"], tuple(told["px_per_nm"]), told["tilt_deg"])


def _place(told: JsonObject) -> Place:
    return Place(told["x_nm"], told["y_nm"], tuple(told["covariance_nm2"]))
