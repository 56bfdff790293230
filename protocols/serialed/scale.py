"""How an image of a field stands to the stage: pixels, places on the specimen, nm of a pixel. Pure.

A place on the specimen is told as the place of the stage that brings it into the middle of the picture: that is what a
crystal is recalled by.
"""

import math
from dataclasses import dataclass

import numpy as np

from drivers.calibration.imagefacts import Four, ImageScale
from drivers.facts import Facts
from drivers.judged import grid
from engine.errors import Refused
from protocols.serialed.aim import Aim

Pair = tuple[float, float]


@dataclass(frozen=True, slots=True)
class FieldScale:
    """shape: rows and columns of equal pixels. stage_px, beam_shift_px: as in `ImageScale`. lag_units: hysteresis of
    the beam shift, None where nobody knows it. repeat_nm: of the stage, None likewise.
    """

    shape: tuple[int, int]
    stage_px: Four
    beam_shift_px: Four
    lag_units: float | None = None
    repeat_nm: float | None = None

    @property
    def middle_px(self) -> Pair:
        """Of the picture, along (fast, slow); pixel i covers [i, i + 1)."""
        return self.shape[1] / 2.0, self.shape[0] / 2.0

    @property
    def nm_per_px(self) -> float:
        """By the stage's own nm."""
        return ImageScale(0.0, self.stage_px).nm_per_px

    @property
    def size_nm(self) -> Pair:
        """Of the field, along (fast, slow)."""
        return self.shape[1] * self.nm_per_px, self.shape[0] * self.nm_per_px

    @property
    def nm_per_unit(self) -> float:
        """How far a unit of the beam shift moves the beam on the specimen, in the mean of both axes."""
        a, b, c, d = self.beam_shift_px
        return math.sqrt(abs(a * d - b * c)) * self.nm_per_px

    def place_of(self, px: Pair, stage_nm: Pair) -> Pair:
        """The place on the specimen that is seen at a pixel while the stage stands there."""
        away = np.linalg.solve(np.reshape(self.stage_px, (2, 2)), np.subtract(self.middle_px, px))
        return float(stage_nm[0] + away[0]), float(stage_nm[1] + away[1])

    def px_of(self, place_nm: Pair, stage_nm: Pair) -> Pair:
        """The pixel at which a place on the specimen is seen."""
        away = np.reshape(self.stage_px, (2, 2)) @ np.subtract(stage_nm, place_nm)
        return float(self.middle_px[0] + away[0]), float(self.middle_px[1] + away[1])

    def aim_at(self, units: Pair) -> Aim:
        """The beam in the middle of the picture with this setting, for want of a look at it."""
        return Aim(self.middle_px, units, self.beam_shift_px)


def field_scale(facts: Facts, magnification: float, shape: tuple[int, int] | None = None) -> FieldScale:
    """What is known of images at this magnification. shape: where the camera has not told its own.

    Raises Refused, with the command that finds it out, for what was not calibrated.
    """
    known = shape if facts.detector is None else grid(facts.detector) or shape
    if known is None:
        raise Refused(
            "serialed: how large the camera's pictures are is not known before it is connected; nothing was started. "
            "Ask it: credline plan serialed --connected."
        )
    images = facts.images
    if images is not None:
        scale = images.at(magnification)
        if scale is None:
            raise Refused(
                f"magnification: what the stage moves in the image was never calibrated at {magnification:g}x; nothing "
                f"was started. {_command('stage', magnification)}"
            )
        if scale.beam_shift_px is None:
            raise Refused(
                f"magnification: what the beam shift moves in the image was never calibrated at {magnification:g}x; "
                f"nothing was started. {_command('beam-shift', magnification)}"
            )
        lag, repeat_nm = images.beam_shift_hysteresis, images.stage_repeatability_nm
        return FieldScale(known, scale.stage_px, scale.beam_shift_px, lag, repeat_nm)
    tracking = facts.tracking
    if facts.calibration is not None or tracking is None or tracking.beam_shift_nm is None:
        raise Refused(
            "serialed: what stage and beam shift move in the image was never calibrated; nothing was started. "
            f"{_command('stage', magnification)} Then the same with beam-shift."
        )
    # A simulated instrument that hides nothing: its pixels are what the panel says, and its image is not turned.
    per_nm = magnification / (facts.geometry.pixel_size_mm * 1e6)
    stage_px = (per_nm, 0.0, 0.0, -per_nm)
    shift = np.reshape(stage_px, (2, 2)) @ np.reshape(tracking.beam_shift_nm, (2, 2))
    (a, b), (c, d) = shift.tolist()
    return FieldScale(known, stage_px, (a, b, c, d), None, tracking.stage_repeatability_nm)


def _command(what: str, magnification: float) -> str:
    return f"Calibrate it: credline calibrate {what} --devices FILE --set magnification={magnification:g}."
