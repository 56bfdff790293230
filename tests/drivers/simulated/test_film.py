"""Films of a powder: rings where the lattice says, as strong as kinematic theory says, at the camera length that is
set.
"""

from dataclasses import replace

import numpy as np
import pytest

from drivers.calibration.standards import STANDARDS
from drivers.geometry import d_A
from drivers.simulated.crystal import load_crystal
from drivers.simulated.film import lattice_off_percent, make_film
from drivers.simulated.pictures import PictureMaker
from drivers.simulated.picturesettings import PictureSettings
from drivers.simulated.settings import GEOMETRY
from engine.errors import Refused

PX = 256
PLACE = replace(GEOMETRY, beam_fast_px=130.0, beam_slow_px=127.0)
SETTINGS = PictureSettings(shape=(PX, PX), wide_cross=False, pixel_response_sigma=0.0)
CRYSTAL = load_crystal(None, 0)


def profile(film: str, length_mm: float = 0.0, seed: int = -1) -> np.ndarray:
    """Mean counts in rings of one pixel about the beam."""
    maker = PictureMaker(CRYSTAL, PLACE, replace(SETTINGS, hidden_seed=seed), film)
    picture = maker.expected(0.0, 0.0, 1.0, length_mm=length_mm)
    fast, slow = np.meshgrid(np.arange(PX) + 0.5 - PLACE.beam_fast_px, np.arange(PX) + 0.5 - PLACE.beam_slow_px)
    place = np.hypot(fast, slow).astype(int).ravel()
    return np.bincount(place, picture.ravel()) / np.maximum(np.bincount(place), 1)


STRONGEST_A = [("Au", 4.0786 / 3**0.5), ("Al", 4.0495 / 3**0.5), ("TlCl", 3.8421 / 2**0.5)]


@pytest.mark.parametrize(("film", "spacing_A"), STRONGEST_A)
@pytest.mark.parametrize("length_mm", [250.0, 400.0])
def test_the_strongest_ring_lies_where_its_spacing_says_at_any_camera_length(
    film: str, spacing_A: float, length_mm: float
) -> None:
    rings = profile(film, length_mm)
    brightest_px = 36 + int(np.argmax(rings[36:])) + 0.5  # beyond the halo
    found_A = d_A(brightest_px * PLACE.pixel_size_mm, length_mm, PLACE.wavelength_A)
    assert found_A == pytest.approx(spacing_A, rel=0.02)


def test_a_nominal_camera_length_changes_nothing_to_the_last_bit() -> None:
    maker = PictureMaker(CRYSTAL, PLACE, SETTINGS)
    usual = maker.diffraction(0.0, 0.2, 0.5, noise_seed=1)
    assert np.array_equal(usual, maker.diffraction(0.0, 0.2, 0.5, noise_seed=1, length_mm=PLACE.camera_length_mm))
    assert not np.array_equal(usual, maker.diffraction(0.0, 0.2, 0.5, noise_seed=1, length_mm=300.0))


def test_a_vacuum_shows_the_beam_alone_and_a_crack_leaves_three_pieces() -> None:
    assert profile("vacuum")[30:].max() < 0.2 * profile("Au")[30:].max()
    pieces = np.histogram(make_film("cracked Au", 0.02508, 1).azimuth, 72, (-np.pi, np.pi))[0]
    assert 8 <= np.count_nonzero(pieces) <= 20


def test_a_textured_film_lacks_the_rings_that_do_not_lie_on_its_planes() -> None:
    d_star = np.unique(np.round(make_film("textured Au", 0.02508, -1).d_star_per_A * 4.0786, 2).round(1))
    assert min(d_star) == pytest.approx(8**0.5, abs=0.06), "111 and 200 are not there, 220 is"


def test_a_hidden_film_has_not_quite_the_lattice_of_its_standard() -> None:
    off = np.array([lattice_off_percent("Au", seed) for seed in range(200)])
    assert off.std() == pytest.approx(STANDARDS["Au"].known_to_percent, rel=0.15)
    assert lattice_off_percent("cracked Au", 3) == lattice_off_percent("Au", 3)
    assert lattice_off_percent("Au", -1) == 0.0
    seed = int(np.argmax(off))
    told, true = (np.median(make_film("Au", 0.02508, each).d_star_per_A) for each in (-1, seed))
    assert true < told * (1 - off[seed] / 200)


def test_a_film_of_no_standard_and_no_file_is_refused() -> None:
    with pytest.raises(Refused, match="no such file"):
        make_film("Fe", 0.02508, -1)
