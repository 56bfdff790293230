"""The stage from field to field: always from one side, in as few moves as that takes, and asked when it should stand.

A stage that came from below and goes up needs no second move; where an axis goes down, it goes past its place and
comes up again. How long a way takes is learned: the stage is asked first when earlier ways of that length were over.
"""

import math
from dataclasses import dataclass, field

from drivers.parts import PositionReading, StageXYZ, StageXYZFacts
from engine.clock import ns
from engine.errors import DeviceError
from engine.run.timeline import Timeline

BACKLASHES = 2.0
"""A way down ends so many backlashes below: with one, a stage that scatters has not taken up all of it."""
LIMIT_S = 60.0
POLL_S = 0.1
CLASS_NM = 500.0
"""Ways that differ by less are alike."""
SURE_NS = 30_000_000
Pair = tuple[float, float]


def ways(facts: StageXYZFacts, here: Pair | None, there: Pair) -> tuple[Pair, ...]:
    """The places to move to, one after the other. here: where it stands, having come from below; None: nobody knows."""
    if facts.backlash_nm <= 0:
        return (there,)
    falls = [here is None or t < h for h, t in zip(here or there, there, strict=True)]
    if not any(falls):
        return (there,)
    away_nm = BACKLASHES * facts.backlash_nm
    return (
        (there[0] - away_nm if falls[0] else there[0], there[1] - away_nm if falls[1] else there[1]),
        there,
    )


@dataclass(slots=True)
class _Known:
    """Of ways of one length: the longest that one was seen moving, the shortest after which one stood."""

    moving_ns: int = 0
    stood_ns: int | None = None

    @property
    def ask_ns(self) -> int:
        """When to ask first. Halved until it is known well enough."""
        if self.stood_ns is None:
            return 0
        if self.stood_ns - self.moving_ns > SURE_NS:
            return (self.stood_ns + self.moving_ns) // 2
        return self.stood_ns

    def saw(self, after_ns: int, *, moving: bool) -> None:
        if moving:
            self.moving_ns = max(self.moving_ns, after_ns)
            if self.stood_ns is not None and self.stood_ns <= after_ns:
                self.stood_ns = None  # this time it took longer
        else:
            self.stood_ns = after_ns if self.stood_ns is None else min(self.stood_ns, after_ns)
            self.moving_ns = min(self.moving_ns, after_ns)


@dataclass(slots=True)
class StageWays:
    """The stage, behind the run's gate. here: where it was sent last, having come from below; None: nobody knows."""

    stage: StageXYZ
    timeline: Timeline
    here: Pair | None = None
    _left: list[Pair] = field(default_factory=list)
    _began_ns: int = 0
    _class: int = 0
    _known: dict[int, _Known] = field(default_factory=dict)
    _last: Pair | None = None

    async def set_out(self, there: Pair) -> None:
        """Begin the way to a place and return; `arrive` goes on with it. Raises as `StageXYZ.move_xy`."""
        self._left = list(ways(self.stage.facts, self.here, there))
        self._last = self.here
        self.here = None  # until it has arrived
        await self._next()

    async def _next(self) -> None:
        x_nm, y_nm = there = self._left.pop(0)
        length_nm = math.inf if self._last is None else math.hypot(x_nm - self._last[0], y_nm - self._last[1])
        self._class = -1 if math.isinf(length_nm) else round(length_nm / CLASS_NM)
        self._last = there
        await self.stage.move_xy(x_nm, y_nm)
        self._began_ns = self.timeline.now_ns

    async def arrive(self) -> None:
        """Return when it stands at the end of the way. Raises DeviceError, told to stop, after a minute."""
        while True:
            await self._stands()
            if not self._left:
                self.here = self._last
                return
            await self._next()

    async def _stands(self) -> None:
        known = self._known.setdefault(self._class, _Known()) if self._class >= 0 else _Known()
        give_up_ns = self._began_ns + ns(LIMIT_S)
        if (ask_ns := self._began_ns + known.ask_ns) > self.timeline.now_ns:
            await self.timeline.wait("stage", ask_ns)
        while True:
            asked_ns = self.timeline.now_ns
            moving = await self.stage.is_moving()
            known.saw(asked_ns - self._began_ns, moving=moving)
            if not moving:
                return
            if self.timeline.now_ns >= give_up_ns:
                await self.stage.stop()
                raise DeviceError(
                    f"stagexyz: the move was not over after {LIMIT_S:g} s; the stage was told to stop. Look what holds "
                    "it."
                )
            if known.stood_ns is None and known.moving_ns > ns(LIMIT_S / 30):  # long ways: no haste
                await self.timeline.wait("stage", self.timeline.now_ns + ns(POLL_S))

    async def place(self) -> PositionReading:
        """Where it says that it is (one call)."""
        return await self.stage.position()
