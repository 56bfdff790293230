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
    "stage_repeatability_nm": "stage_repeatability_nm",
}
"""Of `TrackingFacts`: which calibrated value each is."""
SHIFTS = {"image_shift_nm": "image_shift", "beam_shift_nm": "beam_shift"}
"""And which in nm is made of which by the stage."""


@dataclass(frozen=True, slots=True)
class TrackingValues:
    """facts: what they tell. used: of each fact, by its name, the value that it was made of. shift_sigmas_nm: of the
    numbers of image and beam shift, per unit, by the name of the fact.
    """

    facts: TrackingFacts
    used: Mapping[str, CalibratedValue]
    shift_sigmas_nm: Mapping[str, float]


def tracking_values(
    values: Sequence[CalibratedValue], high_tension_kV: float | None, camera_length_mm: float | None
) -> TrackingValues | None:
    """What the values of an instrument file tell at this high tension and nominal camera length (None: not known,
    and all fit); None where they tell too little to follow a crystal.

    Stage, image and beam shift are calibrated in the image, at any one magnification: what counts is the one by the
    other.
    """
    fitting = [v for v in values if near(v.high_tension_kV, high_tension_kV)]
    here = [v for v in fitting if near(v.camera_length_mm, camera_length_mm)]
    used = {fact: found[0] for fact, name in FACTS.items() if len(found := [v for v in here if v.name == name]) == 1}
    if not set(SEEN) <= set(used):
        return None
    told: dict[str, Any] = {fact: value.value for fact, value in used.items()}
    sigmas_nm: dict[str, float] = {}
    for fact, name in SHIFTS.items():
        if (shift := _in_nm(name, fitting)) is not None:
            used[fact], told[fact], sigmas_nm[fact] = shift
    return TrackingValues(TrackingFacts(**told), used, sigmas_nm)


def _in_nm(name: str, values: Sequence[CalibratedValue]) -> tuple[CalibratedValue, Four, float] | None:
    """A shift in nm by the stage, at the largest magnification at which both were calibrated; the largest uncertainty
    of its numbers, to which both add their share.
    """
    shifts = sorted((v for v in values if v.name == name), key=lambda v: -(v.magnification or 0.0))
    for shift in shifts:
        for stage in (v for v in values if v.name == "stage" and near(v.magnification, shift.magnification)):
            in_nm = np.linalg.solve(np.reshape(stage.value, (2, 2)), np.reshape(shift.value, (2, 2)))
            relative = [float(np.max(each.sigma) / np.linalg.norm(each.value)) for each in (stage, shift)]
            (a, b), (c, d) = in_nm.tolist()
            return shift, (a, b, c, d), float(np.linalg.norm(in_nm)) * math.hypot(*relative)
    return None
