"""Lattice, axis, lean, beam and ellipse are fitted together, with uncertainties that hold."""

from dataclasses import replace

import numpy as np
import pytest

from protocols.lattice.rotationfit import Observed, fit_rotation
from protocols.lattice.rotationgeometry import RotationGeometry
from tests.protocols.lattice.rotations import crystal, geometry_of, observed


@pytest.mark.long
@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_what_is_fitted_deviates_by_as_much_as_is_said_though_less_be_said_of_what_was_observed(scale: float) -> None:
    pulls = []
    for seed in range(24):
        draw = np.random.default_rng(seed)
        axis_deg, out_deg = draw.uniform(-180, 180), draw.uniform(-1, 1)
        geometry, specimen = geometry_of(axis_deg, ellipse_percent=1.0), crystal(seed, 1.2)
        seen, _ = observed(specimen, geometry, seed, out_deg, count=300)
        told = replace(seen, position_sigma_px=seen.position_sigma_px / scale)
        true = replace(RotationGeometry.of(geometry), out_of_plane_deg=out_deg)
        start = replace(true, axis_deg=axis_deg + 0.3, out_of_plane_deg=0.0, beam_fast_px=true.beam_fast_px + 1)
        fit = fit_rotation(told, start, specimen.ub)
        assert fit is not None
        names = ("axis_deg", "out_of_plane_deg", "beam_fast_px", "strain")
        pulls.append([(getattr(fit.geometry, name) - getattr(true, name)) / fit.sigma(name) for name in names])
    rms = np.sqrt(np.mean(np.square(pulls), axis=0))
    assert np.all((rms > 0.6) & (rms < 1.4)), rms


def test_wrong_reflections_are_left_out() -> None:
    geometry, specimen = geometry_of(12.0), crystal(3, 1.2)
    seen, _ = observed(specimen, geometry, 1, count=400, wrong=0.3)
    fit = fit_rotation(seen, RotationGeometry.of(geometry), specimen.ub)
    assert fit is not None
    assert fit.used[:120].mean() < 0.1
    assert fit.used[120:].mean() > 0.95
    assert abs(fit.geometry.axis_deg - 12.0) < 4 * fit.sigma("axis_deg")


def test_an_ellipse_that_is_known_makes_the_axis_surer() -> None:
    geometry, specimen = geometry_of(12.0, ellipse_percent=2.0), crystal(4, 1.2)
    seen, _ = observed(specimen, geometry, 2)
    fits = [fit_rotation(seen, RotationGeometry.of(geometry), specimen.ub, known) for known in (0.02, 1e-4)]
    assert fits[0] is not None
    assert fits[1] is not None
    assert fits[1].sigma("axis_deg") < 0.6 * fits[0].sigma("axis_deg")
    assert abs(fits[1].geometry.axis_deg - 12.0) < 4 * fits[1].sigma("axis_deg")


def test_without_enough_reflections_there_is_no_fit() -> None:
    geometry, specimen = geometry_of(12.0), crystal(4, 1.2)
    seen, _ = observed(specimen, geometry, 2, count=10)
    assert fit_rotation(seen, RotationGeometry.of(geometry), specimen.ub) is None
    nothing = Observed(*np.empty((5, 0)))
    assert fit_rotation(nothing, RotationGeometry.of(geometry), specimen.ub) is None


def test_reflections_of_one_plane_are_no_lattice() -> None:
    """And make no number that is none, of which numpy would warn."""
    geometry, specimen = geometry_of(12.0), crystal(4, 1.2)
    seen, _ = observed(specimen, geometry, 2, count=400)
    flat = specimen.ub.copy()
    flat[:, 2] *= 100  # so large that all have the index 0 along it
    assert fit_rotation(seen, RotationGeometry.of(geometry), flat) is None
