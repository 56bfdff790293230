"""Where the probe lies in the image for a setting of the beam shift, and the setting that brings it onto a crystal.

Known at first by the calibration of the beam shift; then by looks at the probe in the image, which correct it. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Pair = tuple[float, float]
Four = tuple[float, float, float, float]

LEAST_LOOKS = 4
"""So many looks tell a matrix and whether it fits; fewer tell a shift only."""
CLEAR = 1.5
"""A setting that falls is arrived at from so many lags below."""


@dataclass(frozen=True, slots=True)
class Aim:
    """px = at_px + matrix (units - at_units), along (fast, slow); matrix by rows, px per unit of the beam shift."""

    at_px: Pair
    at_units: Pair
    matrix: Four

    def units_for(self, px: Pair) -> Pair:
        """The setting that brings the probe there."""
        away = np.linalg.solve(self._two_by_two, np.subtract(px, self.at_px))
        return float(self.at_units[0] + away[0]), float(self.at_units[1] + away[1])

    def px_at(self, units: Pair) -> Pair:
        """Where the probe lies with a setting."""
        away = self._two_by_two @ np.subtract(units, self.at_units)
        return float(self.at_px[0] + away[0]), float(self.at_px[1] + away[1])

    def moved(self, by_px: Pair) -> "Aim":
        """The same beam, elsewhere."""
        return replace(self, at_px=(self.at_px[0] + by_px[0], self.at_px[1] + by_px[1]))

    @property
    def _two_by_two(self) -> Array:
        return np.reshape(np.array(self.matrix, np.float64), (2, 2))


@dataclass(frozen=True, slots=True)
class Corrected:
    """An aim that looks have corrected. moved_px: by how much the beam lay elsewhere than it was thought, at the
    settings of the looks, in the mean. off_share: by how much the matrix was wrong, None where it was not looked at.
    left_px: rms of what the correction leaves.
    """

    aim: Aim
    moved_px: Pair
    off_share: float | None
    left_px: float


def corrected(aim: Aim, looks: Sequence[tuple[Pair, Pair]]) -> Corrected:
    """By looks, each a setting in units and where the probe was seen in px, one or more."""
    units, seen = (np.array([look[k] for look in looks], np.float64) for k in (0, 1))
    expected = np.array([aim.px_at((float(x), float(y))) for x, y in units])
    mean = np.mean(seen - expected, axis=0)
    moved = float(mean[0]), float(mean[1])
    away = units - np.array(aim.at_units)
    if len(looks) < LEAST_LOOKS or np.linalg.matrix_rank(away - away.mean(axis=0)) < 2:
        left = seen - expected - mean
        return Corrected(aim.moved(moved), moved, None, _rms(left))
    design = np.column_stack([np.ones(len(away)), away])
    answer, *_ = np.linalg.lstsq(design, seen, rcond=None)
    new = answer[1:].T
    old = np.reshape(aim.matrix, (2, 2))
    off = float(np.linalg.norm(new - old) / np.linalg.norm(old))
    (a, b), (c, d) = new.tolist()
    at = float(answer[0, 0]), float(answer[0, 1])
    return Corrected(Aim(at, aim.at_units, (a, b, c, d)), moved, off, _rms(seen - design @ answer))


def settings_to(here: Pair, there: Pair, lag_units: float) -> tuple[Pair, ...]:
    """The settings to make, one after the other, so that both axes arrive from below where there is a lag.

    One where nothing falls, or nothing lags; else first one that lies below on the axes that fall.
    """
    if lag_units <= 0 or (there[0] >= here[0] and there[1] >= here[1]):
        return (there,)
    below = [t - CLEAR * lag_units if t < h else h for h, t in zip(here, there, strict=True)]
    return ((below[0], below[1]), there)


def _rms(left: Array) -> float:
    return float(np.sqrt(np.mean(np.sum(left**2, axis=1))))
