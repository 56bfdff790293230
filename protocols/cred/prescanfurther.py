"""Further looks of a pre-scan that has missed the crystal where its rotation begins: at which angles.

They go out from where it was found near where the stage stood before, for there somebody has centred it; not found
there, from where it stood. The image shift is tried first, if it was not, so that the crystal can be brought where it
is seen next; then it goes step after step towards the first angle, no farther at once than its path is known. Pure
decisions, from what was seen.
"""

from collections.abc import Callable, Iterable
from enum import Enum

from protocols.cred.prescanplan import APPROACH_DEG, Look

NEAR_DEG = 10.0
"""So near to where it was centred what is found is rather the crystal than a neighbour."""
FILM_DEG = 8.0
"""So far at once a crystal is followed that is carried by its film: that turns into another picture soon."""
LEAST_DEG = 2.0
"""Nearer to where it was found it is not looked for once more."""
STEP_DEG = 6.0
"""Shorter steps are made only back from where it was missed."""


class Saw(Enum):
    """What a look has shown."""

    CRYSTAL = "crystal"
    EDGE = "edge"
    """The crystal, which reaches out of what is lit."""
    FILM = "film"
    """The crystal does not stand out, and is where its film has gone from where it was taken to be."""
    ASSUMED = "assumed"
    """Nothing, and there it was taken to be in the middle."""
    NOTHING = "nothing"
    DARK = "dark"
    """No light: a bar of the grid, behind which nothing is to be found."""


FOUND = (Saw.CRYSTAL, Saw.EDGE)


class FurtherLooks:
    """Of one pre-scan. looks: those of the plan. most: that may follow. goal_deg: where the crystal has to be found,
    None where there is nothing to go after.
    """

    def __init__(self, looks: Iterable[Look], most: int) -> None:
        self._left, self.made = most, 0
        self._number = max(look.number for look in looks)
        self._saw: dict[float, Saw] = {}
        self._tries: list[int | None] = []
        self._at_deg = 0.0
        self._missed_deg: float | None = None
        self._stood_deg: float | None = None
        self._untried = False
        self.goal_deg: float | None = None
        self.from_deg = 0.0

    def saw(self, look: Look, saw: Saw) -> None:
        """What a look has shown."""
        if self.goal_deg is None:  # a crystal that is not seen once more was none
            self._saw[look.angle_deg] = saw
            return
        before = self._saw.get(look.angle_deg, Saw.NOTHING)
        self._saw[look.angle_deg] = saw
        if saw is Saw.ASSUMED and look.tries is not None:  # what is only taken to be there shows nothing of a try
            self._tries.insert(0, look.tries)
        if saw in (*FOUND, Saw.FILM, Saw.ASSUMED):
            self._at_deg, self._missed_deg = look.angle_deg, None
        elif saw is Saw.DARK:
            self._left = 0
        elif look.angle_deg == self.from_deg:  # what was found there was something else, or it is hardly seen
            if not self._sets_out() and (before is Saw.NOTHING or not self._tries):
                self._left = 0
        else:
            self._missed_deg = look.angle_deg

    def at(self, angle_deg: float) -> Look | None:
        """One that somebody else asks for; None where as many were made as may be."""
        if self._left <= 0:
            return None
        self._left, self._number = self._left - 1, self._number + 1
        return Look(self._number, angle_deg)

    def begin(self, stood_deg: float | None, *, untried: bool) -> bool:
        """Whether there is something to go after, once the looks of the plan are over. stood_deg: where the stage stood
        before the pre-scan. untried: what the image shift does is not known yet.
        """
        lit = [angle_deg for angle_deg, saw in self._saw.items() if saw is not Saw.DARK]
        first_deg = next(iter(self._saw), 0.0)
        lit.sort(key=lambda each: abs(each - first_deg))  # as the rotation goes
        if not self._left or not lit or self._saw[lit[0]] in FOUND:
            return False
        goal_deg, self._untried = lit[0], untried
        was_here = stood_deg is not None and abs(stood_deg - goal_deg) < APPROACH_DEG
        if was_here and self._saw[goal_deg] is not Saw.NOTHING:  # where it was centred it may well be assumed
            return False
        self._stood_deg = None if stood_deg is None else round(stood_deg, 1) + 0.0
        self.goal_deg = goal_deg
        if not self._sets_out():
            self.goal_deg = None
            return False
        return True

    def _sets_out(self) -> bool:
        """From where it was found whole near where it was centred; from where it was centred; from where it was found
        at all. False where there is nothing of that.
        """
        stood_deg = self.goal_deg if self._stood_deg is None else self._stood_deg
        if stood_deg is None:
            return False
        whole, cut = ([each for each, saw in self._saw.items() if saw is wanted] for wanted in FOUND)
        found_deg = min(whole or cut, key=lambda each: abs(each - stood_deg), default=None)
        is_near = bool(whole) and found_deg is not None and abs(found_deg - stood_deg) <= NEAR_DEG
        if not is_near and all(abs(stood_deg - each) >= APPROACH_DEG for each in self._saw):
            found_deg = stood_deg
        if found_deg is None:
            return False
        self.from_deg = self._at_deg = found_deg
        self._tries = [0, 1, None] if self._untried else [None]
        return True

    def next(self, is_sure: Callable[[float], bool]) -> Look | None:
        """The next one; None where the crystal was found at the first angle, or will not be. is_sure: whether it is
        known well enough where the crystal would be at an angle.
        """
        if self._left <= 0 or self.goal_deg is None:
            return None
        tries = None
        if self._tries:
            angle_deg, tries = self.from_deg, self._tries.pop(0)
        elif self._at_deg == self.goal_deg or (angle := self._outwards(self.goal_deg, is_sure)) is None:
            return None
        else:
            angle_deg = angle
        self._left, self.made, self._number = self._left - 1, self.made + 1, self._number + 1
        return Look(self._number, angle_deg, tries)

    def _outwards(self, goal_deg: float, is_sure: Callable[[float], bool]) -> float | None:
        """From where it was found last towards the first angle; halfway, where it was missed before."""
        at_deg, far_deg = self._at_deg, goal_deg
        if at_deg not in self._saw:  # no image of it was kept
            return None
        if self._left == 1:  # as well as it is known now, it will be corrected for there
            return goal_deg
        if self._missed_deg is not None:
            far_deg = (at_deg + self._missed_deg) / 2
            if abs(far_deg - at_deg) < LEAST_DEG:
                return None
        way_deg = abs(far_deg - at_deg)
        most_deg = way_deg if self._saw[at_deg] in FOUND else min(way_deg, FILM_DEG)
        sign = 1.0 if far_deg > at_deg else -1.0
        step_deg = most_deg
        while step_deg > STEP_DEG and not is_sure(at_deg + sign * step_deg):
            step_deg -= 1.0
        step_deg = min(most_deg, max(step_deg, STEP_DEG))
        return far_deg if way_deg - step_deg < LEAST_DEG else round(at_deg + sign * step_deg, 3)
