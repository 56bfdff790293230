"""A powder pattern, summed over its frames, and the five numbers of the instrument that shape its rings."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Pattern:
    """counts: (rows, columns) of the corrected grid, the mean of the frames. good: pixels that tell something; full:
    those that were saturated in a frame. frames: how many.
    """

    counts: Array
    good: Mask
    full: Mask
    frames: int


@dataclass(frozen=True, slots=True)
class Shape:
    """length_px: camera length in pixels. strain, shear: the ellipse, as the matrix [[1 + strain, shear], [shear, 1 -
    strain]] from a true offset (fast, slow) from the beam to the one that is seen.
    """

    length_px: float
    fast_px: float
    slow_px: float
    strain: float = 0.0
    shear: float = 0.0

    @property
    def amplitude_percent(self) -> float:
        """As `Geometry.distortion_amplitude_percent`."""
        return 200 * float(np.hypot(self.strain, self.shear))

    @property
    def azimuth_deg(self) -> float:
        """As `Geometry.distortion_azimuth_deg`, 0 to 180."""
        return float(np.degrees(np.arctan2(-self.shear, self.strain)) / 2 % 180)

    def ideal(self, fast_px: Array, slow_px: Array) -> tuple[Array, Array]:
        """Offsets from the beam as they would be without the ellipse."""
        fast, slow = fast_px - self.fast_px, slow_px - self.slow_px
        size = (1 + self.strain) * (1 - self.strain) - self.shear**2
        return ((1 - self.strain) * fast - self.shear * slow) / size, (
            (1 + self.strain) * slow - self.shear * fast
        ) / size

    def seen(self, radius_px: float, azimuth: Array) -> tuple[Array, Array]:
        """Where a ring of this true radius is seen, (fast, slow); azimuth: of the true one, from fast towards slow."""
        x, y = radius_px * np.cos(azimuth), radius_px * np.sin(azimuth)
        fast = self.fast_px + (1 + self.strain) * x + self.shear * y
        return fast, self.slow_px + self.shear * x + (1 - self.strain) * y
