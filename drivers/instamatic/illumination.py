"""Spot size and brightness behind Instamatic's TEM server.

Made by `drivers.instamatic.microscope` from the table `[microscope.illumination]`. Promises what
`drivers.parts.Illumination` asks. Source: Instamatic 2.2.2, `microscope/interface/jeol_microscope.py`: the brightness
is the condenser lens CL3, 16 bits; spot sizes count from 1, as on the panel.
"""

from drivers.instamatic.answers import lens_value, nothing
from drivers.instamatic.wire import Wire
from drivers.options import Options
from drivers.parts import IlluminationFacts
from engine.errors import DeviceError

LOWEST, HIGHEST = 0.0, 65535.0


def illumination_facts(table: Options) -> IlluminationFacts:
    """The facts from the table `[microscope.illumination]`. Raises Refused for an option that cannot be."""
    spot_sizes = table.whole("spot_sizes", 5, 1, 20)
    table.finish()
    return IlluminationFacts(tuple(range(1, spot_sizes + 1)), (LOWEST, HIGHEST), whole_numbers=True)


class InstamaticIllumination:
    """Implements `drivers.parts.Illumination`."""

    def __init__(self, wire: Wire, facts: IlluminationFacts) -> None:
        self.facts = facts
        self._wire = wire

    async def spot_size(self) -> int:
        """See `Illumination.spot_size`."""
        return await self._wire.call("getSpotSize", lens_value)

    async def set_spot_size(self, value: int) -> None:
        """See `Illumination.set_spot_size`."""
        self._require(self.facts.outside(spot_size=value))
        await self._wire.call("setSpotSize", nothing, value)

    async def brightness(self) -> float:
        """See `Illumination.brightness`."""
        return await self._wire.call("getBrightness", lens_value)

    async def set_brightness(self, value: float) -> None:
        """See `Illumination.set_brightness`."""
        self._require(self.facts.outside(brightness=value))
        await self._wire.call("setBrightness", nothing, int(value))

    def _require(self, otherwise: str | None) -> None:
        if otherwise is not None:
            raise DeviceError(f"illumination: {otherwise}; nothing was set. Choose a value that the panel has.")
