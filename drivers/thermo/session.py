"""One call after the other to temscript's server, and what the microscope was last known to be.

Used by all parts of `drivers.thermo`. After a lost call the state is read again before the next one, and a difference
is told. Here is also what answers must look like.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

from drivers.options import is_number
from drivers.thermo.wire import TemscriptWire
from engine.clock import Clock
from engine.errors import DeviceError, DeviceLost


@dataclass(slots=True)
class Known:
    """What the microscope was last known to be; compared when it was lost in between. None = not known.

    diffraction: it was in diffraction mode when it was last asked, and nothing of ours has changed that.
    """

    blanked: bool | None = None
    focus: int | None = None
    diffraction: bool = False
    lost: bool = False


class Session:
    """One call after the other; after a lost one the state is read again before the next."""

    def __init__(self, clock: Clock, wire: TemscriptWire, focus_step: float) -> None:
        self.wire = wire
        self.known = Known()
        self.focus_step = focus_step
        self._clock = clock
        self._turn = asyncio.Lock()

    async def get(self, what: str) -> Any:
        """Read a property, in turn."""
        return (await self.timed(what))[0]

    async def timed(self, what: str) -> tuple[Any, int, int]:
        """Read a property, in turn: its value, and the instants of question and answer."""
        async with self._turn:
            await self._compare()
            before_ns = self._clock.now_ns()
            value = await self._noting_loss(self.wire.get(what))
            return value, before_ns, self._clock.now_ns()

    async def blank(self, blanked: bool) -> None:
        """Set the blanker, in turn. To take the beam off waits for no comparison: the next call makes that."""
        async with self._turn:
            if not blanked:
                await self._compare()
            self.known.blanked = None  # until the answer is there
            await self._noting_loss(self.wire.put("beam_blanked", blanked))
            self.known.blanked = blanked

    async def focus(self, value: int) -> None:
        """Set the lens, in turn."""
        async with self._turn:
            await self._compare()
            self.known.focus = None
            await self._noting_loss(self.wire.put("defocus", value * self.focus_step))
            self.known.focus = value

    async def put(self, what: str, value: Any) -> None:
        """Set a property of which nothing is remembered, in turn."""
        async with self._turn:
            await self._compare()
            await self._noting_loss(self.wire.put(what, value))

    async def project(self, what: str, value: Any) -> None:
        """Set mode or magnification, in turn; each has a lens value of its own, which is not known then."""
        async with self._turn:
            await self._compare()
            self.known.focus, self.known.diffraction = None, False
            await self._noting_loss(self.wire.put(what, value))

    async def _noting_loss(self, call: Any) -> Any:
        try:
            return await call
        except DeviceLost:
            self.known.lost, self.known.diffraction = True, False
            raise

    async def _compare(self) -> None:
        """Read the state again after a loss. Raises DeviceError, once, when it is not what it was."""
        if not self.known.lost:
            return
        blanked = truth(await self.wire.get("beam_blanked"))
        focus = round(number(await self.wire.get("defocus"), "defocus") / self.focus_step)
        differs = []
        if self.known.blanked not in (None, blanked):
            differs.append("the beam is blanked (was on)" if blanked else "the BEAM IS ON (was blanked)")
        if self.known.focus not in (None, focus):
            differs.append(f"the lens is at {focus} (was {self.known.focus})")
        self.known.lost, self.known.blanked, self.known.focus = False, blanked, focus
        if differs:
            raise DeviceError(
                f"thermo: {self.wire.peer} answers again, and the microscope is not as it was left: "
                f"{'; '.join(differs)}. This call was not made. Look at the microscope before you go on."
            )


def strange(said: str) -> DeviceError:
    """For an answer that no temscript-server gives."""
    return DeviceError(
        f"thermo: the server says {said}. Nothing changed. Check that temscript-server 2 runs at host and port of the "
        "devices file."
    )


def pair(value: Any, what: str) -> tuple[float, float]:
    """Two numbers, or DeviceError."""
    if not isinstance(value, list) or len(value) != 2:
        raise strange(f"{what} = {str(value)[:60]!r}")
    return number(value[0], what), number(value[1], what)


def number(value: Any, what: str) -> float:
    """An ordinary number, or DeviceError."""
    if not is_number(value):
        raise strange(f"{what} = {str(value)[:40]!r}, which is no number")
    return float(value)


def truth(value: Any) -> bool:
    """Whether the beam is blanked, or DeviceError."""
    if not isinstance(value, bool | int):
        raise strange(f"beam_blanked = {str(value)[:40]!r}")
    return bool(value)
