"""The regression behind a path: what a crystal is expected to do, and what follows from snapshots that were believed.

All unknowns are Gaussian and act linearly, so places at any angles have a covariance that is known beforehand, and the
places that were seen tell those that were not. Immutable: one more snapshot is another `Regression`.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from protocols.tracking.place import Array, Place


@dataclass(frozen=True, slots=True)
class PathPrior:
    """What is expected before anything is seen: standard deviations.

    place_nm: of the axis, and of the crystal along it, from the middle of the aperture. across_nm, height_nm: of the
    crystal from the axis, at no tilt. runout_nm, and runout_deg over which it changes. slack_nm: taken up within some
    slack_deg after the first snapshot. drift_nm_s. walk_nm: after one degree. jump_nm: of a jump, once there was one.
    effect: of each number of the matrix by which corrections act, of which 1 is as calibrated. All assumed: not less
    than the population of `drivers.simulated.crystalmotion`, whose docstring names the sources.
    """

    place_nm: float = 2000.0
    across_nm: float = 2000.0
    height_nm: float = 2000.0
    runout_nm: float = 200.0
    runout_deg: float = 12.0
    slack_nm: float = 250.0
    slack_deg: float = 1.5
    drift_nm_s: float = 1.0
    walk_nm: float = 8.0
    jump_nm: float = 1000.0
    effect: float = 0.5


OTHERWISE = {
    "the wrong way": (-1.0, 0.0, 0.0, -1.0),
    "not at all": (0.0, 0.0, 0.0, 0.0),
    "the wrong way along x": (-1.0, 0.0, 0.0, 1.0),
    "the wrong way along y": (1.0, 0.0, 0.0, -1.0),
}
"""Effects that corrections have where a sign is wrong, or a part does not answer."""
NEAR = 0.25
"""Standard deviation of each number of an effect about what it is taken for, when these are compared."""
MUCH_BETTER = 9.0
"""By so much less chi^2: odds of 90 at one look. What is taken for wrong is tried once more before it is believed."""


@dataclass(frozen=True, slots=True)
class Sight:
    """One snapshot: at which angle, when, after which corrections (as meant), and where the crystal was seen, with what
    is left when the usual place at this angle is taken away.
    """

    angle_deg: float
    t_s: float
    corrected_nm: tuple[float, float]
    place: Place
    rest_nm: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Effect:
    """What corrections do. matrix: (2, 2) from how far they were meant to move the crystal to how far they do.
    covariance: (4, 4), of its numbers by rows. likelier: in words, which other effect explains best what was seen,
    empty where the calibration does; by: so much less its chi^2 is.
    """

    matrix: Array
    covariance: Array
    likelier: str = ""
    by: float = 0.0

    @property
    def otherwise(self) -> str:
        """The other effect, where it explains what was seen so much better that chance would not."""
        return self.likelier if self.by > MUCH_BETTER else ""

    def along(self, x_nm: float, y_nm: float) -> tuple[float, float]:
        """How many times as far as meant a correction in this direction goes along it, and the sigma of that."""
        return self._strength(np.array([x_nm, y_nm]) / math.hypot(x_nm, y_nm))

    def extremes(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """The same for the direction in which it is least, and for that in which it is most."""
        directions = np.linalg.eigh((self.matrix + self.matrix.T) / 2)[1]
        return self._strength(directions[:, 0]), self._strength(directions[:, 1])

    def _strength(self, direction: Array) -> tuple[float, float]:
        along = np.outer(direction, direction).ravel()
        sigma = math.sqrt(max(float(along @ self.covariance @ along), 0.0))
        return float(along @ self.matrix.ravel()), sigma


@dataclass(frozen=True, eq=False)
class Regression:
    """sights: the snapshots that were believed. jumps_s: when the crystal jumped."""

    prior: PathPrior
    sights: tuple[Sight, ...] = ()
    jumps_s: tuple[float, ...] = ()

    def place(self, angle_deg: float, t_s: float, corrected_nm: tuple[float, float]) -> Place:
        """How far from its usual place the crystal will be seen."""
        asked = (Sight(angle_deg, t_s, corrected_nm, Place.even(0.0, 0.0, 0.0)),)
        mean = np.array(corrected_nm)
        own = self._shared(asked, asked)
        if self.sights:
            factor, weights = self._learned
            shared = self._shared(asked, self.sights)
            mean = mean + shared @ weights
            solved = np.linalg.solve(factor, shared.T)
            own = own - solved.T @ solved
        return Place.of(mean, own)

    def height_nm(self, angle_deg: float) -> float:
        """How far above its usual height the crystal lies over the tilt axis, along the beam."""
        if not self.sights:
            return 0.0
        tilt, tilts = math.radians(angle_deg), np.radians([each.angle_deg for each in self.sights])
        shared = self.prior.across_nm**2 * math.sin(tilt) * np.cos(tilts)
        shared -= self.prior.height_nm**2 * math.cos(tilt) * np.sin(tilts)
        return float(shared @ self._learned[1].reshape(-1, 2)[:, 1])

    def effect(self) -> Effect:
        """What corrections do, as far as it was seen."""
        covariance = self.prior.effect**2 * np.eye(4)
        mean = np.eye(2).ravel()
        if self.sights:
            factor, weights = self._learned
            moves = np.array([each.corrected_nm for each in self.sights])
            shared = np.zeros((2, 2, len(moves), 2))  # row and column of the matrix, snapshot, its x and y
            for row in range(2):
                shared[row, :, :, row] = self.prior.effect**2 * moves.T
            flat = shared.reshape(4, -1)
            mean = mean + flat @ weights
            solved = np.linalg.solve(factor, flat.T)
            covariance = covariance - solved.T @ solved
        return Effect(mean.reshape(2, 2), covariance, *self._likelier())

    def _likelier(self) -> tuple[str, float]:
        """See `Effect.likelier`: each of `OTHERWISE` against the calibration, both with what leaves a fifth open."""
        moves = np.array([each.corrected_nm for each in self.sights])
        if not moves.any():
            return "", 0.0
        factor = np.linalg.cholesky(replace(self, prior=replace(self.prior, effect=NEAR)).whole())
        rest = np.array([each.rest_nm for each in self.sights])

        def chi2(effect: Array) -> float:
            off = np.linalg.solve(factor, (rest - moves @ effect.T).ravel())
            return float(off @ off)

        best = {words: chi2(np.reshape(effect, (2, 2))) for words, effect in OTHERWISE.items()}
        words = min(best, key=best.__getitem__)
        by = chi2(np.eye(2)) - best[words]
        return (words, by) if by > 0.0 else ("", 0.0)

    def whole(self) -> Array:
        """(2n, 2n) covariance of all that was seen."""
        whole = self._shared(self.sights, self.sights)
        for k, sight in enumerate(self.sights):
            whole[2 * k : 2 * k + 2, 2 * k : 2 * k + 2] += sight.place.matrix_nm2
        return whole

    @cached_property
    def _learned(self) -> tuple[Array, Array]:
        """Cholesky factor (2n, 2n) of the covariance of all that was seen, and (2n,) its solution."""
        rest = np.array([each.rest_nm for each in self.sights]) - [each.corrected_nm for each in self.sights]
        factor = np.linalg.cholesky(self.whole())
        weights = np.linalg.solve(factor.T, np.linalg.solve(factor, rest.ravel()))
        return np.asarray(factor, np.float64), np.asarray(weights, np.float64)

    def _shared(self, ones: tuple[Sight, ...], others: tuple[Sight, ...]) -> Array:
        """(2n, 2m) covariances of places, as the prior has them: x, y, x, y, ..."""
        prior = self.prior
        a, b = (np.array([each.angle_deg for each in sights]) for sights in (ones, others))
        t, u = (np.array([each.t_s for each in sights]) for sights in (ones, others))
        m, n = (np.array([each.corrected_nm for each in sights]) for sights in (ones, others))
        apart = np.abs(a[:, None] - b[None, :])
        origin = self.sights[0].angle_deg if self.sights else float(b[0])
        both = prior.place_nm**2 + prior.drift_nm_s**2 * np.outer(t, u)
        both += prior.runout_nm**2 * _smooth(apart / prior.runout_deg)
        both += prior.walk_nm**2 * 0.5 * (np.abs(a - origin)[:, None] + np.abs(b - origin)[None, :] - apart)
        slack, left = (np.exp(-np.abs(angles - origin) / prior.slack_deg) for angles in (a, b))
        both += prior.slack_nm**2 * np.outer(slack, left)
        for jump_s in self.jumps_s:
            both += prior.jump_nm**2 * np.outer(t >= jump_s, u >= jump_s)
        both += prior.effect**2 * (m @ n.T)
        tilt, other = np.radians(a), np.radians(b)
        turned = prior.across_nm**2 * np.outer(np.cos(tilt), np.cos(other))
        turned += prior.height_nm**2 * np.outer(np.sin(tilt), np.sin(other))
        whole = np.zeros((len(ones), 2, len(others), 2))
        whole[:, 0, :, 0] = both
        whole[:, 1, :, 1] = both + turned
        return whole.reshape(2 * len(ones), 2 * len(others))


def _smooth(apart: Array) -> Array:
    """Correlation of a smooth curve with itself (Matern, 5/2)."""
    way = math.sqrt(5.0) * apart
    return np.asarray((1.0 + way + way**2 / 3.0) * np.exp(-way))
