"""The way back from the detector to reciprocal space is the way that the simulation goes forth."""

from dataclasses import replace

import numpy as np
import pytest

from drivers.simulated.crystal import load_crystal
from drivers.simulated.pattern import rotation_axis, spots
from drivers.simulated.settings import GEOMETRY
from protocols.lattice.rotationgeometry import RotationGeometry

MORDENITE = load_crystal(None, orientation_seed=5, d_min_A=1.2)


@pytest.mark.parametrize("axis_deg", [-38.505, 90.0, 171.0])
@pytest.mark.parametrize("out_deg", [0.0, 0.7])
@pytest.mark.parametrize("amplitude_percent", [0.0, 2.43])
def test_seen_reflections_go_back_to_where_they_were_in_the_crystal(
    axis_deg: float, out_deg: float, amplitude_percent: float
) -> None:
    geometry = replace(
        GEOMETRY,
        rotation_axis_deg=axis_deg,
        distortion_amplitude_percent=amplitude_percent,
        distortion_azimuth_deg=83.37,
    )
    mine = replace(RotationGeometry.of(geometry), out_of_plane_deg=out_deg)
    seen = spots(MORDENITE, geometry, -20.0, 20.0, 1e-6, out_of_plane_deg=out_deg)
    points = mine.crystal(seen.fast_px, seen.slow_px, seen.angle_deg)
    np.testing.assert_allclose(points, MORDENITE.hkl[seen.index] @ MORDENITE.ub.T, atol=1e-5)
    np.testing.assert_allclose(mine.axis, rotation_axis(geometry, out_deg), atol=1e-15)


def test_a_pixel_beside_the_beam_is_as_long_as_is_said() -> None:
    geometry = RotationGeometry.of(GEOMETRY)
    beside = geometry.lab(np.array([geometry.beam_fast_px + 1]), np.array([geometry.beam_slow_px]))
    np.testing.assert_allclose(beside, [[geometry.per_px, 0, 0]], atol=1e-6)
