"""How well a crystal's path is known ahead, and what corrections make of it; on the simulated population of holders.

.venv/bin/python -m benchmarks.trackingpaths --holders 200        # some minutes of one core

Prediction: one snapshot interval (2.31 deg, 5.12 s) ahead, beside a smoothing spline, a Kalman filter of constant
velocity and the last place. Corrections: by a right matrix and by wrong ones. Places are found with 12 nm (sigma).
"""

import argparse
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import UnivariateSpline

from drivers.simulated.crystalmotion import MotionSettings, moved_nm
from protocols.tracking.actuator import Actuator
from protocols.tracking.correction import CorrectionLimits, Corrector, Trust
from protocols.tracking.path import CrystalPath
from protocols.tracking.place import Place

Array = NDArray[np.float64]

FIRST_DEG, STEP_DEG, STEP_S, SNAPSHOTS = -60.0, 2.314, 5.12, 53
FOUND_NM = 12.0
LEARNED = 4
"""From so many snapshots on predictions are judged."""
LIMITS = (0.0, 65535.0)
IMAGE_SHIFT = Actuator(
    "image shift",
    nm=(0.8, 0.3, -0.25, 0.9),
    px=(0.01, 0.002, -0.001, 0.012),
    back_px=(0.05, 0.01, -0.01, 0.06),
    limits=(LIMITS, LIMITS),
    back_limits=LIMITS,
    whole_numbers=True,
)
NEUTRAL = 32768.0


def turned(degrees: float) -> Array:
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[cosine, -sine], [sine, cosine]])


WRONG = {
    "right": np.eye(2),
    "0.8 times, turned by 15 deg": 0.8 * turned(15),
    "1.2 times, turned by -15 deg": 1.2 * turned(-15),
    "sign flipped": -np.eye(2),
    "mirrored": np.diag([1.0, -1.0]),
    "no effect": np.zeros((2, 2)),
}


def where_nm(motion: MotionSettings, step: float) -> Array:
    """The crystal after so many snapshot intervals."""
    return np.array(moved_nm(motion, FIRST_DEG + STEP_DEG * step, FIRST_DEG, STEP_S * step))


def found(seed: int, motion: MotionSettings) -> tuple[Array, Array]:
    """(n, 2) where it was, and where it was found."""
    true = np.array([where_nm(motion, k) for k in range(SNAPSHOTS)])
    return true, true + FOUND_NM * np.random.default_rng([seed, 12]).standard_normal(true.shape)


def by_path(seen: Array) -> Array:
    """(n, 2) predicted before each was seen."""
    path, told = CrystalPath(), []
    for k, at in enumerate(seen):
        told.append(path.predict(FIRST_DEG + STEP_DEG * k, STEP_S * k).array_nm)
        path.see(FIRST_DEG + STEP_DEG * k, STEP_S * k, Place.even(float(at[0]), float(at[1]), FOUND_NM))
    return np.array(told)


def by_spline(seen: Array) -> Array:
    told = [seen[max(k - 1, 0)] for k in range(LEARNED)]
    for k in range(LEARNED, len(seen)):
        spline = [UnivariateSpline(np.arange(k), seen[:k, axis], np.full(k, 1 / FOUND_NM), k=3) for axis in (0, 1)]
        told.append(np.array([float(each(np.array([k]))[0]) for each in spline]))
    return np.array(told)


def by_velocity(seen: Array, pull_nm: float = 15.0) -> Array:
    """A Kalman filter of place and velocity. pull_nm: by which the velocity changes from step to step."""
    step, told = np.array([[1.0, 1.0], [0.0, 1.0]]), []
    state, covariance = np.stack([seen[0], np.zeros(2)]), np.diag([FOUND_NM**2, 60.0**2])
    for at in seen:
        state, covariance = step @ state, step @ covariance @ step.T + pull_nm**2 * np.array([[0.25, 0.5], [0.5, 1.0]])
        told.append(state[0].copy())
        gain = covariance[:, 0] / (covariance[0, 0] + FOUND_NM**2)
        state = state + np.outer(gain, at - state[0])
        covariance = covariance - np.outer(gain, covariance[0])
    return np.array(told)


def by_last(seen: Array) -> Array:
    return np.concatenate([seen[:1], seen[:-1]])


def corrected(seed: int, motion: MotionSettings, wrong: Array) -> tuple[Array, Array, Trust]:
    """Distances from the middle between snapshots, as long as something was corrected, and how far it would have been
    without; what became of the calibration. wrong: from where corrections should move the crystal to where they do.
    """
    rng = np.random.default_rng([seed, 13])
    path, corrector = CrystalPath(), Corrector(IMAGE_SHIFT, CorrectionLimits(), (NEUTRAL, NEUTRAL), (NEUTRAL, NEUTRAL))
    true = wrong @ np.reshape(IMAGE_SHIFT.nm, (2, 2))
    moved, away, alone = np.zeros(2), [], []
    for k in range(SNAPSHOTS):
        angle_deg, t_s = FIRST_DEG + STEP_DEG * k, STEP_S * k
        at = where_nm(motion, k) + moved + FOUND_NM * rng.standard_normal(2)
        path.see(angle_deg, t_s, Place.even(float(at[0]), float(at[1]), FOUND_NM))
        effect, predicted = path.effect(), path.predict(angle_deg + STEP_DEG / 2, t_s + STEP_S / 2)
        corrector.judge(effect, predicted)
        if corrector.trust is Trust.STOPPED:
            break
        correction = corrector.next(predicted, effect)
        if correction is not None:
            corrector.made(correction)
            path.correct(*correction.moves_nm)
            moved = true @ (np.array(correction.setting) - NEUTRAL)
        for part in np.linspace(0.1, 1.0, 9):
            alone.append(float(np.hypot(*where_nm(motion, k + part))))
            away.append(float(np.hypot(*(where_nm(motion, k + part) + moved))))
    return np.array(away), np.array(alone), corrector.trust


def percentiles(values: Array) -> str:
    return " | ".join(f"{value:.0f}" for value in np.percentile(values, (50, 95, 99)))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--holders", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--worse", type=float, default=1.0)
    asked = parser.parse_args()
    seeds = range(100_000 * asked.seed, 100_000 * asked.seed + asked.holders)
    motions = {seed: MotionSettings.drawn(seed, asked.worse) for seed in seeds}
    predictors: dict[str, Callable[[Array], Array]] = {
        "path": by_path, "smoothing spline": by_spline, "constant velocity": by_velocity, "last place": by_last,
    }  # fmt: skip
    print("| predicted by | error nm: median | 95 % | 99 % |\n|---|---|---|---|")
    for name, predictor in predictors.items():
        errors = []
        for seed, motion in motions.items():
            true, seen = found(seed, motion)
            errors.append(np.hypot(*(predictor(seen) - true)[LEARNED:].T))
        print(f"| {name} | {percentiles(np.concatenate(errors))} |")
    print("\n| matrix | off the middle nm: median | 95 % | 99 % | without corrections | stopped |")
    print("|---|---|---|---|---|---|")
    for name, wrong in WRONG.items():
        runs = [corrected(seed, motion, wrong) for seed, motion in motions.items()]
        away, alone = np.concatenate([run[0] for run in runs]), np.concatenate([run[1] for run in runs])
        stopped = sum(run[2] is Trust.STOPPED for run in runs)
        print(
            f"| {name} | {percentiles(away)} | {percentiles(alone).replace(' | ', ' / ')} | {stopped} of {len(runs)} |"
        )


if __name__ == "__main__":
    main()
