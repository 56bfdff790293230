"""The one motion of the stage that is under way, tilt or translation, through the server for motions.

Used by `drivers.thermo.microscope` and `drivers.thermo.stagexyz`. TEM scripting's GoTo lasts as long as the motion, one
at a time, and cannot be stopped: so each is a task here, and what went wrong with it is told to the part that began it.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from drivers.thermo.session import Session
from drivers.thermo.wire import TemscriptWire
from engine.clock import Clock, ns
from engine.errors import DeviceBusy, DeviceError

MOVING = ("GOING", "MOVING")
ACCEPTED_WITHIN_S = 2.0
ARRIVES_WITHIN_S = 1.2
POLL_S = 0.02


class Motion:
    """At most one motion. wire: to the server that carries it out; its call lasts as long as the motion does."""

    def __init__(self, clock: Clock, session: Session, wire: TemscriptWire) -> None:
        self._clock = clock
        self._session = session
        self._wire = wire
        self._task: asyncio.Task[None] | None = None
        self._does, self._towards = "", ""
        self._failures: dict[str, BaseException] = {}

    @property
    def peer(self) -> str:
        """The server for motions, as host and port."""
        return self._wire.peer

    @property
    def has_server(self) -> bool:
        """Whether that is a server of its own: only then something can be read or blanked during a motion."""
        return self._wire.peer != self._session.wire.peer

    @property
    def under_way(self) -> bool:
        """Whether a motion that was begun here has not ended."""
        return self._task is not None and not self._task.done()

    def tell_failure(self, part: str) -> None:
        """Raise what went wrong with the last motion of a part, once."""
        if (error := self._failures.pop(part, None)) is not None:
            raise error

    def begin(
        self, part: str, does: str, towards: str, target: Mapping[str, float], query: Mapping[str, str], limit_s: float
    ) -> None:
        """Start towards a place (m, rad); does and towards: for errors, as "rotates" and "12.00 deg".

        Raises DeviceBusy while an earlier one is under way (that one goes on), and what went wrong with the last one.
        """
        self.tell_failure(part)
        if self.under_way:
            raise DeviceBusy(
                f"{part}: the stage is still on its way to {self._towards}, which cannot be stopped; no new motion was "
                "begun. Wait until it has arrived."
            )
        self._does, self._towards = does, towards

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()) is not None:
                self._failures[part] = error

        call = self._wire.put("stage_position", dict(target), {"method": "GO", **query}, limit_s=limit_s)
        self._task = asyncio.get_running_loop().create_task(call, name=f"{part} motion")
        self._task.add_done_callback(ended)

    async def until_accepted(self, part: str, has_moved: Callable[[Any], bool]) -> None:
        """Until the stage is seen to move, or has arrived. has_moved: whether a position shows that.

        Raises what went wrong, and DeviceError where nothing is seen for two seconds: it may still begin.
        """
        give_up_ns = self._clock.now_ns() + ns(ACCEPTED_WITHIN_S)
        while self._clock.now_ns() < give_up_ns:
            await self._clock.sleep_s(POLL_S)
            if not self.under_way:
                return self.tell_failure(part)
            # Only another server can tell meanwhile; and one that says READY may not have begun yet.
            if self.has_server and await self._session.get("stage_status") in MOVING:
                return None
            if self.has_server and has_moved(await self._session.get("stage_position")):
                return None
        if self.has_server:
            raise DeviceError(
                f"{part}: the stage was told to go to {self._towards}, and neither moves nor refuses after "
                f"{ACCEPTED_WITHIN_S:g} s; it may still begin. Look at the microscope."
            )
        raise DeviceError(
            f"{part}: the stage {self._does}, but {self.peer} answers nothing else until it has arrived, so no frame "
            "could be taken on the way. Start a second temscript-server and write its port as motion_port into the "
            "devices file."
        )

    async def until_arrived_soon(self, part: str) -> None:
        """Instead of a stop. Raises DeviceError, with the place it goes on to, when it does not arrive within 1.2 s."""
        give_up_ns = self._clock.now_ns() + ns(ARRIVES_WITHIN_S)
        while self.under_way:
            if self._clock.now_ns() > give_up_ns:
                raise self.no_stop(part)
            await self._clock.sleep_s(POLL_S)
        self.tell_failure(part)

    def no_stop(self, part: str) -> DeviceError:
        """That the stage cannot be stopped, and where it goes on to."""
        goes_on = f"{self._does} on to {self._towards}" if self.under_way else "goes on to its end"
        return DeviceError(
            f"{part}: TEM scripting has no stop; the stage {goes_on} and stops there. To stop it before, use the "
            "microscope's own controls."
        )

    async def close(self) -> None:
        """Let go of a motion under way; it goes on to its target."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
