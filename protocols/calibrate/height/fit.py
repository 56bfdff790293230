"""The height over the tilt axis from how far an image has moved at some tilts. Pure.

What lies z above the tilt axis is seen z sin(tilt) farther along -y than at tilt 0, x being the tilt axis. Beside that
the image moves by what does not change its sign with the tilt: the play that the first tilt takes up, and an axis that
is not the column's. So a constant is fitted as well, of all tilts but the one to which they are compared.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEAST_NM = 25.0
"""Standard deviation of one shift, at least: what bearings do is not seen in a few of them. Zheng et al., J. Struct.
Biol. 147 (2004) 91, have 15 nm on a good stage."""


@dataclass(frozen=True, slots=True)
class Height:
    """z_nm: over the tilt axis, towards the source; with its standard deviation. left_nm: rms of what the shifts are
    off after it.
    """

    z_nm: float
    sigma_nm: float
    left_nm: float


def fitted_height(tilts_deg: Sequence[float], shifts_nm: Sequence[float], reference_deg: float) -> Height:
    """shifts_nm: along y of the stage, from the picture at reference_deg. At least two tilts."""
    sines = np.sin(np.radians(tilts_deg)) - math.sin(math.radians(reference_deg))
    shifts = np.array(shifts_nm)
    design = np.stack([-sines, np.ones(len(sines))], axis=1)
    found, *_ = np.linalg.lstsq(design, shifts, rcond=None)
    left = shifts - design @ found
    free = max(len(shifts) - 2, 1)
    sigma = max(LEAST_NM, math.sqrt(float(left @ left) / free))
    covariance = sigma**2 * np.linalg.pinv(design.T @ design)
    return Height(float(found[0]), math.sqrt(float(covariance[0, 0])), math.sqrt(float(np.mean(left**2))))
