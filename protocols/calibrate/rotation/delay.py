"""How old a reading of the stage is, by what the camera saw while it turned there and back. Pure.

Towards higher angles a reading that is taken late says too much, towards lower ones too little; the crystal knows
better. Pictures of the two ways are most like each other where their readings differ by twice the speed times the
delay.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from drivers.calibration.fewvalues import of_values
from engine.errors import DataError

Array = NDArray[np.float64]

PARTS = 8
"""Of the range, each of which tells the delay by itself: their scatter is the uncertainty."""
WIDTH_DEG = 1.5
"""Pairs of pictures farther apart than this do not count."""
FEWEST = 20
BRIGHT_SIGMAS, BRIGHT_PX = 6.0, 12
LEAST_LIKE_SIGMAS = 5.0
FEWEST_PARTS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """One way. time_s: (n,) middle of each exposure. pictures: (n, rows, columns). read_s, read_deg: (m,) middle of
    each reading's call, and what it said.
    """

    time_s: Array
    pictures: Array
    read_s: Array
    read_deg: Array


@dataclass(frozen=True, slots=True, eq=False)
class Delay:
    """delay_s: from the middle of a reading's call until the instant at which it is true, with its uncertainty. speeds:
    deg/s of both ways. apart_deg, like: of the pairs, how far apart by their readings and how like. width_deg: of the
    peak.
    parts_s: what each part of the range says.
    """

    delay_s: tuple[float, float]
    speeds_deg_s: tuple[float, float]
    apart_deg: Array
    like: Array
    peak_deg: float
    width_deg: float
    parts_s: Array


def delay_of(there: Way, back: Way) -> Delay:
    """Compare two ways. Raises DataError where their pictures tell nothing."""
    (angle_a, speed_a), (angle_b, speed_b) = (_angles(way) for way in (there, back))
    seen = _what_changes(np.concatenate([there.pictures, back.pictures]))
    like = seen[: len(angle_a)] @ seen[len(angle_a) :].T
    apart = angle_a[:, None] - angle_b[None, :]
    near = np.abs(apart) < WIDTH_DEG
    peak_deg, width_deg = _peak(apart[near], like[near])
    middle = (angle_a[:, None] + angle_b[None, :]) / 2
    edges = np.linspace(middle[near].min(), middle[near].max(), PARTS + 1)
    turning = abs(speed_a) + abs(speed_b)
    parts = []
    for low, high in pairwise(edges):
        of_part = near & (middle >= low) & (middle < high)
        try:
            parts.append(_peak(apart[of_part], like[of_part], (peak_deg, width_deg))[0] / turning)
        except DataError:
            continue
    if len(parts) < FEWEST_PARTS:
        raise DataError("too little of the way shows reflections that come and go")
    mean_s, sigma_s = of_values(_agreeing(parts))
    return Delay((mean_s, sigma_s), (speed_a, speed_b), apart[near], like[near], peak_deg, width_deg, np.array(parts))


def _agreeing(values: Sequence[float]) -> list[float]:
    """Without a single one that is far off."""
    middle = float(np.median(values))
    spread = 1.4826 * float(np.median(np.abs(np.array(values) - middle)))
    return [value for value in values if abs(value - middle) <= 5 * max(spread, 1e-4)]


def _angles(way: Way) -> tuple[Array, float]:
    """The angle of each picture by a line through the readings, and the speed."""
    if len(way.time_s) < FEWEST:
        raise DataError(f"only {len(way.time_s)} pictures were taken on one way; {FEWEST} are needed. Turn farther")
    slope, offset = np.polyfit(way.read_s, way.read_deg, 1)
    left = way.read_deg - slope * way.read_s - offset
    good = np.abs(left) < 5 * max(1.4826 * float(np.median(np.abs(left))), 1e-4)
    slope, offset = np.polyfit(way.read_s[good], way.read_deg[good], 1)
    return np.asarray(slope * way.time_s + offset), float(slope)


def _what_changes(pictures: Array) -> Array:
    """(n, pixels) of the pixels that shine now and then, each without what it usually has, of unit scatter."""
    flat = pictures.reshape(len(pictures), -1)
    usual = np.median(flat, axis=0)
    noise = np.sqrt(np.maximum(usual, 1.0))
    bright = np.sort(flat - usual, axis=0)[-2] > BRIGHT_SIGMAS * 1.5 * noise
    if np.count_nonzero(bright) < BRIGHT_PX:
        raise DataError(
            "no reflections come and go while the stage turns. Is a crystal in the beam, and is diffraction in focus?"
        )
    # The root makes the scatter of counts the same for weak and strong ones.
    roots = np.sqrt(np.maximum(flat[:, bright], 0.0))
    changing = roots - np.median(roots, axis=0)
    return np.asarray(changing - changing.mean(axis=0))


def _peak(apart: Array, like: Array, start: tuple[float, float] | None = None) -> tuple[float, float]:
    """Where pairs are most like each other, and the width of that: a Gaussian on a level. Raises DataError for none."""
    bins = np.linspace(-WIDTH_DEG, WIDTH_DEG, 61)
    which = np.digitize(apart, bins)
    known = [k for k in range(1, len(bins)) if np.any(which == k)]
    if len(known) < FEWEST:
        raise DataError("too few pairs of pictures")
    means = np.array([like[which == k].mean() for k in known])
    at = np.array([apart[which == k].mean() for k in known])
    height = float(means.max() - np.median(means))
    first = (float(at[int(means.argmax())]), 0.2) if start is None else start

    def missing(p: Array) -> Array:
        return np.asarray(p[2] * np.exp(-((apart - p[0]) ** 2) / (2 * p[1] ** 2)) + p[3] - like)

    fit = least_squares(
        missing, [*first, height, float(np.median(means))], loss="soft_l1", x_scale=[0.1, 0.1, height, height],
        f_scale=max(height, 1e-9),
    )  # fmt: skip
    left = missing(fit.x)
    jacobian = np.asarray(fit.jac, np.float64)
    covariance = np.linalg.pinv(jacobian.T @ jacobian) * float(left @ left) / max(len(left) - 4, 1)
    if not fit.x[2] > LEAST_LIKE_SIGMAS * float(np.sqrt(covariance[2, 2])) or abs(fit.x[0]) > WIDTH_DEG:
        raise DataError("the pictures of the two ways are nowhere more like each other than elsewhere")
    return float(fit.x[0]), abs(float(fit.x[1]))
