"""Arithmetic of the geometry, against numbers from textbooks and by hand."""

import math

import pytest

from drivers.geometry import d_A, high_tension_v, per_px_A, resolution, wavelength_A

WAVELENGTHS_A = {60: 0.048661, 80: 0.041757, 100: 0.037014, 120: 0.033492, 200: 0.025079, 300: 0.019687}
"""Williams & Carter, Transmission Electron Microscopy, table 1.2, with one digit more; by kV."""


@pytest.mark.parametrize("kilovolt", WAVELENGTHS_A)
def test_the_wavelength_is_relativistic(kilovolt: int) -> None:
    assert wavelength_A(1000 * kilovolt) == pytest.approx(WAVELENGTHS_A[kilovolt], abs=6e-7)


@pytest.mark.parametrize("volt", [1.0, 1e3, 6e4, 2e5, 3e5, 1e6])
def test_the_voltage_is_that_of_the_wavelength(volt: float) -> None:
    assert high_tension_v(wavelength_A(volt)) == pytest.approx(volt, rel=1e-12)


def test_the_usual_timepix_at_250_mm() -> None:
    # 0.055 / (250 * 0.02508)
    assert per_px_A(0.055, 250.0, 0.02508) == pytest.approx(0.0087719, abs=1e-7)


def test_the_spacing_follows_bragg_and_not_the_small_angle() -> None:
    # 2 theta = 45 deg: lambda / (2 sin 22.5 deg)
    assert d_A(10.0, 10.0, 0.025) == pytest.approx(0.025 / (2 * math.sin(math.pi / 8)))
    # Of a small angle both agree: 100 px of 1/A each.
    assert d_A(5.5, 250.0, 0.02508) == pytest.approx(1 / (100 * 0.0087719), rel=1e-3)
    assert d_A(0.0, 250.0, 0.02508) == math.inf


def test_a_centred_square_sees_its_edge_and_its_corner() -> None:
    seen = resolution((516, 516), 258.0, 258.0, 0.055, 250.0, 0.02508)
    assert seen.edge_A == pytest.approx(d_A(258 * 0.055, 250.0, 0.02508))
    assert seen.edge_A == pytest.approx(0.4424, abs=1e-4)
    assert seen.corner_A == pytest.approx(0.3132, abs=1e-4)


@pytest.mark.parametrize(
    ("shape", "beam", "edge_px", "corner_px"),
    [
        ((100, 200), (100.0, 50.0), 50, math.hypot(100, 50)),
        ((100, 200), (30.0, 60.0), 30, math.hypot(170, 60)),
        ((100, 200), (150.0, 90.0), 10, math.hypot(150, 90)),
        ((100, 200), (-20.0, 50.0), 0, math.hypot(220, 50)),
    ],
)
def test_the_nearest_edge_and_the_farthest_corner_count(
    shape: tuple[int, int], beam: tuple[float, float], edge_px: float, corner_px: float
) -> None:
    seen = resolution(shape, *beam, 0.055, 250.0, 0.025)
    assert seen.edge_A == d_A(edge_px * 0.055, 250.0, 0.025)
    assert seen.corner_A == pytest.approx(d_A(corner_px * 0.055, 250.0, 0.025))
