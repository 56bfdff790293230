"""The simulated lenses below the specimen as their mode: low magnification, imaging or diffraction, and how large.

A change takes time. What the camera shows then is made in `pictures`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from drivers.parts import ModeFacts, OpticalMode
from drivers.simulated.latency import Interface
from engine.errors import DeviceError, Refused, shown

# The steps of Instamatic's simulated microscope (its config/microscope/simulate.yaml).
LOW_MAGNIFICATIONS = (
    *(50, 80, 100, 150, 200, 250, 300, 400, 500, 600, 800, 1000, 1200, 1500, 2000, 2500, 3000, 5000, 6000, 8000),
    *(10_000, 12_000, 15_000),
)
MAGNIFICATIONS = (
    *(2500, 3000, 4000, 5000, 6000, 8000, 10_000, 12_000, 15_000, 20_000, 25_000, 30_000, 40_000, 50_000, 60_000),
    *(80_000, 100_000, 120_000, 150_000, 200_000, 250_000, 300_000, 400_000, 500_000, 600_000, 800_000, 1_000_000),
    *(1_500_000, 2_000_000),
)
CAMERA_LENGTHS_MM = (150, 200, 250, 300, 400, 500, 600, 800, 1000, 1200, 1500, 2000, 2500, 3000, 3500, 4000, 4500)


@dataclass(frozen=True, slots=True)
class ModeSettings:
    """How the operator left the lenses, and how long a change takes.

    mode: low-mag, imaging or diffraction. low_magnification, magnification, camera_length_mm: what each mode begins
    with; a value that is not among the steps is one more step. switching_s: how long the call for a change of mode
    takes. settling_s: until the lenses stand after any change.
    """

    mode: str = OpticalMode.DIFFRACTION.value
    low_magnification: float = 250.0
    magnification: float = 5000.0
    camera_length_mm: float = 250.0
    switching_s: float = 0.4
    settling_s: float = 0.6

    @property
    def facts(self) -> ModeFacts:
        """See `Mode.facts`. Raises Refused for a mode that there is not."""
        if self.mode not in tuple(OpticalMode):
            raise Refused(
                f"devices: [mode] mode = {shown(repr(self.mode))} is not one of {', '.join(OpticalMode)}; nothing "
                "was started."
            )
        return ModeFacts(
            tuple(OpticalMode),
            {
                OpticalMode.LOW_MAG: _with(LOW_MAGNIFICATIONS, self.low_magnification),
                OpticalMode.IMAGING: _with(MAGNIFICATIONS, self.magnification),
            },
            _with(CAMERA_LENGTHS_MM, self.camera_length_mm),
            self.settling_s,
        )


class LensMode:
    """Implements `drivers.parts.Mode`. Raises Refused for a mode that there is not."""

    def __init__(self, interface: Interface, settings: ModeSettings) -> None:
        self._interface = interface
        self._settings = settings
        self._facts = settings.facts
        self._mode = OpticalMode(settings.mode)
        self._magnifications = {
            OpticalMode.LOW_MAG: settings.low_magnification,
            OpticalMode.IMAGING: settings.magnification,
        }
        self._camera_length_mm = settings.camera_length_mm

    @property
    def facts(self) -> ModeFacts:
        """See `Mode.facts`."""
        return self._facts

    @property
    def state(self) -> tuple[OpticalMode, float, float]:
        """What the lenses are set to: mode, magnification (0 in diffraction), nominal camera length in mm."""
        return self._mode, self._magnifications.get(self._mode, 0.0), self._camera_length_mm

    @property
    def kept(self) -> tuple[OpticalMode, dict[OpticalMode, float], float]:
        """What they are set to: the mode, the magnification of each image mode, the nominal camera length in mm."""
        return self._mode, self._magnifications, self._camera_length_mm

    def leave(
        self, mode: OpticalMode, magnifications: Mapping[OpticalMode, float] | None = None, length_mm: float = 0.0
    ) -> None:
        """How an operator's hand leaves the lenses: no call, and at once."""
        self._mode = mode
        self._magnifications.update(magnifications or {})
        self._camera_length_mm = length_mm or self._camera_length_mm

    def leave_magnification(self, mode: OpticalMode, value: float) -> None:
        """The same of a mode's magnification."""
        self._magnifications[mode] = value

    async def mode(self) -> OpticalMode:
        """See `Mode.mode`."""
        async with self._interface.call():
            return self._mode

    async def set_mode(self, mode: OpticalMode) -> None:
        """See `Mode.set_mode`; a change keeps the interface busy, no change takes a call as any other."""
        async with self._interface.call():
            if mode is self._mode:
                return
        async with self._interface.call(self._settings.switching_s):
            self._mode = mode

    async def magnification(self) -> float:
        """See `Mode.magnification`."""
        async with self._interface.call():
            _require(self._facts.no_magnification(self._mode), "read")
            return self._magnifications[self._mode]

    async def set_magnification(self, value: float) -> None:
        """See `Mode.set_magnification`."""
        async with self._interface.call():
            _require(self._facts.no_magnification(self._mode, value), "changed")
            self._magnifications[self._mode] = value

    async def camera_length_mm(self) -> float:
        """See `Mode.camera_length_mm`."""
        async with self._interface.call():
            _require(self._facts.no_camera_length(self._mode), "read")
            return self._camera_length_mm

    async def set_camera_length_mm(self, value_mm: float) -> None:
        """See `Mode.set_camera_length_mm`."""
        async with self._interface.call():
            _require(self._facts.no_camera_length(self._mode, value_mm), "changed")
            self._camera_length_mm = value_mm


def _require(otherwise: str | None, done: str) -> None:
    if otherwise is not None:
        raise DeviceError(f"mode: {otherwise}; nothing was {done}. Set the mode first, and a value that it has.")


def _with(steps: tuple[int, ...], value: float) -> tuple[float, ...]:
    return tuple(sorted({*(float(step) for step in steps), float(value)}))
