"""Is there enough light, and where: what a first frame says, and how the condenser is set for a disc of a good size."""

import math
from collections.abc import Mapping
from typing import Any

from drivers.parts import IlluminationFacts
from protocols.calibrate.moves.mover import Mover, SeenBy

DARK = 1.0
"""Counts of a lit pixel; below it there is no light."""
MOST_SATURATED = 1e-3
SMALLEST, LARGEST, WANTED = 0.06, 0.2, 0.15
"""Radius of the lit disc, of the camera's smaller side."""
BORDER = 0.05
"""So much of the smaller side stays free at the border."""
FIRST_CHANGE = 0.02
"""The first change of the brightness, of its range."""


def judged(seen: Mapping[str, Any], mover: Mover) -> str:
    """Why a frame like this is of no use, with what to do; empty where it is. seen: of `seen.look`."""
    if mover.seen_by is SeenBy.BEAM:
        return "" if seen["at"] else "no primary beam is on the camera. Bring it there, and take out the beam stop"
    if seen["counts"] < DARK:
        return (
            f"the field is dark: a lit pixel counts {seen['counts']:.1f}. Look for the beam, move the specimen to an "
            "open window of the grid, or make exposure_s longer"
        )
    if mover.seen_by is SeenBy.IMAGE:
        return ""
    if not seen["at"]:
        return (
            "no lit disc lies wholly on the camera. Condense the beam to a disc of a quarter of the camera's width, "
            "and bring it to the middle"
        )
    size = seen["radius"] / side_px(seen)
    if not SMALLEST <= size <= LARGEST:
        return (
            f"the lit disc has a radius of {size:.0%} of the camera's side, and {SMALLEST:.0%} to {LARGEST:.0%} are "
            "wanted. Set the brightness"
        )
    if room_px(seen) < BORDER * side_px(seen):
        return "the lit disc lies at the border of the camera. Bring it to the middle by the beam shift"
    return ""


def side_px(seen: Mapping[str, Any]) -> float:
    """The camera's smaller side."""
    return float(min(seen["rows"], seen["columns"]))


def room_px(seen: Mapping[str, Any]) -> float:
    """How far disc or beam may move in any direction; unlimited for an image."""
    if not seen["at"]:
        return math.inf
    fast, slow = seen["at"]
    border = seen["radius"] * 1.5 + BORDER * side_px(seen)  # the edge is seen from outside, too
    return float(min(fast, slow, seen["columns"] - fast, seen["rows"] - slow) - border)


class Brightness:
    """Sets the brightness so that the disc has the wanted size, without knowing what a unit does.

    The light of a lit pixel falls with the square of the disc's radius, so two looks tell at which brightness the disc
    would be smallest; how large it is, tells the edge once it is on the camera.
    """

    def __init__(self, facts: IlluminationFacts, brightness: float) -> None:
        self._facts = facts
        self._at = [brightness]
        self._size: list[float] = []

    def next(self, counts_s: float, radius: float) -> float | None:
        """The next brightness to try; None where there is none. counts_s: of a lit pixel per second now; radius: of the
        disc, as a share of the camera's side, 0 where its edge is not seen.
        """
        self._size.append(1.0 / math.sqrt(max(counts_s, 1e-9)))
        low, high = self._facts.brightness_limits
        now = self._at[-1]
        if len(self._size) == 1:
            change = FIRST_CHANGE * (high - low)
            target = now - change if now - change >= low else now + change
        else:
            before, ratio = self._at[-2], self._size[-1] / self._size[-2]
            if abs(ratio - 1.0) < 1e-3 or now == before:
                return None
            smallest = (now - ratio * before) / (1.0 - ratio)
            target = smallest + (now - smallest) * (WANTED / radius if radius > 0 else 0.6)
        target = min(max(target, low), high)
        if self._facts.whole_numbers:
            target = float(round(target))
        self._at.append(target)
        return target if target != now else None
