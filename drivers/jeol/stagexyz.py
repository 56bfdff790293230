"""The translation of the stage through TEMCOM: x, y and z in nm.

Made by `drivers.jeol.microscope` from the table `[microscope.stagexyz]`. Promises what `drivers.parts.StageXYZ` asks.
Source: PyJEM's documentation of Stage3 (`SetX`, `SetY`, `SetZ` to a place in nm, `GetStatus` of each axis;
`SetPosition` moves *by* a distance, so it is not used), and what users tell: a command may come back at the standstill,
and on some microscopes the status says rest for the first half second of a move (Instamatic, NeoARM).
"""

import asyncio
import contextlib
from dataclasses import dataclass

from drivers.jeol.temcom import ACCEPT_S, AT_LIMITER, MOVING, Connection, numbers
from drivers.options import Options
from drivers.parts import PositionReading, StageXYZFacts
from engine.clock import Clock, ns
from engine.errors import DeviceBusy, DeviceError, DeviceLost

AXES = 5  # x, y, z and the two tilts, in this order
STOPS_WITHIN_S = 0.4
POLL_S = 0.02
FARTHEST_NM = 10e6
"""No specimen holder goes as far; a limit beyond it has a slip in it."""
DOCUMENTED_NM = (-100e3, 100e3)


@dataclass(frozen=True, slots=True)
class StageXYZOptions:
    """The table `[microscope.stagexyz]`. flag_late_s: for how long after a move was begun rest is not believed."""

    facts: StageXYZFacts
    flag_late_s: float

    @classmethod
    def read(cls, table: Options) -> "StageXYZOptions":
        """Raises Refused for an option that cannot be. Backlash as Instamatic and SerialEM take it up: 10 um."""
        far = FARTHEST_NM
        limits_nm = (table.pair(f"{axis}_limits_nm", DOCUMENTED_NM, -far, far) for axis in "xyz")
        x_nm, y_nm, z_nm = limits_nm
        facts = StageXYZFacts(
            limits_nm=(x_nm, y_nm, z_nm),
            backlash_nm=table.number("backlash_nm", 10e3, 0.0, 100e3),
            xy_while_tilting=table.flag("xy_while_tilting", default=False),
            tilt_counts_as_moving=False,  # each axis has a status of its own
        )
        options = cls(facts, table.number("flag_late_s", 0.5, 0.0, 5.0))
        table.finish()
        return options


class JeolStageXYZ:
    """Implements `drivers.parts.StageXYZ`.

    stage: for readings and the stop. translation: for the commands to move, which may take as long as the motion.
    """

    def __init__(
        self, clock: Clock, stage: Connection, translation: Connection, options: StageXYZOptions, call_limit_s: float
    ) -> None:
        self.facts = options.facts
        self._clock = clock
        self._stage = stage
        self._translation = translation
        self._flag_late_ns = ns(options.flag_late_s)
        self._call_limit_s = call_limit_s
        self._turn = asyncio.Lock()
        self._move: asyncio.Task[None] | None = None
        self._stopping = False
        self._flag_true_until_ns = clock.now_ns()

    async def position(self) -> PositionReading:
        """See `StageXYZ.position`."""
        answer = await self._stage.call("Stage3", "GetPos")
        x_nm, y_nm, z_nm = (float(value) for value in numbers(answer, 3, "stagexyz"))
        return PositionReading(x_nm, y_nm, z_nm, answer.t_before_ns, answer.t_after_ns)

    async def move_xy(self, x_nm: float, y_nm: float) -> None:
        """See `StageXYZ.move_xy`. Three calls; where each comes back at the standstill y begins when x has arrived."""
        self._require(self.facts.outside(x_nm=x_nm, y_nm=y_nm))
        await self._begin(("SetX", x_nm), ("SetY", y_nm))

    async def move_z(self, z_nm: float) -> None:
        """See `StageXYZ.move_z`. Two calls."""
        self._require(self.facts.outside(z_nm=z_nm))
        await self._begin(("SetZ", z_nm))

    def _require(self, outside: str | None) -> None:
        if outside is not None:
            raise DeviceError(
                f"stagexyz: {outside}; nothing moved. Choose a place within the limits in [microscope.stagexyz] of the "
                "devices file."
            )

    async def _begin(self, *commands: tuple[str, float]) -> None:
        async with self._turn:
            state = await self._status()
            tilts = MOVING in state[3:] and not self.facts.xy_while_tilting
            if self._translates(state, self._clock.now_ns()) or tilts:
                raise DeviceBusy("stagexyz: the stage still moves; nothing else was begun. Wait until it stands.")
            self._stopping = False
            self._flag_true_until_ns = self._clock.now_ns() + self._flag_late_ns
            self._move = asyncio.create_task(self._carry_out(commands), name="stage translation")
            self._move.add_done_callback(lambda task: task.cancelled() or task.exception())
            await self._accepted(self._move)

    async def _carry_out(self, commands: tuple[tuple[str, float], ...]) -> None:
        for method, value_nm in commands:
            if self._stopping:
                return
            try:
                await self._translation.call("Stage3", method, float(value_nm))
            except DeviceLost:
                raise
            except DeviceError:
                if not self._stopping:  # a command that was cut short by our own stop has done what it should
                    raise

    async def _accepted(self, move: asyncio.Task[None]) -> None:
        """Until the commands came back, or the stage says that it moves."""
        give_up_ns = self._clock.now_ns() + ns(self._call_limit_s)
        await asyncio.wait([move], timeout=ACCEPT_S)
        while not move.done():
            state = await self._status()
            if MOVING in state[:3]:
                return
            if self._clock.now_ns() > give_up_ns:
                if AT_LIMITER in state[:3]:
                    raise _at_limiter(state)
                raise DeviceLost(
                    f"stagexyz: did not answer the command to move for {self._call_limit_s:g} s and does not move; "
                    "whether it still will is unknown. Stop it at the console, then connect again."
                )
            await self._clock.sleep_s(POLL_S)
        self._ended()

    def _ended(self) -> None:
        """Raises what went wrong with the commands of a move, once."""
        if self._move is not None and self._move.done() and (error := self._move.exception()) is not None:
            self._move = None
            raise error

    async def _status(self) -> list[int]:
        return [int(state) for state in numbers(await self._stage.call("Stage3", "GetStatus"), AXES, "stagexyz")]

    def _translates(self, state: list[int], asked_ns: int) -> bool:
        """Whether x, y or z moves, or a move of ours is not over. Raises, once, what went wrong with it."""
        self._ended()
        ours = self._move is not None and (not self._move.done() or asked_ns < self._flag_true_until_ns)
        if MOVING in state[:3] or ours:
            return True
        stood, self._move = self._move is None, None
        if not stood and AT_LIMITER in state[:3]:
            raise _at_limiter(state)
        return False

    async def is_moving(self) -> bool:
        """See `StageXYZ.is_moving`; also true for the first `flag_late_s` of a move.

        Raises DeviceError, once, for a move that has failed or has ended at a limiter.
        """
        asked_ns = self._clock.now_ns()
        return self._translates(await self._status(), asked_ns)

    def drop_the_rest(self) -> None:
        """A stop is on its way: of a move in x and y, what has not begun is not begun any more."""
        self._stopping = True

    async def stop(self) -> None:
        """See `StageXYZ.stop`. One call where nothing moves, else until the stage stands, the tilt included.

        Raises DeviceError when it moves 0.4 s later even so.
        """
        if self._move is None and not await self.is_moving():
            return
        self.drop_the_rest()
        give_up_ns = max(self._clock.now_ns(), self._flag_true_until_ns) + ns(STOPS_WITHIN_S)
        while True:
            # Again each time: a command that was on its way may have begun after the first one.
            await self._stage.call("Stage3", "Stop")
            if not await self.is_moving():
                return
            if self._clock.now_ns() > give_up_ns:
                raise DeviceError(
                    "stagexyz: it was told to stop and still moves; it goes on to its end. Wait until it stands, or "
                    "stop it at the microscope."
                )
            await self._clock.sleep_s(POLL_S)

    async def put_back(self) -> None:
        """Stop a move of ours that is still under way: nobody is there to do it later."""
        move = self._move
        with contextlib.suppress(DeviceError):
            if move is not None:
                await self.stop()
        if move is not None:
            await asyncio.wait([move], timeout=self._call_limit_s)
            move.cancel()


def _at_limiter(state: list[int]) -> DeviceError:
    axes = " and ".join(axis for axis, its_state in zip("xyz", state[:3], strict=True) if its_state == AT_LIMITER)
    return DeviceError(
        f"stagexyz: {axes} stands at its hardware limiter; it did not arrive. Move it off by hand, and write narrower "
        "limits into [microscope.stagexyz] of the devices file."
    )
