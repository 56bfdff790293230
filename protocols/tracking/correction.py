"""What brings the crystal back: an image shift, and the diffraction shift that holds the pattern in its place.

With a selected-area aperture the image shift moves the image over the aperture, so another part of the specimen is
selected; beam and specimen stay. It moves the pattern, too, which the diffraction shift takes back. Both by calibrated
matrices, which may be wrong: what a correction did is compared with what it was meant to do, and one that acts the
wrong way, or not at all, is taken back; if taking it back acts the wrong way as well, no more corrections are made.
Pure arithmetic: who calls it sends the settings to the deflectors.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from protocols.tracking.place import Array, Place
from protocols.tracking.regression import Effect

Matrix = tuple[float, float, float, float]
Pair = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Coils:
    """What the deflectors do, as calibrated; matrices by rows.

    image_nm: how far the crystal moves in the aperture, x of x, x of y, y of x, y of y, in nm per unit of image shift.
    image_px: how far the pattern moves, fast of x, fast of y, slow of x, slow of y, in px per unit of image shift.
    diffraction_px: the same per unit of diffraction shift. image_limits, diffraction_limits: lowest and highest value.
    whole_numbers: they take no others.
    """

    image_nm: Matrix
    image_px: Matrix
    diffraction_px: Matrix
    image_limits: Pair
    diffraction_limits: Pair
    whole_numbers: bool

    def why_not(self) -> str | None:
        """In words, why nothing can be corrected with these matrices; None where it can."""
        for name, told in (("image shift", self.image_nm), ("diffraction shift", self.diffraction_px)):
            matrix = _square(told)
            if not np.isfinite(matrix).all() or np.linalg.cond(matrix) > WORST_CONDITION:
                return f"the matrix of the {name} moves in one direction only: {told}"
        return None

    def whole(self, values: Array) -> Array:
        """As the deflectors take them."""
        return np.round(values) if self.whole_numbers else values


@dataclass(frozen=True, slots=True)
class CorrectionLimits:
    """least_nm: nearer to the middle the crystal is left where it is. untried_nm: the longest first correction in a
    direction in which it is not known what corrections do. step_nm: the longest one where that is known. range_nm: from
    where the run began.
    all_untried_nm: how far the crystal is moved at most, all together, before it is seen that corrections act as they
    should: one that acts the wrong way shall not drive it out.
    """

    least_nm: float = 20.0
    untried_nm: float = 100.0
    all_untried_nm: float = 350.0
    step_nm: float = 300.0
    range_nm: float = 10_000.0


@dataclass(frozen=True, slots=True)
class Correction:
    """What to set. image_shift, diffraction_shift: in units of the deflectors. moves_nm: how far the crystal moves by
    it in the aperture, as calibrated; whole numbers are counted in. pattern_px: how far the pattern then lies from
    where the run began, as calibrated: what whole numbers leave.
    """

    image_shift: Pair
    diffraction_shift: Pair
    moves_nm: Pair
    pattern_px: Pair


class Trust(StrEnum):
    """What is thought of the calibration."""

    UNTRIED = "untried"
    RIGHT = "right"
    DOUBTED = "doubted"
    """A correction did not act as it should: it is taken back, which tries it once more."""
    STOPPED = "stopped"


WORST_CONDITION = 100.0
WEAKEST, STRONGEST = 0.35, 1.8
"""Below the one, or above the other, times as calibrated, corrections do not converge in time, or not at all."""
SURE_SIGMAS = 3.0
TRIED, TRIED_SIGMAS = 0.25, 2.0
"""Corrections in a direction are tried once it is this sure that they do not act the wrong way."""
LOOKS_WELL, GROWS = 0.6, 1.6
"""Corrections that are not yet tried may grow from one to the next by the second number, if their effect seems to be
above the first."""
SHARES = (1.0, 0.75, 0.5, 0.25)
"""Of a correction: the largest that the deflectors can make is made."""


class Corrector:
    """Plans corrections and judges them. image_shift, diffraction_shift: as the run begins."""

    def __init__(self, coils: Coils, limits: CorrectionLimits, image_shift: Pair, diffraction_shift: Pair) -> None:
        self.coils, self.limits = coils, limits
        self.trust = Trust.UNTRIED
        self.words = ""
        """What is wrong, once something is."""
        self._begin = np.array(image_shift), np.array(diffraction_shift)
        self._now = self._begin[0]
        self._sure = self._begin[0]  # where the image shift was when corrections were last seen to act as they should
        self._made = False
        self._last_nm = np.zeros(2)

    def next(self, predicted: Place, effect: Effect) -> Correction | None:
        """What would bring the crystal to the middle; None where it lies there, is not known well enough, or nothing
        is corrected any more. predicted: where it will be if nothing is done.
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
        units = np.linalg.solve(_square(self.coils.image_nm), wanted_nm)
        for share in SHARES:
            settings = self._settings(self.coils.whole(self._now + share * units))
            if self._allowed(settings) and settings.moves_nm != (0.0, 0.0):
                return settings
        return None

    def made(self, correction: Correction) -> None:
        """The deflectors were set to it."""
        self._made, self._last_nm = True, np.array(correction.moves_nm)
        self._now = np.array(correction.image_shift)

    def shifted(self, moves_nm: Array, effect: Effect) -> Correction | None:
        """What moves the view at once, to look for a crystal elsewhere; None where that is too far."""
        units = np.linalg.solve(_square(self.coils.image_nm), np.linalg.solve(_steady(effect.matrix), moves_nm))
        settings = self._settings(self.coils.whole(self._now + units))
        return settings if self._allowed(settings) else None

    def looked_elsewhere(self, correction: Correction) -> None:
        """The deflectors were set to it, for a look: nothing that is to be judged by what is seen next."""
        now = np.array(correction.image_shift)
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
        if last_nm > 0.0 and effect.along(*wanted_nm)[0] < LOOKS_WELL:
            return 0.0
        left_nm = max(0.0, self.limits.all_untried_nm - self._untried_nm)
        return min(self.limits.step_nm, max(self.limits.untried_nm, GROWS * last_nm), left_nm)

    @property
    def _untried_nm(self) -> float:
        """How far the crystal should have been moved since corrections were last seen to act as they should."""
        return float(np.hypot(*(_square(self.coils.image_nm) @ (self._now - self._sure))))

    def judge(self, effect: Effect) -> Trust:
        """After a snapshot was learned: whether corrections act as they should, by what the path has learned of them.

        After DOUBTED, `next` gives what takes back all that was not seen to act as it should.
        """
        if self.trust is Trust.STOPPED or not self._made:
            return self.trust
        (least, least_sigma), (most, most_sigma) = effect.extremes()
        if effect.otherwise:
            self._doubt(f"the image shift seems to move the crystal {effect.otherwise}")
        elif least + SURE_SIGMAS * least_sigma < WEAKEST:
            self._doubt(_times(least, least_sigma))
        elif most - SURE_SIGMAS * most_sigma > STRONGEST:
            self._doubt(_times(most, most_sigma))
        elif self.trust is Trust.UNTRIED and self._untried_nm > self.limits.all_untried_nm - self.limits.least_nm:
            self._doubt(
                f"corrections of {self._untried_nm:.0f} nm all together were not seen to bring the crystal back"
            )
        elif self.trust is Trust.DOUBTED or (self._last_nm.any() and _is_tried(effect, self._last_nm)):
            self.trust, self.words, self._sure = Trust.RIGHT, "", self._now
        return self.trust

    def _doubt(self, said: str) -> None:
        if self.trust is Trust.DOUBTED:
            self.trust = Trust.STOPPED
            self.words = (
                f"{said}, and so it did when it was taken back. No more corrections are made; image shift and "
                "diffraction shift are where they were before. Calibrate image-shift and snapshot."
            )
            return
        self.trust = Trust.DOUBTED
        self.words = f"{said}. It is taken back, which shows whether that was the correction or the crystal."

    def _settings(self, image_shift: Array) -> Correction:
        coils = self.coils
        pattern_px = _square(coils.image_px) @ (image_shift - self._begin[0])
        back = coils.whole(self._begin[1] - np.linalg.solve(_square(coils.diffraction_px), pattern_px))
        left_px = pattern_px + _square(coils.diffraction_px) @ (back - self._begin[1])
        moves_nm = _square(coils.image_nm) @ (image_shift - self._now)
        return Correction(_pair(image_shift), _pair(back), _pair(moves_nm), _pair(left_px))

    def _allowed(self, correction: Correction) -> bool:
        from_begin = _square(self.coils.image_nm) @ (np.array(correction.image_shift) - self._begin[0])
        pairs = ((correction.image_shift, self.coils.image_limits),
                 (correction.diffraction_shift, self.coils.diffraction_limits))  # fmt: skip
        inside = all(low <= value <= high for values, (low, high) in pairs for value in values)
        return inside and float(np.hypot(*from_begin)) <= self.limits.range_nm


def _is_tried(effect: Effect, moves_nm: Array) -> bool:
    strength, sigma = effect.along(float(moves_nm[0]), float(moves_nm[1]))
    return strength - TRIED_SIGMAS * sigma > TRIED


def _times(strength: float, sigma: float) -> str:
    return f"the image shift moves the crystal {strength:.2f} times as far as calibrated (sigma {sigma:.2f})"


def _steady(effect: Array) -> Array:
    """The effect, where it can be turned round; as calibrated where not."""
    turned = float(np.linalg.det(effect))
    return effect if 0.2 < turned < 5.0 and np.linalg.cond(effect) < 10.0 else np.eye(2)


def _square(told: Matrix) -> Array:
    return np.reshape(np.array(told, np.float64), (2, 2))


def _pair(values: Array) -> Pair:
    return float(values[0]), float(values[1])
