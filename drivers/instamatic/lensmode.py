"""Imaging or diffraction, and how large, behind Instamatic's TEM server.

Made by `drivers.instamatic.microscope` from the table `[microscope.mode]`. Promises what `drivers.parts.Mode` asks.
Source: Instamatic 2.2.2, `microscope/interface/jeol_microscope.py`. `getMagnificationRanges` is never called: on a
JEOL it goes through all modes and magnifications to find them. They come from the devices file instead, written there
as in Instamatic's own `config/microscope/*.yaml`; without them magnification and camera length are read only.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from drivers.instamatic.answers import DIFFRACTION, Known, mode_name, nothing, plain_number
from drivers.instamatic.wire import ServerError, Wire
from drivers.options import Options
from drivers.parts import ModeFacts, OpticalMode
from engine.errors import DeviceError

LOW_MAG = "lowmag"
IMAGING = ("mag1", "mag2", "samag")
MM = {"mm": 1.0, "cm": 10.0, "m": 1000.0}


@dataclass(frozen=True, slots=True)
class ModeOptions:
    """The table `[microscope.mode]`.

    names: what Instamatic calls each mode. unit_mm: of the camera lengths that this microscope tells.
    camera_lengths: what it calls each of those in mm.
    """

    facts: ModeFacts
    names: Mapping[OpticalMode, str]
    unit_mm: float
    camera_lengths: Mapping[float, float]

    @classmethod
    def read(cls, table: Options) -> "ModeOptions":
        """Raises Refused for an option that cannot be."""
        imaging = table.text("imaging", IMAGING[0], IMAGING)
        unit_mm = MM[table.text("camera_length_unit", "mm", tuple(MM))]
        steps = {name: table.rising(name) for name in (LOW_MAG, imaging, DIFFRACTION)}
        camera_lengths = {value * unit_mm: value for value in steps[DIFFRACTION]}
        magnifications = {OpticalMode.LOW_MAG: steps[LOW_MAG], OpticalMode.IMAGING: steps[imaging]}
        facts = ModeFacts(
            modes=tuple(OpticalMode),
            magnifications={mode: values for mode, values in magnifications.items() if values},
            camera_lengths_mm=tuple(camera_lengths),
            settling_s=table.number("settling_s", 1.0, 0.0, 30.0),
        )
        table.finish()
        names = {OpticalMode.LOW_MAG: LOW_MAG, OpticalMode.IMAGING: imaging, OpticalMode.DIFFRACTION: DIFFRACTION}
        return cls(facts, names, unit_mm, camera_lengths)


class InstamaticMode:
    """Implements `drivers.parts.Mode`. A change is told to `known`, so that it is not taken for somebody else's."""

    def __init__(self, wire: Wire, known: Known, options: ModeOptions) -> None:
        self.facts = options.facts
        self._wire = wire
        self._known = known
        self._options = options

    async def mode(self) -> OpticalMode:
        """See `Mode.mode`. Raises DeviceError for an imaging mode that the devices file does not name."""
        return await self._wire.in_turn(self._present)

    async def _name(self, wire: Wire) -> str:
        self._known.mode = await wire.ask("getFunctionMode", mode_name)
        return self._known.mode

    async def _present(self, wire: Wire, done: str = "read") -> OpticalMode:
        name = await self._name(wire)
        for mode, called in self._options.names.items():
            if called == name:
                return mode
        raise DeviceError(
            f"mode: the microscope is in {name}, which has no name here; nothing was {done}. Change the mode, or write "
            "imaging = ... into [microscope.mode] of the devices file."
        )

    async def set_mode(self, mode: OpticalMode) -> None:
        """See `Mode.set_mode`. Two calls, one where it is that already."""
        if mode not in self.facts.modes:
            raise DeviceError(f"mode: there is no {mode} mode; nothing was changed. Choose one of the facts.")
        name = self._options.names[mode]

        async def change(wire: Wire) -> None:
            if await self._name(wire) == name:
                return
            self._known.mode = self._known.focus = None  # until the answer is there; each mode has a focus of its own
            await wire.ask("setFunctionMode", nothing, name)
            self._known.mode = name

        await self._wire.in_turn(change)

    async def magnification(self) -> float:
        """See `Mode.magnification`. Two calls."""

        async def read(wire: Wire) -> float:
            _require(self.facts.no_magnification(await self._present(wire)), "read")
            return await wire.ask("getMagnification", plain_number)

        return await self._wire.in_turn(read)

    async def set_magnification(self, value: float) -> None:
        """See `Mode.set_magnification`. Two calls."""

        async def change(wire: Wire) -> None:
            present = await self._present(wire, "changed")
            _require(self.facts.no_magnification(present, value), "changed")
            await self._set(wire, value)

        await self._wire.in_turn(change)

    async def camera_length_mm(self) -> float:
        """See `Mode.camera_length_mm`. Two calls."""

        async def read(wire: Wire) -> float:
            _require(self.facts.no_camera_length(await self._present(wire)), "read")
            return await wire.ask("getMagnification", plain_number) * self._options.unit_mm

        return await self._wire.in_turn(read)

    async def set_camera_length_mm(self, value_mm: float) -> None:
        """See `Mode.set_camera_length_mm`. Two calls."""

        async def change(wire: Wire) -> None:
            present = await self._present(wire, "changed")
            _require(self.facts.no_camera_length(present, value_mm), "changed")
            await self._set(wire, self._options.camera_lengths[value_mm])

        await self._wire.in_turn(change)

    async def _set(self, wire: Wire, value: float) -> None:
        self._known.focus = None  # the diffraction lens has another value at another camera length
        try:
            await wire.ask("setMagnification", nothing, int(value) if value == int(value) else value)
        except ServerError as error:
            raise DeviceError(
                f"{error} Write the ranges of Instamatic's config/microscope/*.yaml into [microscope.mode] of the "
                "devices file as they stand there."
            ) from error


def _require(otherwise: str | None, done: str) -> None:
    if otherwise is not None:
        raise DeviceError(
            f"mode: {otherwise}; nothing was {done}. Set the mode first, and a value that [microscope.mode] of the "
            "devices file names."
        )
