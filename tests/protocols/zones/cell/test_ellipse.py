"""The distortion is found from rows seen at different azimuths, and none where there is none."""

import numpy as np
import pytest

from protocols.lattice.cell import Cell
from protocols.products.distortion import distortion_matrix
from protocols.zones.cell.ellipse import distortion_of, strain_of, strain_slope, undistorted, vote_strain
from protocols.zones.cell.merging import triangle
from tests.protocols.zones.madezones import SPREAD, zone_of, zones_of

CELL = Cell(7.1, 9.3, 11.2, 82.0, 97.0, 105.0)


@pytest.mark.parametrize(("amplitude", "azimuth"), [(2.43, 83.37), (1.0, -30.0), (4.0, 0.0), (0.5, 45.0)])
def test_strain_is_the_lens_of_the_products(amplitude: float, azimuth: float) -> None:
    e1, e2 = strain_of(amplitude, azimuth)
    np.testing.assert_allclose(distortion_matrix(amplitude, azimuth), [[1 + e1, e2], [e2, 1 - e1]], atol=1e-12)
    back = distortion_of(np.array([e1, e2]))
    assert (back.amplitude_percent, back.azimuth_deg) == pytest.approx((amplitude, azimuth))


def test_undistorted_undoes_the_lens() -> None:
    strain = strain_of(2.4, 20.0)
    seen = zone_of(CELL, *SPREAD[3], 33.0, strain=(float(strain[0]), float(strain[1])))
    true = zone_of(CELL, *SPREAD[3], 33.0)
    np.testing.assert_allclose(undistorted(seen, strain).basis, true.basis, atol=1e-12)


def test_slope_is_the_derivative_of_the_squares() -> None:
    true, step = zone_of(CELL, *SPREAD[3], 33.0), 1e-6
    for number, strain in enumerate([(step, 0.0), (0.0, step)]):
        seen = zone_of(CELL, *SPREAD[3], 33.0, strain=strain)
        change = (triangle(seen).squares - triangle(true).squares) / step
        np.testing.assert_allclose(strain_slope(triangle(true))[:, number], change, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(("amplitude", "azimuth"), [(2.4, 70.0), (1.0, -10.0), (4.0, 35.0)])
def test_a_distortion_is_voted_for(amplitude: float, azimuth: float) -> None:
    strain = strain_of(amplitude, azimuth)
    zones = zones_of(CELL, 20, seed=4, strain=(float(strain[0]), float(strain[1])))
    voted, clear = vote_strain(zones)
    assert clear
    np.testing.assert_allclose(voted, strain, atol=0.0005)


def test_no_distortion_none_found() -> None:
    voted, _ = vote_strain(zones_of(CELL, 20, seed=5))
    assert np.hypot(*voted) < 0.0003


def test_too_few_zones_say_nothing() -> None:
    voted, clear = vote_strain(zones_of(CELL, 1))
    assert not clear
    assert not voted.any()
