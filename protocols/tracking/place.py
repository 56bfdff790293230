"""A place of the crystal with its uncertainty: what locating answers and what the path predicts.

In nm along the axes of the stage seen along the beam, from the middle of the selected-area aperture: x along the tilt
axis, y across it.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Place:
    """covariance_nm2: of x and x, x and y, y and y."""

    x_nm: float
    y_nm: float
    covariance_nm2: tuple[float, float, float]

    @classmethod
    def even(cls, x_nm: float, y_nm: float, sigma_nm: float) -> "Place":
        """Known equally well in all directions. sigma_nm: of x, and of y."""
        return cls(x_nm, y_nm, (sigma_nm**2, 0.0, sigma_nm**2))

    @classmethod
    def of(cls, at_nm: Array, covariance_nm2: Array) -> "Place":
        """From (2,) x and y and their (2, 2) covariance."""
        (xx, xy), (_, yy) = covariance_nm2.tolist()
        return cls(float(at_nm[0]), float(at_nm[1]), (xx, xy, yy))

    @property
    def array_nm(self) -> Array:
        """(2,) x and y."""
        return np.array([self.x_nm, self.y_nm])

    @property
    def matrix_nm2(self) -> Array:
        """(2, 2) covariance."""
        xx, xy, yy = self.covariance_nm2
        return np.array([[xx, xy], [xy, yy]])

    @property
    def sigma_nm(self) -> float:
        """Along the direction in which it is known worst."""
        xx, xy, yy = self.covariance_nm2
        return math.sqrt((xx + yy) / 2 + math.hypot((xx - yy) / 2, xy))

    @property
    def distance_nm(self) -> float:
        """From the middle of the aperture."""
        return math.hypot(self.x_nm, self.y_nm)

    def sigmas_from(self, other: "Place") -> float:
        """How far apart two places are that were found independently, in standard deviations."""
        apart = self.array_nm - other.array_nm
        return float(np.sqrt(apart @ np.linalg.solve(self.matrix_nm2 + other.matrix_nm2, apart)))
