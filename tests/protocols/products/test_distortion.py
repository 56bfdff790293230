"""The correction tables undo what the lens does, in the simulation's own mapping."""

from dataclasses import replace

import numpy as np
import pytest

from drivers.facts import Geometry
from drivers.simulated.crystal import load_crystal
from drivers.simulated.pattern import distortion_matrix as simulated_matrix
from drivers.simulated.pattern import spots
from protocols.products.distortion import distortion_matrix, shifts, tables

BEAM = (250.25, 263.5)


@pytest.mark.parametrize(("amplitude", "azimuth"), [(2.43, 83.37), (5.0, -30.0), (1.0, 0.0), (0.0, 12.0)])
def test_a_distorted_position_plus_its_table_is_the_true_position(amplitude: float, azimuth: float) -> None:
    lens = simulated_matrix(Geometry(0.02508, 250, 0.055, 0, *BEAM, amplitude, azimuth))
    x, y = tables((516, 516), BEAM, amplitude, azimuth)
    rng = np.random.default_rng(5)
    for true in rng.uniform(20, 490, (40, 2)):
        seen = BEAM + lens @ (true - BEAM)
        column, row = int(seen[0]), int(seen[1])
        corrected = seen + np.array([x[row, column], y[row, column]]) / 100
        # The table is read at the pixel, up to 0.7 px from the spot, and holds hundredths.
        assert corrected == pytest.approx(true, abs=0.005 + 0.71 * amplitude / 100)


def test_spots_of_a_distorted_run_fit_with_the_tables_and_not_without() -> None:
    lens = Geometry(0.02508, 250.0, 0.055, -38.505, *BEAM, 2.43, 83.37)
    crystal = load_crystal(None, 1)
    x, y = tables((516, 516), BEAM, 2.43, 83.37)
    without, corrected = [], []
    for start_deg in range(-60, 60, 10):
        true, seen = (
            spots(crystal, g, start_deg, start_deg + 0.2, 2e-4, 1.0, 0.08)
            for g in (replace(lens, distortion_amplitude_percent=0.0), lens)
        )
        off = np.stack([true.fast_px - seen.fast_px, true.slow_px - seen.slow_px], axis=1)
        shift = np.stack([t[seen.slow_px.astype(int), seen.fast_px.astype(int)] / 100 for t in (x, y)], axis=1)
        without.append(off)
        corrected.append(off - shift)
    assert np.sqrt(np.mean(np.concatenate(without) ** 2)) > 0.5
    assert np.sqrt(np.mean(np.concatenate(corrected) ** 2)) < 0.01


def test_the_definition_is_the_simulations() -> None:
    lens = simulated_matrix(Geometry(0.02508, 250, 0.055, 0, *BEAM, 2.43, 83.37))
    np.testing.assert_allclose(distortion_matrix(2.43, 83.37), lens)


def test_the_long_axis_shrinks_and_points_up_for_an_azimuth_of_90_degrees() -> None:
    x, y = shifts((516, 516), (258.0, 258.0), 2.0, 90.0)
    assert y[0, 258] > 0  # above the beam, slow is small: pulled down, towards the beam
    assert y[515, 258] < 0
    assert x[258, 515] > 0  # the short axis grows


def test_no_shift_at_the_beam_and_rounding_is_to_the_nearest() -> None:
    x, y = tables((516, 516), (258.5, 258.5), 2.43, 83.37)
    assert x[258, 258] == y[258, 258] == 0
    exact, _ = shifts((516, 516), (258.5, 258.5), 2.43, 83.37)
    assert np.abs(x - 100 * exact).max() <= 0.5
