"""How large the steps of the grid are, from first moves that were plainly seen. Pure functions."""

import math
from dataclasses import dataclass

import numpy as np

from protocols.calibrate.moves.mover import Mover
from protocols.calibrate.moves.plan import JITTER

LEAST_SHARE = 0.3
"""Of the wanted size: a grid that must be smaller than this tells too little."""


@dataclass(frozen=True, slots=True)
class Steps:
    """Of the grid along x and y, in units of the part. px_per_unit: (fast of x, fast of y, slow of x, slow of y)."""

    x: float
    y: float
    px_per_unit: tuple[float, float, float, float]

    def expected_px(self, x: float, y: float) -> tuple[float, float]:
        """Where a place should be seen; x, y: from where the part was found."""
        a, b, c, d = self.px_per_unit
        return a * x + b * y, c * x + d * y


def fitted_steps(
    mover: Mover,
    px_per_unit: tuple[float, float, float, float],
    start: tuple[float, float],
    reach: tuple[float, float],
    side_px: float,
    room_px: float,
) -> Steps | str:
    """Steps that stay on the camera and within the reach of the part, or in words why there are none.

    start: where the part was found. side_px: the camera's smaller side. room_px: how far that what is seen may move.
    """
    matrix = np.reshape(px_per_unit, (2, 2))
    lengths = np.hypot(matrix[0], matrix[1])
    if abs(np.linalg.det(matrix)) < 0.1 * lengths[0] * lengths[1]:
        return f"both axes of the {mover.words} move the {mover.seen} the same way"
    half = (mover.points - 1) / 2 + JITTER / 2
    wanted_px = min(mover.share * side_px, room_px / math.sqrt(2.0))
    steps = []
    for place, length, axis in zip(start, lengths, "xy", strict=True):
        free = min(place - reach[0], reach[1] - place)
        if free * length < LEAST_SHARE * wanted_px:
            return (
                f"the {mover.words} stands at {place:g} along {axis}, too near the end of its range to be moved far "
                "enough. Bring it nearer to the middle"
            )
        steps.append(min(wanted_px / length, free) / half)
    return Steps(steps[0], steps[1], px_per_unit)
