"""What the beam does to the crystal: damage by dose and spacing, in pictures and in truth.h5."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from drivers.simulated.column import Blanker
from drivers.simulated.crystal import load_crystal
from drivers.simulated.damage import undamaged
from drivers.simulated.latency import Interface
from drivers.simulated.pictures import PictureMaker
from drivers.simulated.picturesettings import PictureSettings
from drivers.simulated.settings import GEOMETRY
from engine.clock import ns
from engine.clock.virtual import VirtualClock
from engine.testing.plugin import RecordRun
from tests.engine.virtually import virtual

PLAIN = PictureSettings()
CRYSTAL = load_crystal(None, 3)


def test_the_flux_is_that_of_the_primary_beam_over_the_aperture() -> None:
    assert pytest.approx(1e7 / (np.pi * 7500**2)) == PLAIN.flux_e_A2_s


@pytest.mark.parametrize(("power", "at_2_A"), [(1.0, 6.0), (2.0, 12.0)])
def test_a_reflection_is_halved_by_the_half_dose_of_its_spacing(power: float, at_2_A: float) -> None:
    settings = replace(PLAIN, half_dose_e_A2=3.0, half_dose_power=power)
    assert undamaged(np.array([1.0]), 3.0, settings) == pytest.approx(0.5)
    assert undamaged(np.array([0.5]), at_2_A, settings) == pytest.approx(0.5)
    assert undamaged(np.array([1.0]), 6.0, settings) == pytest.approx(0.25)


def test_nothing_befalls_a_crystal_unless_it_is_asked_for() -> None:
    maker = PictureMaker(CRYSTAL, GEOMETRY, PLAIN)
    fresh = maker.diffraction(0.0, 0.23, 0.5, noise_seed=1)
    assert np.array_equal(fresh, maker.diffraction(0.0, 0.23, 0.5, noise_seed=1, irradiated_s=1e4))


@pytest.mark.parametrize("twice", [0.0, 0.1])
def test_damage_takes_the_fine_detail_first_and_leaves_the_background(twice: float) -> None:
    settings = replace(PLAIN, half_dose_e_A2=2.0, half_dose_power=2.0, scattered_twice=twice)
    maker = PictureMaker(CRYSTAL, GEOMETRY, settings)
    background = maker.expected(0.0, 3.0, 0.5, scale=0.0)
    fresh = maker.expected(0.0, 3.0, 0.5) - background
    after_s = 4.0 / settings.flux_e_A2_s
    left = maker.expected(0.0, 3.0, 0.5, irradiated_s=after_s) - background
    rows, columns = np.indices(fresh.shape)
    away_px = np.hypot(columns - GEOMETRY.beam_fast_px, rows - GEOMETRY.beam_slow_px)
    for low_px, high_px in ((40, 60), (70, 85), (105, 125)):
        ring = (away_px > low_px) & (away_px < high_px)
        d_star = (low_px + high_px) / 2 * GEOMETRY.pixel_size_mm / (GEOMETRY.camera_length_mm * GEOMETRY.wavelength_A)
        share = left[ring].sum() / fresh[ring].sum()
        assert share == pytest.approx(0.5 ** (2 * d_star**2), abs=0.1)


@virtual
async def test_the_dose_counts_while_the_beam_is_on(clock: VirtualClock) -> None:
    blanker = Blanker(clock, Interface(clock, 1, 0.01, 0.0), beam_on=False)
    await clock.sleep_s(1.0)
    await blanker.unblank()
    on_ns = clock.now_ns()
    await clock.sleep_s(2.0)
    await blanker.blank()
    off_ns = clock.now_ns()
    await clock.sleep_s(5.0)
    assert blanker.on_ns(0, clock.now_ns()) == off_ns - on_ns
    assert blanker.on_ns(on_ns + ns(0.5), on_ns + ns(1.5)) == ns(1.0)


def test_the_truth_file_tells_dose_and_what_is_lit(record_run: RecordRun, tmp_path: Path) -> None:
    pictures = {"half_dose_e_A2": 5.0, "shape": [32, 32], "wide_cross": False}
    devices: dict[str, Any] = {
        "microscope": {
            "driver": "simulated",
            "geometry": {"beam_fast_px": 16.0, "beam_slow_px": 16.0},
            "pictures": pictures,
            "motion": {"height_nm": 8000.0},
        }
    }
    plan: dict[str, Any] = {"range_deg": 8.0, "start_deg": 20.0, "relax_cycles": 0, "snapshot_interval": 5}
    run = record_run("cred", devices=devices, seed=1, **plan, formats=(), truth=True)
    with h5py.File(run.folder / "truth.h5") as file:
        dose, lit, flux = file["dose_e_A2"][:], file["frame_crystal_share"][:], file.attrs["flux_e_A2_s"]
        assert file.attrs["half_dose_e_A2"] == 5.0
    with h5py.File(run.folder / "frames.h5") as file:
        frames = file["diffraction/frames"][:]
    beam_s = (frames["end_ns"] - frames["start_ns"][0]) / 1e9
    assert dose[:, 1] - dose[0, 0] == pytest.approx(flux * beam_s, rel=1e-6)  # snapshots between them count as well
    assert 0 < dose[0, 0] < flux
    assert lit[0] == 1.0
    assert (np.diff(lit) <= 0).all()
    assert lit[-1] < 1.0
