"""The way of the crystal through the aperture while the stage turns: learned from snapshots, predicted for an angle.

What moves it is known but for its numbers: height error and distance from the tilt axis (y0 cos a - z0 sin a), an axis
beside the middle of the aperture, runout of the goniometer (smooth in the angle), slack taken up at the start, drift
(steady in time), small steps of no rule (a random walk along the angle), jumps, and the corrections that were made, of
which the effect is not known exactly. All of it is Gaussian and linear, so the answer is one regression over all snapshots: what a Kalman filter of
that state would answer, for any order of angles, so that images taken before the run teach it like those of the run.
"""

import math
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from protocols.tracking.place import Place

Array = NDArray[np.float64]


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


DOUBT_SIGMAS = 4.0
"""A snapshot that is this far off what was predicted is not believed, until another one says the same."""
MOST_DOUBTED = 3
"""After so many in a row it is the prediction that is wrong, whatever the crystal does."""
SMALLEST_SIGMA_NM = 3.0
"""No snapshot is believed to be better than this: outlines change while a crystal turns."""


class Seen(StrEnum):
    """What a snapshot was taken for."""

    FITS = "fits"
    DOUBTED = "doubted"
    """It does not fit, and nothing is learned from it."""
    JUMPED = "jumped"
    """It does not fit, nor did the one before it, and both agree: the crystal has jumped."""


@dataclass(frozen=True, slots=True)
class _Sight:
    """One snapshot: when, where, after which corrections."""

    angle_deg: float
    t_s: float
    corrected_nm: tuple[float, float]
    place: Place


@dataclass(frozen=True, slots=True)
class PathPoint:
    """The crystal itself at an angle, without what corrections did. z_nm: its height above the tilt axis, along the
    beam. sigma_nm: of x and y, along the direction in which they are known worst.
    """

    angle_deg: float
    x_nm: float
    y_nm: float
    z_nm: float
    sigma_nm: float


@dataclass(frozen=True, slots=True, eq=False)
class Effect:
    """matrix: (2, 2) from how far corrections were meant to move the crystal to how far they do. covariance: (4, 4), of
    its numbers by rows.
    """

    matrix: Array
    covariance: Array

    def along(self, x_nm: float, y_nm: float) -> tuple[float, float]:
        """How many times as far as meant a correction in this direction goes along it, and the sigma of that."""
        direction = np.array([x_nm, y_nm]) / math.hypot(x_nm, y_nm)
        return self._strength(direction)

    def extremes(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """The same for the direction in which it is least, and for that in which it is most."""
        directions = np.linalg.eigh((self.matrix + self.matrix.T) / 2)[1]
        return self._strength(directions[:, 0]), self._strength(directions[:, 1])

    def _strength(self, direction: Array) -> tuple[float, float]:
        along = np.outer(direction, direction).ravel()
        sigma = math.sqrt(max(float(along @ self.covariance @ along), 0.0))
        return float(along @ self.matrix.ravel()), sigma


class CrystalPath:
    """Learned by `see`, asked by `predict`. given: a path from an earlier look, ascending in its angles, about which
    this one is learned; outside of its angles it goes on as it ends.
    """

    def __init__(self, prior: PathPrior | None = None, given: tuple[PathPoint, ...] = ()) -> None:
        self.prior = prior or PathPrior()
        self._given = np.array([[point.angle_deg, point.x_nm, point.y_nm, point.z_nm] for point in given])
        self._sights: list[_Sight] = []
        self._doubted: list[_Sight] = []
        self._jumps_s: list[float] = []
        self._corrected = np.zeros(2)
        self._learned: tuple[Array, Array] | None = None  # Cholesky factor, weights

    @property
    def corrected_nm(self) -> tuple[float, float]:
        """By how much corrections were meant to move the crystal in the aperture, all together."""
        return float(self._corrected[0]), float(self._corrected[1])

    @property
    def doubted(self) -> int:
        """So many snapshots in a row, up to the last one, were not believed."""
        return len(self._doubted)

    def correct(self, x_nm: float, y_nm: float) -> None:
        """From now on the crystal is seen displaced by as much, as far as the calibration is right."""
        self._corrected = self._corrected + (x_nm, y_nm)

    def predict(self, angle_deg: float, t_s: float) -> Place:
        """Where the crystal will be seen at an angle and a time, with the corrections that were made."""
        return self._predict(angle_deg, t_s, self.corrected_nm)

    def see(self, angle_deg: float, t_s: float, place: Place) -> Seen:
        """Learn from a snapshot. t_s: of its exposure, not before any earlier one."""
        xx, xy, yy = place.covariance_nm2
        least = SMALLEST_SIGMA_NM**2
        place = replace(place, covariance_nm2=(xx + least, xy, yy + least))
        sight = _Sight(angle_deg, t_s, self.corrected_nm, place)
        if place.sigmas_from(self.predict(angle_deg, t_s)) <= DOUBT_SIGMAS:
            self._believe(sight)
            return Seen.FITS
        if self._doubted and (jumped := self._with_jump(sight)) is not None:
            self._sights, self._jumps_s, self._doubted, self._learned = jumped._sights, jumped._jumps_s, [], None
            self._believe(sight)
            return Seen.JUMPED
        self._doubted.append(sight)
        return Seen.DOUBTED

    def point(self, angle_deg: float, t_s: float) -> PathPoint:
        """The crystal itself at an angle, from all that was seen before and after; for the file of the path."""
        place = self._predict(angle_deg, t_s, (0.0, 0.0))
        sin, cos = math.sin(math.radians(angle_deg)), math.cos(math.radians(angle_deg))
        z_nm = float(np.interp(angle_deg, self._given[:, 0], self._given[:, 3])) if len(self._given) else 0.0
        if self._sights:
            tilts = np.radians([each.angle_deg for each in self._sights])
            shared = self.prior.across_nm**2 * sin * np.cos(tilts) - self.prior.height_nm**2 * cos * np.sin(tilts)
            z_nm += float(shared @ self._weights()[1].reshape(-1, 2)[:, 1])
        return PathPoint(angle_deg, place.x_nm, place.y_nm, z_nm, place.sigma_nm)

    def effect(self) -> "Effect":
        """What corrections do, as far as it was seen."""
        whole = self.prior.effect**2 * np.eye(4)
        mean = np.eye(2).ravel()
        if self._sights:
            factor, weights = self._weights()
            moves = np.array([each.corrected_nm for each in self._sights])
            shared = np.zeros((2, 2, len(moves), 2))  # row and column of the matrix, snapshot, its x and y
            for row in range(2):
                shared[row, :, :, row] = self.prior.effect**2 * moves.T
            flat = shared.reshape(4, -1)
            mean = mean + flat @ weights
            solved = np.linalg.solve(factor, flat.T)
            whole = whole - solved.T @ solved
        return Effect(mean.reshape(2, 2), whole)

    def _believe(self, sight: _Sight) -> None:
        self._sights.append(sight)
        self._doubted, self._learned = [], None

    def _with_jump(self, sight: _Sight) -> "CrystalPath | None":
        """The path with a jump before the last snapshot that was doubted; None if this one does not agree
        and it may be the snapshots that are wrong.
        """
        jumped = CrystalPath(self.prior)
        jumped._given, jumped._corrected = self._given, self._corrected
        jumped._sights = [*self._sights, self._doubted[-1]]
        jumped._jumps_s = [*self._jumps_s, self._doubted[-1].t_s]
        agree = sight.place.sigmas_from(jumped.predict(sight.angle_deg, sight.t_s)) <= DOUBT_SIGMAS
        return jumped if agree or len(self._doubted) >= MOST_DOUBTED else None

    def _predict(self, angle_deg: float, t_s: float, corrected_nm: tuple[float, float]) -> Place:
        asked = _Sight(angle_deg, t_s, corrected_nm, Place.even(0.0, 0.0, 0.0))
        mean = self._usual(angle_deg) + corrected_nm
        own = self._shared([asked], [asked])
        if self._sights:
            factor, weights = self._weights()
            shared = self._shared([asked], self._sights)
            mean = mean + shared @ weights
            solved = np.linalg.solve(factor, shared.T)
            own = own - solved.T @ solved
        return Place(float(mean[0]), float(mean[1]), (float(own[0, 0]), float(own[0, 1]), float(own[1, 1])))

    def _usual(self, angle_deg: float) -> Array:
        """What is expected at an angle without having seen anything: the given path."""
        if not len(self._given):
            return np.zeros(2)
        return np.array([np.interp(angle_deg, self._given[:, 0], self._given[:, column]) for column in (1, 2)])

    def _weights(self) -> tuple[Array, Array]:
        """Cholesky factor (2n, 2n) of the covariance of all that was seen, and (2n,) its solution."""
        if self._learned is None:
            whole = self._shared(self._sights, self._sights)
            for k, sight in enumerate(self._sights):
                whole[2 * k : 2 * k + 2, 2 * k : 2 * k + 2] += sight.place.matrix_nm2
            rest = [each.place.array_nm - self._usual(each.angle_deg) - each.corrected_nm for each in self._sights]
            factor = np.linalg.cholesky(whole)
            self._learned = factor, np.linalg.solve(factor.T, np.linalg.solve(factor, np.concatenate(rest)))
        return self._learned

    def _shared(self, ones: list[_Sight], others: list[_Sight]) -> Array:
        """(2n, 2m) covariances of places, as the prior has them: x, y, x, y, ..."""
        prior = self.prior
        a, b = (np.array([each.angle_deg for each in sights]) for sights in (ones, others))
        t, u = (np.array([each.t_s for each in sights]) for sights in (ones, others))
        m, n = (np.array([each.corrected_nm for each in sights]) for sights in (ones, others))
        apart = np.abs(a[:, None] - b[None, :])
        origin = self._sights[0].angle_deg if self._sights else float(b[0])
        both = prior.place_nm**2 + prior.drift_nm_s**2 * np.outer(t, u)
        both += prior.runout_nm**2 * _smooth(apart / prior.runout_deg)
        both += prior.walk_nm**2 * 0.5 * (np.abs(a - origin)[:, None] + np.abs(b - origin)[None, :] - apart)
        slack, left = (np.exp(-np.abs(angles - origin) / prior.slack_deg) for angles in (a, b))
        both += prior.slack_nm**2 * np.outer(slack, left)
        for jump_s in self._jumps_s:
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
