"""The primary beam on the camera, behind a beam stop, at an edge and beside the camera: what is said of each."""

import numpy as np
import pytest

from drivers.simulated.pictures import PictureMaker
from drivers.simulated.picturesettings import PictureSettings
from drivers.simulated.settings import GEOMETRY
from drivers.simulated.shots import CrystalSource
from protocols.spots.beam_on_camera import no_beam

BEAM = (257, 251)
"""Raw pixel (fast, slow) of the primary beam, where nothing shifts it."""


@pytest.fixture(scope="module")
def makers() -> dict[float, PictureMaker]:
    """By the flux of the primary beam."""
    crystal = CrystalSource().load()
    return {flux: PictureMaker(crystal, GEOMETRY, PictureSettings(flux_s=flux)) for flux in (1e7, 1e5)}


@pytest.mark.parametrize("flux", [1e7, 1e5])
@pytest.mark.parametrize("exposure_s", [0.5, 0.05])
@pytest.mark.parametrize(
    ("shift_px", "on_camera"),
    [
        ((0.0, 0.0), True),
        ((150.0, 100.0), True),
        ((240.0, 0.0), True),  # 15 px from the edge
        ((270.0, 0.0), False),  # 15 px beyond it
        ((300.0, 0.0), False),
        ((300.0, 300.0), False),
        ((600.0, 0.0), False),
    ],
)
def test_a_beam_on_the_camera_is_told_from_one_beside_it(
    makers: dict[float, PictureMaker], flux: float, exposure_s: float, shift_px: tuple[float, float], on_camera: bool
) -> None:
    for begin_deg in (-20.0, 13.0):
        end_deg = begin_deg + 0.45 * exposure_s
        picture = makers[flux].diffraction(
            begin_deg, end_deg, exposure_s, beam_shift_px=shift_px, blur_px=0.0, noise_seed=5
        )
        assert (no_beam(picture) == "") is on_camera
        assert (no_beam(picture.astype(np.float32)) == "") is on_camera


@pytest.mark.parametrize("begin_deg", [-20.0, 0.0, 13.0, 30.0])
def test_a_beam_stop_hides_the_beam_and_not_its_halo(makers: dict[float, PictureMaker], begin_deg: float) -> None:
    picture = makers[1e7].diffraction(
        begin_deg, begin_deg + 0.2, 0.5, beam_shift_px=(0.0, 0.0), blur_px=0.0, noise_seed=5
    )
    row, column = np.indices(picture.shape)
    fast, slow = BEAM
    picture[np.hypot(column - fast, row - slow) < 30] = 0
    picture[(abs(row - slow) < 12) & (column > fast)] = 0
    assert no_beam(picture) == ""


def test_an_even_picture_has_no_beam() -> None:
    assert "no primary beam on the camera" in no_beam(np.full((64, 96), 200, np.uint16))


def test_a_small_camera_with_a_broad_beam_has_one() -> None:
    y, x = np.indices((48, 64))
    assert no_beam((400 * np.exp(-((x - 32) ** 2 + (y - 24) ** 2) / 30)).astype(np.uint16)) == ""
