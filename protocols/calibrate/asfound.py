"""What a calibration changes of an instrument, remembered before the first change and put back in its safe state."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from drivers.approach import stands_xy
from drivers.contract import Microscope
from drivers.parts import Deflector, OpticalMode
from drivers.putback import back, deflector_back
from engine.errors import DeviceError
from engine.run.contract import SafeAction
from engine.run.run import Run

Part = TypeVar("Part")

CALLS_S = 1.5
SWITCHING_S = 5.0


class AsFound:
    """The parts that a calibration may change, as calls through the run's gate, each with the way back.

    `remember_…` reads a part (one or two calls) and has to come before the first change of it. `actions` are the way
    back, in the reverse order of what was remembered; they belong behind the engine's own safe actions. Parts that the
    instrument does not have are None, and nothing of them is remembered.
    """

    def __init__(self, run: Run, microscope: Microscope) -> None:
        wrap = run.gate.wrap
        self._waiting = run.timeline
        self.deflectors = None if microscope.deflectors is None else wrap("deflectors", microscope.deflectors)
        self.mode = None if microscope.mode is None else wrap("mode", microscope.mode)
        self.stagexyz = None if microscope.stagexyz is None else wrap("stagexyz", microscope.stagexyz)
        self.illumination = None if microscope.illumination is None else wrap("illumination", microscope.illumination)
        self.optics = None if microscope.optics is None else wrap("optics", microscope.optics)
        self._back: list[SafeAction] = []

    def actions(self, read_in: OpticalMode | None = None) -> list[SafeAction]:
        """What puts everything back that was remembered, what was remembered last first.

        read_in: the mode in which all but the mode itself was read. The microscope keeps values for each mode, so it is
        gone to first; None where the experiment never leaves it.
        """
        if read_in is None or self.mode is None or not self._back:
            return self._back[::-1]
        part = self.mode
        words = f"lenses to {read_in.value}"
        alarm = "THE LENSES MAY BE LEFT IN ANOTHER MODE: look at magnification and condenser before the next experiment"
        return [SafeAction(words, lambda: part.set_mode(read_in), SWITCHING_S, alarm), *self._back[::-1]]

    async def remember_deflector(self, which: Deflector) -> tuple[float, float]:
        """Read a pair of deflectors; it goes back to this."""
        deflectors = _there(self.deflectors, "deflectors")
        x, y = await deflectors.read(which)
        words = which.value.replace("_", " ")
        self._add(words, lambda: deflector_back(deflectors, which, (x, y)), CALLS_S)
        return x, y

    async def remember_mode(self) -> tuple[OpticalMode, float]:
        """Read the mode, and its magnification or camera length in mm; both go back to this.

        A value that the part cannot be set to was not changed by anybody here, and stays.
        """
        part = _there(self.mode, "mode")
        mode = await part.mode()
        is_diffraction = mode is OpticalMode.DIFFRACTION
        value = await (part.camera_length_mm() if is_diffraction else part.magnification())

        known = part.facts.camera_lengths_mm if is_diffraction else part.facts.magnifications.get(mode, ())

        async def mode_back() -> None:
            await back("mode", part.set_mode, part.mode, mode)
            if value in known and is_diffraction:
                await back("camera length", part.set_camera_length_mm, part.camera_length_mm, value)
            elif value in known:
                await back("magnification", part.set_magnification, part.magnification, value)

        self._add("mode", mode_back, SWITCHING_S)
        return mode, value

    async def remember_magnification(self) -> float:
        """Read the magnification of the present image mode; it goes back to this, in that mode (see `actions`).

        A value that the part cannot be set to was not changed by anybody here, and stays.
        """
        part = _there(self.mode, "mode")
        value = await part.magnification()
        if any(value in steps for steps in part.facts.magnifications.values()):
            put = partial(back, "magnification", part.set_magnification, part.magnification, value)
            self._add("magnification", put, CALLS_S)
        return value

    async def remember_xy(self) -> tuple[float, float]:
        """Read where the stage stands, in nm; it goes back there, and the safe state does not wait for its arrival.

        So a stage that still moves, on its way back from a run before, is waited for. Raises DeviceError where it does
        not come to rest.
        """
        part = _there(self.stagexyz, "stagexyz")
        if not await stands_xy(part, self._waiting):
            raise DeviceError(
                "stagexyz: still moved after a minute; it was told to stop, nothing else was done. Look what moves it."
            )
        place = await part.position()

        async def stage_back() -> None:
            if await part.is_moving():
                await part.stop()
            await part.move_xy(place.x_nm, place.y_nm)

        self._add("stage", stage_back, CALLS_S)
        return place.x_nm, place.y_nm

    async def remember_illumination(self) -> tuple[int, float]:
        """Read spot size and brightness; both go back to this."""
        part = _there(self.illumination, "illumination")
        spot_size, brightness = await part.spot_size(), await part.brightness()

        async def light_back() -> None:
            await back("spot size", part.set_spot_size, part.spot_size, spot_size)
            await part.set_brightness(brightness)

        self._add("illumination", light_back, 2 * CALLS_S)
        return spot_size, brightness

    async def remember_lens(self) -> int:
        """Read the value of the lens in focus, the middle of three readings; it goes back to this."""
        optics = _there(self.optics, "optics")
        focus = sorted([await optics.focus() for _ in range(3)])[1]
        self._add("lens", partial(back, "optics", optics.set_focus, optics.focus, focus), CALLS_S)
        return focus

    def _add(self, words: str, back: Callable[[], Awaitable[object]], limit_s: float) -> None:
        alarm = f"THE {words.upper()} IS NOT BACK where it was: set it by hand before the next experiment"
        self._back.append(SafeAction(f"{words} back", back, limit_s, alarm))


def _there(part: Part | None, name: str) -> Part:
    """The part. Raises DeviceError where the instrument has none; an experiment that needs it says so in `needs`."""
    if part is None:
        raise DeviceError(f"calibration: this instrument has no {name}; nothing was changed.")
    return part
