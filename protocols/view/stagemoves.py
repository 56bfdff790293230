"""The stage of a live view, moved as its operator says: by a distance, always from the same side, stopped at once.

A move is gone to its end before the next one begins, so that presses in quick succession add up. Who tells the stage to
stop waits behind nothing, and what was told before that and has not begun does not begin.
"""

from collections.abc import Awaitable, Callable
from functools import partial

from drivers.approach import LIMIT_S, heights, stands_xy, way_points
from drivers.contract import Microscope, Stage
from drivers.parts import PositionReading, StageXYZ
from engine.clock import ns
from engine.errors import DeviceError, DeviceLost, Refused
from engine.run.contract import SafeAction
from engine.run.run import Run
from engine.run.safety import STANDS_DEG, STANDS_S, moved_deg
from protocols.view.words import MOVE_X, MOVE_Y, MOVE_Z, Told

TILT_SPEED_DEG_S = 2.0
"""Or the nearest that the stage can do."""
NM_PER_UM = 1000.0
STOP_S = 3.0
STILL_MOVES = "the stage may still move in x, y or z: look whether it stands before the next experiment"


class StageMoves:
    """The parts that move the specimen, behind the gate of a run. stops: how often the stage was told to stop."""

    def __init__(self, run: Run, microscope: Microscope) -> None:
        wrap = run.gate.wrap
        self._stage = None if microscope.stage is None else wrap("stage", microscope.stage)
        self._xyz = None if microscope.stagexyz is None else wrap("stagexyz", microscope.stagexyz)
        self._timeline = run.timeline
        self._moving = False
        """A move of x, y or z has been begun here and is not known to be over."""
        self.stops = 0

    async def move(self, told: Told) -> None:
        """Move one axis by a distance in um, and return when it stands there.

        Raises Refused for a place that cannot be reached (nothing moved), or where the stage was stopped on the way;
        DeviceError for what the stage does not do.
        """
        xyz, stops = self._translation(), self.stops
        if self._stage is not None and not xyz.facts.xy_while_tilting:
            await self._until_it_tilts_no_more(self._stage, stops)
        for leg in _legs(xyz, told, await xyz.position()):
            self.go_on_since(stops)
            self._moving = True
            await leg()
            if self.stops != stops:
                await xyz.stop()  # for it was told while the stage had not yet begun
            if not await stands_xy(xyz, self._timeline):
                raise DeviceError(
                    f"stagexyz: the move was not over after {LIMIT_S:g} s; the stage was told to stop. Look what holds "
                    "it."
                )
            self._moving = False
        await xyz.position()

    async def tilt_to(self, told: Told) -> None:
        """Begin to turn to a tilt; another one that is told meanwhile takes its place."""
        await self._rotate(self._goniometer(), told.number or 0.0)

    async def tilt_by(self, told: Told) -> None:
        """Begin to turn by an angle, from where the stage stands when it has come to rest."""
        stage, stops = self._goniometer(), self.stops
        await self._until_it_tilts_no_more(stage, stops)
        await self._rotate(stage, (await stage.angle()).value + (told.number or 0.0))

    async def stop(self) -> None:
        """Stop all axes. Raises DeviceError with what does not stop, after the others were told to."""
        self.stops += 1
        failed = []
        for part in (self._stage, self._xyz):
            try:
                if part is not None:
                    await part.stop()
            except DeviceLost:
                raise
            except DeviceError as error:
                failed.append(str(error))
        if failed:
            raise DeviceError(" ".join(failed))

    def go_on_since(self, stops: int) -> None:
        """Raises Refused where the stage was told to stop since then."""
        if self.stops != stops:
            raise Refused("the stage was told to stop; nothing more was begun. Where it stands is read and shown.")

    def safe_actions(self) -> list[SafeAction]:
        """When the view ends: a move of x, y or z that it has begun is stopped; one that is over stays where it is."""
        return [] if self._xyz is None else [SafeAction("stop x, y and z", self._end_move, STOP_S, STILL_MOVES)]

    async def _end_move(self) -> None:
        if self._moving:
            await self._translation().stop()

    async def _rotate(self, stage: Stage, target_deg: float) -> None:
        facts, xyz = stage.facts, self._xyz
        speed_deg_s = TILT_SPEED_DEG_S
        if facts.speeds_deg_s:
            speed_deg_s = min(facts.speeds_deg_s, key=lambda speed: abs(speed - speed_deg_s))
        elif facts.speed_limits_deg_s is not None:
            slowest_deg_s, fastest_deg_s = facts.speed_limits_deg_s
            speed_deg_s = min(max(speed_deg_s, slowest_deg_s), fastest_deg_s)
        if said := facts.no_speed(speed_deg_s):
            raise Refused(f"{said}. Nothing moved.")
        # Where the flag is of all axes it cannot tell this from a tilt that is to be changed: the driver refuses then.
        apart = xyz is not None and not (xyz.facts.xy_while_tilting or xyz.facts.tilt_counts_as_moving)
        if xyz is not None and apart and await xyz.is_moving():
            raise Refused("the stage moves in x, y or z, and may not tilt meanwhile; it was not tilted. Wait for it.")
        await stage.rotate(target_deg, speed_deg_s)

    async def _until_it_tilts_no_more(self, stage: Stage, stops: int) -> None:
        give_up_ns = self._timeline.now_ns + ns(LIMIT_S)
        while await moved_deg(stage, self._timeline, STANDS_S) > STANDS_DEG:
            self.go_on_since(stops)
            if self._timeline.now_ns >= give_up_ns:
                raise Refused(f"the stage still tilted after {LIMIT_S:g} s; nothing was begun. Wait until it stands.")
        self.go_on_since(stops)

    def _goniometer(self) -> Stage:
        if self._stage is None:
            raise Refused("this instrument has no stage that tilts; nothing was done.")
        return self._stage

    def _translation(self) -> StageXYZ:
        if self._xyz is None:
            raise Refused("this instrument has no stage that moves in x, y and z; nothing was done.")
        return self._xyz


def _legs(xyz: StageXYZ, told: Told, here: PositionReading) -> list[Callable[[], Awaitable[None]]]:
    """The moves by which an axis goes so far from here. Raises Refused for a place that cannot be reached."""
    by_nm = NM_PER_UM * (told.number or 0.0)
    if told.verb == MOVE_Z:
        return [partial(xyz.move_z, z_nm) for z_nm in heights(xyz.facts, here.z_nm + by_nm)]
    x_nm = here.x_nm + (by_nm if told.verb == MOVE_X else 0.0)
    y_nm = here.y_nm + (by_nm if told.verb == MOVE_Y else 0.0)
    return [partial(xyz.move_xy, *place) for place in way_points(xyz.facts, x_nm, y_nm)]
