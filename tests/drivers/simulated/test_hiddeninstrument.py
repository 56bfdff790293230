"""What a simulated instrument hides of its camera lengths: an own length and ellipse of each, which the truth tells."""

import cmath
import math

import numpy as np
import pytest

from drivers.simulated.hiddeninstrument import STEP_ELLIPSE_PERCENT, HiddenInstrument
from drivers.simulated.settings import InstrumentSettings

TOLD = InstrumentSettings.read("simulated", True, {})
SEEDS = range(40)


def strain(percent: float, azimuth_deg: float) -> complex:
    """Both components of an ellipse."""
    return percent * cmath.exp(2j * math.radians(azimuth_deg))


def test_ellipses_of_other_camera_lengths_lie_about_the_one_of_the_usual_length() -> None:
    away = []
    for seed in SEEDS:
        hidden = HiddenInstrument.draw(seed, TOLD)
        usual = hidden.ellipse(250.0)
        assert usual == (hidden.ellipse_percent, hidden.ellipse_azimuth_deg)
        assert hidden.ellipse(300.0) == hidden.ellipse(300.0)
        away += [strain(*hidden.ellipse(length_mm)) - strain(*usual) for length_mm in (200.0, 300.0)]
    spread = np.sqrt(np.mean(np.abs(away) ** 2) / 2)
    assert spread == pytest.approx(STEP_ELLIPSE_PERCENT, rel=0.25)


@pytest.mark.parametrize("seed", range(8))
def test_the_truth_of_the_usual_length_is_that_without_a_name_of_one(seed: int) -> None:
    truth = HiddenInstrument.draw(seed, TOLD).truth(TOLD)
    for name in ("distortion_amplitude_percent", "distortion_azimuth_deg"):
        assert truth[f"{name} at 250 mm"] == pytest.approx(truth[name])
    assert truth["distortion_amplitude_percent at 300 mm"] != truth["distortion_amplitude_percent"]
