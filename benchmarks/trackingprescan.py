"""What looks before the rotation, and a path that is given, are worth: how far crystals are from the middle of the
aperture, on the simulated population of holders.

.venv/bin/python -m benchmarks.trackingprescan --holders 100 --seed 21        # some minutes of one core

As in `benchmarks.trackingpaths` places are found to 12 nm (sigma), here within 650 nm of the middle alone; a crystal
that is not found three times in a row is lost, and counted until then. The angles of the looks are those of a plan.
"""

import argparse

import numpy as np
from numpy.typing import NDArray

from benchmarks.trackingpaths import FOUND_NM, IMAGE_SHIFT, NEUTRAL, STEP_DEG, STEP_S, WRONG
from drivers.facts import Facts
from drivers.simulated.crystalmotion import MotionSettings, moved_nm
from engine.run.planbasis import declared_basis
from protocols.cred.experiment import CRED
from protocols.cred.givenpath import GivenPath
from protocols.cred.plan import CredPlan
from protocols.cred.prescanplan import Look
from protocols.cred.seencrystal import LOST_AFTER
from protocols.cred.tracked import MOST_STEPS
from protocols.tracking.actuator import Correction
from protocols.tracking.correction import CorrectionLimits, Corrector, Trust
from protocols.tracking.path import CrystalPath, PathPoint, Seen
from protocols.tracking.place import Place

Array = NDArray[np.float64]

START_DEG, RANGE_DEG, RUN_IN_DEG = -50.0, 100.0, 0.5
EDGE_NM = 650.0
TRIED_NM = 150.0
BETWEEN_LOOKS_S, BACK_S = 3.0, 12.0
PARTS = np.linspace(0.1, 1.0, 9)


class Followed:
    """A crystal, its path and corrections; as `protocols.cred.tracked` without pictures."""

    def __init__(self, seed: int, motion: MotionSettings, wrong: Array, path: CrystalPath) -> None:
        self._rng, self._motion, self.path = np.random.default_rng([seed, 13]), motion, path
        self._corrector = Corrector(IMAGE_SHIFT, CorrectionLimits(), (NEUTRAL, NEUTRAL), (NEUTRAL, NEUTRAL))
        self._wrong = wrong
        self._moved = np.zeros(2)
        self.missed = 0
        self.seen: list[tuple[float, float]] = []

    def at(self, angle_deg: float, t_s: float) -> Array:
        """Where it is seen, with the corrections made."""
        return np.array(moved_nm(self._motion, angle_deg, START_DEG, t_s)) + self._moved

    def look(self, angle_deg: float, t_s: float, ahead: tuple[float, float] | None, steps: int = 1) -> None:
        """Look, learn, and correct for what is ahead (angle in deg, time in s)."""
        at = self.at(angle_deg, t_s)
        self.missed += 1
        if np.hypot(*at) > EDGE_NM:
            if self.missed < LOST_AFTER and self._corrector.trust is Trust.RIGHT:
                self.correct(ahead, steps)
            return
        x_nm, y_nm = at + FOUND_NM * self._rng.standard_normal(2)
        if self.path.see(angle_deg, t_s, Place.even(float(x_nm), float(y_nm), FOUND_NM)) is not Seen.DOUBTED:
            self.missed = 0
            self.seen.append((angle_deg, t_s))
            self.correct(ahead, steps)

    def correct(self, ahead: tuple[float, float] | None, steps: int = 1) -> None:
        """For what is ahead; nothing where that is None."""
        if ahead is None:
            return
        effect = self.path.effect()
        self._corrector.judge(effect, self.path.predict(*ahead))
        for _ in range(steps):
            if not self._make(self._corrector.next(self.path.predict(*ahead), effect)):
                return
            if self._corrector.trust is not Trust.RIGHT:
                return

    def try_shift(self, axis: int) -> None:
        """See `TrackedCrystal.try_shift`."""
        moves = [0.0, 0.0]
        moves[axis] = TRIED_NM
        self._make(self._corrector.trial((moves[0], moves[1])))

    def _make(self, correction: Correction | None) -> bool:
        if correction is None:
            return False
        self._corrector.made(correction)
        self.path.correct(*correction.moves_nm)
        self._moved = self._wrong @ IMAGE_SHIFT.moves_nm(np.array(correction.setting) - NEUTRAL)
        return True


def looks_of(images: int) -> tuple[Look, ...]:
    """Those of a plan."""
    plan = CredPlan(start_deg=START_DEG, range_deg=RANGE_DEG, tracking="correct", prescan_images=images)
    facts = declared_basis("simulated", CRED.device_options(plan)).facts
    if not isinstance(facts, Facts):
        raise TypeError("not the facts of a microscope")
    return CRED.prepare(plan, facts).slot_plan.prescan.looks


def rotated(crystal: Followed, looks: tuple[Look, ...]) -> tuple[Array, Array, bool]:
    """(n,) how far the stage had turned, (n,) how far off the crystal was, until it was lost; whether it was."""
    t_s, first_frames = 0.0, START_DEG + RUN_IN_DEG + STEP_DEG / 2
    for k, look in enumerate(looks):
        t_s += BETWEEN_LOOKS_S
        angle_deg = look.angle_deg if look.angle_deg == START_DEG or k + 1 == len(looks) else looks[k + 1].angle_deg
        ahead = None if look.tries is not None else (angle_deg, t_s + BETWEEN_LOOKS_S)
        crystal.look(look.angle_deg, t_s, ahead, MOST_STEPS)
        if look.tries is not None:
            crystal.try_shift(look.tries)
    t_s += BACK_S
    crystal.missed = 0
    crystal.correct((first_frames, t_s + STEP_S / 2), MOST_STEPS)
    turned: list[float] = []
    away: list[float] = []
    for k in range(int(RANGE_DEG / STEP_DEG)):
        angle_deg, t_s = START_DEG + RUN_IN_DEG + STEP_DEG * k, t_s + STEP_S
        crystal.look(angle_deg, t_s, (angle_deg + STEP_DEG / 2, t_s + STEP_S / 2))
        if crystal.missed >= LOST_AFTER:
            return np.array(turned), np.array(away), True
        turned += [STEP_DEG * (k + part) for part in PARTS]
        away += [float(np.hypot(*crystal.at(angle_deg + STEP_DEG * part, t_s + STEP_S * part))) for part in PARTS]
    return np.array(turned), np.array(away), False


def path_of(crystal: Followed) -> CrystalPath:
    """As another run is given it."""
    points: dict[float, PathPoint] = {angle: crystal.path.point(angle, t_s) for angle, t_s in crystal.seen}
    rows = tuple((a, p.x_nm, p.y_nm, p.z_nm, p.sigma_nm) for a, p in sorted(points.items()))
    given = GivenPath(file="earlier.csv", rows=rows)
    return CrystalPath(given.prior, given.points)


def told(name: str, runs: list[tuple[Array, Array, bool]]) -> str:
    turned, away = (np.concatenate([run[k] for run in runs]) for k in (0, 1))
    first, whole = (np.percentile(each, (50, 95)) for each in (away[turned < 30.0], away))
    early = sum(run[2] and (not len(run[0]) or run[0][-1] < 30.0) for run in runs)
    numbers = " | ".join(f"{value:.0f}" for value in (*first, *whole))
    return f"| {name} | {numbers} | {early} | {sum(run[2] for run in runs)} of {len(runs)} |"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--holders", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--worse", type=float, default=1.0)
    parser.add_argument("--matrix", choices=list(WRONG), default="right")
    asked = parser.parse_args()
    seeds = range(100_000 * asked.seed, 100_000 * asked.seed + asked.holders)
    motions = {seed: MotionSettings.drawn(seed, asked.worse) for seed in seeds}
    wrong = WRONG[asked.matrix]
    print("| known beforehand | first 30 deg, nm: median | 95 % | all, nm: median | 95 % | lost within 30 deg | lost |")
    print("|---|---|---|---|---|---|---|")
    for images in (0, 1, 2, 3, 5, 8):
        looks = looks_of(images)
        runs = [rotated(Followed(seed, motion, wrong, CrystalPath()), looks) for seed, motion in motions.items()]
        print(told(f"{images} images, {len(looks)} looks" if looks else "nothing", runs), flush=True)
    for images in (0, 1):
        again = []
        for seed, motion in motions.items():
            before = Followed(seed, motion, wrong, CrystalPath())
            if not rotated(before, looks_of(5))[2]:  # else its path does not cover the rotation and is refused
                again.append(rotated(Followed(seed + 7, motion, wrong, path_of(before)), looks_of(images)))
        print(told("the path of an earlier run" + (", and 1 image" if images else ""), again), flush=True)


if __name__ == "__main__":
    main()
