"""How the microscope stands: read in turn while a view goes, and put into words for a display.

Beam and tilt are read with every picture; the other parts one or two at a time, so that a view does not keep the
microscope's interface busy.
"""

import math
from collections.abc import Awaitable, Callable
from typing import Any

from drivers.contract import Microscope
from drivers.parts import OpticalMode
from engine.errors import DeviceError, DeviceLost
from engine.record.jsonobject import JsonDict
from engine.record.trace import Record
from engine.run.gate import CallGate

Reader = Callable[[], Awaitable[None]]
NOW, CAMERA_LENGTH_MM = "now", "camera_length_mm"
"""The row of a display that says how the microscope stands, and a number in it."""
IN_TURN = 2
"""Of the parts that are read in turn, so many with each picture."""


class Standing:
    """What was read last, behind the gate of a run. A part that does not answer is asked again the next time."""

    def __init__(self, microscope: Microscope, gate: CallGate) -> None:
        parts: dict[str, Any] = {
            name: gate.wrap(name, part)
            for name in ("beam", "stage", "optics", "stagexyz", "mode", "illumination")
            if (part := getattr(microscope, name)) is not None
        }
        self._parts = parts
        self.tilt_deg = self.magnification = self.camera_length_mm = math.nan
        self.mode = ""
        self._always: list[Reader] = [parts["beam"].is_blanked]
        if "stage" in parts:
            self._always.append(self._tilt)
        self._others: list[Reader] = [self.read_lenses] if "mode" in parts else []
        if "stagexyz" in parts:
            self._others.append(parts["stagexyz"].position)
        if "illumination" in parts:
            self._others += [parts["illumination"].spot_size, parts["illumination"].brightness]
        if "optics" in parts:
            self._others.append(parts["optics"].focus)
        self._turn = 0

    async def read(self) -> None:
        """Read beam and tilt, and what comes next of the others. Raises DeviceLost; another error is in the trace."""
        now = [self._others[(self._turn + k) % len(self._others)] for k in range(min(IN_TURN, len(self._others)))]
        self._turn += len(now)
        for reader in (*self._always, *now):
            try:
                await reader()
            except DeviceLost:
                raise
            except DeviceError:
                continue

    async def _tilt(self) -> None:
        self.tilt_deg = (await self._parts["stage"].angle()).value

    async def read_lenses(self) -> None:
        """Read the mode, and its magnification or camera length. Raises DeviceError, what was read before stays."""
        part = self._parts["mode"]
        mode = await part.mode()
        self.mode, self.magnification, self.camera_length_mm = mode.value, math.nan, math.nan
        if mode is OpticalMode.DIFFRACTION:
            self.camera_length_mm = await part.camera_length_mm()
        else:
            self.magnification = await part.magnification()

    def columns(self) -> JsonDict:
        """Of a saved picture: those of its columns that are read."""
        return {
            "tilt_deg": self.tilt_deg,
            "mode": self.mode,
            "magnification": self.magnification,
            "camera_length_mm": self.camera_length_mm,
        }


def in_words(record: Record) -> list[tuple[str, str]]:
    """What a call of the trace tells of the instrument, for a display; nothing for other records."""
    if record["kind"] != "call":
        return []
    words = WORDS.get(record["name"])
    if words is None:
        return []
    name, of = words
    if "error" in record:
        return [(name, "does not answer")]
    try:
        return of(record["result"]) if callable(of) else [(name, of)]
    except (KeyError, TypeError, ValueError):  # of another version
        return []


def camera_length_told(record: Record) -> dict[str, float]:
    """The nominal camera length that a call of the trace tells, by its name; nothing for other records."""
    result: Any = record.get("result")
    if (record["kind"], record["name"]) != ("call", "mode.camera_length_mm") or not isinstance(result, int | float):
        return {}
    return {CAMERA_LENGTH_MM: float(result)}


def _position(told: Any) -> list[tuple[str, str]]:
    x, y, z = (round(float(told[axis]) / 1000, 2) + 0.0 for axis in ("x_nm", "y_nm", "z_nm"))
    return [("stage x, y, z", f"{x:.2f}, {y:.2f}, {z:.2f} um")]


def _mode(told: Any) -> list[tuple[str, str]]:
    other = "magnification" if told == OpticalMode.DIFFRACTION.value else "camera length"
    return [("mode", str(told)), (other, "-")]


WORDS: dict[str, tuple[str, Callable[[Any], list[tuple[str, str]]] | str]] = {
    "beam.is_blanked": ("beam", lambda told: [("beam", "blanked" if told else "ON")]),
    "beam.blank": ("beam", "blanked"),
    "beam.unblank": ("beam", "ON"),
    "stage.angle": ("tilt", lambda told: [("tilt", f"{round(float(told['value']), 2) + 0.0:.2f} deg")]),
    "stagexyz.position": ("stage x, y, z", _position),
    "mode.mode": ("mode", _mode),
    "mode.magnification": ("magnification", lambda told: [("magnification", f"{float(told):g}x")]),
    "mode.camera_length_mm": ("camera length", lambda told: [("camera length", f"{float(told):g} mm")]),
    "illumination.spot_size": ("spot size", lambda told: [("spot size", f"{told}")]),
    "illumination.brightness": ("brightness", lambda told: [("brightness", f"{float(told):g}")]),
    "optics.focus": ("lens", lambda told: [("lens", f"{int(told)}")]),
}
"""By calls: what it is, and how its answer is said."""
QUANTITIES = tuple(dict.fromkeys(name for name, _ in WORDS.values()))
"""Their names, in the order of a display."""
