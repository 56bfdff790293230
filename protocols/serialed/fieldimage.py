"""The finder on an image as the camera gave it: on equal pixels, divided by the camera's response where that is known.

Places of crystals are on equal pixels, as those of the probe are: a wide cross counts two more of each side of the
middle.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from engine.frame import Picture
from engine.record.jsonobject import JsonDict, JsonObject
from protocols.calibrate.moves.picture import Camera
from protocols.serialed.finding import computation
from protocols.serialed.finding.settings import FinderSettings

FIND = replace(computation.FIND, function="protocols.serialed.fieldimage:find_in")


def told(
    index: int, nm_per_px: float, settings: FinderSettings, *, wide_cross: bool, flatfield: int | None
) -> JsonDict:
    """The arguments of `find_in`. index, flatfield: of the image and of the camera's response in the spool."""
    more: dict[str, Any] = {"wide_cross": wide_cross, "flatfield": flatfield}
    return {**computation.told(index, nm_per_px, settings), **more}


def find_in(arguments: JsonObject, picture: Callable[[int], Picture]) -> JsonDict:
    """What an image shows, as `finding.computation.answered` reads it."""
    flatfield = arguments["flatfield"]
    response = None if flatfield is None else np.asarray(picture(flatfield), np.float32)
    camera = Camera(bool(arguments["wide_cross"]), None, response)

    def equal(index: int) -> Picture:
        return np.asarray(camera.equal(picture(index)), np.float32)

    return computation.find_in(arguments, equal)
