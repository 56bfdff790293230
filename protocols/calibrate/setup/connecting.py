"""Whether an instrument answers: each part is read once. Nothing moves, and the beam stays as it is."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from drivers.contract import Microscope
from drivers.parts import Deflector, OpticalMode
from engine.clock import Clock
from engine.errors import DeviceError
from engine.run.devicesfile import connect_devices

Told = TypeVar("Told")


async def answers_of(devices: str, clock: Clock) -> list[tuple[str, str]]:
    """Connect and read: part and what it says, in words. Raises Refused, or DeviceError naming the first part that
    does not answer; the instrument is let go again.
    """
    found = []
    async with connect_devices(devices, clock, 0, {}) as microscope:
        if not isinstance(microscope, Microscope):
            raise TypeError("a setup needs the parts of drivers.contract")
        async for part, words in _read(microscope):
            found.append((part, words))
    return found


async def _read(microscope: Microscope) -> AsyncIterator[tuple[str, str]]:
    low, high = microscope.stage.facts.limits_deg
    angle = await _asked("stage", microscope.stage.angle)
    yield "stage", f"at {angle.value:.2f} deg, {low:g} to {high:g}"
    blanked = await _asked("beam", microscope.beam.is_blanked)
    yield "beam", "is blanked" if blanked else "is ON"
    yield "optics", f"diffraction lens at {await _asked('optics', microscope.optics.focus)}"
    camera = microscope.detector.facts
    rows, columns = camera.known_shape
    yield "detector", f"{rows} x {columns} px, {camera.dtype or 'type told with the first frame'}"
    if (stagexyz := microscope.stagexyz) is not None:
        place = await _asked("stagexyz", stagexyz.position)
        yield "stagexyz", f"x {place.x_nm:.0f}, y {place.y_nm:.0f}, z {place.z_nm:.0f} nm"
    if (deflectors := microscope.deflectors) is not None:
        there = [which for which in Deflector if which in deflectors.facts.limits]
        for which in there:
            with suppress(DeviceError):  # some are read in some modes only
                await deflectors.read(which)
        yield "deflectors", ", ".join(which.value.replace("_", " ") for which in there)
    if (mode := microscope.mode) is not None:
        now = await _asked("mode", mode.mode)
        value = mode.camera_length_mm if now is OpticalMode.DIFFRACTION else mode.magnification
        yield "mode", f"{now.value}, {await _asked('mode', value):g}{' mm' if now is OpticalMode.DIFFRACTION else 'x'}"
    if (illumination := microscope.illumination) is not None:
        spot, brightness = illumination.spot_size, illumination.brightness
        yield "illumination", f"spot size {await _asked('illumination', spot)}, brightness {await brightness():g}"


async def _asked(part: str, call: Callable[[], Awaitable[Told]]) -> Told:
    try:
        return await call()
    except DeviceError as error:
        raise DeviceError(f"setup: the {part} does not answer: {error}") from error
