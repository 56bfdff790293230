"""Where a crystal goes while its stage turns, because of what the goniometer is not: it lies above or below the tilt
axis and beside it, bearings run out, slack is taken up, the holder drifts, and now and then something slips.

Positions are in nm in axes of the stage seen along the beam, x along the tilt axis and y across it, from where the
crystal was when somebody centred it. Pure functions of settings, tilt and time.

Sources. A specimen follows a rotation about an axis that is off the optical one, and beyond this prediction 15 nm are
left on a good stage at steps of up to 10 deg: Zheng et al., J. Struct. Biol. 147 (2004) 91. That tilting moves
crystals out of the aperture, for the goniometer's mechanics and for crystals off the axis, and that adjusting the
height makes it less: Cichocka et al., J. Appl. Cryst. 51 (2018), section 5.1. Nobody has published how these are
distributed among holders; the widths in `MotionSettings.drawn` are assumed, each with its reason.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from drivers.simulated.latency import generator

Pair = tuple[float, float]

RUNOUT_PERIODS_DEG = (120.0, 60.0, 35.0, 20.0)
"""Assumed: what bearings and drives do repeats itself after so much, and is larger where that is longer."""
JUMPS_FROM_DEG, JUMPS_TO_DEG = -90.0, 90.0

HEIGHT_NM = 1500.0
"""Assumed: an operator sets the height by eye, and a film on a mesh is off by 1 to 2 um from place to place."""
AXIS_OFF_NM = 1000.0
"""Assumed: an aperture is centred on the optical axis by eye, and the tilt axis is aligned to about 1 um of that."""
CENTRED_OFF_NM = 60.0
"""Assumed: a crystal is centred by eye in an aperture of 1.5 um to some hundredths of that."""
RUNOUT_NM = 120.0
"""Assumed: several times what Zheng et al. have left, who predict one step ahead on a better stage."""
BACKLASH_NM, BACKLASH_DEG = 250.0, (0.5, 3.0)
"""Assumed, as the translation's own play (`StageXYZSettings.backlash_nm`), taken up in the first degrees."""
DRIFT_NM_S = 0.3
"""Assumed: vendors promise 1 nm per minute of a holder at rest; one that turns and has just been moved drifts more."""
JUMPS_PER_DEG, JUMP_NM = 0.002, 250.0
"""Assumed: in one run of 120 deg out of five something slips."""
MOST_JUMPS_PER_DEG, MOST_WORSE = 10.0, 100.0


@dataclass(frozen=True, slots=True)
class MotionSettings:
    """Of one crystal in one holder; as it stands here nothing moves.

    height_nm: how far the crystal lies above the tilt axis (z at tilt 0). axis_off_nm: and how far beside it (y at tilt
    0), where the axis does not go through the middle of the aperture in which the crystal is. centred_off_nm: where it
    is seen when it was centred. runout_nm: of the axis, standard deviation along x and y over all tilts, from the seed.
    backlash_nm: by how much it moves while slack is taken up, most of it within backlash_deg. drift_nm_s: in x and y.
    jumps_per_deg, jump_nm: how often it slips, from the seed, and how far along x and y (standard deviation).
    drawn_seed: from which a holder and a crystal are drawn in the place of all other figures (-1: they are not).
    worse: with mechanics so many times as bad.
    """

    height_nm: float = 0.0
    axis_off_nm: float = 0.0
    centred_off_nm: Pair = (0.0, 0.0)
    runout_nm: Pair = (0.0, 0.0)
    backlash_nm: Pair = (0.0, 0.0)
    backlash_deg: float = 1.0
    drift_nm_s: Pair = (0.0, 0.0)
    jumps_per_deg: float = 0.0
    jump_nm: float = 0.0
    seed: int = 0
    drawn_seed: int = -1
    worse: float = 1.0

    @classmethod
    def drawn(cls, seed: int, worse: float = 1.0) -> "MotionSettings":
        """A holder and a crystal of the population that benchmarks and campaigns use. worse: all of it is so many
        times as large, jumps also so many times as frequent.
        """
        rng = generator(seed, "crystal motion")

        def pair(sigma: float) -> Pair:
            return float(sigma * worse * rng.standard_normal()), float(sigma * worse * rng.standard_normal())

        height_nm, axis_off_nm = pair(1.0)
        runout = np.abs(rng.standard_normal(2))
        return cls(
            height_nm=HEIGHT_NM * height_nm,
            axis_off_nm=AXIS_OFF_NM * axis_off_nm,
            centred_off_nm=pair(CENTRED_OFF_NM),
            runout_nm=(float(RUNOUT_NM * worse * runout[0]), float(RUNOUT_NM * worse * runout[1])),
            backlash_nm=pair(BACKLASH_NM),
            backlash_deg=float(rng.uniform(*BACKLASH_DEG)),
            drift_nm_s=pair(DRIFT_NM_S),
            jumps_per_deg=JUMPS_PER_DEG * worse,
            jump_nm=JUMP_NM * worse,
            seed=seed,
        )

    @property
    def cannot_be(self) -> str | None:
        """What is wrong with these figures; None where nothing is."""
        for name, value, most in (
            ("backlash_deg", self.backlash_deg, 360.0),
            ("jumps_per_deg", self.jumps_per_deg, MOST_JUMPS_PER_DEG),
            ("worse", self.worse, MOST_WORSE),
        ):
            if not 0.0 <= value <= most:
                return f"{name} = {value:g} is not between 0 and {most:g}"
        return None

    @property
    def meant(self) -> "MotionSettings":
        """What the settings come to: themselves, or what they ask to be drawn."""
        return self if self.drawn_seed < 0 else MotionSettings.drawn(round(self.drawn_seed), self.worse)

    @property
    def moves(self) -> bool:
        """Whether the crystal goes anywhere."""
        pairs = (self.centred_off_nm, self.runout_nm, self.backlash_nm, self.drift_nm_s)
        jumps = self.jumps_per_deg > 0 and self.jump_nm != 0
        return self.drawn_seed >= 0 or any((self.height_nm, self.axis_off_nm, jumps, *(any(pair) for pair in pairs)))


def moved_nm(settings: MotionSettings, tilt_deg: float, centred_deg: float, since_s: float) -> Pair:
    """Where the crystal is seen at a tilt and so many seconds after it was centred at another tilt.

    It does not depend on the way between the two, but for that of slips, which happen where they happen.
    """
    tilt, centred = math.radians(tilt_deg), math.radians(centred_deg)
    turned_deg = abs(tilt_deg - centred_deg)
    x_nm, y_nm = settings.centred_off_nm
    y_nm += settings.axis_off_nm * (math.cos(tilt) - math.cos(centred))
    y_nm -= settings.height_nm * (math.sin(tilt) - math.sin(centred))
    taken_up = -math.expm1(-turned_deg / settings.backlash_deg) if settings.backlash_deg > 0 else float(turned_deg > 0)
    x_nm += settings.backlash_nm[0] * taken_up + settings.drift_nm_s[0] * since_s
    y_nm += settings.backlash_nm[1] * taken_up + settings.drift_nm_s[1] * since_s
    if any(settings.runout_nm):
        (x_now, y_now), (x_then, y_then) = (_runout(settings.seed, each_deg) for each_deg in (tilt_deg, centred_deg))
        x_nm += settings.runout_nm[0] * (x_now - x_then)
        y_nm += settings.runout_nm[1] * (y_now - y_then)
    low_deg, high_deg = sorted((tilt_deg, centred_deg))
    for at_deg, by_x_nm, by_y_nm in _jumps(settings.seed, settings.jumps_per_deg, settings.jump_nm):
        if low_deg < at_deg <= high_deg:
            x_nm, y_nm = x_nm + by_x_nm, y_nm + by_y_nm
    return x_nm, y_nm


def _runout(seed: int, tilt_deg: float) -> Pair:
    """Of a standard deviation of 1 along x and y."""
    along = [
        sum(share * math.sin(2 * math.pi * tilt_deg / period_deg + phase) for period_deg, share, phase in waves)
        for waves in _waves(seed)
    ]
    return along[0], along[1]


@lru_cache(maxsize=256)
def _waves(seed: int) -> tuple[tuple[tuple[float, float, float], ...], ...]:
    rng = generator(seed, "runout")
    shares = np.sqrt(RUNOUT_PERIODS_DEG)
    shares *= math.sqrt(2.0) / np.linalg.norm(shares)
    phases = rng.uniform(-math.pi, math.pi, (2, len(shares)))
    return tuple(tuple(zip(RUNOUT_PERIODS_DEG, shares.tolist(), row, strict=True)) for row in phases.tolist())


@lru_cache(maxsize=256)
def _jumps(seed: int, per_deg: float, jump_nm: float) -> tuple[tuple[float, float, float], ...]:
    """Where it slips, and by how much."""
    if not per_deg > 0:
        return ()
    rng = generator(seed, "jumps")
    number = int(rng.poisson(per_deg * (JUMPS_TO_DEG - JUMPS_FROM_DEG)))
    places, ways = rng.uniform(JUMPS_FROM_DEG, JUMPS_TO_DEG, number), jump_nm * rng.standard_normal((number, 2))
    return tuple((at, x, y) for at, (x, y) in zip(places.tolist(), ways.tolist(), strict=True))
