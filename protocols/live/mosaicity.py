"""How wide a crystal's reflections are in angle: a value, or an upper limit where they are narrower than frames tell.

Of a reflection the standard deviation of its frames' angles is seen. One much narrower than a frame is in one frame
or, at a border, in two; what is more than that is its width. Meant is the standard deviation of the blocks' directions,
with the crystal's finite size in it: as if all came of blocks.
"""

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.lattice.rotationfit import RotationFit
from protocols.spots.joining import Reflections

Array = NDArray[np.float64]

STRONG = 15.0
"""Intensity over its sigma of a reflection whose frames next to it hide little."""
FEWEST = 15
QUICK = 0.7
"""Of its distance from the origin, by which a point moves per radian: slower ones are wide for another reason."""
TWO_FRAMES = 0.3
"""Largest variance, in frames, of a narrow reflection on the border of two; none of these is left out."""
WIDEST_DEG, STEPS = 2.0, 401
STEP_DEG = WIDEST_DEG / (STEPS - 1)
EXP_IS_ZERO = 750.0
"""exp(-x) of so much is 0: what comes after it in a sum is left out."""


@dataclass(frozen=True, slots=True)
class Mosaicity:
    """In degrees. value: None where only the limit (2 sigma) is told. sigma: of the value."""

    value_deg: float | None
    sigma_deg: float | None
    limit_deg: float


def mosaicity(reflections: Reflections, fit: RotationFit, frame_deg: float) -> Mosaicity | None:
    """From the reflections (n,) that a fit used; None where too few tell it."""
    geometry = fit.geometry
    lab = geometry.lab(reflections.fast_px, reflections.slow_px)
    length = np.linalg.norm(lab, axis=1)
    axis = geometry.axis
    moving = np.abs(axis[0] * lab[:, 1] - axis[1] * lab[:, 0])
    which = fit.used & ~reflections.cut & (reflections.intensity > STRONG * reflections.intensity_sigma)
    which &= moving > QUICK * length
    if which.sum() < FEWEST:
        return None
    times = (length / moving)[which] / frame_deg
    seen = (reflections.spread_deg[which] / frame_deg) ** 2
    limit = max(TWO_FRAMES, float(np.quantile(seen, 0.95)))  # wider ones are two reflections in one
    seen, times = seen[seen <= limit], times[seen <= limit]
    expected = _Expected(times)
    error = float(seen.std() / np.sqrt(len(seen)))
    value, low, high, limit_deg = (expected.width_deg(float(seen.mean()) + by * error) for by in (0, -1, 1, 2))
    sigma = max((high - low) / 2, 0.01 * value)
    if seen.mean() - 2 * error <= expected.at(0) or value < 2 * sigma:
        return Mosaicity(None, None, limit_deg)
    return Mosaicity(value, sigma, limit_deg)


class _Expected:
    """The mean variance of passages by the width of the reflections, which it grows with; reckoned where it is asked.

    times: (n,) how many frames a passage takes for each degree of width.
    """

    def __init__(self, times: Array) -> None:
        self._times = times
        self._known: dict[int, float] = {}

    def at(self, step: int) -> float:
        """Of a width of so many STEP_DEG."""
        if step not in self._known:
            self._known[step] = float(_variance(step * STEP_DEG * self._times).mean())
        return self._known[step]

    def width_deg(self, variance: float) -> float:
        """Of which width that is expected, between two steps; 0 and WIDEST_DEG at most."""
        high = bisect_left(range(STEPS), variance, key=self.at)
        if high in (0, STEPS):
            return 0.0 if high == 0 else WIDEST_DEG
        low = high - 1
        return STEP_DEG * (low + (variance - self.at(low)) / (self.at(high) - self.at(low)))


def _variance(width: Array) -> Array:
    """Of a Gaussian passage of (n,) widths in frames, anywhere against the frames: of the frames' numbers."""
    most = EXP_IS_ZERO**0.5 / (2 * np.pi * max(float(width.min()), 1e-3))
    order = np.arange(1, min(20, int(most) + 2), dtype=np.float64)[:, None]
    error = (np.exp(-((2 * np.pi * order * width) ** 2)) / (2 * np.pi**2 * order**2)).sum(axis=0)
    return np.asarray(width**2 + 1 / 12 - error)
