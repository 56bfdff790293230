"""Rotation speeds in deg/s on goniometers that have settings: nearest setting, its true speed, fitted calibrations."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.calibration.rotationspeed import (
    Rotation,
    RotationCalibration,
    RotationSpeeds,
    fit_rotations,
    rotation_speeds,
)
from engine.errors import DataError, DeviceError, Refused

# 1.2 s per degree at setting 1, as Instamatic's documentation gives it for a simulated JEOL.
DIAL = RotationSpeeds(RotationCalibration(pace=1.2), {n: float(n) for n in range(1, 13)})
TABLE = RotationSpeeds(RotationCalibration(), {0: 10.0, 1: 2.0, 2: 1.0, 3: 0.5})
ANY = RotationSpeeds(RotationCalibration(pace=1 / 30), None, (0.001, 1.0))


@pytest.mark.parametrize(
    ("speeds", "asked_deg_s", "setting", "true_deg_s"),
    [
        (DIAL, 0.83, 1, 1 / 1.2),
        (DIAL, 2.4, 3, 2.5),
        (DIAL, 100.0, 12, 10.0),
        (DIAL, 0.01, 1, 1 / 1.2),
        (DIAL, math.inf, 12, 10.0),
        (TABLE, math.inf, 0, 10.0),
        (TABLE, 0.45, 3, 0.5),
        (TABLE, 7.0, 0, 10.0),
        (ANY, 0.45, 0.015, 0.45),
        (ANY, 45.0, 1.0, 30.0),
    ],
)
def test_the_nearest_setting_says_what_speed_it_really_is(
    speeds: RotationSpeeds, asked_deg_s: float, setting: float, true_deg_s: float
) -> None:
    chosen = speeds.nearest(asked_deg_s)
    assert chosen.setting == pytest.approx(setting)
    assert chosen.speed_deg_s == pytest.approx(true_deg_s)


@given(st.sampled_from([DIAL, TABLE]), st.floats(0.001, 100))
def test_no_other_setting_is_nearer(speeds: RotationSpeeds, asked_deg_s: float) -> None:
    chosen = speeds.nearest(asked_deg_s)
    assert speeds.levels is not None
    others = [speeds.calibration.speed_deg_s(level) for level in speeds.levels.values()]
    assert abs(chosen.speed_deg_s - asked_deg_s) == min(abs(other - asked_deg_s) for other in others)


def test_a_speed_that_no_setting_gives_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(DeviceError, match=r"0\.45 deg/s; nothing moved.*nearest.*0\.5 deg/s \(setting 3\)"):
        TABLE.choose(0.45)
    assert TABLE.choose(0.49).setting == 3


@pytest.mark.parametrize("speed_deg_s", [0.0, -1.0, math.nan, math.inf])
def test_what_is_no_speed_is_refused(speed_deg_s: float) -> None:
    with pytest.raises(DeviceError, match="nothing moved"):
        ANY.choose(speed_deg_s)


def rotations(truth: RotationCalibration, levels: list[float], noise_s: float, seed: int = 1) -> list[Rotation]:
    rng = np.random.default_rng(seed)
    return [
        Rotation(span, level, truth.time_s(span, level) + noise_s * float(rng.standard_normal()))
        for level in levels
        for span in (1.0, 2.0, 4.0, 7.0, 10.0)
    ]


TRUTH = RotationCalibration(pace=1.2, windup=0.3, delay_s=0.06)


def test_a_fit_finds_the_figures_within_their_uncertainties() -> None:
    found = fit_rotations(rotations(TRUTH, [1.0, 2.0, 4.0, 8.0], noise_s=0.02))
    assert abs(found.pace - TRUTH.pace) < 4 * found.pace_sigma < 0.02
    assert abs(found.windup - TRUTH.windup) < 4 * found.windup_sigma < 0.2
    assert abs(found.delay_s - TRUTH.delay_s) < 4 * found.delay_sigma_s < 0.1
    assert found.rotations == 20
    assert 0.005 < found.scatter_s < 0.04


def test_uncertainties_are_what_repeated_calibrations_scatter_by() -> None:
    fits = [fit_rotations(rotations(TRUTH, [1.0, 4.0, 8.0], noise_s=0.03, seed=seed)) for seed in range(200)]
    for figure, sigma in (("pace", "pace_sigma"), ("windup", "windup_sigma"), ("delay_s", "delay_sigma_s")):
        scatter = np.std([getattr(fit, figure) for fit in fits])
        assert 0.6 < np.median([getattr(fit, sigma) for fit in fits]) / scatter < 1.6


def test_one_call_that_took_ten_times_as_long_does_little_harm() -> None:
    measured = rotations(TRUTH, [1.0, 2.0, 4.0, 8.0], noise_s=0.005)
    slow = measured[7]
    measured[7] = Rotation(slow.span_deg, slow.level, slow.time_s + 0.4)
    assert fit_rotations(measured).pace == pytest.approx(TRUTH.pace, rel=0.005)


def test_with_one_level_only_windup_and_delay_are_one() -> None:
    found = fit_rotations(rotations(TRUTH, [2.0], noise_s=0.0))
    assert found.pace == pytest.approx(1.2)
    assert found.windup == 0
    assert found.delay_s == pytest.approx(0.06 + 0.3 / 2)
    assert found.time_s(5.0, 2.0) == pytest.approx(TRUTH.time_s(5.0, 2.0))


@pytest.mark.parametrize(
    "measured",
    [
        [],
        [Rotation(1.0, 1.0, 1.0), Rotation(2.0, 1.0, 2.0)],
        [Rotation(2.0, level, 2.0 / level) for level in (1.0, 2.0, 4.0)],
        [Rotation(span, 1.0, 5.0 - span) for span in (1.0, 2.0, 3.0)],
        [Rotation(span, 0.0, span) for span in (1.0, 2.0, 3.0)],
    ],
    ids=["none", "too few", "one span", "longer is quicker", "no speed"],
)
def test_rotations_that_tell_no_speed_are_refused(measured: list[Rotation]) -> None:
    with pytest.raises(DataError, match="nothing was fitted"):
        fit_rotations(measured)


def test_a_calibration_goes_through_the_devices_file() -> None:
    asked = [(span, speed, 0.1 + 1.25 * span / speed) for speed in (0.5, 2.0) for span in (1.0, 3.0, 5.0)]
    calibrated = TABLE.refitted(asked)
    assert calibrated.nearest(0.4).speed_deg_s == pytest.approx(0.4)
    again = rotation_speeds(calibrated.as_options(), TABLE)
    assert again.all_deg_s() == pytest.approx(calibrated.all_deg_s())
    assert "pace 1.2500 +- 0.0000" in calibrated.summary()


@pytest.mark.parametrize(
    ("table", "speeds_deg_s"),
    [
        ({}, (0.5, 1.0, 2.0, 10.0)),
        ({"pace": 2.0}, (0.25, 0.5, 1.0, 5.0)),
        ({"settings": [4, 5], "levels": [0.25, 0.1]}, (0.1, 0.25)),
        ({"settings": [1, 2, 3], "pace": 0.5}, (2.0, 4.0, 6.0)),
        ({"limits": [0.1, 1.0], "pace": 0.1}, (1.0, 10.0)),
    ],
)
def test_a_devices_file_says_which_speeds_there_are(table: dict[str, object], speeds_deg_s: tuple[float, ...]) -> None:
    assert rotation_speeds(table, TABLE).all_deg_s() == pytest.approx(speeds_deg_s)


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        (3, "is not a table"),
        ({"speed": 1.0}, "no key 'speed'"),
        ({"pace": "fast"}, "not a number"),
        ({"pace": 10**400}, r"pace = 10+\.\.\. is not a number"),
        ({"limits": [0, 10**400]}, "not a number"),
        ({"settings": [1, 10**400]}, "not a number"),
        ({"pace": 0}, "positive"),
        ({"delay_s": math.nan}, "not a number"),
        ({"limits": [1.0]}, "list of 2 numbers"),
        ({"limits": [2.0, 1.0]}, "low and a high"),
        ({"limits": [0.0, 1.0], "settings": [1]}, "no settings"),
        ({"settings": [1, 2], "levels": [1.0]}, "list of 2 numbers"),
        ({"settings": [1.5]}, "whole numbers"),
        ({"settings": [0]}, "positive level"),
        ({"settings": []}, "whole numbers"),
        ({"settings": "all"}, "list of numbers"),
    ],
)
def test_mistakes_in_the_devices_file_are_refused(table: object, complaint: str) -> None:
    with pytest.raises(Refused, match=complaint):
        rotation_speeds(table, TABLE)
