"""When to look at the crystal again: as often as it is unsure where it will be, and no more often. Pure arithmetic."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from protocols.tracking.place import Place


@dataclass(frozen=True, slots=True)
class Interval:
    """From one snapshot to the next. shortest, longest: in slots. unsure_nm: by so much the crystal may be off."""

    shortest: int
    longest: int
    unsure_nm: float

    def next(self, off_nm: Callable[[int], float]) -> int:
        """Slots until the next snapshot: as many as leave the crystal off by no more than `unsure_nm` when they are
        over. off_nm: how far it may be off after so many slots, asked at most log2(longest - shortest) + 1 times.
        """
        fits, least_too_many = self.shortest, self.longest + 1
        while least_too_many - fits > 1:
            middle = (fits + least_too_many) // 2
            if off_nm(middle) <= self.unsure_nm:
                fits = middle
            else:
                least_too_many = middle
        return fits


def off_middle_nm(predicted: Place) -> float:
    """How far from the middle of the aperture a crystal may be that is brought back: where it is predicted, with the
    standard deviation of that.
    """
    return math.hypot(predicted.distance_nm, predicted.sigma_nm)
