"""What kinematic theory leaves out, as the simulated pictures can have it: Blackman's factor, and scattering twice."""

from dataclasses import replace

import gemmi
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import j0

from drivers.facts import Geometry
from drivers.simulated.crystal import load_crystal
from drivers.simulated.manybeams import TwiceScattered, two_beam, two_beam_factor
from drivers.simulated.pattern import spots
from drivers.simulated.pictures import PictureMaker
from drivers.simulated.picturesettings import PictureSettings

GEOMETRY = Geometry(0.02508, 250.0, 0.055, -38.5, 261.3, 255.1)
CRYSTAL = load_crystal(None, orientation_seed=3, d_min_A=1.5)
SPAN = (0.0, 0.25, 2e-4, 1.0, 0.08)


@pytest.mark.parametrize("strength", [0.1, 1.0, 2.5, 6.0])
def test_two_beams_have_blackmans_intensity(strength: float) -> None:
    wanted = quad(lambda x: j0(2 * x), 0, strength)[0] / strength
    assert two_beam_factor(np.array([strength]))[0] == pytest.approx(wanted, rel=1e-9)


def test_weak_reflections_stay_kinematic_and_strong_ones_lose() -> None:
    factor = two_beam(CRYSTAL, 0.02508, 100.0).intensity / CRYSTAL.intensity
    order = np.argsort(CRYSTAL.intensity)
    assert factor[order[0]] == pytest.approx(1.0, abs=0.01)
    assert factor[order[-1]] < 0.8
    assert np.all(np.diff(factor[order]) <= 1e-12)


def test_thicker_blocks_make_intensities_proportional_to_the_amplitude() -> None:
    strongest = np.sort(CRYSTAL.intensity)[-2:]
    thick = np.sort(two_beam(replace(CRYSTAL, intensity=CRYSTAL.intensity), 0.02508, 1e5).intensity)[-2:]
    assert thick[1] / thick[0] == pytest.approx(np.sqrt(strongest[1] / strongest[0]), rel=0.02)


def test_what_is_scattered_twice_is_taken_from_what_is_scattered_once() -> None:
    twice = TwiceScattered(CRYSTAL, 0.2)
    excited = spots(twice.points, GEOMETRY, *SPAN)
    once = spots(CRYSTAL, GEOMETRY, *SPAN)
    assert twice.scattered(excited).rate.sum() == pytest.approx(once.rate.sum(), rel=1e-4)


def test_forbidden_reflections_of_a_glide_plane_appear_and_those_of_the_centring_do_not() -> None:
    operations = gemmi.SpaceGroup("C m c m").operations()
    twice = TwiceScattered(CRYSTAL, 0.2)
    rate = np.zeros(len(twice.points.hkl))
    for start_deg in np.arange(-60.0, 60.0, 0.25):
        excited = twice.scattered(spots(twice.points, GEOMETRY, start_deg, start_deg + 0.25, *SPAN[2:]))
        np.add.at(rate, excited.index, excited.rate)
    hkl = twice.points.hkl
    forbidden = np.array([operations.is_systematically_absent(one) for one in hkl.tolist()])
    centring = hkl[:, :2].sum(axis=1) % 2 == 1
    assert rate[forbidden & ~centring].max() > 1e-4 * rate.max()
    assert np.all(rate[centring] == 0.0)


def test_without_being_asked_pictures_are_kinematic() -> None:
    kinematic = replace(PictureSettings(), shape=(128, 128), wide_cross=False)
    geometry = replace(GEOMETRY, beam_fast_px=64.0, beam_slow_px=64.0, camera_length_mm=60.0)
    settings = (kinematic, replace(kinematic, blocks_nm=200.0), replace(kinematic, scattered_twice=0.2))
    pictures = [PictureMaker(CRYSTAL, geometry, one).expected(0.0, 0.25, 0.5) for one in settings]
    assert not np.allclose(pictures[0], pictures[1], rtol=1e-3)
    assert not np.allclose(pictures[0], pictures[2], rtol=1e-3)
    assert pictures[0].sum() == pytest.approx(pictures[2].sum(), rel=1e-3)
