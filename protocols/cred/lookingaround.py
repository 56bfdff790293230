"""Looking for a crystal that tracking has lost, in a run with crystal_lost = search.

After three snapshots without it the image shift moves the view, one snapshot after the other, to places around where
the crystal should be (`protocols.tracking.search`), and whatever looks like it is taken for it if the next snapshot
says the same. Within the slots of snapshots; what is exposed in between shows no crystal.
"""

from typing import TYPE_CHECKING

import numpy as np

from protocols.tracking.actuator import Correction, Pair
from protocols.tracking.correction import Corrector
from protocols.tracking.path import CrystalPath
from protocols.tracking.search import places

if TYPE_CHECKING:
    from engine.run.run import Run

SEARCHED = "searched"
"""The event of a run that says where the next snapshot looks: x and y in nm from where the crystal should be."""


class LookingAround:
    """Of one run. radius_nm: of the aperture. over: in words, how it ended without the crystal; empty until then."""

    def __init__(self, run: "Run", radius_nm: float) -> None:
        self._run, self._radius_nm = run, radius_nm
        self._left: list[Pair] | None = None
        self._looked = 0
        self.over = ""

    @property
    def goes_on(self) -> bool:
        """Whether the crystal is being looked for."""
        return self._left is not None and not self.over

    def next(
        self, slot: int, corrector: Corrector, path: CrystalPath, ahead: tuple[float, float], last_nm: Pair
    ) -> Correction | None:
        """What moves the view to the next place; None where it is there already, and where the search is over.
        ahead: angle in deg and time in s of the next snapshot. last_nm: where the crystal was seen last.
        """
        if self._left is None:
            self._left = places(self._radius_nm, last_nm)
            self._note("the crystal is lost; it is looked for around where it should be")
        predicted, effect = path.predict(*ahead), path.effect()
        while self._left:
            x_nm, y_nm = self._left.pop(0)
            moves_nm = -(predicted.array_nm + np.array([x_nm, y_nm]))
            correction = corrector.shifted(moves_nm, effect, ahead[0])
            if correction is None:  # farther than the image shift goes
                continue
            self._looked += 1
            self._run.trace.record("tracking", SEARCHED, slot=slot, x_nm=round(x_nm, 1), y_nm=round(y_nm, 1))
            return correction
        self.stop(f"nor in {self._looked} around where it should be")
        return None

    def stop(self, why: str) -> None:
        """It is no more looked for."""
        self.over = why

    def found(self) -> None:
        """The crystal was found, and believed: all as before."""
        if self._left is not None:
            self._left, self._looked = None, 0
            self._note("the crystal was found again")

    def _note(self, text: str) -> None:
        self._run.trace.record("note", "operator", text=f"Tracking: {text}.")
