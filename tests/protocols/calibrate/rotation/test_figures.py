"""What rotations tell: share of the speed, run-in, backlash, as true as they say; and the delay that a camera sees."""

import numpy as np
import pytest

from drivers.calibration.rotationfigures import Turn, fit_turns
from engine.errors import DataError
from protocols.calibrate.rotation.delay import Way, delay_of


def turns(seed: int, speeds: tuple[float, ...] = (0.25, 0.5, 1.0)) -> list[Turn]:
    rng = np.random.default_rng(seed)
    made = []
    for asked in speeds:
        for span in (2.0, 2.0, 5.0, 5.0, 10.0, 10.0):
            true = 1.02 * asked
            late_s = 0.12 + 0.08 / true + rng.normal(0, 0.003)
            made.append(Turn(asked, span, true * (1 + rng.normal(0, 3e-4)), 3e-4 * true, late_s))
    return made


@pytest.mark.parametrize("seed", range(5))
def test_share_run_in_and_backlash_are_told_apart_by_the_speeds(seed: int) -> None:
    made = turns(seed)
    made[4] = Turn(0.25, 5.0, 0.255, 1e-4, 3.0)  # one slow call
    found = fit_turns(made)
    assert found.share[0] == pytest.approx(1.02, abs=4 * found.share[1])
    assert found.run_in_s[0] == pytest.approx(0.12, abs=4 * found.run_in_s[1])
    assert found.backlash_deg is not None
    assert found.backlash_deg[0] == pytest.approx(0.08, abs=4 * found.backlash_deg[1])
    assert found.backlash_deg[1] < 0.003


def test_speeds_that_are_alike_tell_no_backlash_and_few_rotations_nothing() -> None:
    assert fit_turns(turns(1, (0.5, 0.5))).backlash_deg is None
    with pytest.raises(DataError, match="are too few"):
        fit_turns(turns(1)[:5])


def way(direction: int, delay_s: float, speed: float = 2.0) -> Way:
    """Twelve reflections that come and go, each on pixels of its own."""
    time_s = np.arange(0, 10, 0.062)
    angle = direction * (speed * time_s - 10)
    rng = np.random.default_rng(5)
    at, bright = rng.uniform(-9, 9, 40), rng.uniform(50, 400, 40)
    shines = 5 + bright * np.exp(-((angle[:, None] - at) ** 2) / (2 * 0.15**2))
    pictures = np.random.default_rng(6 + direction).poisson(np.repeat(shines, 4, axis=1)).astype(float)
    read_deg = angle + direction * speed * delay_s
    return Way(time_s, pictures.reshape(len(time_s), 8, 20), time_s, read_deg)


@pytest.mark.parametrize("delay_s", [-0.01, 0.0, 0.008, 0.05])
def test_pictures_of_both_ways_tell_how_late_readings_are(delay_s: float) -> None:
    found = delay_of(way(1, delay_s), way(-1, delay_s))
    assert found.delay_s[0] == pytest.approx(delay_s, abs=max(4 * found.delay_s[1], 0.0005))
    assert found.delay_s[1] < 0.002


def test_pictures_that_show_no_reflections_tell_nothing() -> None:
    one, other = way(1, 0.01), way(-1, 0.01)
    dark = Way(one.time_s, np.ones_like(one.pictures), one.read_s, one.read_deg)
    with pytest.raises(DataError, match="no reflections come and go"):
        delay_of(dark, Way(other.time_s, np.ones_like(other.pictures), other.read_s, other.read_deg))
