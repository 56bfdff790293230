"""Runs by the hundred: snapshots show the scene, diffraction pictures have no spots but counts in the right number."""

from typing import Any

import h5py
import numpy as np
import pytest

from drivers.simulated.cheappictures import SCATTERED, CheapMaker
from drivers.simulated.pictures import PictureMaker
from drivers.simulated.scenedrawing import draw_scene
from drivers.simulated.settings import SMALL, SMALL_GEOMETRY, InstrumentSettings
from drivers.simulated.shots import CrystalSource
from engine.testing.plugin import RecordRun

PLAN: dict[str, Any] = {"range_deg": 30.0, "start_deg": -15.0, "speed_deg_s": 1.0, "relax_cycles": 0}


def test_snapshots_are_those_of_any_other_picture_maker_but_for_their_noise() -> None:
    scene = draw_scene("brick, 500 nm", 4)
    whole = PictureMaker(CrystalSource().load(), SMALL_GEOMETRY, SMALL, scene=scene)
    cheap = CheapMaker(SMALL_GEOMETRY, SMALL, scene)
    pictures = [maker.snapshot(1.0, 1.0, (200.0, 0.0), tilt_deg=30.0, noise_seed=1) for maker in (whole, cheap)]
    assert pictures[0].astype(float) == pytest.approx(
        pictures[1].astype(float), abs=6 * float(pictures[0].max()) ** 0.5
    )


def test_the_sum_is_that_of_the_beam_and_of_what_the_crystal_scatters_on_average() -> None:
    maker = CheapMaker(SMALL_GEOMETRY, SMALL, None)
    angles = np.arange(-60.0, 60.0, 0.5)
    background = maker.expected(0.0, 0.25, 0.5, scale=0.0).sum()
    sums = np.array([maker.expected(angle, angle + 0.25, 0.5).sum() for angle in angles]) - background
    assert sums.mean() == pytest.approx(SCATTERED * SMALL.flux_s * 0.5, rel=0.3)
    assert background == pytest.approx(SMALL.flux_s * 0.5, rel=0.02)


def test_noise_is_that_of_counting_and_other_in_each_picture() -> None:
    maker = CheapMaker(SMALL_GEOMETRY, SMALL, None)
    expected = maker.expected(0.0, 0.25, 5.0)
    counts = np.array([maker.diffraction(0.0, 0.25, 5.0, noise_seed=seed) for seed in range(40)], np.float64)
    usual = (expected > 100) & (expected < 5000)
    assert np.mean(counts.var(axis=0, ddof=1)[usual] / counts.mean(axis=0)[usual]) == pytest.approx(1.0, abs=0.1)
    assert not np.array_equal(counts[0], counts[1])
    assert np.array_equal(counts[3], maker.diffraction(0.0, 0.25, 5.0, noise_seed=3))


def test_the_camera_is_small_where_no_other_is_asked_for() -> None:
    settings = InstrumentSettings.read("simulated-timing", False, {"pictures": {"rendered": "snapshots"}})
    assert settings.pictures.shape == (128, 128)
    assert settings.geometry == SMALL_GEOMETRY
    assert settings.declared.detector is not None
    assert settings.declared.detector.has_pictures


def test_a_run_of_them_has_the_crystal_in_its_snapshots_and_its_fate_in_its_sums(record_run: RecordRun) -> None:
    microscope = {
        "driver": "simulated-timing",
        "crystal": {"scene": "brick, 500 nm"},
        "motion": {"drift_nm_s": [35.0, 0.0]},
        "pictures": {"rendered": "snapshots"},
    }
    run = record_run("cred", devices={"microscope": microscope}, seed=1, **PLAN, formats=(), truth=True)
    with h5py.File(run.folder / "truth.h5") as truth, h5py.File(run.folder / "frames.h5") as file:
        shares, frames = truth["frame_crystal_share"][:], file["diffraction/data"][:].astype(np.int64)
        of_snapshot = truth["exposure_defocus"][:] > 500
        x_nm, snapshots = truth["exposure_crystal_nm"][of_snapshot, 0], file["snapshot/data"][:].astype(float)
    sums = np.where(frames < 3000, frames, 0).sum(axis=(1, 2))
    assert shares[0] == 1.0
    assert shares[-1] == 0.0
    assert sums[shares == 1.0].mean() - sums[shares == 0.0].mean() > 1500
    assert len(snapshots) == len(x_nm) > 3
    right = [picture[:, 64:].sum() / picture[:, :64].sum() for picture in snapshots]
    assert right[-1] > 0.98, "nothing is left in the disc"
    middle = np.abs(x_nm - 400.0).argmin()
    assert right[middle] < 0.95, "the crystal darkens the side to which it has gone"
