"""A crystal that is not on the tilt axis, in a holder that is not perfect, moves as it turns."""

import math
from dataclasses import fields, replace

import numpy as np
import pytest

from drivers.simulated.crystalmotion import HEIGHT_NM, MotionSettings, moved_nm

STILL = MotionSettings()


@pytest.mark.parametrize("tilt_deg", [-70.0, 0.0, 33.0])
def test_nothing_moves_unless_it_is_asked_for(tilt_deg):
    assert moved_nm(STILL, tilt_deg, 10.0, 1000.0) == (0.0, 0.0)
    assert not STILL.moves


@pytest.mark.parametrize(
    ("asked", "x_nm", "y_nm"),
    [
        ({"height_nm": 1000.0}, 0.0, -1000.0 * (math.sin(math.pi / 3) + 0.5)),
        ({"axis_off_nm": 1000.0}, 0.0, 1000.0 * (0.5 - math.cos(math.pi / 6))),
        ({"centred_off_nm": (30.0, -20.0)}, 30.0, -20.0),
        ({"drift_nm_s": (0.5, -1.0)}, 50.0, -100.0),
        ({"backlash_nm": (200.0, 100.0), "backlash_deg": 2.0}, 200.0, 100.0),
    ],
)
def test_each_figure_moves_it_in_its_own_way_from_where_it_was_centred(asked, x_nm, y_nm):
    settings = MotionSettings(**asked)
    assert settings.moves
    assert moved_nm(settings, 60.0, -30.0, 100.0) == pytest.approx((x_nm, y_nm), abs=1e-9)
    assert moved_nm(settings, -30.0, -30.0, 0.0) == settings.centred_off_nm


def test_slack_is_taken_up_in_the_first_degrees():
    settings = MotionSettings(backlash_nm=(0.0, 100.0), backlash_deg=2.0)
    seen = [moved_nm(settings, -40.0 + turned, -40.0, 0.0)[1] for turned in (0.0, 2.0, 10.0)]
    assert seen == pytest.approx([0.0, 100.0 * (1 - math.exp(-1)), 100.0], abs=1.0)


def test_runout_is_smooth_and_as_large_as_said():
    spread = []
    for seed in range(40):
        settings = MotionSettings(runout_nm=(100.0, 50.0), seed=seed)
        path = np.array([moved_nm(settings, tilt, 0.0, 0.0) for tilt in np.arange(-180.0, 180.0, 0.5)])
        spread.append(path.std(axis=0))
        assert np.abs(np.diff(path, axis=0)).max() < 25.0  # nm per half a degree
    assert np.mean(spread, axis=0) == pytest.approx([100.0, 50.0], rel=0.1)


def test_it_slips_as_often_as_said_and_stays_there():
    slips = []
    for seed in range(60):
        settings = MotionSettings(jumps_per_deg=0.02, jump_nm=200.0, seed=seed)
        path = np.array([moved_nm(settings, tilt, -60.0, 0.0) for tilt in np.arange(-60.0, 60.1, 0.5)])
        steps = np.hypot(*np.diff(path, axis=0).T)
        slips.append(np.count_nonzero(steps))
    assert np.mean(slips) == pytest.approx(0.02 * 120, rel=0.25)


def test_a_population_is_drawn_from_a_seed_alone():
    assert MotionSettings.drawn(7) == MotionSettings.drawn(7) == MotionSettings(drawn_seed=7).meant
    assert MotionSettings(drawn_seed=7).moves
    assert MotionSettings.drawn(7) != MotionSettings.drawn(8)
    heights_nm = [MotionSettings.drawn(seed).height_nm for seed in range(400)]
    assert np.std(heights_nm) == pytest.approx(HEIGHT_NM, rel=0.1)


def test_worse_mechanics_go_the_same_way_farther():
    once, twice = MotionSettings.drawn(3), MotionSettings(drawn_seed=3, worse=2.0).meant
    same = {field.name for field in fields(once) if getattr(once, field.name) == getattr(twice, field.name)}
    assert same == {"backlash_deg", "seed", "drawn_seed", "worse"}
    smooth, smooth_twice = (replace(each, jumps_per_deg=0.0) for each in (once, twice))
    near, far = (np.array(moved_nm(each, 50.0, -50.0, 200.0)) for each in (smooth, smooth_twice))
    assert far == pytest.approx(2 * near)
