"""Spot positions and strengths against hand calculation and the theory of the rotation method."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.facts import Geometry
from drivers.simulated.crystal import Crystal, load_crystal
from drivers.simulated.pattern import (
    distortion_matrix,
    project,
    rotate,
    rotation_axis,
    rotation_matrix,
    spots,
)

GEOMETRY = Geometry(
    wavelength_A=0.025,
    camera_length_mm=250.0,
    pixel_size_mm=0.05,
    rotation_axis_deg=0.0,
    beam_fast_px=258.0,
    beam_slow_px=250.0,
)
SIGMA = 8e-4
MORDENITE = load_crystal(None, orientation_seed=5, d_min_A=1.5)


def one_point(*point: float, intensity: float = 100.0) -> Crystal:
    """A crystal with a single reflection at this reciprocal point (1/A) at stage angle 0."""
    ub = np.diag([0.01, 0.01, 0.01])
    hkl = np.round(np.array([point]) / 0.01).astype(np.int32)
    cell = (100.0, 100.0, 100.0, 90.0, 90.0, 90.0)
    return Crystal("point", cell, np.eye(3), ub, hkl, np.array([intensity]), 0.8, 500.0)


@pytest.mark.parametrize(
    ("axis_deg", "point", "angle_sign", "direction"),
    [
        # Right-handed about +x: what is up comes towards the source, where the sphere is (positive angle).
        (0.0, (0.0, 0.5, 0.0), +1, (0, -1)),
        (0.0, (0.0, -0.5, 0.0), -1, (0, +1)),
        # Right-handed about up: what is right goes down the beam, away from the sphere.
        (90.0, (0.5, 0.0, 0.0), -1, (+1, 0)),
        (90.0, (-0.5, 0.0, 0.0), +1, (-1, 0)),
        (180.0, (0.0, 0.5, 0.0), -1, (0, -1)),
    ],
)
def test_a_reflection_computed_by_hand(
    axis_deg: float, point: tuple[float, float, float], angle_sign: int, direction: tuple[int, int]
) -> None:
    geometry = replace(GEOMETRY, rotation_axis_deg=axis_deg)
    # Bragg: sin(theta) = wavelength |point| / 2 = 0.00625, and the point must turn by just theta out of the plane.
    theta = np.arcsin(0.025 * 0.5 / 2.0)
    radius_px = 250.0 / 0.05 * np.tan(2.0 * theta)
    fine = spots(one_point(*point), geometry, 0.0, 0.6 * angle_sign, 1e-5)
    strongest = int(np.argmax(fine.weight))
    assert fine.angle_deg[strongest] == pytest.approx(angle_sign * np.rad2deg(theta), abs=1e-3)
    assert fine.fast_px[strongest] == pytest.approx(258.0 + direction[0] * radius_px, abs=1e-3)
    assert fine.slow_px[strongest] == pytest.approx(250.0 + direction[1] * radius_px, abs=1e-3)
    assert radius_px == pytest.approx(62.5037, abs=1e-3)


def test_nothing_is_excited_on_the_other_side() -> None:
    assert len(spots(one_point(0.0, 0.5, 0.0), GEOMETRY, -1.0, -0.3, SIGMA).index) == 0


@pytest.mark.parametrize("out_deg", [0.0, 0.8, -30.0])
def test_a_point_turned_about_an_inclined_axis_agrees_with_the_exponential_of_the_generator(out_deg: float) -> None:
    from scipy.linalg import expm

    geometry = replace(GEOMETRY, rotation_axis_deg=-38.5)
    x, y, z = rotation_axis(geometry, out_deg)
    generator = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    assert np.allclose(rotation_matrix(geometry, 33.0, out_deg), expm(np.deg2rad(33.0) * generator))
    points = np.array([[0.1, 0.2, 0.3], [-0.4, 0.1, 0.2]])
    turned = rotate(points, geometry, np.array([33.0, 0.0]), out_deg)
    assert np.allclose(turned, [rotation_matrix(geometry, 33.0, out_deg) @ points[0], points[1]])
    assert np.arctan2(y, x) == pytest.approx(np.deg2rad(-38.5))
    assert z == pytest.approx(np.sin(np.deg2rad(out_deg)))


@pytest.mark.parametrize("out_deg", [0.0, 0.8, -5.0])
def test_reflections_lie_on_the_ewald_sphere_where_they_are_seen_about_an_axis_out_of_the_picture(
    out_deg: float,
) -> None:
    geometry, k = replace(GEOMETRY, rotation_axis_deg=-38.5), 1.0 / GEOMETRY.wavelength_A
    seen = spots(MORDENITE, geometry, 10.0, 20.0, 1e-5, out_of_plane_deg=out_deg)
    points = rotate(MORDENITE.hkl[seen.index] @ MORDENITE.ub.T, geometry, seen.angle_deg, out_deg)
    assert len(seen.index) > 50
    np.testing.assert_allclose(np.linalg.norm(points - [0, 0, k], axis=1), k, atol=6e-5)


def lorentz(crystal: Crystal, geometry: Geometry, angle_deg: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """1 / (wavelength^2 |axis . (s1 x s0)|) of reflections at the angles where they cross the sphere."""
    s0 = np.array([0.0, 0.0, -1.0 / geometry.wavelength_A])
    s1 = s0 + rotate(crystal.hkl[rows] @ crystal.ub.T, geometry, angle_deg)
    return 1.0 / (geometry.wavelength_A**2 * np.abs(np.cross(s1, s0) @ rotation_axis(geometry)))


@pytest.mark.parametrize("mosaicity_deg", [0.0, 0.08])
def test_a_full_passage_collects_intensity_times_lorentz(mosaicity_deg: float) -> None:
    geometry = replace(GEOMETRY, rotation_axis_deg=-38.5)
    whole = spots(MORDENITE, geometry, -10.0, 10.0, 2e-4, 1.0, mosaicity_deg)
    total = np.bincount(whole.index, whole.weight, len(MORDENITE.hkl))
    mean_deg = np.bincount(whole.index, whole.weight * whole.angle_deg, len(total)) / np.maximum(total, 1e-300)
    # Those that cross once, well inside of the range, and not along the axis, where a passage takes many degrees.
    crossing = np.flatnonzero((total > 0) & (np.abs(mean_deg) < 5.0))
    expected = lorentz(MORDENITE, geometry, mean_deg[crossing], crossing)
    fast = expected < 300.0
    assert fast.sum() > 50
    assert np.allclose(total[crossing][fast], (MORDENITE.intensity[crossing] * expected)[fast], rtol=2e-3)


@settings(max_examples=30, deadline=None)
@given(
    start_deg=st.floats(-60.0, 60.0),
    widths_deg=st.lists(st.floats(0.001, 0.9), min_size=1, max_size=12),
    axis_deg=st.floats(-180.0, 180.0),
)
def test_strength_does_not_depend_on_how_a_rotation_is_cut_into_frames(
    start_deg: float, widths_deg: list[float], axis_deg: float
) -> None:
    geometry = replace(GEOMETRY, rotation_axis_deg=axis_deg)
    edges = start_deg + np.concatenate([[0.0], np.cumsum(widths_deg)])
    whole = spots(MORDENITE, geometry, edges[0], edges[-1], SIGMA)
    cut = [spots(MORDENITE, geometry, a, b, SIGMA) for a, b in pairwise(edges.tolist())]
    once = np.bincount(whole.index, whole.weight, len(MORDENITE.hkl))
    summed = sum(np.bincount(part.index, part.weight, len(MORDENITE.hkl)) for part in cut)
    # A chord differs from the true path by up to 4e-6 1/A, 0.5 % of sigma; 2e-6 of a passage lies beyond the cut.
    passage = MORDENITE.intensity / (geometry.wavelength_A * np.linalg.norm(MORDENITE.hkl @ MORDENITE.ub.T, axis=1))
    assert np.all(np.abs(summed - once) < 0.005 * (passage + once))


@settings(max_examples=30, deadline=None)
@given(start_deg=st.floats(-60.0, 60.0), width_deg=st.floats(0.0, 1.2), axis_deg=st.floats(-180.0, 180.0))
def test_the_direction_of_rotation_changes_nothing_in_a_picture(
    start_deg: float, width_deg: float, axis_deg: float
) -> None:
    geometry = replace(GEOMETRY, rotation_axis_deg=axis_deg)
    forth = spots(MORDENITE, geometry, start_deg, start_deg + width_deg, SIGMA)
    back = spots(MORDENITE, geometry, start_deg + width_deg, start_deg, SIGMA)
    one, other = np.lexsort((forth.angle_deg, forth.index)), np.lexsort((back.angle_deg, back.index))
    assert np.array_equal(forth.index[one], back.index[other])
    for name in ("fast_px", "slow_px", "angle_deg", "weight", "rate"):
        assert np.allclose(getattr(forth, name)[one], getattr(back, name)[other], atol=1e-6), name


def test_turning_the_axis_round_turns_the_angles_round() -> None:
    flipped = replace(GEOMETRY, rotation_axis_deg=GEOMETRY.rotation_axis_deg + 180.0)
    forth, back = spots(MORDENITE, GEOMETRY, 5.0, 5.2, SIGMA), spots(MORDENITE, flipped, -5.0, -5.2, SIGMA)
    assert np.array_equal(forth.index, back.index)
    assert np.allclose(forth.fast_px, back.fast_px)


def test_a_still_has_a_rate_and_no_rotation_and_is_the_limit_of_thin_frames() -> None:
    still = spots(MORDENITE, GEOMETRY, 12.0, 12.0, SIGMA)
    thin = spots(MORDENITE, GEOMETRY, 12.0, 12.0 + 1e-5, SIGMA)
    assert len(still.index) > 10
    assert np.all(still.weight == 0.0)
    assert np.allclose(still.rate, thin.rate, rtol=1e-2)
    width_rad = np.deg2rad(1e-5)
    assert np.allclose(thin.weight, thin.rate * width_rad / GEOMETRY.wavelength_A, rtol=1e-6)


def test_the_position_within_a_frame_follows_the_passage() -> None:
    crystal = one_point(0.0, 0.5, 0.0)
    theta_deg = float(np.rad2deg(np.arcsin(0.025 * 0.5 / 2.0)))
    # sigma is 0.092 deg of rotation here. Long before the crossing the end of the frame counts, and the reverse.
    early = spots(crystal, GEOMETRY, theta_deg - 0.29, theta_deg - 0.09, SIGMA)
    middle = spots(crystal, GEOMETRY, theta_deg - 0.1, theta_deg + 0.1, SIGMA)
    late = spots(crystal, GEOMETRY, theta_deg + 0.09, theta_deg + 0.29, SIGMA)
    assert theta_deg - 0.16 < early.angle_deg[0] < theta_deg - 0.09
    assert middle.angle_deg[0] == pytest.approx(theta_deg, abs=1e-3)
    assert theta_deg + 0.09 < late.angle_deg[0] < theta_deg + 0.16


def test_scale_multiplies_the_strengths_only() -> None:
    full, half = (spots(MORDENITE, GEOMETRY, 0.0, 0.2, SIGMA, scale) for scale in (1.0, 0.5))
    assert np.allclose(half.weight, 0.5 * full.weight)
    assert np.array_equal(half.fast_px, full.fast_px)


@settings(max_examples=50, deadline=None)
@given(amplitude=st.floats(0.1, 10.0), azimuth=st.floats(-180.0, 180.0))
def test_distortion_makes_a_ring_an_ellipse_with_its_long_axis_at_the_azimuth(amplitude: float, azimuth: float) -> None:
    geometry = replace(GEOMETRY, distortion_amplitude_percent=amplitude, distortion_azimuth_deg=azimuth)
    turn = np.linspace(0.0, 2.0 * np.pi, 3601)
    fast, slow = distortion_matrix(geometry) @ np.stack([np.cos(turn), -np.sin(turn)])
    radius = np.hypot(fast, slow)
    assert radius.max() - radius.min() == pytest.approx(amplitude / 100.0, abs=1e-5)
    assert radius.max() + radius.min() == pytest.approx(2.0, abs=1e-5)
    long_deg = np.rad2deg(np.arctan2(-slow, fast)[np.argmax(radius)])
    assert abs((long_deg - azimuth + 90.0) % 180.0 - 90.0) < 0.2


def test_spots_are_displaced_by_the_distortion_about_the_beam() -> None:
    geometry = replace(GEOMETRY, distortion_amplitude_percent=2.43, distortion_azimuth_deg=83.37)
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (50, 3))
    beam = np.array([[258.0], [250.0]])
    ideal, seen = np.array(project(points, GEOMETRY)) - beam, np.array(project(points, geometry)) - beam
    assert np.allclose(np.linalg.inv(distortion_matrix(geometry)) @ seen, ideal)
    up = np.array(project(np.array([[0.0, 0.5, 0.0]]), geometry)) - beam
    # The long axis is close to up, so a spot above the beam moves away from it, to smaller slow.
    assert up[1, 0] < -62.5 * 1.011


def test_a_long_exposure_still_finds_where_a_reflection_crosses() -> None:
    theta_deg = float(np.rad2deg(np.arcsin(0.025 * 0.5 / 2.0)))
    long = spots(one_point(0.0, 0.5, 0.0), GEOMETRY, -10.0, 50.0, SIGMA)
    assert np.average(long.angle_deg, weights=long.weight) == pytest.approx(theta_deg, abs=1e-3)
