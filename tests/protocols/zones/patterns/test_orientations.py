"""Directions are even over the sphere, orientations are rotations with a random azimuth."""

import numpy as np
import pytest

from protocols.zones.patterns.orientations import fibonacci_directions, orientations


@pytest.mark.parametrize("half_sphere", [False, True])
def test_directions_are_evenly_spread(half_sphere: bool) -> None:
    directions = fibonacci_directions(1000, half_sphere)
    assert np.linalg.norm(directions, axis=1) == pytest.approx(np.ones(1000))
    cosines = directions @ directions.T - 2 * np.eye(1000)
    nearest = np.degrees(np.arccos(cosines.max(axis=1)))
    assert nearest.min() > 0.6 * nearest.max()
    # A cap has its share of directions, wherever it lies (on the half sphere: the whole cap must lie on it).
    caps = np.random.default_rng(0).standard_normal((50, 3))
    caps /= np.linalg.norm(caps, axis=1)[:, None]
    if half_sphere:
        caps = caps[caps[:, 2] > 0.5]
    share = (directions @ caps.T > np.cos(np.radians(30))).mean(axis=0)
    assert share == pytest.approx((1 - np.cos(np.radians(30))) / (1 if half_sphere else 2), abs=0.01)


def test_the_full_sphere_has_twins_and_the_half_sphere_none() -> None:
    full, half = fibonacci_directions(1000), fibonacci_directions(1000, half_sphere=True)
    spacing_deg = np.degrees(np.sqrt(4 * np.pi / 1000))
    assert np.degrees(np.arccos(-(full @ full.T).min(axis=1))).max() < spacing_deg
    opposite = half[half[:, 2] > 0.25]
    assert np.degrees(np.arccos(-(opposite @ half.T).min(axis=1))).min() > 2 * spacing_deg


def test_orientations_are_rotations_that_differ_from_seed_to_seed() -> None:
    one, other = (orientations(200, np.random.default_rng(seed)) for seed in (1, 2))
    assert one @ one.transpose(0, 2, 1) == pytest.approx(np.broadcast_to(np.eye(3), (200, 3, 3)))
    assert np.linalg.det(one) == pytest.approx(np.ones(200))
    # The direction along the beam is the third row; the spirals of two seeds are turned against each other.
    assert np.abs(one[:, 2] - other[:, 2]).max() > 0.1
    assert np.array_equal(one, orientations(200, np.random.default_rng(1)))


def test_azimuths_are_spread_evenly() -> None:
    x_axis = orientations(2000, np.random.default_rng(3))[:, :2, 0]
    azimuth = np.arctan2(x_axis[:, 1], x_axis[:, 0])
    assert np.abs(np.exp(1j * azimuth).mean()) < 0.06
