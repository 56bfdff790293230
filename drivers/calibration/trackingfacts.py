"""What has to be known of an instrument to follow a crystal by defocused snapshots and to bring it back, as facts.

Told by a simulated instrument that hides nothing, or made of the values of an instrument file; written into the header
of a trace with the other facts.
"""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

Number = Annotated[float, Field(allow_inf_nan=False)]
Four = tuple[Number, Number, Number, Number]


@dataclass(frozen=True, slots=True)
class TrackingFacts:
    """Matrices by rows. snapshot: of a snapshot, px (fast, slow) per nm of the stage's x and y and unit of defocus.
    aperture_nm: diameter of the selected-area aperture at the specimen. disc_radius_px: of the aperture's disc per unit
    of defocus away from disc_zero_defocus.

    image_shift_nm: how far a unit of the image shift's x and y moves the specimen in the aperture, in nm along the
    stage's x and y; image_shift_px: and the diffraction pattern, in px. diffraction_shift_px: the same of the
    diffraction shift. beam_shift_nm: how far a unit of the beam shift moves the beam over the specimen; beam_shift_px:
    and the pattern, which it should not. stage_repeatability_nm: standard deviation of where the stage lands. None
    where that was not calibrated: then a crystal can be followed, but not brought back by it.

    probe_selects: whether a small probe selects what diffracts, and no aperture: aperture_nm is its diameter then. None
    where nobody knows.
    """

    snapshot: Four
    aperture_nm: Number
    disc_radius_px: Number
    disc_zero_defocus: Number = 0.0
    image_shift_nm: Four | None = None
    image_shift_px: Four | None = None
    diffraction_shift_px: Four | None = None
    beam_shift_nm: Four | None = None
    beam_shift_px: Four | None = None
    stage_repeatability_nm: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    probe_selects: bool | None = None
