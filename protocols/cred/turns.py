"""Several crystals of one rotation, exposed in turns: from one snapshot to the next the frames are of one of them.

The corrections that bring a crystal into the middle of the aperture move the others as well, so each one's path is told
of all of them. What becomes of it in run.json is in `crystalslots`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from protocols.cred.crystalslots import TURN
from protocols.cred.seencrystal import SeenCrystal
from protocols.tracking.actuator import Correction
from protocols.tracking.correction import Corrector

if TYPE_CHECKING:
    from engine.run.run import Run


class Turns:
    """Of one run; of one crystal alone it is always its turn, and no word is written."""

    def __init__(self, run: "Run", crystals: Sequence[SeenCrystal]) -> None:
        self._run, self.crystals = run, crystals
        self._now = 0
        self._said: set[int] = set()

    @property
    def now(self) -> SeenCrystal:
        """The crystal whose turn it is."""
        return self.crystals[self._now]

    @property
    def are_several(self) -> bool:
        """Whether there is more than one crystal."""
        return len(self.crystals) > 1

    @property
    def all_lost(self) -> bool:
        """Whether no crystal is left that anybody knows of."""
        return all(crystal.is_lost for crystal in self.crystals)

    def begin(self) -> None:
        """The first frames are of the first one."""
        self._tell(0)

    def next(self, slot: int, corrector: Corrector, ahead: tuple[float, float]) -> Correction | None:
        """Whose turn comes after the snapshot of this slot, and what brings it to the middle; None where it lies there,
        or where no other can be brought. A crystal that is lost is passed by, and one that the actuator does not reach.

        ahead: angle in deg and time in s at which it is to be in the middle.
        """
        count = len(self.crystals)
        for number in [(self._now + step) % count for step in range(1, count + 1)]:
            crystal = self.crystals[number]
            if crystal.is_lost and not self.all_lost:
                self._say(number, f"lost: not found in {crystal.missed} of its turns in a row; it is passed by")
                continue
            predicted = crystal.path.predict(*ahead)
            if predicted.distance_nm < corrector.limits.least_nm:
                self._turn(number, slot)
                return None
            correction = corrector.shifted(-predicted.array_nm, crystal.path.effect(), ahead[0])
            if correction is None:
                self._say(
                    number,
                    f"passed by: it lies {predicted.distance_nm:.0f} nm from the middle, farther than the "
                    f"{corrector.actuator.name} reaches from where it stood",
                )
                continue
            self._turn(number, slot)
            return correction
        return None

    def _turn(self, number: int, slot: int) -> None:
        self._now = number
        self._tell(slot)

    def _tell(self, slot: int) -> None:
        if self.are_several:
            self._run.trace.record("tracking", TURN, slot=slot, crystal=self._now + 1)

    def _say(self, number: int, words: str) -> None:
        if number not in self._said:
            self._said.add(number)
            self._run.trace.record("note", "operator", text=f"Tracking: crystal {number + 1} is {words}.")
