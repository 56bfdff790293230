"""The deflectors behind temscript's server: beam shift and tilt, image shift, diffraction shift.

Made by `drivers.thermo.microscope` from the table `[microscope.deflectors]`. Promises what `drivers.parts.Deflectors`
asks. Source of units: temscript 2.1.0, `base_microscope.py` and its documentation: shifts of beam and image in metres,
beam tilt and diffraction shift in radians, as good as the microscope's own alignment. What is too far nobody tells: the
limits are assumed, and the microscope may refuse less.
"""

from drivers.options import Options
from drivers.parts import Deflector, DeflectorFacts
from drivers.thermo.session import Session, pair
from engine.errors import DeviceError

LIMITS = {
    Deflector.BEAM_SHIFT: ("beam_shift_limit_m", 1e-5),
    Deflector.BEAM_TILT: ("beam_tilt_limit_rad", 0.02),
    Deflector.IMAGE_SHIFT: ("image_shift_limit_m", 1e-5),
    Deflector.DIFFRACTION_SHIFT: ("diffraction_shift_limit_rad", 0.1),
}
"""Option and default of each; both axes, to both sides of 0. Assumed."""


def deflector_facts(table: Options) -> DeflectorFacts:
    """The facts from the table `[microscope.deflectors]`. Raises Refused for an option that cannot be."""
    limits = {which: table.number(key, default, 1e-9, 1.0) for which, (key, default) in LIMITS.items()}
    settling_s = table.number("settling_s", 0.1, 0.0, 5.0)
    table.finish()
    facts = {which: (-limit, limit) for which, limit in limits.items()}
    return DeflectorFacts(facts, whole_numbers=False, settling_s=settling_s)


class ThermoDeflectors:
    """Implements `drivers.parts.Deflectors`, in metres and radians.

    The beam tilt is that of dark field: any but (0, 0) turns dark field on, and (0, 0) turns it off.
    """

    def __init__(self, session: Session, facts: DeflectorFacts) -> None:
        self.facts = facts
        self._session = session

    async def read(self, which: Deflector) -> tuple[float, float]:
        """See `Deflectors.read`."""
        return pair(await self._session.get(which), which)

    async def set(self, which: Deflector, x: float, y: float) -> None:
        """See `Deflectors.set`."""
        if (said := self.facts.outside(which, x, y)) is not None:
            raise DeviceError(f"deflectors: {said}; nothing was set. Stay within what the facts of the part say.")
        await self._session.put(which, [float(x), float(y)])
