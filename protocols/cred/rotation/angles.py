"""The angle of every frame, fitted from stage readings of which only an interval of time is known.

The stage turns at constant speed, so angle(t) = offset + rate * t. A reading that took from t_before to t_after was
true at an unknown instant in between; the interface may always sample early or always late, which no average over
readings removes. The stated uncertainty of the offset therefore includes the interval itself. Where the readings lie
farther from the line than their own uncertainties explain, the speed was not constant, and no uncertainty that follows
from constant speed holds: what is stated grows by as much as they lie too far away.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from drivers.contract import Reading
from engine.clock import NS_PER_S

# A reading this many of its own uncertainties away from the line was not taken during the rotation.
OUTLIER_SIGMAS = 6.0
# Scatter of a stage encoder, used as the floor of a reading's uncertainty, in degrees.
ENCODER_DEG = 0.003
# By how much the speed may be off: of a stage that was told it, of one whose pedal was set by hand, and of one that
# keeps its speed.
COMMANDED_SHARE = 0.05
PEDAL_SHARE = 0.2
STEADY_SHARE = 0.005
SIGMAS = 5.0
# Readings lie on one line whose chi^2 is no more than this many of its own scatters above what it should be. Fewer than
# elsewhere: who takes one line for two states a larger uncertainty, and nothing is lost by it.
ONE_LINE_SIGMAS = 3.0
# While the run goes on, a fit looks at so many readings: a fit of thousands takes milliseconds.
RECENT = 200


@dataclass(frozen=True, slots=True)
class RotationFit:
    """A straight line through timed readings: angle = angle_deg at `reference_ns`, changing by `rate_deg_s`.

    rate_uncertainty_deg_s: one standard deviation, by the readings' own uncertainties or, where that is more, by how
    far they lie from the line. offset_uncertainty_deg: bound on a common shift of all angles (statistics, one sigma in
    the same way, plus what the reading that tells most leaves open). residual_deg: RMS over the readings used.
    bend_deg: by how much the one that lies farthest away, used or not, lies farther than its interval and its scatter
    explain; where it was right, the stage was no nearer to the line. More where the readings before and after a long
    pause lie on two lines.
    """

    rate_deg_s: float
    angle_at_reference_deg: float
    reference_ns: int
    rate_uncertainty_deg_s: float
    offset_uncertainty_deg: float
    residual_deg: float
    readings: int
    bend_deg: float = 0.0

    def angle_deg(self, t_ns: int) -> float:
        """The stage's angle at an instant."""
        return self.angle_at_reference_deg + self.rate_deg_s * (t_ns - self.reference_ns) / NS_PER_S


def middle_ns(reading: Reading) -> int:
    """The middle of the interval in which a reading was true."""
    return (reading.t_before_ns + reading.t_after_ns) // 2


def fit_rotation(readings: Sequence[Reading], nominal_rate_deg_s: float) -> RotationFit | None:
    """Weighted straight line through the readings' middles, without readings far from it; None without readings.

    nominal_rate_deg_s: signed, used for the weights, and for the rate itself when there are fewer than two
    readings (its uncertainty is then infinite).
    """
    if not readings:
        return None
    fit, used = _fitted(readings, nominal_rate_deg_s)
    bend_deg = max(0.0, *(_beyond_deg(reading, fit) for reading in readings))
    hidden_deg = max(_hidden_deg(used, fit), _unwatched_deg(used, fit, nominal_rate_deg_s))
    return replace(fit, bend_deg=max(bend_deg, hidden_deg))


def _beyond_deg(reading: Reading, fit: RotationFit) -> float:
    """By how much a reading lies farther from the line than its interval and its scatter explain."""
    half_width_s = (reading.t_after_ns - reading.t_before_ns) / 2 / NS_PER_S
    away_deg = abs(reading.value - fit.angle_deg(middle_ns(reading)))
    return away_deg - abs(fit.rate_deg_s) * half_width_s - SIGMAS * ENCODER_DEG


def _hidden_deg(readings: Sequence[Reading], fit: RotationFit) -> float:
    """How far the stage may have been from the line in the longest pause between two readings, where they do not lie on
    one line: a move in that pause tilts the line, and no reading is far from it. 0 where they do.

    As far as the lines through the readings before the pause and through those after it, each drawn on across it.
    """
    free = len(readings) - 2
    if free < 1:
        return 0.0
    squares = [((r.value - fit.angle_deg(middle_ns(r))) / _sigma_deg(r, fit.rate_deg_s)) ** 2 for r in readings]
    if sum(squares) <= free + ONE_LINE_SIGMAS * math.sqrt(2 * free):  # chi^2 of so many, and its scatter
        return 0.0
    pauses_ns = [after.t_before_ns - before.t_after_ns for before, after in pairwise(readings)]
    longest = int(np.argmax(pauses_ns)) + 1
    lines = [_line(part, fit.rate_deg_s) for part in (readings[:longest], readings[longest:])]
    ends_ns = [middle_ns(reading) for reading in readings[longest - 1 : longest + 1]]
    return max(abs(line.angle_deg(t_ns) - fit.angle_deg(t_ns)) for line in lines for t_ns in ends_ns)


def _unwatched_deg(readings: Sequence[Reading], fit: RotationFit, nominal_rate_deg_s: float) -> float:
    """How far the stage may have been from the line where more than half of the time between the first and the last
    reading lies between two of them: readings before and after such a pause lie on one line whatever it did in between,
    and a stage that stood for a while looks like a slower one. As far as its speed is from what it was to be.
    """
    if len(readings) < 2:
        return 0.0
    pause_ns = max(after.t_before_ns - before.t_after_ns for before, after in pairwise(readings))
    if pause_ns <= (middle_ns(readings[-1]) - middle_ns(readings[0])) / 2:
        return 0.0
    return abs(fit.rate_deg_s - nominal_rate_deg_s) * pause_ns / NS_PER_S


def _fitted(readings: Sequence[Reading], nominal_rate_deg_s: float) -> tuple[RotationFit, list[Reading]]:
    """The line, and the readings that it goes by."""
    kept = list(readings)
    while True:
        fit = _line(kept, nominal_rate_deg_s)
        if len(kept) <= 3:
            return fit, kept
        distances = [abs(r.value - fit.angle_deg(middle_ns(r))) / _sigma_deg(r, fit.rate_deg_s) for r in kept]
        worst = int(np.argmax(distances))
        if distances[worst] <= OUTLIER_SIGMAS:
            return fit, kept
        kept.pop(worst)


def _sigma_deg(reading: Reading, rate_deg_s: float) -> float:
    # An instant uniformly distributed over the interval has a standard deviation of width / sqrt(12).
    width_s = (reading.t_after_ns - reading.t_before_ns) / NS_PER_S
    return math.hypot(ENCODER_DEG, rate_deg_s * width_s / math.sqrt(12))


def _line(readings: Sequence[Reading], nominal_rate_deg_s: float) -> RotationFit:
    middles_ns = [middle_ns(reading) for reading in readings]
    values = np.array([reading.value for reading in readings])
    weights = np.array([1 / _sigma_deg(reading, nominal_rate_deg_s) ** 2 for reading in readings])
    reference_ns = middles_ns[0] + round(
        float(np.average([middle - middles_ns[0] for middle in middles_ns], weights=weights))
    )
    times_s = np.array([(middle - reference_ns) / NS_PER_S for middle in middles_ns])
    angle = float(np.average(values, weights=weights))
    spread = float(np.sum(weights * times_s**2))
    known = len(readings) >= 2 and spread > 0
    rate = float(np.sum(weights * times_s * (values - angle)) / spread) if known else nominal_rate_deg_s
    residuals = values - angle - rate * times_s
    # How much farther from the line than they should the readings lie: the root of chi^2 per degree of freedom.
    misfit = math.sqrt(float(np.sum(weights * residuals**2)) / (len(readings) - 2)) if len(readings) > 2 else 0.0
    misfit = max(1.0, misfit)
    # Each reading alone says: the stage passed through its value somewhere within its interval. The line passes by
    # at the distance of its residual.
    half_widths = abs(rate) * np.array([r.t_after_ns - r.t_before_ns for r in readings]) / NS_PER_S / 2
    open_deg = float(np.min(half_widths + np.abs(residuals)))
    # An interface that always samples at the same share of its intervals tilts the line where they grow or shrink on
    # the way. That share lies anywhere between the two ends.
    tilt = float(np.sum(weights * times_s * half_widths)) / spread / math.sqrt(3) if known else 0.0
    return RotationFit(
        rate_deg_s=rate,
        angle_at_reference_deg=angle,
        reference_ns=reference_ns,
        rate_uncertainty_deg_s=math.hypot(misfit / math.sqrt(spread), tilt) if known else math.inf,
        offset_uncertainty_deg=open_deg + misfit / math.sqrt(float(np.sum(weights))),
        residual_deg=float(np.sqrt(np.mean(residuals**2))),
        readings=len(readings),
    )


def has_stopped(before: Reading, now: Reading, rate_deg_s: float) -> bool:
    """Whether the stage moved less than a third of what its rate demands between two readings.

    Demanded is what it moves in the shortest time that may lie between them, for a slow reading may be true at either
    end of its interval. Only for readings at least 0.2 s apart; nearer ones say nothing.
    """
    elapsed_s = max(0, now.t_before_ns - before.t_after_ns) / NS_PER_S
    return abs(now.value - before.value) < max(abs(rate_deg_s) * elapsed_s / 3, 1.5 * ENCODER_DEG)


def is_astray(
    readings: Sequence[Reading], now: Reading, nominal_rate_deg_s: float, nominal_share: float = PEDAL_SHARE
) -> bool:
    """Whether a stage at constant speed cannot stand where it is read `now`, after what was read of it before.

    The speed is that of the readings, as well as they tell it, or the plan's, which may be off by `nominal_share`.
    Moves of less than what the readings' own intervals leave open are not seen.
    """
    if not readings:
        return False
    fit, agreeing = _fitted(readings[-RECENT:], nominal_rate_deg_s)
    rate_deg_s, share = nominal_rate_deg_s, nominal_share
    if fit.readings > 1:
        told = SIGMAS * fit.rate_uncertainty_deg_s / abs(nominal_rate_deg_s) + STEADY_SHARE
        if told < share:
            rate_deg_s, share = fit.rate_deg_s, told
    # Beside each reading before, not the last alone: a slow one leaves much open, and on either side of it a part of
    # one move may hide. A wrong one among them, of which the line says so, has no word here.
    return any(_is_away(before, now, rate_deg_s, share) for before in (*agreeing, readings[-1]))


def is_beyond_plan(
    readings: Sequence[Reading], now: Reading, nominal_rate_deg_s: float, nominal_share: float = PEDAL_SHARE
) -> bool:
    """Whether not even the plan's speed, off by as much as it may be, explains where the stage is read `now`: what the
    readings before seem to tell of the speed has no word. Neither has a wrong one among them.
    """
    if not readings:
        return False
    _, agreeing = _fitted(readings[-RECENT:], nominal_rate_deg_s)
    return any(_is_away(before, now, nominal_rate_deg_s, nominal_share) for before in agreeing)


def _is_away(before: Reading, now: Reading, rate_deg_s: float, share: float) -> bool:
    """Whether a stage that turns at this speed, give or take a share of it, cannot come from one reading to the
    other.
    """
    elapsed_s = (middle_ns(now) - middle_ns(before)) / NS_PER_S
    open_s = (now.t_after_ns - now.t_before_ns + before.t_after_ns - before.t_before_ns) / 2 / NS_PER_S
    away_deg = abs(now.value - before.value - rate_deg_s * elapsed_s)
    return away_deg > abs(rate_deg_s) * (open_s + share * elapsed_s) + SIGMAS * ENCODER_DEG
