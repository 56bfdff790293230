"""The deflectors through TEMCOM: beam shift and tilt, image shift, diffraction shift.

Made by `drivers.jeol.microscope` from the table `[microscope.deflectors]`. Promises what `drivers.parts.Deflectors`
asks. Source: PyJEM's documentation of Def3 (CLA1, CLA2, IS1, PLA: 0 to 65535, "corresponds to I/O output value"), and
which of them is which from Instamatic's JEOL interface. IS1 is the first of two image shifts; the other is left alone.
"""

from drivers.jeol.temcom import Connection, numbers
from drivers.options import Options
from drivers.parts import Deflector, DeflectorFacts
from engine.errors import DeviceError

LOWEST, HIGHEST = 0.0, 65535.0

COILS = {
    Deflector.BEAM_SHIFT: "CLA1",
    Deflector.BEAM_TILT: "CLA2",
    Deflector.IMAGE_SHIFT: "IS1",
    Deflector.DIFFRACTION_SHIFT: "PLA",
}


def deflector_facts(table: Options) -> DeflectorFacts:
    """The facts from the table `[microscope.deflectors]`. Raises Refused for an option that cannot be."""
    settling_s = table.number("settling_s", 0.1, 0.0, 5.0)
    table.finish()
    return DeflectorFacts(dict.fromkeys(COILS, (LOWEST, HIGHEST)), whole_numbers=True, settling_s=settling_s)


class JeolDeflectors:
    """Implements `drivers.parts.Deflectors`; values of 16 bits, as the microscope's own panel shows them."""

    def __init__(self, column: Connection, facts: DeflectorFacts) -> None:
        self.facts = facts
        self._column = column

    async def read(self, which: Deflector) -> tuple[float, float]:
        """See `Deflectors.read`."""
        x, y = numbers(await self._column.call("Def3", f"Get{COILS[which]}"), 2, "deflectors")
        return x, y

    async def set(self, which: Deflector, x: float, y: float) -> None:
        """See `Deflectors.set`."""
        if (said := self.facts.outside(which, x, y)) is not None:
            raise DeviceError(f"deflectors: {said}; nothing was set. Stay within what the facts of the part say.")
        await self._column.call("Def3", f"Set{COILS[which]}", int(x), int(y))
