"""What measured rotations tell of a goniometer: how fast it turns against what it is told, its run-in, its backlash.
Pure.

Of rotations there and back (`drivers.check.rotation`), of which all but the first begin against the direction of the
one before. The model, with `share` the true over the asked speed:

    time from the command's return = span / (share * asked) + run_in + backlash / (share * asked)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, least_squares

from drivers.calibration.fewvalues import stated
from engine.errors import DataError

Array = NDArray[np.float64]

FEWEST = 6
SPREAD_SHARE = 0.3
"""Of the speeds: less tells no backlash apart from the run-in."""
CLIP_SIGMAS = 4.0
LEAST_DEG = 1e-4


@dataclass(frozen=True, slots=True)
class Turn:
    """One rotation, as it was measured. late_s: from the command's return until the target was reached, less what the
    span takes at the measured speed. speed_deg_s, sigma_deg_s: that.
    """

    asked_deg_s: float
    span_deg: float
    speed_deg_s: float
    sigma_deg_s: float
    late_s: float


@dataclass(frozen=True, slots=True)
class RotationFigures:
    """Each with its uncertainty. backlash_deg: None where the speeds are too alike to tell it. late_s: what the model
    says for each of the turns that were fitted.
    """

    share: tuple[float, float]
    run_in_s: tuple[float, float]
    backlash_deg: tuple[float, float] | None
    scatter_deg: float


def fit_turns(turns: Sequence[Turn]) -> RotationFigures:
    """Fit rotations. Raises DataError for fewer than six, and where the stage did not turn."""
    if len(turns) < FEWEST:
        raise DataError(
            f"rotation: {len(turns)} rotations are too few, of which three and more readings are known; {FEWEST} are "
            "needed. Turn farther, or more slowly"
        )
    shares = np.array([turn.speed_deg_s / turn.asked_deg_s for turn in turns])
    sigmas = np.array([max(turn.sigma_deg_s / turn.asked_deg_s, 1e-6) for turn in turns])
    share = _weighted(shares, sigmas)
    speed = np.array([turn.speed_deg_s for turn in turns])
    # In degrees, for the noise of the readings is in degrees: late * speed = run_in * speed + backlash.
    late_deg = np.array([turn.late_s for turn in turns]) * speed
    tells = float(np.ptp(1 / speed)) > SPREAD_SHARE * float((1 / speed).mean())
    design = np.column_stack([speed, np.ones(len(turns))] if tells else [speed])
    start = np.linalg.lstsq(design, late_deg, rcond=None)[0]
    scale_deg = max(1.4826 * float(np.median(np.abs(design @ start - late_deg))), LEAST_DEG)

    def missing(p: Array) -> Array:
        return np.asarray(design @ p - late_deg)

    fit = least_squares(missing, start, loss="soft_l1", f_scale=scale_deg)
    left = missing(fit.x)
    scale_deg = max(1.4826 * float(np.median(np.abs(left))), LEAST_DEG)
    # By how much a turn is missed because its speed is not known better: the more the farther and the faster it goes.
    by_speed_deg = np.array([turn.sigma_deg_s * turn.span_deg for turn in turns]) / speed
    good = np.abs(left) < CLIP_SIGMAS * np.hypot(scale_deg, by_speed_deg)
    freedom = int(np.count_nonzero(good)) - design.shape[1]
    figures, covariance = _fitted(design[good], late_deg[good], by_speed_deg[good], freedom)
    left = design[good] @ figures - late_deg[good]
    scatter_deg = math.sqrt(float(left @ left) / max(freedom, 1))
    sigma = [stated(math.sqrt(covariance[k, k]), freedom) for k in range(len(figures))]
    backlash = (float(figures[1]), sigma[1]) if tells else None
    return RotationFigures(share, (float(figures[0]), sigma[0]), backlash, scatter_deg)


def _fitted(design: Array, seen: Array, known: Array, freedom: int) -> tuple[Array, Array]:
    """Parameters and their covariance. known: (n,) standard deviations; what all scatter by beside these (the reading
    from which a turn begins) is found from what is left.
    """

    def fit(more: float) -> tuple[Array, Array, float]:
        sigma = np.hypot(known, more)
        x, y = design / sigma[:, None], seen / sigma
        inverse = np.asarray(np.linalg.inv(x.T @ x), np.float64)
        figures = inverse @ x.T @ y
        return figures, inverse, float(np.sum((x @ figures - y) ** 2)) / max(freedom, 1)

    most = max(float(np.ptp(seen)), LEAST_DEG)
    if fit(LEAST_DEG)[2] <= 1.0:
        more = LEAST_DEG
    else:
        more = float(brentq(lambda more: fit(more)[2] - 1.0, LEAST_DEG, most)) if fit(most)[2] < 1.0 else most
    figures, covariance, _ = fit(more)
    return figures, covariance


def _weighted(values: Array, sigmas: Array) -> tuple[float, float]:
    """The weighted mean without what is far off, and its uncertainty: by the scatter where that is more."""
    middle = float(np.median(values))
    spread = max(1.4826 * float(np.median(np.abs(values - middle))), 1e-6)
    good = np.abs(values - middle) < CLIP_SIGMAS * np.maximum(spread, sigmas)
    weight = 1 / sigmas[good] ** 2
    mean = float(np.sum(weight * values[good]) / weight.sum())
    freedom = int(np.count_nonzero(good)) - 1
    chi2 = float(np.sum(weight * (values[good] - mean) ** 2)) / max(freedom, 1)
    return mean, stated(math.sqrt(max(chi2, 1.0) / float(weight.sum())), freedom)
