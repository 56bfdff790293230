"""The simulated condenser: its panel with spot size and brightness, and what that lights of the specimen."""

from dataclasses import dataclass

from drivers.parts import IlluminationFacts, OpticalMode
from drivers.simulated.imaging import LitDisc
from drivers.simulated.latency import Interface
from engine.errors import DeviceError, Refused

LEAST_DISC_NM = 20.0
LEAST_EVEN_NM = 1000.0
"""A narrower beam is not even over the aperture; how its light then falls on the crystal is not simulated."""


@dataclass(frozen=True, slots=True)
class IlluminationSettings:
    """What the panel has, and how the operator left it.

    spot_sizes: they are numbered from 1 to this. brightness: the condenser lens, 16 bits as on a JEOL.
    What it does in images, round values chosen here: crossover, the brightness at which the beam is smallest;
    nm_per_unit, by how much the radius of the lit disc grows with each unit away from that; low_mag_times, how many
    times larger it is in the low magnifications, which have no objective lens; current_s, electrons per second with
    spot size 1; per_spot, so many times as much with each further one; disc_nm, middle of the disc without beam shift;
    drift_nm_min, how far it drifts in a minute, both along (fast, slow) of an image of the imaging mode.
    """

    spot_sizes: int = 5
    spot_size: int = 1
    brightness_limits: tuple[float, float] = (0.0, 65535.0)
    brightness: int = 40_000
    crossover: float = 30_000.0
    nm_per_unit: float = 0.5
    low_mag_times: float = 20.0
    current_s: float = 1.0e8
    per_spot: float = 0.6
    disc_nm: tuple[float, float] = (0.0, 0.0)
    drift_nm_min: tuple[float, float] = (0.0, 0.0)

    def flux_share(self, spot_size: int, brightness: float) -> float:
        """Electrons per area and second in the middle of the beam, 1 as the operator left the panel."""
        left_s = self._density_s(self.spot_size, self.brightness)
        return self._density_s(spot_size, brightness) / left_s if left_s > 0 else 0.0

    def _density_s(self, spot_size: int, brightness: float) -> float:
        lit = self.disc(OpticalMode.IMAGING, spot_size, brightness)
        return lit.current_s / max(lit.radius_nm, LEAST_EVEN_NM) ** 2

    @property
    def facts(self) -> IlluminationFacts:
        """See `Illumination.facts`. Raises Refused for a beginning that it could not be set to."""
        spot_sizes = tuple(range(1, round(self.spot_sizes) + 1))
        facts = IlluminationFacts(spot_sizes, self.brightness_limits, whole_numbers=True)
        if (said := facts.outside(self.spot_size, self.brightness)) is not None:
            raise Refused(f"devices: [illumination] {said}; nothing was started.")
        return facts

    def disc(self, mode: OpticalMode, spot_size: int, brightness: float) -> LitDisc:
        """What is lit in an image mode."""
        times = self.low_mag_times if mode is OpticalMode.LOW_MAG else 1.0
        radius_nm = max(abs(brightness - self.crossover) * self.nm_per_unit, LEAST_DISC_NM) * times
        middle_nm = self.disc_nm[0] * times, self.disc_nm[1] * times
        return LitDisc(radius_nm, middle_nm, self.current_s * self.per_spot ** (spot_size - 1))


class Condenser:
    """Implements `drivers.parts.Illumination`. Raises Refused for a beginning that it could not be set to."""

    def __init__(self, interface: Interface, settings: IlluminationSettings) -> None:
        self._interface = interface
        self._settings = settings
        self._facts = settings.facts
        self._spot_size: int = settings.spot_size
        self._brightness: float = settings.brightness
        self._used: dict[tuple[int, float], None] = {}

    @property
    def facts(self) -> IlluminationFacts:
        """See `Illumination.facts`."""
        return self._facts

    @property
    def state(self) -> tuple[int, float]:
        """Spot size and brightness."""
        return self._spot_size, self._brightness

    def leave(self, spot_size: int, brightness: float) -> None:
        """How an operator's hand leaves the panel: no call, and at once."""
        self._spot_size, self._brightness = spot_size, brightness

    def hide(self, settings: IlluminationSettings) -> None:
        """From now on the panel does something else than the settings say."""
        self._settings = settings

    def disc(self, mode: OpticalMode) -> LitDisc:
        """What is lit in an image mode."""
        return self._settings.disc(mode, self._spot_size, self._brightness)

    def drifted_nm(self, since_s: float) -> tuple[float, float]:
        """How far the beam has drifted in so many seconds."""
        fast_nm_min, slow_nm_min = self._settings.drift_nm_min
        return fast_nm_min * since_s / 60.0, slow_nm_min * since_s / 60.0

    @property
    def flux_share(self) -> float:
        """Electrons per area and second, 1 as the operator left the panel."""
        return self._settings.flux_share(*self.state)

    def note_used(self) -> None:
        """A camera looks at what this setting lights."""
        self._used[self.state] = None

    @property
    def flux_shares(self) -> dict[tuple[int, float], float]:
        """The same of all settings of the panel that a camera has looked at."""
        return {state: self._settings.flux_share(*state) for state in self._used}

    async def spot_size(self) -> int:
        """See `Illumination.spot_size`."""
        async with self._interface.call():
            return self._spot_size

    async def set_spot_size(self, value: int) -> None:
        """See `Illumination.set_spot_size`."""
        _require(self._facts.outside(spot_size=value))
        async with self._interface.call():
            self._spot_size = value

    async def brightness(self) -> float:
        """See `Illumination.brightness`."""
        async with self._interface.call():
            return self._brightness

    async def set_brightness(self, value: float) -> None:
        """See `Illumination.set_brightness`."""
        _require(self._facts.outside(brightness=value))
        async with self._interface.call():
            self._brightness = value


def _require(otherwise: str | None) -> None:
    if otherwise is not None:
        raise DeviceError(f"illumination: {otherwise}; nothing was set. Choose a value that the panel has.")
