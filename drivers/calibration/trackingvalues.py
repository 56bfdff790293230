"""The values of an instrument file by which a crystal is followed and brought back, put together as facts."""

from collections.abc import Sequence

import numpy as np

from drivers.calibration.calibratedvalue import CalibratedValue, near
from drivers.calibration.trackingfacts import Four, TrackingFacts

SEEN = ("snapshot", "aperture_nm", "disc_radius_px")


def tracking_facts(
    values: Sequence[CalibratedValue], high_tension_kV: float | None, camera_length_mm: float | None
) -> TrackingFacts | None:
    """What the values of an instrument file tell at this high tension and nominal camera length (None: not known,
    and all fit); None where they tell too little to follow a crystal.

    Stage and image shift are calibrated in the image, at any one magnification: what counts is the one by the other.
    """
    fitting = [v for v in values if near(v.high_tension_kV, high_tension_kV)]
    here = [v for v in fitting if near(v.camera_length_mm, camera_length_mm)]
    found = {name: [v for v in here if v.name == name] for name in (*SEEN, "disc_zero_defocus")}
    if any(len(found[name]) != 1 for name in SEEN):
        return None
    snapshot, aperture, disc = (found[name][0].value for name in SEEN)
    zero = found["disc_zero_defocus"]
    if not isinstance(snapshot, tuple) or isinstance(aperture, tuple) or isinstance(disc, tuple):
        return None
    return TrackingFacts(
        snapshot,
        aperture,
        disc,
        float(zero[0].value) if len(zero) == 1 and not isinstance(zero[0].value, tuple) else 0.0,
        _image_shift_nm(fitting),
        _matrix(here, "pattern_shift"),
        _matrix(here, "diffraction_shift"),
    )


def _matrix(values: Sequence[CalibratedValue], name: str) -> Four | None:
    found = [v.value for v in values if v.name == name]
    return found[0] if len(found) == 1 and isinstance(found[0], tuple) else None


def _image_shift_nm(values: Sequence[CalibratedValue]) -> Four | None:
    """By the stage, at the largest magnification at which both were calibrated."""
    best: tuple[float, Four] | None = None
    for shift in (v for v in values if v.name == "image_shift"):
        for stage in (v for v in values if v.name == "stage" and near(v.magnification, shift.magnification)):
            per_nm, per_unit = np.reshape(stage.value, (2, 2)), np.reshape(shift.value, (2, 2))
            (a, b), (c, d) = np.linalg.solve(per_nm, per_unit).tolist()
            if best is None or (shift.magnification or 0.0) > best[0]:
                best = shift.magnification or 0.0, (a, b, c, d)
    return None if best is None else best[1]
