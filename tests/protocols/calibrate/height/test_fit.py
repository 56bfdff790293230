"""The height by how far an image has moved at some tilts, and its uncertainty."""

import math

import numpy as np
import pytest

from protocols.calibrate.height.fit import LEAST_NM, fitted_height

TILTS = [-24.0, -12.0, 12.0, 24.0]


def shifts(z_nm: float, constant_nm: float = 0.0) -> list[float]:
    return [constant_nm - z_nm * math.sin(math.radians(tilt)) for tilt in TILTS]


@pytest.mark.parametrize("constant_nm", [0.0, 250.0])
def test_play_that_the_first_tilt_takes_up_is_no_height(constant_nm: float) -> None:
    found = fitted_height(TILTS, shifts(1800.0, constant_nm), 0.0)
    assert found.z_nm == pytest.approx(1800.0)
    assert found.left_nm == pytest.approx(0.0, abs=1e-6)
    assert found.sigma_nm == pytest.approx(LEAST_NM / math.sqrt(sum(math.sin(math.radians(t)) ** 2 for t in TILTS)))


def test_a_reference_off_tilt_0_tells_the_same() -> None:
    moved = [s + 1800.0 * math.sin(math.radians(3.0)) for s in shifts(1800.0)]
    assert fitted_height(TILTS, moved, 3.0).z_nm == pytest.approx(1800.0)


def test_the_uncertainty_is_what_the_height_is_off_by() -> None:
    rng = np.random.default_rng(8)
    pulls = []
    for _ in range(300):
        noisy = np.array(shifts(-700.0)) + 100.0 * rng.standard_normal(len(TILTS))
        found = fitted_height(TILTS, noisy.tolist(), 0.0)
        pulls.append((found.z_nm + 700.0) / found.sigma_nm)
    # Four shifts and two unknowns: the uncertainty itself is known badly, so the tails are wide.
    assert np.median(np.abs(pulls)) == pytest.approx(0.8, abs=0.25)
