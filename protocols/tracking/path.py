"""The way of the crystal through the aperture while the stage turns: learned from snapshots, predicted for an angle.

What moves it is known but for its numbers: height error and distance from the tilt axis (y0 cos a - z0 sin a), an axis
beside the middle of the aperture, runout of the goniometer (smooth in the angle), slack taken up at the start, drift
(steady in time), small steps of no rule (a random walk along the angle), jumps, and the corrections that were made, of
which the effect is not known exactly. All of it is Gaussian and linear, so the answer is one regression over all
snapshots (`regression`): what a Kalman filter of that state would answer, for any order of angles, so that images taken
before the run teach it like those of the run. A snapshot that does not fit teaches nothing, until another says so, too.
"""

import math
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from protocols.tracking.place import Array, Place
from protocols.tracking.regression import Effect, PathPrior, Regression, Sight

DOUBT_SIGMAS = 4.0
"""A snapshot that is this far off what was predicted is not believed, until another one says the same."""
MOST_DOUBTED = 3
"""After so many in a row it is the prediction that is wrong, whatever the crystal does."""
SAME_S = 1e-3
"""Times that are no farther apart are the same one, rounded."""
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
class PathPoint:
    """The crystal itself at an angle, without what corrections did. z_nm: its height above the tilt axis, along the
    beam. sigma_nm: of x and y, along the direction in which they are known worst.
    """

    angle_deg: float
    x_nm: float
    y_nm: float
    z_nm: float
    sigma_nm: float


class CrystalPath:
    """Learned by `see`, asked by `predict`, 1 ms each. given: a path from an earlier look, ascending in its angles,
    about which this one is learned; outside of its angles it goes on as it ends. foreshortened: corrections are moves
    of the stage, which are seen along y times the cosine of the tilt.
    """

    def __init__(
        self, prior: PathPrior | None = None, given: tuple[PathPoint, ...] = (), *, foreshortened: bool = False
    ) -> None:
        self._foreshortened = foreshortened
        self._given = np.array([[point.angle_deg, point.x_nm, point.y_nm, point.z_nm] for point in given])
        self._regression = Regression(prior or PathPrior())
        self._doubted: list[Sight] = []
        self._corrected_nm = (0.0, 0.0)

    @property
    def is_known(self) -> bool:
        """Whether anything was given or seen."""
        return bool(len(self._given) or self._regression.sights)

    @property
    def corrected_nm(self) -> tuple[float, float]:
        """By how much corrections were meant to move the crystal at no tilt, all together."""
        return self._corrected_nm

    def _corrected_at(self, angle_deg: float) -> tuple[float, float]:
        """The same, as seen at a tilt."""
        x_nm, y_nm = self._corrected_nm
        return (x_nm, y_nm * math.cos(math.radians(angle_deg))) if self._foreshortened else (x_nm, y_nm)

    @property
    def doubted(self) -> int:
        """So many snapshots in a row, up to the last one, were not believed."""
        return len(self._doubted)

    def correct(self, x_nm: float, y_nm: float) -> None:
        """From now on the crystal is seen displaced by as much, as far as the calibration is right."""
        self._corrected_nm = self._corrected_nm[0] + x_nm, self._corrected_nm[1] + y_nm

    def forget(self, kept_s: float | None) -> None:
        """What was seen may not have been the crystal, but at this one time; None: at no time."""
        sights = tuple(s for s in self._regression.sights if kept_s is not None and abs(s.t_s - kept_s) < SAME_S)
        self._regression, self._doubted = replace(self._regression, sights=sights, jumps_s=()), []

    def predict(self, angle_deg: float, t_s: float) -> Place:
        """Where the crystal will be seen at an angle and a time, with the corrections that were made."""
        return self._place(self._regression, angle_deg, t_s, self._corrected_at(angle_deg))

    def effect(self) -> Effect:
        """What corrections do, as far as it was seen."""
        return self._regression.effect()

    def see(self, angle_deg: float, t_s: float, place: Place) -> Seen:
        """Learn from a snapshot. t_s: of its exposure, not before any earlier one."""
        xx, xy, yy = place.covariance_nm2
        least = SMALLEST_SIGMA_NM**2
        place = replace(place, covariance_nm2=(xx + least, xy, yy + least))
        x_nm, y_nm = (place.array_nm - self._usual(angle_deg)).tolist()
        sight = Sight(angle_deg, t_s, self._corrected_at(angle_deg), place, (x_nm, y_nm))
        known = self._regression
        if self._fits(known, sight):
            self._regression, self._doubted = replace(known, sights=(*known.sights, sight)), []
            return Seen.FITS
        if self._doubted:
            before = self._doubted[-1]
            jumped = replace(known, sights=(*known.sights, before), jumps_s=(*known.jumps_s, before.t_s))
            if self._fits(jumped, sight) or len(self._doubted) >= MOST_DOUBTED:
                self._regression, self._doubted = replace(jumped, sights=(*jumped.sights, sight)), []
                return Seen.JUMPED
        self._doubted.append(sight)
        return Seen.DOUBTED

    def point(self, angle_deg: float, t_s: float) -> PathPoint:
        """The crystal itself at an angle, from all that was seen before and after; for the file of the path."""
        place = self._place(self._regression, angle_deg, t_s, (0.0, 0.0))
        usual_nm = float(np.interp(angle_deg, self._given[:, 0], self._given[:, 3])) if len(self._given) else 0.0
        z_nm = usual_nm + self._regression.height_nm(angle_deg)
        return PathPoint(angle_deg, place.x_nm, place.y_nm, z_nm, place.sigma_nm)

    def _fits(self, known: Regression, sight: Sight) -> bool:
        predicted = self._place(known, sight.angle_deg, sight.t_s, sight.corrected_nm)
        return sight.place.sigmas_from(predicted) <= DOUBT_SIGMAS

    def _place(self, known: Regression, angle_deg: float, t_s: float, corrected_nm: tuple[float, float]) -> Place:
        rest = known.place(angle_deg, t_s, corrected_nm)
        return Place.of(rest.array_nm + self._usual(angle_deg), rest.matrix_nm2)

    def _usual(self, angle_deg: float) -> Array:
        """What is expected at an angle without having seen anything: the given path."""
        if not len(self._given):
            return np.zeros(2)
        return np.array([np.interp(angle_deg, self._given[:, 0], self._given[:, column]) for column in (1, 2)])
