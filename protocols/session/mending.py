"""When a device does not answer: who it is, connecting it anew, and all made as it was, so that alarms stand no longer.

A child that lost a device could not make safe by it, and said so by an alarm. The session connects the device anew,
makes everything safe itself, puts back what it found at its beginning, and only then settles what the alarms spoke of.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from drivers.contract import Microscope
from drivers.parts import Deflector, OpticalMode
from engine.clock import ns
from engine.errors import DeviceError, Refused
from engine.run.children import ChildReport
from engine.run.contract import SafeAction
from engine.run.run import Run

PARTS = ("beam", "stage", "detector", "optics", "stagexyz", "deflectors", "mode", "illumination")
SETTLED = (
    *("THE BEAM MAY STILL BE ON", "THE STAGE MAY STILL BE", "the detector may still be armed"),
    *("the lens may be left defocused", "THE BEAM SHIFT IS NOT", "IS NOT BACK where it was", "THE LENSES MAY BE LEFT"),
)
"""How alarms of serialed, serialed-recall, eucentric-height and cred begin, or what they hold, that are about what is
mended here."""
RETRY_S = 10.0
ANSWER_S = 3.0


def device_of(report: ChildReport) -> str:
    """Which device a child failed by, as its reason or its alarms begin; empty where no device is named."""
    for text in (report.ending.reason, *report.alarms):
        words = text.replace("(", " ").replace("not begun:", " ").split()
        for word in words:
            part = word.strip(":,;").partition(".")[0]
            if part in PARTS and (word.endswith(":") or "." in word):
                return part
    return "instrument" if report.alarms else ""


class Mending:
    """Of one session. back: the actions that put back what the session found, as safe actions."""

    def __init__(self, run: Run, microscope: Microscope, back: Callable[[], Sequence[SafeAction]]) -> None:
        self._run, self._back = run, back
        self._parts: dict[str, Any] = {}
        for name in PARTS:
            if (part := getattr(microscope, name, None)) is not None:
                self._parts[name] = run.gate.wrap(name, part)
        self._asked: Mapping[str, Callable[[], Awaitable[object]]] = {
            name: asked
            for name, asked in {
                "beam": lambda: self._parts["beam"].is_blanked(),
                "stage": lambda: self._parts["stage"].angle(),
                "detector": lambda: self._parts["detector"].disarm(),
                "optics": lambda: self._parts["optics"].focus(),
                "stagexyz": lambda: self._parts["stagexyz"].position(),
                "deflectors": lambda: self._parts["deflectors"].read(Deflector.BEAM_SHIFT),
                "mode": lambda: self._parts["mode"].mode(),
                "illumination": lambda: self._parts["illumination"].brightness(),
            }.items()
            if name in self._parts
        }
        self.focus: int | None = None
        """The lens in focus, as last read in diffraction before a rotation."""

    async def silent(self) -> list[str]:
        """The parts that do not answer a call that changes nothing."""
        found = []
        for name, ask in self._asked.items():
            try:
                await ask()
            except DeviceError:
                found.append(name)
        return found

    async def connect(self, parts: Sequence[str]) -> str:
        """Connect parts anew, those first that are named; why it could not be done, empty where it was."""
        for part in parts:
            try:
                await self._run.reconnect(part)
            except Refused as error:  # a driver that is not connected apart
                return str(error)
            except DeviceError as error:
                return str(error)
        return ""

    async def make_good(self, safe: Sequence[SafeAction]) -> str:
        """Everything safe and as it was found; then the alarms of it stand no longer. Why not, or empty."""
        try:
            for action in safe:
                await action.call()
            if self.focus is not None and "mode" in self._parts:
                await self._parts["mode"].set_mode(OpticalMode.DIFFRACTION)
                await self._parts["optics"].set_focus(self.focus)
            for action in self._back():
                await action.call()
        except DeviceError as error:
            return str(error)
        for text in SETTLED:
            self._run.children.settle(text)
        return ""

    async def wait(self, seconds: float) -> None:
        """Until the next try."""
        await self._run.timeline.wait("device", self._run.timeline.now_ns + ns(seconds))
