"""The translation of the stage behind Instamatic's TEM server: x, y and z in nm.

Made by `drivers.instamatic.microscope` from the table `[microscope.stagexyz]`. Promises what `drivers.parts.StageXYZ`
asks. Source: Instamatic 2.2.2, `microscope/interface/{jeol,simu}_microscope.py`: `isStageMoving` covers all axes, on
some JEOL it is false for the first half second of a move, and `stopStage` of the simulated microscope does nothing.
"""

from dataclasses import dataclass

from drivers.instamatic.answers import motion, nothing, position
from drivers.instamatic.wire import Wire
from drivers.options import Options
from drivers.parts import PositionReading, StageXYZFacts
from engine.clock import Clock, ns
from engine.errors import DeviceBusy, DeviceError

STOPS_WITHIN_S = 0.4
POLL_S = 0.02
FARTHEST_NM = 10e6
"""No specimen holder goes as far; a limit beyond it has a slip in it."""


@dataclass(frozen=True, slots=True)
class StageXYZOptions:
    """The table `[microscope.stagexyz]`. flag_late_s: for how long after a move was begun `false` is not believed."""

    facts: StageXYZFacts
    flag_late_s: float

    @classmethod
    def read(cls, table: Options) -> "StageXYZOptions":
        """Raises Refused for an option that cannot be. Backlash as Instamatic and SerialEM take it up: 10 um."""
        far = FARTHEST_NM
        facts = StageXYZFacts(
            limits_nm=(
                table.pair("x_limits_nm", (-900e3, 900e3), -far, far),
                table.pair("y_limits_nm", (-900e3, 900e3), -far, far),
                table.pair("z_limits_nm", (-100e3, 100e3), -far, far),
            ),
            backlash_nm=table.number("backlash_nm", 10e3, 0.0, 100e3),
            xy_while_tilting=table.flag("xy_while_tilting", default=False),
            tilt_counts_as_moving=True,
        )
        options = cls(facts, table.number("flag_late_s", 0.5, 0.0, 5.0))
        table.finish()
        return options


class InstamaticStageXYZ:
    """Implements `drivers.parts.StageXYZ`."""

    def __init__(self, clock: Clock, wire: Wire, options: StageXYZOptions) -> None:
        self.facts = options.facts
        self._clock = clock
        self._wire = wire
        self._flag_late_ns = ns(options.flag_late_s)
        self._own_move = False
        self._flag_true_until_ns = clock.now_ns()

    async def position(self) -> PositionReading:
        """See `StageXYZ.position`. The interval begins when the request goes out, not when it begins to wait."""

        async def read(wire: Wire) -> PositionReading:
            before_ns = self._clock.now_ns()
            where = await wire.ask("getStagePosition", position)
            return PositionReading(where.x, where.y, where.z, before_ns, self._clock.now_ns())

        return await self._wire.in_turn(read)

    async def move_xy(self, x_nm: float, y_nm: float) -> None:
        """See `StageXYZ.move_xy`. Two calls; the server takes whole nm."""
        self._require(self.facts.outside(x_nm=x_nm, y_nm=y_nm))
        await self._move({"x": round(x_nm), "y": round(y_nm)})

    async def move_z(self, z_nm: float) -> None:
        """See `StageXYZ.move_z`. Two calls; the server takes whole nm."""
        self._require(self.facts.outside(z_nm=z_nm))
        await self._move({"z": round(z_nm)})

    def _require(self, outside: str | None) -> None:
        if outside is not None:
            raise DeviceError(
                f"stagexyz: {outside}; nothing moved. Choose a place within the limits in [microscope.stagexyz] of the "
                "devices file."
            )

    async def _move(self, target_nm: dict[str, int]) -> None:
        async def go(wire: Wire) -> None:
            # One flag for all axes: what moves is a tilt only where no move of ours is under way.
            if await self._moves(wire) and (self._own_move or not self.facts.xy_while_tilting):
                raise DeviceBusy("stagexyz: the stage still moves; nothing else was begun. Wait until it stands.")
            self._begun()  # before the answer: without one the stage may move as well
            await wire.ask("setStagePosition", nothing, wait=False, **target_nm)
            self._begun()

        await self._wire.in_turn(go)

    def _begun(self) -> None:
        self._own_move = True
        self._flag_true_until_ns = self._clock.now_ns() + self._flag_late_ns

    async def _moves(self, wire: Wire) -> bool:
        asked_ns = self._clock.now_ns()
        moves = await wire.ask("isStageMoving", motion) or (self._own_move and asked_ns < self._flag_true_until_ns)
        self._own_move = self._own_move and moves
        return moves

    async def is_moving(self) -> bool:
        """See `StageXYZ.is_moving`; also true for the first `flag_late_s` of a move."""
        return await self._wire.in_turn(self._moves)

    async def stop(self) -> None:
        """See `StageXYZ.stop`. One call where nothing moves, else until the stage stands, the tilt included.

        Raises DeviceError when it moves 0.4 s later even so.
        """
        if not await self.is_moving():
            return
        await self._wire.call("stopStage", nothing)
        # One call at a time and none held back: blanking the beam must not wait for this.
        give_up_ns = max(self._clock.now_ns(), self._flag_true_until_ns) + ns(STOPS_WITHIN_S)
        while await self.is_moving():
            if self._clock.now_ns() > give_up_ns:
                raise DeviceError(
                    "stagexyz: it was told to stop and still moves; it goes on to its end. Wait until it stands, or "
                    "stop it at the microscope."
                )
            await self._clock.sleep_s(POLL_S)
