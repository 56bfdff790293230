"""The way to a place of the stage: always from the same side, so that lost motion is the same each time.

A protocol that wants to come back to a crystal calls `arrive_xy` (or asks `way_points` and makes the moves itself). It
works on any driver's `StageXYZ`, also behind the gate, where each of its calls is a record of its own.
"""

from drivers.parts import StageXYZ, StageXYZFacts
from engine.clock import Clock, ns
from engine.errors import DeviceError, Refused

POLL_S = 0.1
LIMIT_S = 60.0


def way_points(facts: StageXYZFacts, x_nm: float, y_nm: float) -> tuple[tuple[float, float], ...]:
    """The places to move to, one after the other, to arrive at (x, y) from below in both.

    One place where the stage has no backlash to take up, else two. Raises Refused for a place that cannot be reached
    so: past the limits, or within `backlash_nm` of the lower ones.
    """
    places: tuple[tuple[float, float], ...] = ((x_nm, y_nm),)
    if facts.backlash_nm > 0:
        places = ((x_nm - facts.backlash_nm, y_nm - facts.backlash_nm), *places)
    for x_there_nm, y_there_nm in reversed(places):
        if said := facts.outside(x_nm=x_there_nm, y_nm=y_there_nm):
            raise Refused(
                f"stagexyz: ({x_nm:g}, {y_nm:g}) nm cannot be arrived at from below, with {facts.backlash_nm:g} nm for "
                f"the backlash: {said}. Nothing moved. Choose a place further inside."
            )
    return places


async def arrive_xy(stage: StageXYZ, clock: Clock, x_nm: float, y_nm: float, limit_s: float = LIMIT_S) -> None:
    """Move to (x, y) from below and return when the stage stands there.

    Takes the moves and their readings of the flag, every 0.1 s. Raises Refused for a place that cannot be reached so
    (nothing moved), DeviceError when a move takes longer than `limit_s` (the stage was told to stop). Cancel: the
    move under way goes on.
    """
    for x_there_nm, y_there_nm in way_points(stage.facts, x_nm, y_nm):
        await stage.move_xy(x_there_nm, y_there_nm)
        give_up_ns = clock.now_ns() + ns(limit_s)
        while await stage.is_moving():
            if clock.now_ns() >= give_up_ns:
                await stage.stop()
                raise DeviceError(
                    f"stagexyz: the move to ({x_there_nm:g}, {y_there_nm:g}) nm was not over after {limit_s:g} s; the "
                    "stage was told to stop. Look what holds it, or allow it more time."
                )
            await clock.sleep_s(POLL_S)
