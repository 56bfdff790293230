"""What a simulated camera looks at: stage, lens and blanker of its own instrument, or of another simulated one.

A devices file may take the camera from one simulation and the stage from another. Such a camera sees the stage that
moves, the blanker that opens and the crystal that lies there, not those of an instrument that nobody drives.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from drivers.parts import Deflector, View
from drivers.simulated.column import Blanker, Lens
from drivers.simulated.deflectors import Coils
from drivers.simulated.detector import Timepix
from drivers.simulated.goniometer import Goniometer
from drivers.simulated.hiddencamera import SpreadState
from drivers.simulated.shots import Shot
from engine.clock import NS_PER_S

if TYPE_CHECKING:
    from drivers.simulated.microscope import SimulatedSpecimen

# The defocus at which snapshots have their full size; others scale with it.
FULL_DEFOCUS = 1500


class SimulatedView:
    """Implements `drivers.parts.View`. camera: whose exposures are made of what is seen; set once it is there."""

    camera: Timepix

    def __init__(
        self,
        seed: int,
        goniometer: Goniometer,
        lens: Lens,
        blanker: Blanker,
        specimen: "SimulatedSpecimen",
        deflectors: Coils,
    ) -> None:
        self.goniometer, self.lens, self.blanker, self.specimen = goniometer, lens, blanker, specimen
        self.deflectors = deflectors
        self._seed = seed
        self.other_camera: Timepix | None = None
        """The one that looks at this instrument in the place of its own."""

    @property
    def seen_by(self) -> Timepix:
        """The camera that looks at this instrument."""
        return self.other_camera or self.camera

    def look_at(self, owners: Mapping[str, View]) -> None:
        """See `View.look_at`."""
        for name, owner in owners.items():
            if owner is self or not isinstance(owner, SimulatedView):
                continue
            owner.other_camera = self.camera
            if name == "stage":
                self.goniometer = owner.goniometer
                self.specimen.hand_over(owner.specimen)
            elif name == "optics":
                self.lens = owner.lens
            elif name == "beam":
                self.blanker = owner.blanker
            elif name == "deflectors":
                self.deflectors = owner.deflectors

    def shot(self, number: int, begin_ns: int, end_ns: int, exposure_s: float) -> Shot:
        """What the instrument does during one exposure, as far as it is known at this instant."""
        middle_ns, spread = (begin_ns + end_ns) // 2, None
        if self.specimen.is_spread:
            shift_nm = self.deflectors.effect_at(Deflector.BEAM_SHIFT, middle_ns)
            spread = SpreadState(middle_ns / NS_PER_S, shift_nm)
        return Shot(
            number,
            self.goniometer.angle_deg(begin_ns),
            self.goniometer.angle_deg(end_ns),
            exposure_s,
            self.blanker.share_on(begin_ns, end_ns),
            self.lens.defocus_at(middle_ns) / FULL_DEFOCUS,
            self.lens.beam_shift_px(begin_ns, end_ns),
            noise_seed=self._seed * 1_000_003 + number,
            spread=spread,
        )
