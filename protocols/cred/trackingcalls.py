"""The calls that bring a crystal back, behind the gate of a run: of deflectors, or of the stage.

`protocols.cred.tracked` makes them while the lens settles. Each reads before the run where it stands, and goes back
there in the safe state if it was touched: deflectors with one call each, the stage with its moves.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from drivers.approach import way_points
from drivers.parts import Deflector, Deflectors, StageXYZ
from drivers.putback import deflector_back
from engine.clock import ns
from engine.errors import DeviceError
from engine.run.contract import SafeAction
from protocols.cred.trackedby import MOVE_S, WHICH
from protocols.tracking.actuator import Actuator, Correction, Pair

if TYPE_CHECKING:
    from engine.run.run import Run

BACK_S = 1.5
STAGE_BACK_S = 5.0
POLL_S = 0.05
NEUTRAL: Pair = (0.0, 0.0)
MOVES_AT_MOST_S = 1.0
"""A move of the stage that is not over after this is none that a run can wait for."""


class TrackingCalls(Protocol):
    """settling_s: from the return of the last call until all stands."""

    settling_s: float

    async def begin(self) -> tuple[Pair, Pair, Pair]:
        """Where actuator, diffraction shift and beam shift stand; (0, 0) of what is left alone."""
        ...

    async def make(self, correction: Correction) -> None:
        """Set it. Raises DeviceError; of a call that fails nobody knows whether it was heard."""
        ...

    def safe_actions(self) -> Sequence[SafeAction]:
        """Back to where it stood, if it was touched."""
        ...


class DeflectorCalls:
    """Implements `TrackingCalls` by one pair of deflectors, with diffraction and beam shift where these follow."""

    def __init__(self, actuator: Actuator, deflectors: Deflectors) -> None:
        self._deflectors = deflectors
        self._which = WHICH[actuator.name]
        back = () if actuator.back_px is None else (Deflector.DIFFRACTION_SHIFT,)
        self._all = (self._which, *back, *(() if actuator.beam is None else (Deflector.BEAM_SHIFT,)))
        self._begin: dict[Deflector, Pair] = {}
        self._touched = False
        self.settling_s = deflectors.facts.settling_s

    async def begin(self) -> tuple[Pair, Pair, Pair]:
        """See `TrackingCalls.begin`: a call for each."""
        self._begin = {which: await self._deflectors.read(which) for which in self._all}
        back, beam = (self._begin.get(which, NEUTRAL) for which in (Deflector.DIFFRACTION_SHIFT, Deflector.BEAM_SHIFT))
        return self._begin[self._which], back, beam

    async def make(self, correction: Correction) -> None:
        """See `TrackingCalls.make`: a call for each."""
        self._touched = True  # before it is made: it may be heard, and fail
        await self._deflectors.set(self._which, *correction.setting)
        if correction.back is not None:
            await self._deflectors.set(Deflector.DIFFRACTION_SHIFT, *correction.back)
        if correction.beam is not None:
            await self._deflectors.set(Deflector.BEAM_SHIFT, *correction.beam)

    def safe_actions(self) -> Sequence[SafeAction]:
        """See `TrackingCalls.safe_actions`."""
        return [_back(which.replace("_", " "), self._going_back(which), BACK_S) for which in self._all]

    def _going_back(self, which: Deflector) -> Callable[[], Awaitable[None]]:
        async def back() -> None:
            if self._touched:
                await deflector_back(self._deflectors, which, self._begin[which])

        return back


class StageCalls:
    """Implements `TrackingCalls` by moves of the stage in x and y, each place arrived at from below.

    Before the run it arrives once where it stands, so that its play is taken up. It is never told to stop: on many
    instruments that would end the rotation as well.
    """

    settling_s = 0.0

    def __init__(self, run: "Run", stage: StageXYZ) -> None:
        self._run, self._stage = run, stage
        self._begin: Pair = (0.0, 0.0)
        self._touched = False

    async def begin(self) -> tuple[Pair, Pair, Pair]:
        """See `TrackingCalls.begin`: a reading, and the moves of an arrival."""
        at = await self._stage.position()
        self._begin = at.x_nm, at.y_nm
        await self._arrive(*self._begin)
        return self._begin, NEUTRAL, NEUTRAL

    async def make(self, correction: Correction) -> None:
        """See `TrackingCalls.make`: one move, or two where there is backlash; returns when the stage stands."""
        self._touched = True
        await self._arrive(*correction.setting)

    def safe_actions(self) -> Sequence[SafeAction]:
        """See `TrackingCalls.safe_actions`."""

        async def back() -> None:
            if self._touched:
                await self._arrive(*self._begin)

        return [_back("stage", back, STAGE_BACK_S)]

    async def _arrive(self, x_nm: float, y_nm: float) -> None:
        for place in way_points(self._stage.facts, x_nm, y_nm):
            await self._stage.move_xy(*place)
            timeline = self._run.timeline
            if self._stage.facts.tilt_counts_as_moving:  # nobody sees the end of the move; its plan has one move only
                await timeline.wait("stage", timeline.now_ns + ns(MOVE_S))
                continue
            give_up_ns = timeline.now_ns + ns(MOVES_AT_MOST_S)
            while await self._stage.is_moving():
                if timeline.now_ns > give_up_ns:
                    raise DeviceError(
                        f"stagexyz: a move of some hundred nm was not over after {MOVES_AT_MOST_S:g} s; it goes on. "
                        f"Plans allow {MOVE_S:g} s: set track_by = image shift for the next run."
                    )
                await timeline.wait("stage", timeline.now_ns + ns(POLL_S))


def _back(name: str, call: Callable[[], Awaitable[None]], limit_s: float) -> SafeAction:
    alarm = f"THE {name.upper()} IS NOT BACK where it was: set it by hand before the next experiment"
    return SafeAction(f"{name} back", call, limit_s, alarm)
