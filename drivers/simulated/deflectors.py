"""The simulated deflectors: four pairs of coils, linear but for a lag after a change of direction, each with its own
true calibration.

What a unit moves is known here and nowhere else, for calibrations to be judged by.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from drivers.parts import Deflector, DeflectorFacts
from drivers.simulated.latency import Interface
from engine.clock import NS_PER_S, Clock
from engine.errors import DeviceError

LOWEST, NEUTRAL, HIGHEST = 0, 0x8000, 0xFFFF
LEFT_AT_REST = 1e-3
"""A beam counts as standing still when this much of its way is left."""

Matrix = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class DeflectorSettings:
    """Properties of the coils: values of 16 bits as on a JEOL, their effects round and chosen here.

    beam_shift_nm, image_shift_nm (at the specimen), beam_tilt_mrad, diffraction_shift_px: what a unit of x and of y
    does along the two axes of the picture, by rows: (fast of x, fast of y, slow of x, slow of y).
    image_shift_pattern_px, beam_shift_pattern_px: and what a unit of image or beam shift moves the diffraction pattern,
    which it should not; of the beam shift, where its two pairs of coils do not work about the specimen as pivot.
    time_s: time constant of the approach to a new value. lag: hysteresis of each pair in the order of `Deflector`: by
    so many units what it does stays behind after a change of direction.
    """

    beam_shift_nm: tuple[float, float, float, float] = (0.9, -0.2, 0.2, 0.9)
    beam_tilt_mrad: tuple[float, float, float, float] = (0.002, 0.0, 0.0, 0.002)
    image_shift_nm: tuple[float, float, float, float] = (0.5, 0.1, -0.1, 0.5)
    diffraction_shift_px: tuple[float, float, float, float] = (0.03, 0.01, -0.01, 0.03)
    image_shift_pattern_px: tuple[float, float, float, float] = (0.002, -0.0005, 0.0005, 0.002)
    beam_shift_pattern_px: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    time_s: float = 0.005
    lag: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)

    @property
    def facts(self) -> DeflectorFacts:
        """See `Deflectors.facts`."""
        limits = {which: (float(LOWEST), float(HIGHEST)) for which in Deflector}
        settling_s = max(0.0, -self.time_s * math.log(LEFT_AT_REST))
        return DeflectorFacts(limits, whole_numbers=True, settling_s=settling_s)

    def matrix(self, which: Deflector) -> Matrix:
        """What a unit of this pair does."""
        return {
            Deflector.BEAM_SHIFT: self.beam_shift_nm,
            Deflector.BEAM_TILT: self.beam_tilt_mrad,
            Deflector.IMAGE_SHIFT: self.image_shift_nm,
            Deflector.DIFFRACTION_SHIFT: self.diffraction_shift_px,
        }[which]

    def lag_of(self, which: Deflector) -> float:
        """The hysteresis of this pair."""
        return self.lag[list(Deflector).index(which)]


@dataclass(frozen=True, slots=True)
class _Change:
    """From `begin_ns` a pair approaches (x, y); it was `away` from it then, and did what it does at `lay`."""

    begin_ns: int
    x: float
    y: float
    away: tuple[float, float] = (0.0, 0.0)
    lay: tuple[float, float] = (NEUTRAL, NEUTRAL)


class Coils:
    """Implements `drivers.parts.Deflectors`; all begin neutral, as somebody left them who came from below."""

    def __init__(self, clock: Clock, interface: Interface, settings: DeflectorSettings) -> None:
        self._interface = interface
        self._settings = settings
        self._changes = {which: [_Change(clock.now_ns(), NEUTRAL, NEUTRAL)] for which in Deflector}
        self._facts = settings.facts

    @property
    def facts(self) -> DeflectorFacts:
        """See `Deflectors.facts`."""
        return self._facts

    def hide(self, settings: DeflectorSettings) -> None:
        """From now on a unit does something else than the settings say."""
        self._settings = settings

    def kept(self, t_ns: int) -> dict[str, tuple[tuple[float, float], tuple[float, float]]]:
        """How each pair is set, and at which values it would do without hysteresis what it does, for `resume`."""
        last = {which: self._changes[which][-1] for which in Deflector}
        return {which.value: ((last[which].x, last[which].y), self._does_at(which, t_ns)) for which in Deflector}

    def moved(self) -> list[Deflector]:
        """The pairs that are set otherwise now than they were found."""
        return [
            which
            for which, all_of in self._changes.items()
            if (all_of[-1].x, all_of[-1].y) != (all_of[0].x, all_of[0].y)
        ]

    def resume(self, pairs: Mapping[str, Sequence[Sequence[float]]]) -> None:
        """All pairs are as they were left."""
        for which in Deflector:
            (x, y), (lay_x, lay_y) = pairs[which.value]
            begin_ns = self._changes[which][0].begin_ns
            self._changes[which] = [_Change(begin_ns, float(x), float(y), lay=(float(lay_x), float(lay_y)))]

    async def read(self, which: Deflector) -> tuple[float, float]:
        """See `Deflectors.read`."""
        async with self._interface.call():
            last = self._changes[which][-1]
            return last.x, last.y

    async def set(self, which: Deflector, x: float, y: float) -> None:
        """See `Deflectors.set`. The request reaches the coils when the call returns."""
        if (said := self._facts.outside(which, x, y)) is not None:
            raise DeviceError(f"deflectors: {said}; nothing was set. Stay within what the facts of the part say.")
        async with self._interface.call() as (_, now_ns):
            there_x, there_y = self._value_at(self._at(which, now_ns), now_ns)
            lay = self._does_at(which, now_ns)
            self._changes[which].append(_Change(now_ns, x, y, (there_x - x, there_y - y), lay))

    def _at(self, which: Deflector, t_ns: int) -> _Change:
        changes = self._changes[which]
        return next((each for each in reversed(changes) if each.begin_ns <= t_ns), changes[0])

    def _value_at(self, change: _Change, t_ns: int) -> tuple[float, float]:
        left = 0.0
        if self._settings.time_s > 0:
            left = math.exp(-max(0, t_ns - change.begin_ns) / NS_PER_S / self._settings.time_s)
        return change.x + change.away[0] * left, change.y + change.away[1] * left

    def _does_at(self, which: Deflector, t_ns: int) -> tuple[float, float]:
        """The values that would do without hysteresis what a pair does: rising it follows at once, falling when the
        lag is used up.
        """
        change, lag = self._at(which, t_ns), self._settings.lag_of(which)
        x, y = self._value_at(change, t_ns)
        return min(max(change.lay[0], x), x + lag), min(max(change.lay[1], y), y + lag)

    def effect_at(self, which: Deflector, t_ns: int) -> tuple[float, float]:
        """What a pair truly did at an instant, past or present, along (fast, slow): nm, mrad or px by its settings."""
        return self._moved(self._settings.matrix(which), which, t_ns)

    def pattern_px(self, t_ns: int) -> tuple[float, float]:
        """By how much the deflectors have moved a diffraction pattern at an instant, along (fast, slow)."""
        shift = self.effect_at(Deflector.DIFFRACTION_SHIFT, t_ns)
        beside = self._moved(self._settings.image_shift_pattern_px, Deflector.IMAGE_SHIFT, t_ns)
        above = self._moved(self._settings.beam_shift_pattern_px, Deflector.BEAM_SHIFT, t_ns)
        return shift[0] + beside[0] + above[0], shift[1] + beside[1] + above[1]

    def _moved(self, matrix: Matrix, which: Deflector, t_ns: int) -> tuple[float, float]:
        x, y = (value - NEUTRAL for value in self._does_at(which, t_ns))
        fast_x, fast_y, slow_x, slow_y = matrix
        return fast_x * x + fast_y * y, slow_x * x + slow_y * y
