"""The values of an instrument file by which a crystal is followed and brought back, put together as facts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from drivers.calibration.calibratedvalue import CalibratedValue, near
from drivers.calibration.trackingfacts import Four, TrackingFacts

SEEN = ("snapshot", "aperture_nm", "disc_radius_px")
"""Without these a crystal cannot be followed."""
FACTS = {
    **{name: name for name in SEEN},
    "disc_zero_defocus": "disc_zero_defocus",
    "image_shift_px": "pattern_shift",
    "diffraction_shift_px": "diffraction_shift",
}
"""Of `TrackingFacts`: which calibrated value each is."""


@dataclass(frozen=True, slots=True)
class TrackingValues:
    """facts: what they tell. used: of each fact, by its name, the value that it was made of. image_shift_sigma_nm: of
    its numbers, per unit; 0 without.
    """

    facts: TrackingFacts
    used: Mapping[str, CalibratedValue]
    image_shift_sigma_nm: float = 0.0


def tracking_values(
    values: Sequence[CalibratedValue], high_tension_kV: float | None, camera_length_mm: float | None
) -> TrackingValues | None:
    """What the values of an instrument file tell at this high tension and nominal camera length (None: not known,
    and all fit); None where they tell too little to follow a crystal.

    Stage and image shift are calibrated in the image, at any one magnification: what counts is the one by the other.
    """
    fitting = [v for v in values if near(v.high_tension_kV, high_tension_kV)]
    here = [v for v in fitting if near(v.camera_length_mm, camera_length_mm)]
    used = {fact: found[0] for fact, name in FACTS.items() if len(found := [v for v in here if v.name == name]) == 1}
    if not set(SEEN) <= set(used):
        return None
    told: dict[str, Any] = {fact: value.value for fact, value in used.items()}
    sigma_nm = 0.0
    if (shift := _image_shift(fitting)) is not None:
        used["image_shift_nm"], told["image_shift_nm"], sigma_nm = shift
    return TrackingValues(TrackingFacts(**told), used, sigma_nm)


def _image_shift(values: Sequence[CalibratedValue]) -> tuple[CalibratedValue, Four, float] | None:
    """The image shift in nm by the stage, at the largest magnification at which both were calibrated; the largest
    uncertainty of its numbers, to which both add their share.
    """
    shifts = sorted((v for v in values if v.name == "image_shift"), key=lambda v: -(v.magnification or 0.0))
    for shift in shifts:
        for stage in (v for v in values if v.name == "stage" and near(v.magnification, shift.magnification)):
            in_nm = np.linalg.solve(np.reshape(stage.value, (2, 2)), np.reshape(shift.value, (2, 2)))
            relative = [float(np.max(each.sigma) / np.linalg.norm(each.value)) for each in (stage, shift)]
            (a, b), (c, d) = in_nm.tolist()
            return shift, (a, b, c, d), float(np.linalg.norm(in_nm)) * math.hypot(*relative)
    return None
