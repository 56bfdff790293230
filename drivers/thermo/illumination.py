"""Spot size and brightness behind temscript's server.

Made by `drivers.thermo.microscope` from the table `[microscope.illumination]`. Promises what
`drivers.parts.Illumination` asks. Source: temscript's documentation: the spot size is 1 to 11, the intensity, which is
the C2 knob, 0 to 1 in logical units.
"""

from drivers.options import Options
from drivers.parts import IlluminationFacts
from drivers.thermo.session import Session, number, strange
from engine.errors import DeviceError

MOST_SPOT_SIZES = 11


def illumination_facts(table: Options) -> IlluminationFacts:
    """The facts from the table `[microscope.illumination]`. Raises Refused for an option that cannot be."""
    spot_sizes = table.whole("spot_sizes", MOST_SPOT_SIZES, 1, MOST_SPOT_SIZES)
    table.finish()
    return IlluminationFacts(tuple(range(1, spot_sizes + 1)), (0.0, 1.0), whole_numbers=False)


class ThermoIllumination:
    """Implements `drivers.parts.Illumination`; the brightness is `Illumination.Intensity`."""

    def __init__(self, session: Session, facts: IlluminationFacts) -> None:
        self.facts = facts
        self._session = session

    async def spot_size(self) -> int:
        """See `Illumination.spot_size`."""
        value = await self._session.get("spot_size_index")
        if isinstance(value, bool) or not isinstance(value, int):
            raise strange(f"spot_size_index = {str(value)[:40]!r}")
        return value

    async def set_spot_size(self, value: int) -> None:
        """See `Illumination.set_spot_size`."""
        self._require(self.facts.outside(spot_size=value))
        await self._session.put("spot_size_index", value)

    async def brightness(self) -> float:
        """See `Illumination.brightness`."""
        return number(await self._session.get("intensity"), "intensity")

    async def set_brightness(self, value: float) -> None:
        """See `Illumination.set_brightness`."""
        self._require(self.facts.outside(brightness=value))
        await self._session.put("intensity", float(value))

    def _require(self, otherwise: str | None) -> None:
        if otherwise is not None:
            raise DeviceError(f"illumination: {otherwise}; nothing was set. Choose a value that the panel has.")
