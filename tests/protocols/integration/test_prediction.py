"""Where and when reflections are predicted, against the simulation's own arithmetic."""

import numpy as np
import pytest
from numpy.typing import NDArray

from drivers.simulated.crystal import load_crystal
from drivers.simulated.pattern import spots
from drivers.simulated.settings import GEOMETRY
from protocols.integration.prediction import SLOWEST, Widths, fractions, predict
from protocols.lattice.rotationgeometry import RotationGeometry

RIGHT = Widths(0.08, 2e-4)
SHAPE = (516, 516)


@pytest.mark.parametrize("span", [(-12.0, -2.0), (8.0, -2.0)])
def test_a_whole_passage_collects_the_intensity_over_its_speed_where_and_when_it_is_predicted(
    span: tuple[float, float],
) -> None:
    crystal = load_crystal(None, 5)
    found, _ = predict(crystal.ub, RotationGeometry.of(GEOMETRY), SHAPE, span, 0.9, RIGHT)
    true = spots(crystal, GEOMETRY, *span, RIGHT.size_per_A, 1.0, RIGHT.mosaicity_deg)

    def of_each(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.bincount(true.index, values, len(crystal.hkl)), dtype=np.float64)

    weight = of_each(true.weight)
    fast_px, slow_px = (
        of_each(true.weight * axis) / np.maximum(weight, 1e-12) for axis in (true.fast_px, true.slow_px)
    )
    rows = {tuple(index): number for number, index in enumerate(crystal.hkl.tolist())}
    row = np.array([rows.get(tuple(index), -1) for index in found.hkl.tolist()])
    width = RIGHT.deg(found.d_star, found.speed_per_A)
    whole = np.minimum(found.angle_deg - min(span), max(span) - found.angle_deg) > 4 * width
    whole &= (row >= 0) & (crystal.intensity[row] > 1e-3)
    assert whole.sum() > 100
    row = row[whole]
    assert fast_px[row] == pytest.approx(found.fast_px[whole], abs=0.1)
    assert slow_px[row] == pytest.approx(found.slow_px[whole], abs=0.1)
    lorentz = weight[row] * found.speed_per_A[whole] * GEOMETRY.wavelength_A
    assert lorentz == pytest.approx(crystal.intensity[row], rel=0.02)


def test_the_angles_of_a_falling_rotation_come_in_its_order() -> None:
    crystal = load_crystal(None, 5)
    geometry = RotationGeometry.of(GEOMETRY)
    rising, slow = predict(crystal.ub, geometry, SHAPE, (0.0, 10.0), 1.2, RIGHT)
    falling, _ = predict(crystal.ub, geometry, SHAPE, (10.0, 0.0), 1.2, RIGHT)
    assert np.all(np.diff(rising.angle_deg) >= 0)
    assert np.all(np.diff(falling.angle_deg) <= 0)
    assert {*map(tuple, rising.hkl.tolist())} == {*map(tuple, falling.hkl.tolist())}
    assert slow >= 0
    assert np.all(rising.speed_per_A > SLOWEST * rising.d_star)


def test_angles_beyond_half_a_turn_are_predicted() -> None:
    crystal = load_crystal(None, 5)
    found, _ = predict(crystal.ub, RotationGeometry.of(GEOMETRY), SHAPE, (175.0, 190.0), 1.5, RIGHT)
    assert len(found) > 10
    assert found.angle_deg.min() > 174
    assert found.angle_deg.max() < 191


def test_the_shares_of_a_passage_in_frames_side_by_side_add_up_whichever_way_it_turns() -> None:
    edge = np.linspace(-2, 2, 21)
    angle, width = np.full(20, 0.13), np.full(20, 0.1)
    forward = fractions(angle, width, edge[:-1], edge[1:])
    assert forward.sum() == pytest.approx(1.0)
    assert fractions(angle, width, edge[1:], edge[:-1]) == pytest.approx(forward)
