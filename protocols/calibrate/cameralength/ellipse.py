"""An ellipse as strain and shear, which a fit has, and as amplitude and azimuth, which everybody else has."""

import math

import numpy as np
from numpy.typing import NDArray

NOTHING_KNOWN_DEG = 180 / math.sqrt(12)
"""Sigma of a direction of which nothing is known."""


def polar(strain: float, shear: float, covariance: NDArray[np.float64]) -> dict[str, tuple[float, float, str]]:
    """Amplitude and azimuth with their sigmas and units. covariance: (2, 2) of strain and shear.

    The sigmas are those along and across, so that both together say what is known of strain and shear. Near no ellipse
    the azimuth's grows to that of a direction of which nothing is known.
    """
    size = math.hypot(strain, shear)
    along = np.array([strain, shear]) / size if size > 0 else np.array([1.0, 0.0])
    across = np.array([-along[1], along[0]])
    amplitude_sigma, turning = (math.sqrt(float(way @ covariance @ way)) for way in (along, across))
    azimuth_sigma = math.degrees(turning / max(size, 1e-12)) / 2
    azimuth = math.degrees(math.atan2(-shear, strain)) / 2 % 180
    return {
        "distortion_amplitude_percent": (200 * size, 200 * amplitude_sigma, "%"),
        "distortion_azimuth_deg": (azimuth, min(azimuth_sigma, NOTHING_KNOWN_DEG), "deg"),
    }
