"""What is known of the images of an instrument, as facts: how stage and beam shift stand to their pixels.

Made of the values of an instrument file (`credline calibrate stage`, `beam-shift`), or told by a simulated instrument
that hides nothing; written into the header of a trace with the other facts.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from drivers.calibration.calibratedvalue import CalibratedValue, near

Number = Annotated[float, Field(allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Four = tuple[Number, Number, Number, Number]


@dataclass(frozen=True, slots=True)
class ImageScale:
    """Of one nominal magnification, matrices by rows. stage_px: px along (fast, slow) that a nm of the stage's x and y
    moves the image. beam_shift_px: px that a unit of the beam shift moves the beam in the image; None where that was
    not calibrated there.
    """

    magnification: Number
    stage_px: Four
    beam_shift_px: Four | None = None

    @property
    def nm_per_px(self) -> float:
        """How much of the specimen a pixel covers, by the stage's own nm."""
        a, b, c, d = self.stage_px
        return 1.0 / math.sqrt(abs(a * d - b * c))


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """scales: rising in magnification. beam_shift_hysteresis: what the beam shift stays behind after a change of
    direction, in its own units; stage_repeatability_nm: standard deviation of where the stage lands, coming from one
    side. None where that was not calibrated.
    """

    scales: tuple[ImageScale, ...]
    beam_shift_hysteresis: NotNegative | None = None
    stage_repeatability_nm: NotNegative | None = None

    def at(self, magnification: float) -> ImageScale | None:
        """The scale of a nominal magnification; None where it was not calibrated."""
        return next((scale for scale in self.scales if near(scale.magnification, magnification)), None)


def image_values(values: Sequence[CalibratedValue], high_tension_kV: float | None) -> ImageFacts | None:
    """What the values of an instrument file tell of images at this high tension (None: not known, and all fit); None
    where no stage was calibrated, for then nobody knows what a pixel is.
    """
    fitting = [value for value in values if near(value.high_tension_kV, high_tension_kV)]
    shifts = [value for value in fitting if value.name == "beam_shift"]
    scales = []
    for stage in sorted((v for v in fitting if v.name == "stage"), key=lambda v: v.magnification or 0.0):
        shift = next((v for v in shifts if near(v.magnification, stage.magnification)), None)
        scales.append(ImageScale(stage.magnification or 0.0, _four(stage), None if shift is None else _four(shift)))
    if not scales:
        return None
    numbers = {v.name: float(v.value) for v in values if not isinstance(v.value, tuple)}
    return ImageFacts(tuple(scales), numbers.get("beam_shift_hysteresis"), numbers.get("stage_repeatability_nm"))


def _four(value: CalibratedValue) -> Four:
    if not isinstance(value.value, tuple):
        raise TypeError(f"{value.name} is a matrix")
    return value.value
