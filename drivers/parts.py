"""The optional parts of a microscope: stage position, deflectors, mode, illumination, and what is known of each.

An experiment asks `Microscope` for the part it needs and gets None where the instrument (or its driver) has none. As
in `drivers.contract` all calls are coroutines, none blocks the event loop longer than 2 ms, and every one may be
cancelled: a call that is cancelled before its turn is not made, one that is under way is carried out, so what it sets
may be old or new. "One call" takes typically 35 ms. Facts are frozen, known without a call and written into the header
of a trace; a value that they do not allow is refused with DeviceError before anything is sent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

OPTIONAL_PARTS = ("stagexyz", "deflectors", "mode", "illumination")
"""Parts that a microscope need not have, by the names of its fields and of the tables of a devices file."""

Limits = tuple[float, float]
"""Lowest and highest value allowed."""


@dataclass(frozen=True, slots=True)
class PositionReading:
    """Where the stage was, in nm, at one unknown instant between `t_before_ns` and `t_after_ns`."""

    x_nm: float
    y_nm: float
    z_nm: float
    t_before_ns: int
    t_after_ns: int


@dataclass(frozen=True, slots=True)
class StageXYZFacts:
    """What is known of a stage's translation without a call.

    limits_nm: of x, y and z. backlash_nm: lost motion after a change of direction; who wants to arrive at the same
    place again comes from the same side, by at least this much (`drivers.approach`). 0 where the stage sees to it.
    xy_while_tilting: whether x and y may move while the tilt does. tilt_counts_as_moving: the one flag of this
    instrument is for all its axes, so that `is_moving` is true while it tilts.
    """

    limits_nm: tuple[Limits, Limits, Limits]
    backlash_nm: float
    xy_while_tilting: bool
    tilt_counts_as_moving: bool

    def outside(self, x_nm: float | None = None, y_nm: float | None = None, z_nm: float | None = None) -> str | None:
        """In words, the first coordinate that is past its limits or no number; None where all can be reached."""
        for axis, value_nm, limits in zip("xyz", (x_nm, y_nm, z_nm), self.limits_nm, strict=True):
            if value_nm is not None and (said := _past(f"{axis}_nm", value_nm, limits)):
                return said
        return None


class StageXYZ(Protocol):
    """The translation of the goniometer: x and y across the beam, z along it."""

    @property
    def facts(self) -> StageXYZFacts:
        """Limits and backlash."""
        ...

    async def position(self) -> PositionReading:
        """Read x, y and z. Takes one call (35-277 ms). Cancel: nothing happened."""
        ...

    async def move_xy(self, x_nm: float, y_nm: float) -> None:
        """Start towards (x, y) and return when that was accepted (one or two calls); motion goes on.

        `is_moving` tells the end of it. The move is straight: arriving always from the same side is two moves, and
        `drivers.approach` says which. Raises DeviceError for a place past the limits, DeviceBusy while the stage still
        moves (a tilt counts unless `xy_while_tilting`); nothing moved either way. Cancel: the motion may have started.
        """
        ...

    async def move_z(self, z_nm: float) -> None:
        """Start towards a height; the same promises as `move_xy`."""
        ...

    async def is_moving(self) -> bool:
        """Whether x, y or z moves (one call); the tilt, too, where `tilt_counts_as_moving`. Cancel: nothing happened.

        True from the return of `move_xy` or `move_z` until the stage stands at its end.
        """
        ...

    async def stop(self) -> None:
        """Stop x, y and z; known to be stopping after return (one call, or until it stands). Harmless at rest.

        An instrument that has one stop for all axes stops the tilt as well. Raises DeviceError where the stage cannot
        be stopped: it goes on to its end.
        """
        ...


class Deflector(StrEnum):
    """The pairs of coils that move or tilt the beam above the specimen, and image or pattern below it."""

    BEAM_SHIFT = "beam_shift"
    BEAM_TILT = "beam_tilt"
    IMAGE_SHIFT = "image_shift"
    DIFFRACTION_SHIFT = "diffraction_shift"


@dataclass(frozen=True, slots=True)
class DeflectorFacts:
    """What is known of the deflectors without a call.

    limits: lowest and highest value of both axes, in the instrument's own units, for each pair that there is.
    whole_numbers: the instrument takes no others; round before you set. settling_s: after `set` has returned, until
    beam, image and pattern stand still. units: what a unit of each pair is called, as `m` or `rad`; None where nobody
    says more of them than that they are the instrument's own.
    """

    limits: Mapping[Deflector, Limits]
    whole_numbers: bool
    settling_s: float
    units: Mapping[Deflector, str] | None = None

    def outside(self, which: Deflector, x: float, y: float) -> str | None:
        """In words, why a pair cannot be set to these values; None where it can."""
        if (limits := self.limits.get(which)) is None:
            return f"there is no {which}"
        for axis, value in (("x", x), ("y", y)):
            if said := _past(f"{which} {axis}", value, limits, self.whole_numbers):
                return said
        return None


class Deflectors(Protocol):
    """Beam shift and tilt, image shift, diffraction shift. What a unit moves is for a calibration to find out."""

    @property
    def facts(self) -> DeflectorFacts:
        """Which pairs there are, their limits and units."""
        ...

    async def read(self, which: Deflector) -> tuple[float, float]:
        """Read (x, y) of a pair, in the instrument's own units (one call). Cancel: nothing happened.

        Raises DeviceError where there is no such pair.
        """
        ...

    async def set(self, which: Deflector, x: float, y: float) -> None:
        """Set a pair; it *starts* towards its value when the call returns (one call) and stands after `settling_s`.

        Raises DeviceError for what the facts do not allow (nothing was set). Cancel: it may be old or new.
        """
        ...


class OpticalMode(StrEnum):
    """What the lenses below the specimen show. An instrument may have several imaging modes: a driver says which."""

    LOW_MAG = "low-mag"
    IMAGING = "imaging"
    DIFFRACTION = "diffraction"


@dataclass(frozen=True, slots=True)
class ModeFacts:
    """What is known of the modes without a call.

    modes: those that there are. magnifications: of each image mode, rising, as on the microscope's own panel.
    camera_lengths_mm: those of diffraction, rising. Both are empty where they are not known: then they can be read and
    not set. settling_s: from the return of `set_mode`, `set_magnification` or `set_camera_length_mm` until image or
    pattern stand still.
    """

    modes: tuple[OpticalMode, ...]
    magnifications: Mapping[OpticalMode, tuple[float, ...]]
    camera_lengths_mm: tuple[float, ...]
    settling_s: float

    def no_magnification(self, mode: OpticalMode, value: float | None = None) -> str | None:
        """In words, why a mode has no magnification, or not this one; None where it has."""
        if mode is OpticalMode.DIFFRACTION:
            return "the microscope is in diffraction mode, which has a camera length and no magnification"
        return None if value is None else _no_step("magnification", value, self.magnifications.get(mode, ()))

    def no_camera_length(self, mode: OpticalMode, value_mm: float | None = None) -> str | None:
        """In words, why a mode has no camera length, or not this one; None where it has."""
        if mode is not OpticalMode.DIFFRACTION:
            return f"the microscope is in {mode} mode, which has a magnification and no camera length"
        return None if value_mm is None else _no_step("camera length in mm", value_mm, self.camera_lengths_mm)


class Mode(Protocol):
    """Imaging or diffraction, and how large.

    A change of mode may change what deflectors and lenses read: the microscope keeps values for each mode.
    """

    @property
    def facts(self) -> ModeFacts:
        """Which modes there are, with their magnifications and camera lengths."""
        ...

    async def mode(self) -> OpticalMode:
        """The mode that the microscope is in (one call). Cancel: nothing happened.

        Raises DeviceError for a mode that has no name here.
        """
        ...

    async def set_mode(self, mode: OpticalMode) -> None:
        """Change the mode; it is the new one after return (one or two calls), lenses stand after `settling_s`.

        Does nothing where it is that already. Magnification or camera length are what the microscope has for that mode.
        Raises DeviceError for a mode that there is not (nothing changed). Cancel: it may be old or new.
        """
        ...

    async def magnification(self) -> float:
        """Read the magnification of the image, as the panel shows it (one or two calls). Cancel: nothing happened.

        Raises DeviceError in diffraction mode, which has a camera length instead.
        """
        ...

    async def set_magnification(self, value: float) -> None:
        """Set the magnification to one that the facts name for the present mode (up to three calls).

        Raises DeviceError for another one and in diffraction mode (nothing changed). Cancel: it may be old or new.
        """
        ...

    async def camera_length_mm(self) -> float:
        """Read the nominal camera length (one or two calls). Cancel: nothing happened.

        Raises DeviceError in the image modes, which have a magnification instead.
        """
        ...

    async def set_camera_length_mm(self, value_mm: float) -> None:
        """Set the camera length to one that the facts name (up to three calls).

        Raises DeviceError for another one and in the image modes (nothing changed). Cancel: it may be old or new.
        """
        ...


@dataclass(frozen=True, slots=True)
class IlluminationFacts:
    """What is known of the illumination without a call.

    spot_sizes: the numbers on the panel, rising. brightness_limits: in the instrument's own units (a condenser lens);
    whole_numbers: it takes no others.
    """

    spot_sizes: tuple[int, ...]
    brightness_limits: Limits
    whole_numbers: bool

    def outside(self, spot_size: int | None = None, brightness: float | None = None) -> str | None:
        """In words, why a spot size or a brightness cannot be set; None where it can."""
        if spot_size is not None and (said := _no_step("spot size", spot_size, self.spot_sizes)):
            return said
        if brightness is None:
            return None
        return _past("brightness", brightness, self.brightness_limits, self.whole_numbers)


class Illumination(Protocol):
    """Spot size and brightness: how much beam, and how far it is spread."""

    @property
    def facts(self) -> IlluminationFacts:
        """Spot sizes and limits."""
        ...

    async def spot_size(self) -> int:
        """Read the number of the spot size (one call). Cancel: nothing happened."""
        ...

    async def set_spot_size(self, value: int) -> None:
        """Set the spot size (one call). Raises DeviceError for one that there is not (nothing was set).

        The beam may be elsewhere with another spot. Cancel: it may be old or new.
        """
        ...

    async def brightness(self) -> float:
        """Read the condenser lens in the instrument's own units (one call). Cancel: nothing happened."""
        ...

    async def set_brightness(self, value: float) -> None:
        """Set the condenser lens (one call). Raises DeviceError for what the facts do not allow (nothing was set).

        Cancel: it may be old or new.
        """
        ...


class Specimen(Protocol):
    """What lies in a simulated instrument, and how its operator left it; a real one needs nobody to say so."""

    def set(self, told: Mapping[str, object], child: Sequence[int] = ()) -> None:
        """Before a run: what its plan says of a simulation (`ExperimentType.device_options`). Takes no time.

        child: the numbers of the run and of those around it, where it is performed within another one: it has a
        crystal of its own, and stage and beam are as its parent left them. What the devices file says holds in any
        case. Raises Refused for what it does not know or cannot use, nothing changed.
        """
        ...


class View(Protocol):
    """What a simulated camera looks at; a real one needs nobody to say so."""

    def look_at(self, owners: Mapping[str, "View"]) -> None:
        """See the `stage`, `optics`, `beam` and `deflectors` of these simulations from now on, and the specimen of that
        stage.
        """
        ...


def _past(what: str, value: float, limits: Limits, whole_number: bool = False) -> str | None:
    """In words, that a value cannot be; what is no number is past all limits."""
    low, high = limits
    if not low <= value <= high:
        return f"{what} = {value:g} is outside {low:g}..{high:g}"
    return f"{what} = {value:g} is not a whole number" if whole_number and value != int(value) else None


def _no_step(what: str, value: float, steps: tuple[float, ...]) -> str | None:
    if value in steps:
        return None
    if not steps:
        return f"which values there are for {what} is not known"
    return f"{what} = {value:g} is none of {', '.join(f'{step:g}' for step in steps)}"
