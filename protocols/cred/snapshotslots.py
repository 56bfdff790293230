"""Which slots begin a snapshot: every n-th, or the next one when the path of the crystal has become unsure.

`SnapshotSlots` is what a plan knows beforehand, with how much of the range it costs; `NextSnapshot` is one run's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from protocols.tracking.interval import Interval

if TYPE_CHECKING:
    from engine.run.run import Run

NEXT = "next snapshot"
"""The event of a run that says when it comes: after how many slots from that of the last one, and why."""


@dataclass(frozen=True, slots=True)
class SnapshotSlots:
    """first: slot of the first one. shortest, longest: slots from one to the next, alike where every n-th slot is one;
    0 where there are none. unsure_nm: see `Interval`. taken: slots that each of them takes. slots: of the range.
    """

    first: int
    shortest: int
    longest: int
    unsure_nm: float | None
    taken: int
    slots: int

    @property
    def adaptive(self) -> bool:
        """Whether the run decides when the next one comes."""
        return self.unsure_nm is not None

    def is_due(self, slot: int) -> bool:
        """Whether a slot begins one, where every n-th does."""
        return bool(self.longest) and slot >= self.first and (slot - self.first) % self.longest == 0

    @property
    def fewest(self) -> int:
        """Snapshots in the planned range."""
        return self._number(self.longest)

    @property
    def most(self) -> int:
        """The same, if each comes as soon as it can."""
        return self._number(self.shortest)

    @property
    def least_missing(self) -> float:
        """Of the range, the part that snapshots take from the diffraction frames."""
        return self._missing(self.longest)

    @property
    def most_missing(self) -> float:
        """The same, if each comes as soon as it can."""
        return self._missing(self.shortest)

    def _number(self, interval: int) -> int:
        return max(0, (self.slots - self.first) // interval + 1) if interval else 0

    def _missing(self, interval: int) -> float:
        if not (number := self._number(interval)):
            return 0.0
        last = self.first + (number - 1) * interval  # the slot that the last one begins; it may end beyond
        return ((number - 1) * self.taken + min(self.taken, self.slots - last + 1)) / self.slots


class NextSnapshot:
    """When the next one comes, in one run. A run on a fixed interval writes no word of it."""

    def __init__(self, run: "Run", planned: SnapshotSlots) -> None:
        self._run, self._planned = run, planned
        unsure_nm = planned.unsure_nm
        self._interval = None if unsure_nm is None else Interval(planned.shortest, planned.longest, unsure_nm)
        self._taken, self._at = 0, planned.first

    @property
    def is_decided(self) -> bool:
        """Whether the run decides when it comes."""
        return self._interval is not None

    def is_due(self, slot: int) -> bool:
        """Whether a slot begins a snapshot. Where the run decides, one that was missed comes in the next slot."""
        return self._planned.is_due(slot) if self._interval is None else slot >= self._at

    def taken(self, slot: int) -> None:
        """One was taken in a slot; until something is known of it the next one comes as soon as it can."""
        self._taken, self._at = slot, slot + self._planned.shortest

    def decide(self, off_nm: Callable[[int], float] | None) -> int:
        """In how many slots from the last one the next one comes. off_nm: see `Interval.next`; None where it is not
        known where the crystal is.
        """
        if self._interval is None:
            return self._planned.longest
        if off_nm is None:
            return self._planned.shortest
        return self._interval.next(off_nm)

    def comes_after(self, slots: int, off_nm: float | None) -> None:
        """It was decided. off_nm: how far off the crystal may then be; None where nobody knows."""
        if self._interval is None:
            return
        self._at = self._taken + slots
        off = {} if off_nm is None else {"off_nm": round(off_nm, 1)}
        self._run.trace.record("tracking", NEXT, slot=self._taken, after_slots=slots, **off)

    def sooner(self, why: str) -> None:
        """It comes as soon as it can, for something was seen."""
        soonest = self._taken + self._planned.shortest
        if self._interval is not None and soonest < self._at:
            self._at = soonest
            self._run.trace.record("tracking", NEXT, slot=self._taken, after_slots=self._planned.shortest, reason=why)
