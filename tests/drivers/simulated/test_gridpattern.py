"""Rods in reciprocal space: as long as a plate is thin, normalised, and seen as many spots of a flat crystal."""

import numpy as np
import pytest

from drivers.simulated.crystal import random_orientation
from drivers.simulated.gridpattern import MOST_TAKEN, is_excited, rod_profile, spots_of
from drivers.simulated.phases import load_phase
from drivers.simulated.settings import GEOMETRY

S = np.linspace(-0.04, 0.04, 8001)


@pytest.mark.parametrize("thickness_A", [100.0, 300.0, 500.0, 3000.0])
@pytest.mark.parametrize("bent_per_A", [0.0, 2e-3])
def test_a_profile_is_normalised_and_as_wide_as_the_plate_is_thin(thickness_A: float, bent_per_A: float) -> None:
    bent = np.full(len(S), bent_per_A)
    profile = np.where(is_excited(S, thickness_A, bent), rod_profile(S, thickness_A, bent), 0.0)
    assert np.sum(profile) * (S[1] - S[0]) == pytest.approx(1.0, abs=0.04)
    if not bent_per_A:
        ideal = thickness_A * np.sinc(S * thickness_A) ** 2
        near = is_excited(S, thickness_A, bent)
        assert np.allclose(profile[near], ideal[near], atol=1e-3 * thickness_A)
    else:
        assert profile.max() < thickness_A


@pytest.mark.parametrize("orientation_seed", range(4))
def test_a_thin_plate_has_more_of_its_spots_at_once_than_a_thick_one(orientation_seed: int) -> None:
    phase = load_phase("cell 8.1 9.2 7.3 90 103 90", 1, 0)
    numbers = []
    for thickness_nm in (10.0, 50.0, 300.0):
        _, _, part = spots_of(phase, random_orientation(orientation_seed), thickness_nm, GEOMETRY, 0.0, 0.0, 0.02)
        numbers.append(int(np.sum(part > 0.01 * part.max())))
    assert numbers[0] > numbers[1] > 0
    assert numbers[0] > 1.5 * numbers[2]


def test_a_reflection_on_the_sphere_has_what_kinematic_theory_says() -> None:
    phase = load_phase("cell 8 9 10 90 90 90", 1, 0)
    thickness_nm, bent_deg = 5.0, 0.0
    fast, slow, part = spots_of(phase, np.eye(3), thickness_nm, GEOMETRY, 0.0, 0.0, bent_deg)
    strongest = int(np.argmax(part))
    d_px = np.hypot(fast[strongest] - GEOMETRY.beam_fast_px, slow[strongest] - GEOMETRY.beam_slow_px)
    k, g = 1 / GEOMETRY.wavelength_A, d_px * GEOMETRY.pixel_size_mm / GEOMETRY.camera_length_mm / GEOMETRY.wavelength_A
    s = np.sqrt(k * k + g * g) - k
    of_zone = phase.hkl[:, 2] == 0
    d_star = np.linalg.norm(phase.hkl @ phase.ub.T, axis=1)
    one = of_zone & np.isclose(d_star, g, rtol=1e-3)
    amplitude = GEOMETRY.wavelength_A * 10 * thickness_nm / phase.volume_A3 * np.sinc(s * 10 * thickness_nm)
    expected = np.max(phase.intensity[one]) * amplitude**2
    assert part[strongest] == pytest.approx(expected, rel=0.05)


def test_spots_never_take_more_light_than_there_is() -> None:
    phase = load_phase("", 0, 0)
    _, _, part = spots_of(phase, np.eye(3), 2000.0, GEOMETRY, 0.0, 0.0, 0.3)
    assert part.sum() <= MOST_TAKEN


def test_a_stage_that_turns_sweeps_over_more_reflections() -> None:
    phase = load_phase("random", 3, 0)
    still, turning = (
        len(np.unique(np.round(spots_of(phase, random_orientation(2), 200.0, GEOMETRY, 0.0, end, 0.01)[0], 1)))
        for end in (0.0, 2.0)
    )
    assert turning > 2 * still
