"""Frame angles fitted from timed readings: against lines made by hand, and against the simulated truth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.contract import Reading
from engine.clock import ns
from protocols.cred.rotation.angles import fit_rotation, has_stopped, is_astray
from tests.protocols.cred.conftest import Perform


def readings(rate: float, offset: float, times_s: list[float], width_s: float, sampled_at: float) -> list[Reading]:
    """Exact readings of a line, each true at the same share of its interval."""
    return [Reading(offset + rate * (t + sampled_at * width_s), ns(t), ns(t + width_s)) for t in times_s]


@given(
    rate=st.floats(-5, 5).filter(lambda rate: abs(rate) > 0.01),
    offset=st.floats(-80, 80),
    width_s=st.floats(0.001, 0.3),
    sampled_at=st.floats(0, 1),
    count=st.integers(2, 60),
)
def test_the_true_line_lies_within_the_stated_uncertainty(
    rate: float, offset: float, width_s: float, sampled_at: float, count: int
) -> None:
    fit = fit_rotation(readings(rate, offset, [5.12 * k for k in range(count)], width_s, sampled_at), rate)
    assert fit is not None
    assert fit.rate_deg_s == pytest.approx(rate, rel=1e-6)
    for t_s in (0.0, 5.12 * count):
        assert abs(fit.angle_deg(ns(t_s)) - (offset + rate * t_s)) <= fit.offset_uncertainty_deg + 1e-6


def test_one_reading_gives_the_nominal_rate_and_says_that_it_is_not_known() -> None:
    fit = fit_rotation([Reading(3.0, 0, ns(0.04))], -0.45)
    assert fit is not None
    assert fit.rate_deg_s == -0.45
    assert fit.rate_uncertainty_deg_s == np.inf


def test_no_reading_gives_no_angles() -> None:
    assert fit_rotation([], 0.45) is None


def test_a_reading_after_the_rotation_ended_does_not_tilt_the_line() -> None:
    good = readings(0.45, 10.0, [5.0 * k for k in range(8)], 0.035, 0.5)
    fit = fit_rotation([*good, Reading(good[-1].value + 0.3, ns(40.0), ns(40.035))], 0.45)
    assert fit is not None
    assert fit.readings == 8
    assert fit.rate_deg_s == pytest.approx(0.45, abs=1e-9)


def test_a_stage_that_stands_is_told_from_one_that_lags_a_reading() -> None:
    line = readings(0.45, 0.0, [0.0, 5.0, 5.3], 0.035, 0.5)
    assert not is_astray(line[:1], line[1], 0.45)
    standing = Reading(line[0].value + 1.0, ns(5.0), ns(5.035))
    assert is_astray(line[:1], standing, 0.45)
    assert has_stopped(standing, Reading(standing.value + 0.002, ns(5.3), ns(5.335)), 0.45)
    assert not has_stopped(line[1], line[2], 0.45)


@pytest.mark.parametrize("seen", [1, 2, 3, 6])
@pytest.mark.parametrize(("off_deg", "astray"), [(0.0, False), (0.01, False), (1.0, True), (-1.0, True), (-4.6, True)])
def test_a_stage_that_jumps_slips_or_turns_back_is_noticed(seen: int, off_deg: float, astray: bool) -> None:
    line = readings(0.45, 0.0, [5.0 * k for k in range(seen + 1)], 0.035, 0.5)
    now = Reading(line[-1].value + off_deg, line[-1].t_before_ns, line[-1].t_after_ns)
    assert is_astray(line[:-1], now, 0.45) is astray


@pytest.mark.parametrize("true_rate", [0.38, 0.45, 0.52])
def test_a_speed_other_than_the_plan_s_is_no_stray(true_rate: float) -> None:
    line = readings(true_rate, 0.0, [0.0, 0.5, 5.0, 10.0, 15.0], 0.035, 0.5)
    assert not any(is_astray(line[:k], line[k], 0.45) for k in range(len(line)))


@pytest.mark.parametrize("seed", range(6))
def test_fitted_angles_agree_with_the_simulated_truth_to_a_hundredth_of_a_degree(perform: Perform, seed: int) -> None:
    run = perform(seed=seed, start_deg=-60.0, range_deg=120.0, truth=True)
    frames, truth = run.frames(), run.truth_deg()
    residual = np.concatenate([frames["start_deg"] - truth[:, 0], frames["end_deg"] - truth[:, 1]])
    assert np.sqrt(np.mean(residual**2)) < 0.01
    assert np.abs(residual).max() < run.result["offset_uncertainty_deg"]


@pytest.mark.parametrize("seed", range(6))
def test_with_slow_readings_the_rate_is_right_and_the_offset_is_covered(perform: Perform, seed: int) -> None:
    run = perform(seed=seed, start_deg=-60.0, range_deg=120.0, truth=True, devices={"stage": {"stage_read_s": 0.277}})
    frames, truth = run.frames(), run.truth_deg()
    true_rate = (truth[-1, 1] - truth[0, 0]) / ((frames["end_ns"][-1] - frames["start_ns"][0]) / 1e9)
    assert run.result["rate_deg_s"] == pytest.approx(true_rate, rel=1e-3)
    assert np.abs(frames["start_deg"] - truth[:, 0]).max() < run.result["offset_uncertainty_deg"]
