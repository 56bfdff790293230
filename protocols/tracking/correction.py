"""How far the crystal is brought back, and whether that acts as it should.

By calibrated matrices (`protocols.tracking.actuator`), which may be wrong: what a correction did is compared with what
it was meant to do, and one that acts the wrong way, or not at all, is taken back; if taking it back acts the wrong way
as well, no more corrections are made. Pure arithmetic: who calls it sends the settings to the instrument.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from protocols.tracking.actuator import Actuator, Correction, Pair
from protocols.tracking.place import Array, Place
from protocols.tracking.regression import MUCH_BETTER, Effect


@dataclass(frozen=True, slots=True)
class CorrectionLimits:
    """least_nm: nearer to the middle the crystal is left where it is. untried_nm: the longest first correction in a
    direction in which it is not known what corrections do. step_nm: the longest one where that is known. range_nm: from
    where the run began.
    all_untried_nm: how far the crystal is moved at most, all together, before it is seen that corrections act as they
    should: one that acts the wrong way shall not drive it out.
    """

    least_nm: float = 20.0
    untried_nm: float = 150.0
    step_nm: float = 300.0
    range_nm: float = 10_000.0


class Trust(StrEnum):
    """What is thought of the calibration."""

    UNTRIED = "untried"
    RIGHT = "right"
    DOUBTED = "doubted"
    """A correction did not act as it should: it is taken back, which tries it once more."""
    STOPPED = "stopped"


WEAKEST, STRONGEST = 0.35, 1.8
"""Below the one, or above the other, times as calibrated, corrections do not converge in time, or not at all."""
SURE_SIGMAS = 3.0
TRIED, TRIED_SIGMAS = 0.25, 2.0
"""Corrections in a direction are tried once it is this sure that they do not act the wrong way; also with half as many
sigmas where the calibration explains what was seen so much better than every other effect that chance would not.
"""
SEEN_BY, GROWS = 0.45, 1.6
"""Corrections that are not yet tried grow from one to the next by the second number once the sigma of their effect is
below the first, so that something was seen of it: before, a wrong one would only push the crystal farther each time.
"""
WORSE = 0.5
"""Corrections that are not yet tried should have brought the crystal nearer. If it is farther by this share of them
instead, and another effect explains that better, they are taken back before it is out of the aperture.
"""
SHARES = (1.0, 0.75, 0.5, 0.25)
"""Of a correction: the largest that the actuator can make is made."""


class Corrector:
    """Plans corrections and judges them. setting, back, beam: of actuator, diffraction and beam shift, as the run
    begins.
    """

    def __init__(
        self,
        actuator: Actuator,
        limits: CorrectionLimits,
        setting: Pair,
        back: Pair = (0.0, 0.0),
        beam: Pair = (0.0, 0.0),
    ) -> None:
        self.actuator, self.limits = actuator, limits
        self.trust = Trust.UNTRIED
        self.words = ""
        """What is wrong, once something is."""
        self._begin = np.array(setting), np.array(back), np.array(beam)
        self._now = self._begin[0]
        self._sure = self._begin[0]  # where it was when corrections were last seen to act as they should
        self._made = False
        self._last_nm = np.zeros(2)
        self._before_nm = 0.0  # how far away the crystal was before the corrections that are not yet tried

    def next(self, predicted: Place, effect: Effect, tilt_deg: float = 0.0) -> Correction | None:
        """What would bring the crystal to the middle; None where it lies there, is not known well enough, or nothing
        is corrected any more. predicted: where it will be if nothing is done, at this tilt.
        """
        if self.trust is Trust.STOPPED:
            return None
        if self.trust is Trust.DOUBTED:
            return self._settings(self._sure)
        if predicted.distance_nm < max(self.limits.least_nm, predicted.sigma_nm):
            return None
        wanted_nm: Array = np.asarray(-np.linalg.solve(_steady(effect.matrix), predicted.array_nm), np.float64)
        longest_nm = self._longest_nm(effect, wanted_nm)
        if longest_nm == 0.0:
            self._last_nm = np.zeros(2)
            return None
        wanted_nm *= min(1.0, longest_nm / max(float(np.hypot(*wanted_nm)), 1e-9))
        units = self.actuator.units(wanted_nm, tilt_deg)
        for share in SHARES:
            settings = self._settings(self.actuator.whole(self._now + share * units))
            if self._allowed(settings) and settings.moves_nm != (0.0, 0.0):
                return settings
        return None

    def trial(self, moves_nm: Pair, tilt_deg: float = 0.0) -> Correction | None:
        """What moves the crystal by as much, to see what corrections do; None where the actuator cannot."""
        units = self.actuator.units(np.array(moves_nm), tilt_deg)
        settings = self._settings(self.actuator.whole(self._now + units))
        return settings if self._allowed(settings) and self.trust is Trust.UNTRIED else None

    def made(self, correction: Correction) -> None:
        """The deflectors were set to it."""
        self._made, self._last_nm = True, np.array(correction.moves_nm)
        self._now = np.array(correction.setting)

    def shifted(self, moves_nm: Array, effect: Effect, tilt_deg: float = 0.0) -> Correction | None:
        """What moves the view at once, to look for a crystal elsewhere; None where that is too far."""
        units = self.actuator.units(np.asarray(np.linalg.solve(_steady(effect.matrix), moves_nm)), tilt_deg)
        settings = self._settings(self.actuator.whole(self._now + units))
        return settings if self._allowed(settings) else None

    def looked_elsewhere(self, correction: Correction) -> None:
        """The deflectors were set to it, for a look: nothing that is to be judged by what is seen next."""
        now = np.array(correction.setting)
        self._sure = self._sure + now - self._now
        self._now, self._last_nm = now, np.zeros(2)

    def _longest_nm(self, effect: Effect, wanted_nm: Array) -> float:
        """How long a correction may be. Some that are alike, step after step, tell nothing of their effect, for the
        crystal may as well go by itself: so those of unknown effect grow as long as all looks well, and pause when it
        does not.
        """
        if _is_tried(effect, wanted_nm):
            return self.limits.step_nm
        last_nm = float(np.hypot(*self._last_nm))
        if last_nm > 0.0 and effect.likelier:
            return 0.0
        grown_nm = GROWS * last_nm if effect.along(*wanted_nm)[1] < SEEN_BY else 0.0
        return min(self.limits.step_nm, max(self.limits.untried_nm, grown_nm))

    def judge(self, effect: Effect, predicted: Place) -> Trust:
        """After a snapshot was learned: whether corrections act as they should, by what the path has learned of them.
        predicted: as for `next`.

        After DOUBTED, `next` gives what takes back all that was not seen to act as it should.
        """
        if self.trust is Trust.STOPPED:
            return self.trust
        if not self._made:
            self._before_nm = predicted.distance_nm
            return self.trust
        (least, least_sigma), (most, most_sigma) = effect.extremes()
        if effect.otherwise:
            self._doubt(f"the {self.actuator.name} seems to move the crystal {effect.otherwise}")
        elif least + SURE_SIGMAS * least_sigma < WEAKEST:
            self._doubt(self._times(least, least_sigma))
        elif most - SURE_SIGMAS * most_sigma > STRONGEST:
            self._doubt(self._times(most, most_sigma))
        elif self.trust is Trust.UNTRIED and effect.likelier and self._got_worse(predicted):
            name = self.actuator.name
            self._doubt(f"the {name} may move the crystal {effect.likelier}, for it is farther away than before")
        elif self.trust is Trust.DOUBTED or (self._last_nm.any() and _is_tried(effect, self._last_nm)):
            self.trust, self.words, self._sure = Trust.RIGHT, "", self._now
        return self.trust

    def _got_worse(self, predicted: Place) -> bool:
        untried_nm = float(np.hypot(*self.actuator.moves_nm(self._now - self._sure)))
        farther_nm = predicted.distance_nm - self._before_nm
        return untried_nm > self.limits.untried_nm and farther_nm > WORSE * untried_nm

    def _doubt(self, said: str) -> None:
        if self.trust is Trust.DOUBTED:
            self.trust = Trust.STOPPED
            self.words = (
                f"{said}, and so it did when it was taken back. No more corrections are made; all stands where it did "
                f"before them. Calibrate {self.actuator.name.replace(' ', '-')} and snapshot."
            )
            return
        self.trust = Trust.DOUBTED
        self.words = f"{said}. It is taken back, which shows whether that was the correction or the crystal."

    def _times(self, strength: float, sigma: float) -> str:
        name = self.actuator.name
        return f"the {name} moves the crystal {strength:.2f} times as far as calibrated (sigma {sigma:.2f})"

    def _settings(self, setting: Array) -> Correction:
        return self.actuator.correction(self._begin, self._now, setting)

    def _allowed(self, correction: Correction) -> bool:
        from_begin_nm = self.actuator.moves_nm(np.array(correction.setting) - self._begin[0])
        return self.actuator.takes(correction) and float(np.hypot(*from_begin_nm)) <= self.limits.range_nm


def _is_tried(effect: Effect, moves_nm: Array) -> bool:
    strength, sigma = effect.along(float(moves_nm[0]), float(moves_nm[1]))
    sigmas = TRIED_SIGMAS / 2 if effect.by < -MUCH_BETTER else TRIED_SIGMAS
    return strength - sigmas * sigma > TRIED


def _steady(effect: Array) -> Array:
    """The effect, where it can be turned round; as calibrated where not."""
    turned = float(np.linalg.det(effect))
    return effect if 0.2 < turned < 5.0 and np.linalg.cond(effect) < 10.0 else np.eye(2)
