"""One exposure of a camera that paces itself: the sum of its parts, with the instants that bound it.

Used by `drivers.selfpaced.series`, which says which parts it has and gives them as they come.
"""

import numpy as np

from engine.clock import ns
from engine.frame import Counts, Frame

# The longest time that a part may take from its end until its exposure is delivered, on a machine that keeps up.
DELIVERY_S = 0.008
LARGEST_COUNT = 2**16 - 1
"""What the files of a run hold in a pixel; a sum that reaches it is given as saturated."""


class Exposure:
    """One exposure: parts `first` to `last`, and what has come of them so far."""

    def __init__(
        self, number: int, first: int, parts: int, begin_ns: int, end_ns: int, top: int, shape: tuple[int, int]
    ) -> None:
        self.number = number
        self.first = first
        self.last = first + parts - 1
        self.begin_ns = begin_ns
        self.end_ns = end_ns
        self.missing = parts
        self._top = top
        self._saturation = saturation(top, parts)
        self._total = np.zeros(shape, np.uint32)
        self._full = np.zeros(shape, np.bool_)

    def add(self, counts: Counts) -> None:
        """One more part of it has come."""
        self._full |= counts >= self._top
        within = np.minimum(counts, LARGEST_COUNT) if self._top > LARGEST_COUNT else counts
        np.add(self._total, within, out=self._total, casting="unsafe")
        self.missing -= 1

    def frame(self, arrived_ns: int) -> Frame:
        """The whole exposure, whose last part arrived at this instant."""
        counts = np.minimum(self._total, self._saturation).astype(np.uint16)
        # A counter that was full at any moment tells nothing of how much more there was.
        counts[self._full] = self._saturation
        # It cannot have ended after it arrived: the origin was guessed too late, by as much.
        early_ns = max(0, self.end_ns - arrived_ns)
        begin_ns, end_ns = self.begin_ns - early_ns, self.end_ns - early_ns
        travel_ns = ns(DELIVERY_S)
        return Frame(
            counts,
            self.number,
            begin_ns,
            end_ns,
            start_bounds_ns=(begin_ns - travel_ns, begin_ns),
            end_bounds_ns=(end_ns - travel_ns, end_ns),
        )


def saturation(top: int, parts: int) -> int:
    """Largest count of a sum of parts that count to `top`."""
    return min(top * parts, LARGEST_COUNT)
