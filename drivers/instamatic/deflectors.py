"""The deflectors behind Instamatic's TEM server: beam shift and tilt, image shift, diffraction shift.

Made by `drivers.instamatic.microscope` from the table `[microscope.deflectors]`. Promises what
`drivers.parts.Deflectors` asks. Source: Instamatic 2.2.2, `microscope/interface/jeol_microscope.py`: CLA1, CLA2, IS1
and PLA, values of 16 bits.
"""

from drivers.instamatic.answers import nothing, pair_of_values
from drivers.instamatic.wire import Wire
from drivers.options import Options
from drivers.parts import Deflector, DeflectorFacts
from engine.errors import DeviceError

LOWEST, HIGHEST = 0.0, 65535.0

FUNCTIONS = {
    Deflector.BEAM_SHIFT: ("getBeamShift", "setBeamShift"),
    Deflector.BEAM_TILT: ("getBeamTilt", "setBeamTilt"),
    Deflector.IMAGE_SHIFT: ("getImageShift1", "setImageShift1"),
    Deflector.DIFFRACTION_SHIFT: ("getDiffShift", "setDiffShift"),
}


def deflector_facts(table: Options) -> DeflectorFacts:
    """The facts from the table `[microscope.deflectors]`. Raises Refused for an option that cannot be."""
    settling_s = table.number("settling_s", 0.1, 0.0, 5.0)
    table.finish()
    return DeflectorFacts(dict.fromkeys(FUNCTIONS, (LOWEST, HIGHEST)), whole_numbers=True, settling_s=settling_s)


class InstamaticDeflectors:
    """Implements `drivers.parts.Deflectors`."""

    def __init__(self, wire: Wire, facts: DeflectorFacts) -> None:
        self.facts = facts
        self._wire = wire

    async def read(self, which: Deflector) -> tuple[float, float]:
        """See `Deflectors.read`."""
        return await self._wire.call(FUNCTIONS[which][0], pair_of_values)

    async def set(self, which: Deflector, x: float, y: float) -> None:
        """See `Deflectors.set`."""
        if (said := self.facts.outside(which, x, y)) is not None:
            raise DeviceError(f"deflectors: {said}; nothing was set. Stay within what the facts of the part say.")
        await self._wire.call(FUNCTIONS[which][1], nothing, int(x), int(y))
