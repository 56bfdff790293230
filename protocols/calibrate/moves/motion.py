"""The part that is moved, by calls through the gate of a run: a pair of deflectors or the stage, arrived at from below
or from above.
"""

from typing import Protocol

from drivers.approach import Waiting, arrive_xy
from drivers.parts import Deflector, Deflectors, StageXYZ
from engine.clock import ns

FINEST = 2.0**-14
"""The first move of a deflector, of its whole range."""
PAST = 2.0**-7
"""A deflector goes past a place by this of its range, so that its lag is always taken up."""
SETTLINGS = 2.0
"""So many times the settling of a deflector is waited for: what is left of the way past a place would look like lag."""
STAGE_REST_S = 0.3
FIRST_PX = 4.0
"""The first move of the stage, by what the magnification lets expect."""


class Motion(Protocol):
    """What is moved, in units of its own.

    smallest: a first move. reach: lowest and highest place of both axes from which there is room to come from either
    side.
    """

    smallest: float
    reach: tuple[float, float]

    async def go(self, x: float, y: float, side: int) -> tuple[float, float]:
        """Go to a place, from below (-1) or above (1); where it then is. Returns when it stands."""
        ...


class DeflectorMotion:
    """A pair of deflectors."""

    def __init__(self, part: Deflectors, which: Deflector, waiting: Waiting) -> None:
        self._part, self._which, self._waiting = part, which, waiting
        low, high = part.facts.limits[which]
        self._past = self._allowed((high - low) * PAST)
        self.smallest = max((high - low) * FINEST, 1.0 if part.facts.whole_numbers else 0.0)
        self.reach = low + self._past, high - self._past

    def _allowed(self, value: float) -> float:
        return float(round(value)) if self._part.facts.whole_numbers else value

    async def go(self, x: float, y: float, side: int) -> tuple[float, float]:
        """See `Motion.go`."""
        x, y = self._allowed(x), self._allowed(y)
        for at in ((x + side * self._past, y + side * self._past), (x, y)):
            await self._part.set(self._which, *at)
            settled_ns = self._waiting.now_ns + ns(SETTLINGS * self._part.facts.settling_s)
            await self._waiting.wait("deflectors settled", settled_ns)
        return x, y


class StageMotion:
    """The stage; a place is where it reads to be. pixel_nm: by what the magnification lets expect."""

    def __init__(self, part: StageXYZ, waiting: Waiting, pixel_nm: float) -> None:
        self._part, self._waiting = part, waiting
        self.smallest = FIRST_PX * pixel_nm
        limits, backlash_nm = part.facts.limits_nm[:2], part.facts.backlash_nm
        self.reach = max(low for low, _ in limits) + backlash_nm, min(high for _, high in limits) - backlash_nm

    async def go(self, x: float, y: float, side: int) -> tuple[float, float]:
        """See `Motion.go`."""
        await arrive_xy(self._part, self._waiting, x, y, from_above=side > 0)
        await self._waiting.wait("stage at rest", self._waiting.now_ns + ns(STAGE_REST_S))
        read = await self._part.position()
        return read.x_nm, read.y_nm
