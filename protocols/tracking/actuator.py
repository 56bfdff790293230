"""What can bring a crystal back, as numbers: how far a unit of it moves the crystal, and what that does to the pattern.

The image shift moves the image over a selected-area aperture, so another part of the specimen is selected; the specimen
stays, and the beam may follow. The beam shift moves a small probe over the specimen, where the probe selects and no
aperture. The stage moves the specimen, in its own plane, so that across the tilt axis it is seen foreshortened. What
moves the pattern as well has that taken back by the diffraction shift. Pure arithmetic: `protocols.cred.trackingcalls`
makes the calls.
"""

import math
from dataclasses import dataclass

import numpy as np

from protocols.tracking.place import Array

Matrix = tuple[float, float, float, float]
Pair = tuple[float, float]

WORST_CONDITION = 100.0
NONE: Matrix = (0.0, 0.0, 0.0, 0.0)
ANYTHING: Pair = (-math.inf, math.inf)


@dataclass(frozen=True, slots=True)
class Correction:
    """What to set. setting: of the actuator; back: of the diffraction shift, None where that is left alone; beam: of
    the beam shift, None where the beam does not follow. moves_nm: how far the crystal moves by it, as calibrated and at
    no tilt; whole numbers are counted in. pattern_px: how far the pattern then lies from where the run began, as
    calibrated: what whole numbers leave.
    """

    setting: Pair
    back: Pair | None
    beam: Pair | None
    moves_nm: Pair
    pattern_px: Pair


@dataclass(frozen=True, slots=True)
class Actuator:
    """As calibrated; matrices by rows. name: in words, `image shift`.

    nm: how far the crystal moves in what is selected, x of x, x of y, y of x, y of y, in nm per unit. px: how far the
    pattern moves, fast of x, fast of y, slow of x, slow of y, in px per unit. back_px: the same per unit of diffraction
    shift; None where nothing is taken back. limits: lowest and highest value of x and of y; back_limits: of both axes
    of the diffraction shift. beam: units of beam shift per unit, by which the beam follows; None where it stays.
    whole_numbers: it takes no others. foreshortened: what it does along y is seen times the
    cosine of the tilt. disc_follows: it is the disc of a snapshot that moves on the camera, and not the crystal.
    """

    name: str
    nm: Matrix
    px: Matrix = NONE
    back_px: Matrix | None = None
    limits: tuple[Pair, Pair] = (ANYTHING, ANYTHING)
    back_limits: Pair = ANYTHING
    beam: Matrix | None = None
    beam_limits: Pair = ANYTHING
    whole_numbers: bool = False
    foreshortened: bool = False
    disc_follows: bool = False

    def why_not(self) -> str | None:
        """In words, why nothing can be corrected with these matrices; None where it can."""
        for name, told in ((self.name, self.nm), ("diffraction shift", self.back_px)):
            if told is None:
                continue
            matrix = square(told)
            if not np.isfinite(matrix).all() or np.linalg.cond(matrix) > WORST_CONDITION:
                return f"the matrix of the {name} moves in one direction only: {told}"
        return None

    def units(self, seen_nm: Array, tilt_deg: float) -> Array:
        """(2,) by how much to set it on for the crystal to be seen moved by (2,) seen_nm."""
        seen = np.diag([1.0, math.cos(math.radians(tilt_deg)) if self.foreshortened else 1.0])
        return np.asarray(np.linalg.solve(seen @ square(self.nm), seen_nm), np.float64)

    def moves_nm(self, units: Array) -> Array:
        """(2,) how far the crystal moves, at no tilt."""
        return np.asarray(square(self.nm) @ units, np.float64)

    def whole(self, values: Array) -> Array:
        """As it takes them."""
        return np.round(values) if self.whole_numbers else values

    def correction(self, begin: tuple[Array, Array, Array], now: Array, setting: Array) -> Correction:
        """What to set for it to stand at (2,) setting. begin: where it, diffraction and beam shift stood as the run
        began. now: where it stands.
        """
        pattern_px = square(self.px) @ (setting - begin[0])
        back: Pair | None = None
        if self.back_px is not None:
            there = self.whole(begin[1] - np.linalg.solve(square(self.back_px), pattern_px))
            pattern_px = pattern_px + square(self.back_px) @ (there - begin[1])
            back = pair(there)
        beam = None if self.beam is None else pair(self.whole(begin[2] + square(self.beam) @ (setting - begin[0])))
        return Correction(pair(setting), back, beam, pair(self.moves_nm(setting - now)), pair(pattern_px))

    def takes(self, correction: Correction) -> bool:
        """Whether all values lie within the limits."""
        values = list(zip(correction.setting, self.limits, strict=True))
        values += [(value, self.back_limits) for value in correction.back or ()]
        values += [(value, self.beam_limits) for value in correction.beam or ()]
        return all(low <= value <= high for value, (low, high) in values)


def square(told: Matrix) -> Array:
    """(2, 2)."""
    return np.reshape(np.array(told, np.float64), (2, 2))


def four(matrix: Array) -> Matrix:
    """As plain numbers, by rows."""
    (a, b), (c, d) = matrix.tolist()
    return a, b, c, d


def pair(values: Array) -> Pair:
    """As plain numbers."""
    return float(values[0]), float(values[1])
