"""Imaging or diffraction, and how large, through TEMCOM.

Made by `drivers.jeol.microscope` from the table `[microscope.mode]`. Promises what `drivers.parts.Mode` asks. Source:
PyJEM's documentation of EOS3 and Instamatic's JEOL interface: `GetMagValue` tells magnification or camera length with
its unit, `SetSelector` takes the number of a step of the present mode, from 0. Which steps there are is told by
nobody but the steps themselves, one after the other, and that moves the lenses: so they are written into the devices
file, from the microscope's panel. Without them magnification and camera length are read and not set.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from drivers.jeol.temcom import Connection, numbers
from drivers.options import Options
from drivers.parts import ModeFacts, OpticalMode
from engine.errors import DeviceBusy, DeviceError, DeviceLost

NAMES = ("MAG", "MAG2", "LowMAG", "SAMAG", "DIFF")
"""By their numbers in `EOS3.GetFunctionMode`, in TEM (scanning has other ones, and is not looked for)."""
LOW_MAG, DIFFRACTION = 2, 4
IMAGING = {"mag1": 0, "mag2": 1, "samag": 3}
TIMES = {"x": 1.0}
MM = {"mm": 1.0, "cm": 10.0, "m": 1000.0}
"""How `EOS3.GetMagValue` says what it counts in, in small letters, and what one of that is."""


@dataclass(frozen=True, slots=True)
class ModeOptions:
    """The table `[microscope.mode]`. numbers: of each mode, as TEMCOM counts them."""

    facts: ModeFacts
    numbers: Mapping[OpticalMode, int]

    @classmethod
    def read(cls, table: Options) -> "ModeOptions":
        """Raises Refused for an option that cannot be."""
        imaging = table.text("imaging", "mag1", tuple(IMAGING))
        magnifications = {OpticalMode.LOW_MAG: table.rising("lowmag"), OpticalMode.IMAGING: table.rising(imaging)}
        facts = ModeFacts(
            modes=tuple(OpticalMode),
            magnifications={mode: steps for mode, steps in magnifications.items() if steps},
            camera_lengths_mm=table.rising("diff_mm"),
            settling_s=table.number("settling_s", 1.0, 0.0, 30.0),
        )
        table.finish()
        modes = {
            OpticalMode.LOW_MAG: LOW_MAG,
            OpticalMode.IMAGING: IMAGING[imaging],
            OpticalMode.DIFFRACTION: DIFFRACTION,
        }
        return cls(facts, modes)


class JeolMode:
    """Implements `drivers.parts.Mode`. changed: told before each change of the mode, for the diffraction lens."""

    def __init__(self, column: Connection, options: ModeOptions, changed: Callable[[], None]) -> None:
        self.facts = options.facts
        self._column = column
        self._numbers = options.numbers
        self._changed = changed

    async def mode(self) -> OpticalMode:
        """See `Mode.mode`. Raises DeviceError for an imaging mode that the devices file does not name."""
        return await self._present("read")

    async def _number(self) -> int:
        return int(numbers(await self._column.call("EOS3", "GetFunctionMode"), 1, "mode")[0])

    async def _present(self, done: str) -> OpticalMode:
        number = await self._number()
        for mode, its_number in self._numbers.items():
            if its_number == number:
                return mode
        name = NAMES[number] if 0 <= number < len(NAMES) else f"mode {number}"
        raise DeviceError(
            f"mode: the microscope is in {name}, which has no name here; nothing was {done}. Change the mode, or write "
            "imaging = ... into [microscope.mode] of the devices file."
        )

    async def set_mode(self, mode: OpticalMode) -> None:
        """See `Mode.set_mode`. Two calls, one where it is that already."""
        if mode not in self.facts.modes:
            raise DeviceError(f"mode: there is no {mode} mode; nothing was changed. Choose one of the facts.")
        if await self._number() == self._numbers[mode]:
            return
        self._changed()
        await self._column.call("EOS3", "SelectFunctionMode", self._numbers[mode])

    async def magnification(self) -> float:
        """See `Mode.magnification`. Two calls."""
        _require(self.facts.no_magnification(await self._present("read")), "read")
        return await self._shown(TIMES)

    async def set_magnification(self, value: float) -> None:
        """See `Mode.set_magnification`. Three calls: the last one reads what the microscope shows now.

        Raises DeviceError where that is another one, for the table in the devices file is not this microscope's.
        """
        present = await self._present("changed")
        _require(self.facts.no_magnification(present, value), "changed")
        await self._select(self.facts.magnifications[present].index(value))
        _require_shown("magnification", value, await self._shown(TIMES))

    async def camera_length_mm(self) -> float:
        """See `Mode.camera_length_mm`. Two calls."""
        _require(self.facts.no_camera_length(await self._present("read")), "read")
        return await self._shown(MM)

    async def set_camera_length_mm(self, value_mm: float) -> None:
        """See `Mode.set_camera_length_mm`. Three calls, as with `set_magnification`."""
        _require(self.facts.no_camera_length(await self._present("changed"), value_mm), "changed")
        await self._select(self.facts.camera_lengths_mm.index(value_mm))
        _require_shown("camera length in mm", value_mm, await self._shown(MM))

    async def _select(self, step: int) -> None:
        await self._column.call("EOS3", "SetSelector", step)

    async def _shown(self, units: Mapping[str, float]) -> float:
        """What the panel shows. Raises DeviceError where the microscope tells it in none of these units."""
        answer = await self._column.call("EOS3", "GetMagValue")
        (value,) = numbers(answer, 1, "mode")
        unit = str(answer.values[1]).strip().lower() if len(answer.values) > 1 else ""
        if unit not in units:
            raise DeviceError(
                f"mode: the microscope tells {value:g} in {unit[:20]!r}, where {' or '.join(units)} belongs; not used. "
                "Was the mode changed at the panel?"
            )
        return value * units[unit]


def _require(otherwise: str | None, done: str) -> None:
    if otherwise is not None:
        raise DeviceError(
            f"mode: {otherwise}; nothing was {done}. Set the mode first, and a value that [microscope.mode] of the "
            "devices file names."
        )


def _require_shown(what: str, wanted: float, shown: float) -> None:
    if shown != wanted:
        raise DeviceError(
            f"mode: the microscope was told to go to {what} = {wanted:g} and shows {shown:g} now, at which it stays. "
            "The list in [microscope.mode] of the devices file is not this microscope's: write all values of its panel "
            "there, from the lowest."
        )


async def nominal_camera_length_mm(mode: JeolMode) -> dict[str, float]:
    """For the geometry: the nominal camera length, where the microscope is in diffraction mode and tells it."""
    try:
        return {"camera_length_mm": await mode.camera_length_mm()}
    except (DeviceBusy, DeviceLost):
        raise
    except DeviceError:
        return {}
