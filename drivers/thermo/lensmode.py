"""Imaging or diffraction, and how large, behind temscript's server.

Made by `drivers.thermo.microscope` from the table `[microscope.mode]`. Promises what `drivers.parts.Mode` asks. Source:
temscript 2.1.0, `base_microscope.py` and its documentation: magnification and camera length are read as they are
indicated and set by an index. Which index has which value is told by nobody but the steps themselves, one after the
other, and that moves the lenses: so the values are written into the devices file. Without them magnification and camera
length are read and not set, and what is below the border to low magnification (LM) has no name.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from drivers.options import Options
from drivers.parts import ModeFacts, OpticalMode
from drivers.thermo.session import Session, number, strange
from engine.errors import DeviceError

IMAGING, DIFFRACTION = "IMAGING", "DIFFRACTION"
LOW_MAG, LOW_ANGLE = "LM", "LAD"
"""Of `projection_sub_mode`: imaging and diffraction with the objective lens off. The others are M, SA, MH and D."""
HIGHEST_INDEX = 200


@dataclass(frozen=True, slots=True)
class ModeOptions:
    """The table `[microscope.mode]`. first_index: of the values of each mode."""

    facts: ModeFacts
    first_index: Mapping[OpticalMode, int]

    @classmethod
    def read(cls, table: Options) -> "ModeOptions":
        """Raises Refused for an option that cannot be. Indices as Instamatic counts them: from 1, LM first."""
        lm, imaging = table.rising("lm"), table.rising("imaging")
        first_index = {
            OpticalMode.LOW_MAG: table.whole("lm_first_index", 1, 0, HIGHEST_INDEX),
            OpticalMode.IMAGING: table.whole("imaging_first_index", 1 + len(lm), 0, HIGHEST_INDEX),
            OpticalMode.DIFFRACTION: table.whole("d_first_index", 1, 0, HIGHEST_INDEX),
        }
        magnifications = {OpticalMode.LOW_MAG: lm, OpticalMode.IMAGING: imaging}
        facts = ModeFacts(
            modes=tuple(mode for mode in OpticalMode if lm or mode is not OpticalMode.LOW_MAG),
            magnifications={mode: steps for mode, steps in magnifications.items() if steps},
            camera_lengths_mm=table.rising("d_mm"),
            settling_s=table.number("settling_s", 1.0, 0.0, 30.0),
        )
        table.finish()
        return cls(facts, first_index)


class ThermoMode:
    """Implements `drivers.parts.Mode`."""

    def __init__(self, session: Session, options: ModeOptions) -> None:
        self.facts = options.facts
        self._session = session
        self._first_index = options.first_index

    async def mode(self) -> OpticalMode:
        """See `Mode.mode`. Two calls; raises DeviceError in low magnification where the devices file has no `lm`."""
        return await self._present("read")

    async def _projection(self) -> str:
        mode = await self._session.get("projection_mode")
        if mode not in (IMAGING, DIFFRACTION):
            raise strange(f"projection_mode = {str(mode)[:40]!r}")
        return str(mode)

    async def _is_low(self) -> bool:
        return str(await self._session.get("projection_sub_mode")) == LOW_MAG

    async def _present(self, done: str) -> OpticalMode:
        if await self._projection() == DIFFRACTION:
            return OpticalMode.DIFFRACTION
        if not await self._is_low():
            return OpticalMode.IMAGING
        if OpticalMode.LOW_MAG in self.facts.modes:
            return OpticalMode.LOW_MAG
        raise DeviceError(
            f"mode: the microscope is in low magnification (LM), which has no name here; nothing was {done}. Change "
            "the magnification, or write lm = [...] into [microscope.mode] of the devices file."
        )

    async def set_mode(self, mode: OpticalMode) -> None:
        """See `Mode.set_mode`. Up to five calls.

        Between low magnification and imaging the magnification changes to the nearest one on the other side, as far as
        the devices file names it. Raises DeviceError where it does not: imaging, in the other one.
        """
        if mode not in self.facts.modes:
            raise DeviceError(f"mode: there is no {mode} mode; nothing was changed. Choose one of the facts.")
        wanted = DIFFRACTION if mode is OpticalMode.DIFFRACTION else IMAGING
        if await self._projection() != wanted:
            await self._session.project("projection_mode", wanted)
        low = mode is OpticalMode.LOW_MAG
        if mode is OpticalMode.DIFFRACTION or await self._is_low() is low:
            return
        if steps := self.facts.magnifications.get(mode, ()):
            across = self._first_index[mode] + (len(steps) - 1 if low else 0)
            await self._session.project("magnification_index", across)
            if await self._is_low() is low:
                return
        raise DeviceError(
            f"mode: the microscope images, {'not in' if low else 'in'} low magnification (LM), where it was asked for "
            f"{mode}. Change the magnification by hand, and write the values and first indices of the panel into "
            "[microscope.mode] of the devices file."
        )

    async def magnification(self) -> float:
        """See `Mode.magnification`. Three calls. Raises DeviceError where 0 is indicated: Titan 1.1 always does."""
        _require(self.facts.no_magnification(await self._present("read")), "read")
        return await self._indicated("magnification")

    async def set_magnification(self, value: float) -> None:
        """See `Mode.set_magnification`. Four calls: the last one reads what is indicated now.

        Raises DeviceError where that is another one, for the table in the devices file is not this microscope's.
        """
        present = await self._present("changed")
        _require(self.facts.no_magnification(present, value), "changed")
        step = self.facts.magnifications[present].index(value)
        await self._session.project("magnification_index", self._first_index[present] + step)
        _require_indicated("magnification", value, await self._indicated("magnification"))

    async def camera_length_mm(self) -> float:
        """See `Mode.camera_length_mm`. Two calls."""
        _require(self.facts.no_camera_length(await self._present("read")), "read")
        return await self._indicated("camera_length", 1000.0)

    async def set_camera_length_mm(self, value_mm: float) -> None:
        """See `Mode.set_camera_length_mm`. Four calls, as with `set_magnification`; not in low-angle diffraction."""
        present = await self._present("changed")
        _require(self.facts.no_camera_length(present, value_mm), "changed")
        if await self._session.get("projection_sub_mode") == LOW_ANGLE:
            raise DeviceError(
                "mode: the microscope is in low-angle diffraction (LAD), of which no camera lengths are known; nothing "
                "was changed. Leave low magnification (LM) first, then set the mode to diffraction."
            )
        step = self.facts.camera_lengths_mm.index(value_mm)
        await self._session.project("magnification_index", self._first_index[present] + step)
        _require_indicated("camera length in mm", value_mm, await self._indicated("camera_length", 1000.0))

    async def _indicated(self, what: str, times: float = 1.0) -> float:
        value = number(await self._session.get(f"indicated_{what}"), f"indicated_{what}") * times
        if value <= 0:
            raise DeviceError(
                f"mode: the microscope indicates no {what.replace('_', ' ')} ({value:g}), as some versions of its "
                "software do; not used. Read it at the panel."
            )
        return as_indicated(value)


def as_indicated(value: float) -> float:
    """A magnification or camera length as on the panel: 0.3 m come as 0.30000000000000004."""
    return float(f"{value:.6g}")


def _require(otherwise: str | None, done: str) -> None:
    if otherwise is not None:
        raise DeviceError(
            f"mode: {otherwise}; nothing was {done}. Set the mode first, and a value that [microscope.mode] of the "
            "devices file names."
        )


def _require_indicated(what: str, wanted: float, indicated: float) -> None:
    if indicated != wanted:
        raise DeviceError(
            f"mode: the microscope was told to go to {what} = {wanted:g} and indicates {indicated:g} now, at which it "
            "stays. The values or the first index in [microscope.mode] of the devices file are not this microscope's: "
            "correct them from its panel."
        )
