"""Rotation speed in degrees per second, for goniometers whose speed is a setting: a number, a step of a dial, a level.

Stage drivers ask for the setting nearest to a speed and for the speed that it really is; `credline devices check
--move` measures rotations and has them fitted. The model, with `speed` the level of a setting:

    time = (pace * span + windup) / speed + delay

pace: time per degree at level 1, so a level turns at level / pace deg/s. windup: what acceleration costs, in the same
unit as pace * span. delay: what every rotation costs, calls included. It is the model that Instamatic calibrates with
(its pull requests 136 and 150). Pure: no clock, no device.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from drivers.facts import SPEED_SHARE, StageFacts
from drivers.options import is_number, no_such_key
from engine.errors import DataError, DeviceError, Refused, shown

FEWEST = 3


@dataclass(frozen=True, slots=True)
class Rotation:
    """One measured rotation: `span_deg` (unsigned) at a level took `time_s` from the command to the standstill."""

    span_deg: float
    level: float
    time_s: float


@dataclass(frozen=True, slots=True)
class RotationCalibration:
    """The three figures of the model with their standard uncertainties, and how well they fit.

    scatter_s: median absolute deviation of the rotations from the model, 0 where nothing was fitted.
    """

    pace: float = 1.0
    windup: float = 0.0
    delay_s: float = 0.0
    pace_sigma: float = 0.0
    windup_sigma: float = 0.0
    delay_sigma_s: float = 0.0
    scatter_s: float = 0.0
    rotations: int = 0

    def time_s(self, span_deg: float, level: float) -> float:
        """How long a rotation takes, from the command to the standstill."""
        return (self.pace * abs(span_deg) + self.windup) / level + self.delay_s

    def speed_deg_s(self, level: float) -> float:
        """The speed of a level, once it is reached."""
        return level / self.pace


def fit_rotations(measured: Sequence[Rotation]) -> RotationCalibration:
    """The calibration that fits measured rotations; a single slow call among them does little harm (soft L1 loss).

    Rotations at one level only cannot tell windup from delay: windup is then 0 and delay_s holds both. Raises
    DataError for fewer than three rotations, or spans that are all the same: those tell no speed.
    """
    span, level, time = (
        np.array([getattr(rotation, name) for rotation in measured], np.float64)
        for name in ("span_deg", "level", "time_s")
    )
    if len(measured) < FEWEST or np.ptp(span) == 0 or not (level > 0).all() or not (span > 0).all():
        raise DataError(
            f"rotation speed: {len(measured)} rotations over {len(set(span))} different spans tell no speed; nothing "
            "was fitted. Measure three and more, over short and long spans."
        )
    columns = [span / level, 1 / level, np.ones_like(span)]
    if np.ptp(level) == 0:
        del columns[1]
    design = np.stack(columns, axis=1)
    start = np.linalg.lstsq(design, time, rcond=None)[0]
    scale_s = max(_scatter(design @ start - time), 1e-6)

    def residuals(figures: NDArray[np.float64]) -> NDArray[np.float64]:
        missing: NDArray[np.float64] = design @ figures - time
        return missing

    fit = least_squares(residuals, start, loss="soft_l1", f_scale=scale_s, x_scale="jac")
    if not fit.x[0] > 0:
        raise DataError(
            "rotation speed: longer rotations did not take longer; nothing was fitted. Measure longer spans."
        )
    freedom = max(len(measured) - len(columns), 1)
    # The loss is half the sum of (damped) squares; with the Jacobian it gives the usual covariance.
    jacobian = np.asarray(fit.jac, np.float64)
    covariance = np.linalg.inv(jacobian.T @ jacobian) * 2 * fit.cost / freedom
    values, sigma = fit.x.tolist(), np.sqrt(np.diag(covariance)).tolist()
    if len(columns) < FEWEST:
        values.insert(1, 0.0)
        sigma.insert(1, 0.0)
    return RotationCalibration(
        pace=values[0],
        windup=values[1],
        delay_s=values[2],
        pace_sigma=sigma[0],
        windup_sigma=sigma[1],
        delay_sigma_s=sigma[2],
        scatter_s=_scatter(design @ fit.x - time),
        rotations=len(measured),
    )


def _scatter(residuals_s: NDArray[np.float64]) -> float:
    return float(np.median(np.abs(residuals_s)))


@dataclass(frozen=True, slots=True)
class SpeedSetting:
    """A setting of the goniometer, the level it stands for, and the speed that it really is."""

    setting: float
    level: float
    speed_deg_s: float


@dataclass(frozen=True, slots=True)
class RotationSpeeds:
    """What speeds a goniometer has, and the setting of each.

    levels: setting -> level, for a goniometer with steps; None for one that takes any level within `limits`.
    """

    calibration: RotationCalibration = RotationCalibration()
    levels: Mapping[int, float] | None = None
    limits: tuple[float, float] = (0.0, math.inf)

    def nearest(self, speed_deg_s: float) -> SpeedSetting:
        """The setting whose speed is nearest to the one asked for, and that speed."""
        level = speed_deg_s * self.calibration.pace
        if self.levels is None:
            setting = level = min(max(level, self.limits[0]), self.limits[1])
        else:
            level = min(level, max(self.levels.values()))  # "as fast as it goes" may be infinite
            setting, level = min(self.levels.items(), key=lambda item: abs(item[1] - level))
        return SpeedSetting(setting, level, self.calibration.speed_deg_s(level))

    def choose(self, speed_deg_s: float) -> SpeedSetting:
        """The nearest setting, if it is within 5 % of the speed asked for. Raises DeviceError (nothing moved)."""
        if not (speed_deg_s > 0 and math.isfinite(speed_deg_s)):
            raise DeviceError(f"stage: cannot rotate at {speed_deg_s:g} deg/s; nothing moved. Give a positive speed.")
        chosen = self.nearest(speed_deg_s)
        if abs(chosen.speed_deg_s - speed_deg_s) > SPEED_SHARE * speed_deg_s:
            raise DeviceError(
                f"stage: cannot rotate at {speed_deg_s:g} deg/s; nothing moved. The nearest it can do is "
                f"{chosen.speed_deg_s:.4g} deg/s (setting {chosen.setting:g})."
            )
        return chosen

    def all_deg_s(self) -> tuple[float, ...]:
        """The speeds of all steps, slowest first; the slowest and the fastest of a goniometer without steps."""
        levels = self.limits if self.levels is None else self.levels.values()
        return tuple(sorted(self.calibration.speed_deg_s(level) for level in levels))

    def settings(self) -> tuple[tuple[float, float], ...]:
        """All settings with their speeds, slowest first; of a goniometer without steps its two ends. Those that are
        infinite ("as fast as it goes") are left out.
        """
        levels = [(level, level) for level in self.limits] if self.levels is None else self.levels.items()
        pairs = [(float(setting), self.calibration.speed_deg_s(level)) for setting, level in levels]
        finite = sorted((pair for pair in pairs if math.isfinite(pair[1])), key=lambda pair: pair[1])
        return tuple(finite) if self.levels is not None or len(finite) == len(self.limits) else ()

    def refitted(self, measured: Sequence[tuple[float, float, float]]) -> "RotationSpeeds":
        """The same goniometer, calibrated by rotations (span_deg, speed asked for in deg/s, time_s).

        Raises DataError as `fit_rotations`.
        """
        rotations = [Rotation(span, self.nearest(asked).level, time) for span, asked, time in measured]
        return replace(self, calibration=fit_rotations(rotations))

    def as_options(self) -> dict[str, Any]:
        """The calibration as the devices file holds it; `rotation_speeds` reads it."""
        found = self.calibration
        return {"pace": round(found.pace, 6), "windup": round(found.windup, 6), "delay_s": round(found.delay_s, 6)}

    def summary(self) -> str:
        """The calibration in words, for a person."""
        found = self.calibration
        return (
            f"time = (pace * span + windup) / level + delay: pace {found.pace:.4f} +- {found.pace_sigma:.4f}, windup "
            f"{found.windup:.3f} +- {found.windup_sigma:.3f}, delay {found.delay_s:.3f} +- {found.delay_sigma_s:.3f} s "
            f"({found.rotations} rotations, scatter {found.scatter_s * 1000:.0f} ms)"
        )


def stage_facts(limits_deg: tuple[float, float], backlash_deg: float, speeds: RotationSpeeds | None) -> StageFacts:
    """What is known of a stage that turns at these speeds; None: they were not measured, so it cannot be told to."""
    if speeds is None:
        return StageFacts(limits_deg, backlash_deg, can_rotate=False)
    if speeds.levels is not None:
        return StageFacts(limits_deg, backlash_deg, speeds_deg_s=speeds.all_deg_s(), speed_settings=speeds.settings())
    slowest_deg_s, fastest_deg_s = speeds.all_deg_s()
    limits_deg_s = slowest_deg_s, fastest_deg_s
    return StageFacts(limits_deg, backlash_deg, speed_limits_deg_s=limits_deg_s, speed_settings=speeds.settings())


def rotation_speeds(given: object, defaults: RotationSpeeds) -> RotationSpeeds:
    """The speeds as a devices file has them, in a table `rotation`; what it leaves out is as in `defaults`.

    Keys: `settings` (whole numbers) with `levels` (default: the settings themselves), or `limits` (two numbers) for a
    goniometer without steps; `pace`, `windup`, `delay_s`. Raises Refused.
    """
    if not isinstance(given, Mapping):
        raise Refused(
            f"devices: rotation = {shown(repr(given))} is not a table; nothing was started. Write rotation.pace = 1.2."
        )
    keys = ("settings", "levels", "limits", "pace", "windup", "delay_s")
    if unknown := sorted(set(given) - set(keys)):
        raise no_such_key("[rotation]", unknown[0], keys)
    before = defaults.calibration
    calibration = RotationCalibration(
        pace=_number("pace", given.get("pace", before.pace)),
        windup=_number("windup", given.get("windup", before.windup)),
        delay_s=_number("delay_s", given.get("delay_s", before.delay_s)),
    )
    if not calibration.pace > 0:
        raise Refused(f"devices: [rotation] pace = {calibration.pace:g}: give a positive number; nothing was started.")
    if "limits" in given:
        low, high = _numbers("limits", given["limits"], 2)
        if "settings" in given or not 0 <= low < high:
            raise Refused(
                f"devices: [rotation] limits = {shown(repr(given['limits']))}: give a low and a high level, and no "
                "settings; nothing was started."
            )
        return RotationSpeeds(calibration, None, (low, high))
    levels = defaults.levels
    if "settings" in given or "levels" in given:
        settings = _numbers("settings", given.get("settings", list(levels or ())))
        values = _numbers("levels", given.get("levels", settings), len(settings))
        if not settings or min(values) <= 0 or any(setting != int(setting) for setting in settings):
            raise Refused(
                f"devices: [rotation] settings = {shown(repr(settings))}, levels = {shown(repr(values))}: give "
                "whole numbers, and a positive level for each; nothing was started."
            )
        levels = {int(setting): level for setting, level in zip(settings, values, strict=True)}
    return replace(defaults, calibration=calibration, levels=levels)


def _number(key: str, value: object) -> float:
    if not is_number(value):
        raise Refused(f"devices: [rotation] {key} = {shown(repr(value))} is not a number; nothing was started.")
    return float(value)


def _numbers(key: str, values: object, count: int | None = None) -> list[float]:
    if not isinstance(values, list | tuple) or count not in (None, len(values)):
        wanted = "a list of numbers" if count is None else f"a list of {count} numbers"
        raise Refused(f"devices: [rotation] {key} = {shown(repr(values))} is not {wanted}; nothing was started.")
    return [_number(key, value) for value in values]
