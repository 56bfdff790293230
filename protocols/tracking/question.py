"""What a run asks of `protocols.tracking.computation`, and what that answers, as JSON: light, for the process of the
run, which computes nothing of it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from engine.record.jsonobject import JsonDict, JsonObject
from protocols.tracking.locating import Located, Looks, Optics, Refusal
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


def answered(result: JsonObject) -> tuple[Located | Refusal, Optics]:
    """What `locate_in` found, and the disc as it was."""
    found = Refusal(result["reason"]) if "reason" in result else located_from(result)
    return found, optics_from(result["optics"])


def located_from(told: JsonObject) -> Located:
    """An answer, from JSON."""
    looks = told["looks"]
    return Located(place_from(told["place"]), told["quality"], None if looks is None else Looks(**looks))


def optics_from(told: JsonObject) -> Optics:
    """Optics, from JSON."""
    return Optics(tuple(told["centre_px"]), told["radius_px"], tuple(told["px_per_nm"]), told["tilt_deg"])


def place_from(told: JsonObject) -> Place:
    """A place, from JSON."""
    return Place(told["x_nm"], told["y_nm"], tuple(told["covariance_nm2"]))
