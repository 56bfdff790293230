"""The silhouette in a snapshot goes where the stage takes the crystal, the other way round at the other defocus."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from drivers.simulated.crystal import load_crystal
from drivers.simulated.hiddeninstrument import HiddenInstrument, seen_matrix
from drivers.simulated.hiddenparts import FULL_DEFOCUS
from drivers.simulated.microscope import SIMULATED
from drivers.simulated.pictures import PictureMaker
from drivers.simulated.settings import InstrumentSettings
from drivers.simulated.shots import CrystalSource
from engine.clock import ns
from engine.clock.virtual import VirtualClock
from tests.engine.virtually import virtual

PX = 128
OPTIONS = {
    "geometry": {"beam_fast_px": 64.0, "beam_slow_px": 64.0},
    "pictures": {"shape": [PX, PX], "wide_cross": False, "disc_radius_px": 40.0, "pixel_response_sigma": 0.0},
}
SETTINGS = InstrumentSettings.read("simulated", True, OPTIONS)


def shadow_px(picture: NDArray[np.uint16], defocus: float = 1.0) -> NDArray[np.float64]:
    """Middle (fast, slow) of what is dark within the disc, from the middle of the camera."""
    counts = picture.astype(float)
    rows, columns = np.indices(counts.shape) + 0.5 - PX / 2
    dark = (counts < 0.6 * np.percentile(counts, 90)) & (np.hypot(rows, columns) < 38 * abs(defocus))
    return np.array([columns[dark].mean(), rows[dark].mean()])


@pytest.mark.parametrize("defocus", [1.0, -1.0, 0.6, -1.2])
@pytest.mark.parametrize("moved_nm", [(250.0, 0.0), (0.0, 250.0), (-200.0, 150.0)])
def test_it_moves_by_the_matrix_times_the_defocus(defocus: float, moved_nm: tuple[float, float]) -> None:
    matrix = (0.8, 0.5, 0.5, -0.9)
    settings = replace(SETTINGS.pictures, snapshot=matrix)
    maker = PictureMaker(load_crystal(None, 1), SETTINGS.geometry, settings)
    still, moved = (shadow_px(maker.snapshot(defocus, 1.0, nm, noise_seed=1), defocus) for nm in ((0.0, 0.0), moved_nm))
    px_per_nm = 2 * settings.disc_radius_px * defocus / settings.aperture_nm
    assert moved - still == pytest.approx(px_per_nm * np.reshape(matrix, (2, 2)) @ moved_nm, abs=0.6)


@pytest.mark.parametrize("defocus", [1.0, -1.0, 0.7])
@pytest.mark.parametrize("tilt_deg", [0.0, 40.0])
def test_a_scene_is_shown_where_its_crystal_is_seen(defocus: float, tilt_deg: float) -> None:
    matrix, seen_nm = (0.6, 0.8, 0.8, -0.6), (250.0, -150.0)
    settings = replace(SETTINGS.pictures, snapshot=matrix)
    maker = CrystalSource(orientation_seed=3, scene="plate, 400 nm, even film").maker(SETTINGS.geometry, settings)
    shown = maker.snapshot(defocus, 1.0, seen_nm, tilt_deg=tilt_deg, noise_seed=1)
    px_per_nm = 2 * settings.disc_radius_px * defocus / settings.aperture_nm
    assert shadow_px(shown, defocus) == pytest.approx(px_per_nm * np.reshape(matrix, (2, 2)) @ seen_nm, abs=0.6)


def test_what_is_lit_of_a_crystal_is_what_a_snapshot_shows_of_it() -> None:
    settings = replace(SETTINGS.pictures, snapshot=(0.6, 0.8, 0.8, -0.6))
    maker = CrystalSource(orientation_seed=3, scene="plate, 400 nm, even film").maker(SETTINGS.geometry, settings)
    disc = [maker.snapshot(1.0, 1.0, (x_nm, 0.0), noise_seed=1).astype(float).sum() for x_nm in (5e4, 0.0, 680.0)]
    shown = (disc[0] - disc[2]) / (disc[0] - disc[1])
    assert 0.5 < shown < 0.9
    assert maker.aperture.light((680.0, 0.0), 0.0).crystal == pytest.approx(shown, abs=0.04)


def test_a_crystal_that_has_not_moved_stands_in_the_middle_whatever_the_hidden_turn() -> None:
    hidden = HiddenInstrument.draw(3, SETTINGS)
    maker = PictureMaker(
        load_crystal(None, 1), SETTINGS.geometry, replace(SETTINGS.pictures, snapshot=hidden.parts.snapshot)
    )
    assert shadow_px(maker.snapshot(1.0, 1.0, noise_seed=1)) == pytest.approx([0.0, 0.0], abs=0.3)
    assert hidden.truth(SETTINGS)["snapshot"] == seen_matrix(hidden.parts.snapshot_px, hidden.turn)


@virtual
async def test_the_stage_and_its_height_take_the_crystal_along(clock: VirtualClock) -> None:
    options = {**OPTIONS, "stagexyz": {"reproducibility_nm": 0.0, "backlash_nm": 0.0}, "start_deg": 30.0}
    async with SIMULATED.connect(clock, 3, options) as parts:
        view, stage, optics = parts.view, parts.stagexyz, parts.optics
        assert stage is not None
        assert optics is not None

        async def after(x_nm: float, y_nm: float, z_nm: float) -> tuple[float, float]:
            await stage.move_xy(x_nm, y_nm)
            await clock.sleep_s(1.0)
            await stage.move_z(z_nm)
            await clock.sleep_s(1.0)
            now_ns = clock.now_ns()
            crystal_nm: tuple[float, float] = view.shot(0, now_ns, now_ns + ns(0.1), 0.1).column.crystal_nm  # type: ignore[union-attr]
            return crystal_nm

        assert await after(300.0, 0.0, 0.0) == pytest.approx((300.0, 0.0))
        assert await after(0.0, 200.0, 0.0) == pytest.approx((0.0, 200.0 * np.cos(np.radians(30))))
        assert await after(0.0, 0.0, 400.0) == pytest.approx((0.0, -200.0)), "above the tilt axis it goes sideways"


def test_spot_size_and_brightness_change_the_flux_and_one_as_it_was_left() -> None:
    panel = SETTINGS.illumination
    assert panel.flux_share(panel.spot_size, panel.brightness) == 1.0
    assert panel.flux_share(3, panel.brightness) == pytest.approx(0.6**2)
    assert panel.flux_share(panel.spot_size, 65535) < 0.5


def test_what_is_hidden_of_the_parts_is_drawn_from_the_seed_and_told_in_the_truth() -> None:
    told = HiddenInstrument.draw(4, SETTINGS)
    true, truth = told.instrument(SETTINGS), told.truth(SETTINGS)
    assert told.truth(SETTINGS) == HiddenInstrument.draw(4, SETTINGS).truth(SETTINGS)
    assert truth["disc_radius_px"] == true.pictures.disc_radius_px / FULL_DEFOCUS
    assert truth["backlash_deg"] == true.stage.backlash_deg != SETTINGS.stage.backlash_deg
    assert truth["lens_time_constant_s"] == true.lens.slow_s != SETTINGS.lens.slow_s
    stretched = abs(np.linalg.det(np.reshape(true.pictures.snapshot, (2, 2))))
    assert truth["aperture_nm"] == pytest.approx(true.pictures.aperture_nm / np.sqrt(stretched))
    area_A2 = np.pi * (float(np.asarray(truth["aperture_nm"])) * 10 / 2) ** 2
    assert truth["flux_e_A2_s"] == pytest.approx(true.pictures.flux_s / area_A2)
