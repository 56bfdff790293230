"""Spot size and brightness through TEMCOM.

Made by `drivers.jeol.microscope` from the table `[microscope.illumination]`. Promises what
`drivers.parts.Illumination` asks. Source: PyJEM's documentation: Lens3.SetCL3 takes 0 to 65535, EOS3.SelectSpotSize 0
to 7, where the panel counts from 1 (so Instamatic, and JEOL's own example scripts). How many spot sizes a microscope
has nobody tells; one that there is not is refused by the microscope, with a status.
"""

from drivers.jeol.temcom import Connection, numbers
from drivers.options import Options
from drivers.parts import IlluminationFacts
from engine.errors import DeviceError

LOWEST, HIGHEST = 0.0, 65535.0
MOST_SPOT_SIZES = 8


def illumination_facts(table: Options) -> IlluminationFacts:
    """The facts from the table `[microscope.illumination]`. Raises Refused for an option that cannot be."""
    spot_sizes = table.whole("spot_sizes", 5, 1, MOST_SPOT_SIZES)
    table.finish()
    return IlluminationFacts(tuple(range(1, spot_sizes + 1)), (LOWEST, HIGHEST), whole_numbers=True)


class JeolIllumination:
    """Implements `drivers.parts.Illumination`; the brightness is the condenser lens CL3."""

    def __init__(self, column: Connection, facts: IlluminationFacts) -> None:
        self.facts = facts
        self._column = column

    async def spot_size(self) -> int:
        """See `Illumination.spot_size`; as on the panel, from 1."""
        return int(numbers(await self._column.call("EOS3", "GetSpotSize"), 1, "illumination")[0]) + 1

    async def set_spot_size(self, value: int) -> None:
        """See `Illumination.set_spot_size`."""
        self._require(self.facts.outside(spot_size=value))
        await self._column.call("EOS3", "SelectSpotSize", value - 1)

    async def brightness(self) -> float:
        """See `Illumination.brightness`."""
        return numbers(await self._column.call("Lens3", "GetCL3"), 1, "illumination")[0]

    async def set_brightness(self, value: float) -> None:
        """See `Illumination.set_brightness`."""
        self._require(self.facts.outside(brightness=value))
        await self._column.call("Lens3", "SetCL3", int(value))

    def _require(self, otherwise: str | None) -> None:
        if otherwise is not None:
            raise DeviceError(f"illumination: {otherwise}; nothing was set. Choose a value that the panel has.")
