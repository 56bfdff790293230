"""The simulated condenser as its panel: spot size and brightness."""

from dataclasses import dataclass

from drivers.parts import IlluminationFacts
from drivers.simulated.latency import Interface
from engine.errors import DeviceError, Refused


@dataclass(frozen=True, slots=True)
class IlluminationSettings:
    """What the panel has, and how the operator left it.

    spot_sizes: they are numbered from 1 to this. brightness: the condenser lens, 16 bits as on a JEOL. spot_step: how
    many times less current the next spot size has. brightness_width: so far from the middle of its range the lens has
    spread the beam to twice the area.
    """

    spot_sizes: int = 5
    spot_size: int = 1
    brightness_limits: tuple[float, float] = (0.0, 65535.0)
    brightness: int = 40_000
    spot_step: float = 1.6
    brightness_width: float = 20_000.0

    def flux_share(self, spot_size: int, brightness: float) -> float:
        """Electrons per area and second, 1 as the operator left the panel."""
        now, left = (self._spread(value) for value in (brightness, self.brightness))
        return left / now * float(self.spot_step) ** (self.spot_size - spot_size)

    def _spread(self, brightness: float) -> float:
        middle = sum(self.brightness_limits) / 2
        return 1.0 + ((brightness - middle) / self.brightness_width) ** 2

    @property
    def facts(self) -> IlluminationFacts:
        """See `Illumination.facts`. Raises Refused for a beginning that it could not be set to."""
        spot_sizes = tuple(range(1, round(self.spot_sizes) + 1))
        facts = IlluminationFacts(spot_sizes, self.brightness_limits, whole_numbers=True)
        if (said := facts.outside(self.spot_size, self.brightness)) is not None:
            raise Refused(f"devices: [illumination] {said}; nothing was started.")
        return facts


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

    def hide(self, settings: IlluminationSettings) -> None:
        """From now on a spot size or brightness does something else; the panel stays as it is."""
        self._settings = settings

    @property
    def flux_share(self) -> float:
        """Electrons per area and second, 1 as the operator left the panel."""
        self._used[self.state] = None
        return self._settings.flux_share(*self.state)

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
