"""The part of a picture around a disc, of fewer pixels where it has many: hundreds of them lie in memory at once."""

import math
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from protocols.calibrate.disc.discfit import Disc

Array = NDArray[np.float64]

REACH = 1.4
"""Of the disc's radius: so far around its middle pictures are kept, for the level outside belongs to the fit."""
AROUND_PX = 8.0
MOST_PX = 160
"""A side of what is kept: a disc of so many pixels is fitted to hundredths of them, a silhouette needs few counts of a
pixel, and 1600 pictures take 160 MB."""


@dataclass(frozen=True, slots=True)
class Window:
    """fast_px, slow_px: its first pixel on the camera. size_px: (rows, columns) of it, in pixels of the camera, a whole
    number of `times`, as many of which become one along each axis.
    """

    fast_px: int
    slow_px: int
    size_px: tuple[int, int]
    times: int = 1

    @classmethod
    def around(cls, disc: Disc, shape: tuple[int, int]) -> Self:
        """Around a disc on a camera of (rows, columns)."""
        reach = REACH * disc.radius_px + AROUND_PX
        left, right = max(0, math.floor(disc.fast_px - reach)), min(shape[1], math.ceil(disc.fast_px + reach))
        top, bottom = max(0, math.floor(disc.slow_px - reach)), min(shape[0], math.ceil(disc.slow_px + reach))
        return cls._of(left, top, (bottom - top, right - left))

    @classmethod
    def whole(cls, shape: tuple[int, int]) -> Self:
        """All of a camera of (rows, columns), for pictures without a disc."""
        return cls._of(0, 0, shape)

    @classmethod
    def _of(cls, fast_px: int, slow_px: int, size_px: tuple[int, int]) -> Self:
        times = max(1, math.ceil(max(size_px) / MOST_PX))
        rows, columns = (number // times * times for number in size_px)
        return cls(fast_px, slow_px, (rows, columns), times)

    def cut(self, picture: Array) -> NDArray[np.float32]:
        """(rows, columns) of what is kept, counts of a pixel of the camera."""
        rows, columns = self.size_px
        part = picture[self.slow_px : self.slow_px + rows, self.fast_px : self.fast_px + columns]
        parts = part.reshape(rows // self.times, self.times, columns // self.times, self.times)
        return np.asarray(parts.mean(axis=(1, 3)), np.float32)

    def on_camera(self, places_px: Array) -> Array:
        """(..., 2) fast and slow on the camera of places in what is kept."""
        return np.asarray(places_px * self.times + (self.fast_px, self.slow_px))

    def disc_on_camera(self, disc: Disc) -> Disc:
        """The same of a disc."""
        fast, slow = self.on_camera(np.array([disc.fast_px, disc.slow_px])).tolist()
        return replace(
            disc,
            fast_px=fast,
            slow_px=slow,
            radius_px=disc.radius_px * self.times,
            sigma_px=disc.sigma_px * self.times,
            soft_px=disc.soft_px * self.times,
        )

    def distance_px(self, fast_px: float, slow_px: float) -> Array:
        """How far from a place of the camera every pixel of what is kept is."""
        rows, columns = (number // self.times for number in self.size_px)
        fast = self.fast_px + self.times * (np.arange(columns) + 0.5)
        slow = self.slow_px + self.times * (np.arange(rows) + 0.5)
        return np.asarray(np.hypot(fast[None, :] - fast_px, slow[:, None] - slow_px))

    @property
    def extent_px(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top of what is kept in a drawing whose pixel i reaches from i - 0.5 to i + 0.5."""
        rows, columns = self.size_px
        left, top = self.fast_px - 0.5, self.slow_px - 0.5
        return left, left + columns, top + rows, top
