"""The way to a place of the stage: always from the same side, so that lost motion is the same each time; and to a tilt.

A protocol that wants to come back to a crystal calls `arrive_xy` (or asks `way_points`, or `heights` for z, and makes
the moves itself), one that wants a tilt `arrive_deg`. They work on any driver's stage, also behind the gate, where each
of their calls is a record of its own.
"""

from typing import Protocol

from drivers.contract import Stage
from drivers.parts import StageXYZ, StageXYZFacts
from engine.clock import Clock, ns
from engine.errors import DeviceError, Refused

POLL_S = 0.1
LIMIT_S = 60.0
REACHED_DEG = 0.2
"""A tilt read within this of its target is there: readings scatter."""
LATE_S = 5.0
REST_S = 0.5


def way_points(
    facts: StageXYZFacts, x_nm: float, y_nm: float, backlashes: float = 1.0, *, from_above: bool = False
) -> tuple[tuple[float, float], ...]:
    """The places to move to, one after the other, to arrive at (x, y) from below in both, or from above.

    One place where the stage has no backlash to take up, else two. backlashes: from so many of them away; with one, a
    stage that scatters has not always taken up all of it, and lies off by some of its scatter after a move back. Raises
    Refused for a place that cannot be reached so: past the limits, or within that of those on that side.
    """
    away_nm = backlashes * facts.backlash_nm
    places: tuple[tuple[float, float], ...] = ((x_nm, y_nm),)
    if facts.backlash_nm > 0:
        past_nm = away_nm if from_above else -away_nm
        places = ((x_nm + past_nm, y_nm + past_nm), *places)
    for x_there_nm, y_there_nm in reversed(places):
        if said := facts.outside(x_nm=x_there_nm, y_nm=y_there_nm):
            side = "above" if from_above else "below"
            raise Refused(
                f"stagexyz: ({x_nm:g}, {y_nm:g}) nm cannot be arrived at from {side}, with {away_nm:g} nm "
                f"for the backlash: {said}. Nothing moved. Choose a place further inside."
            )
    return places


def heights(facts: StageXYZFacts, z_nm: float) -> tuple[float, ...]:
    """The heights to move to, one after the other, to arrive at a height from below: as `way_points`, for z."""
    ways: tuple[float, ...] = (z_nm - facts.backlash_nm, z_nm) if facts.backlash_nm > 0 else (z_nm,)
    for there_nm in reversed(ways):
        if said := facts.outside(z_nm=there_nm):
            raise Refused(
                f"stagexyz: z = {z_nm:g} nm cannot be arrived at from below, with {facts.backlash_nm:g} nm for the "
                f"backlash: {said}. Nothing moved. Choose a height further inside."
            )
    return ways


class Waiting(Protocol):
    """How time is told and waited for: `Run.timeline`, which records what a replay needs, or `OnClock`."""

    @property
    def now_ns(self) -> int:
        """Now."""
        ...

    async def wait(self, name: str, deadline_ns: int) -> object:
        """Wait until an instant; name: what for."""
        ...


class OnClock:
    """The same outside of a run, on a bare clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    @property
    def now_ns(self) -> int:
        """See `Waiting.now_ns`."""
        return self._clock.now_ns()

    async def wait(self, name: str, deadline_ns: int) -> None:
        """See `Waiting.wait`."""
        await self._clock.sleep_until(deadline_ns)


async def arrive_xy(
    stage: StageXYZ,
    waiting: Waiting,
    x_nm: float,
    y_nm: float,
    limit_s: float = LIMIT_S,
    backlashes: float = 1.0,
    *,
    from_above: bool = False,
) -> None:
    """Move to (x, y) from below, or from above, and return when the stage stands there. backlashes: as for
    `way_points`.

    Takes the moves and their readings of the flag, every 0.1 s. Raises Refused for a place that cannot be reached so
    (nothing moved), DeviceError when a move takes longer than `limit_s` (the stage was told to stop). Cancel: the
    move under way goes on.
    """
    for x_there_nm, y_there_nm in way_points(stage.facts, x_nm, y_nm, backlashes, from_above=from_above):
        await stage.move_xy(x_there_nm, y_there_nm)
        if not await stands_xy(stage, waiting, limit_s):
            raise DeviceError(
                f"stagexyz: the move to ({x_there_nm:g}, {y_there_nm:g}) nm was not over after {limit_s:g} s; the "
                "stage was told to stop. Look what holds it, or allow it more time."
            )


async def stands_xy(stage: StageXYZ, waiting: Waiting, limit_s: float = LIMIT_S) -> bool:
    """Wait until a move is over, the flag read every 0.1 s; False, and the stage told to stop, after `limit_s`."""
    give_up_ns = waiting.now_ns + ns(limit_s)
    while await stage.is_moving():
        if waiting.now_ns >= give_up_ns:
            await stage.stop()
            return False
        await waiting.wait("stage", waiting.now_ns + ns(POLL_S))
    return True


async def arrive_deg(stage: Stage, waiting: Waiting, target_deg: float, speed_deg_s: float) -> float:
    """Rotate to a tilt and return, when the stage has come to rest there, the tilt as read.

    Takes the motion, read every 0.1 s, and half a second for its end. Raises DeviceError when it takes more than twice
    as long as the speed would have it (the stage was told to stop). Cancel: the motion goes on.
    """
    way_deg = abs(target_deg - (await stage.angle()).value)
    await stage.rotate(target_deg, speed_deg_s)
    give_up_ns = waiting.now_ns + ns(2 * way_deg / speed_deg_s + LATE_S)
    while abs((await stage.angle()).value - target_deg) > REACHED_DEG:
        if waiting.now_ns >= give_up_ns:
            await stage.stop()
            raise DeviceError(
                f"stage: {target_deg:g} deg was not reached in time; the stage was told to stop. Check the holder and "
                "the stage's own limits."
            )
        await waiting.wait("stage", waiting.now_ns + ns(POLL_S))
    await waiting.wait("stage at rest", waiting.now_ns + ns(REST_S))
    return (await stage.angle()).value
