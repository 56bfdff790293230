"""A grid of crystals that turns: what lies under the probe diffracts as it turns, its place goes with its height, bars
come in; and the truth says which crystal it was.
"""

import dataclasses
import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from drivers.parts import OpticalMode
from drivers.simulated.crystalgrid import CrystalGrid
from drivers.simulated.crystalmotion import MotionSettings
from drivers.simulated.gridpattern import is_excited, rod_profile, turning_spots_of
from drivers.simulated.gridpictures import GridMaker
from drivers.simulated.gridplace import GridPlace
from drivers.simulated.gridprobe import lit_by
from drivers.simulated.gridsettings import GridSettings
from drivers.simulated.gridtruth import grid_of, phases_of
from drivers.simulated.microscope import SIMULATED, SIMULATED_TIMING
from drivers.simulated.pattern import rotate
from drivers.simulated.picturesettings import PictureSettings
from drivers.simulated.settings import GEOMETRY, InstrumentSettings
from engine.clock.virtual import VirtualClock
from protocols.calibrate.moves.registration import displacement, flattened
from protocols.tracking.locating import Located, Optics, Told, locate
from protocols.tracking.place import Place
from tests.drivers.simulated.test_gridinstrument import GRID, SMALL, exposed, in_mode
from tests.engine.virtually import virtual

PLAIN = GridSettings(seed=2, film="continuous", torn=0.0, dirt_um2=0.0, amorphous=0.0, probe_nm=1000.0)
THICKNESS_NM = 90.0
STILL = {
    "stagexyz": {"reproducibility_nm": 0.0, "overshoot_nm": 0.0, "backlash_nm": 0.0},
    "deflectors": {"lag": (0.0,) * 4},
}


def test_a_reflection_that_passes_gives_what_its_rod_gives_step_by_step() -> None:
    """The Gaussian of `turning_spots_of` against the rod of a still in fine steps, of which 3 % are cut off."""
    (phase,) = phases_of(PLAIN)
    orientation = CrystalGrid(PLAIN).crystals_in(np.full(2, -5000.0), np.full(2, 5000.0)).orientation[0]
    fast, _, part = turning_spots_of(phase, orientation, THICKNESS_NM, GEOMETRY, 10.0, 11.0, 0.08, share=1e-4)
    thickness_A, k = 10 * THICKNESS_NM, 1 / GEOMETRY.wavelength_A
    points = phase.hkl @ (orientation @ phase.ub).T
    length2 = np.sum(points**2, axis=1)
    bent = np.sqrt(length2) * np.deg2rad(0.08)
    steps = np.arange(10.0, 11.0, 0.01) + 0.005
    total = 0.0
    for angle in steps:
        z = rotate(points, GEOMETRY, np.full(len(points), angle))[:, 2]
        s = np.sqrt(k * k + length2 - 2 * k * z) - k
        near = is_excited(s, thickness_A, bent)
        total += float(phase.intensity[near] @ rod_profile(s[near], thickness_A, bent[near])) / len(steps)
    expected = total * GEOMETRY.wavelength_A**2 * thickness_A / phase.volume_A3**2 * 1e-4
    assert len(fast) > 100
    assert part.sum() == pytest.approx(1.03 * expected, rel=0.05)


def test_another_orientation_gives_other_spots_and_the_same_one_the_same() -> None:
    maker = GridMaker(PLAIN, GEOMETRY, PictureSettings(wide_cross=False))
    crystals = maker.grid.crystals_in(np.full(2, -20_000.0), np.full(2, 20_000.0))
    one, two = ((float(crystals.x_nm[k]), float(crystals.y_nm[k])) for k in (0, 5))
    first, again, other = (maker.diffraction(0.0, 0.23, 0.5, noise_seed=3, on_grid_nm=at) for at in (one, one, two))
    assert np.array_equal(first, again)
    beside = np.hypot(*(np.mgrid[:512, :512] - 256.0)) > 40.0
    assert np.corrcoef(first[beside], other[beside])[0, 1] < 0.3


def test_what_leaves_the_probe_fades() -> None:
    maker = GridMaker(PLAIN, GEOMETRY, PictureSettings(wide_cross=False))
    crystals = maker.grid.crystals_in(np.full(2, -20_000.0), np.full(2, 20_000.0))
    alone = max(
        range(len(crystals)),
        key=lambda k: np.sort(np.hypot(crystals.x_nm - crystals.x_nm[k], crystals.y_nm - crystals.y_nm[k]))[1],
    )
    x, y = float(crystals.x_nm[alone]), float(crystals.y_nm[alone])
    beside = np.hypot(*(np.mgrid[:512, :512] - 256.0)) > 60.0
    none = maker.diffraction(0.0, 2.0, 2.0, noise_seed=3, on_grid_nm=(x + 2000.0, y))[beside].sum()
    sums = [
        float(maker.diffraction(0.0, 2.0, 2.0, noise_seed=3, on_grid_nm=(x + off, y))[beside].sum()) - none
        for off in (0.0, 450.0, 650.0)
    ]
    assert sums[0] > sums[1] > sums[2]
    assert sums[2] < 0.5 * sums[0]


def test_high_resolution_goes_first_where_the_beam_damages() -> None:
    pictures = PictureSettings(wide_cross=False, half_dose_e_A2=3.0, aperture_nm=1000.0)
    maker = GridMaker(PLAIN, GEOMETRY, pictures)
    crystals = maker.grid.crystals_in(np.full(2, -20_000.0), np.full(2, 20_000.0))
    at = float(crystals.x_nm[3]), float(crystals.y_nm[3])
    lit = lit_by(maker.grid, at, 500.0, 2.5)
    fresh, used, gone = (maker.lit_s(lit, 0.0, 5.0, dose_e_A2=dose) for dose in (0.0, 3.0, 1e6))
    away = np.hypot(*(np.mgrid[:512, :512] - 256.0))
    left = [(used - gone)[ring].sum() / (fresh - gone)[ring].sum() for ring in ((away > 30) & (away < 80), away > 150)]
    assert left[1] < left[0] - 0.1 < 0.9
    assert left[1] < 0.6, "a dose that halves 1 A"


@virtual
async def test_an_image_moves_by_the_height_times_the_sine_of_the_tilt(clock: VirtualClock) -> None:
    options: dict[str, Any] = {**STILL, "grid": GRID, "motion": {"height_nm": 2000.0}, "beam_on": True}
    options["pictures"] = {"rendered": "snapshots"}
    async with SIMULATED_TIMING.connect(clock, 1, options) as parts:
        microscope = parts.assembled()
        assert microscope.truth is not None
        assert microscope.stage is not None
        await in_mode(clock, microscope, OpticalMode.IMAGING)
        pictures = []
        for tilt_deg in (0.0, 8.0):
            await microscope.stage.rotate(tilt_deg, 5.0)
            await clock.sleep_s(4.0)
            pictures.append((await exposed(microscope, 0.5)).counts.astype(float))
        flat, tilted = microscope.truth.seen_on_grid()
        moved = displacement(flattened(pictures[0]), flattened(pictures[1]))
        per_px = flat.nm_per_px[0]
        assert moved.sure
        # The stage's y is up in the picture: what lies higher goes to -y, which is down.
        assert moved.slow_px * per_px == pytest.approx(2000.0 * math.sin(math.radians(8.0)), abs=0.7 * per_px)
        assert tilted.nm_per_px[3] == pytest.approx(flat.nm_per_px[3] / math.cos(math.radians(8.0)), rel=1e-3)


def test_the_height_of_the_film_differs_from_place_to_place() -> None:
    place = GridPlace(dataclasses.replace(PLAIN, height_nm=500.0), MotionSettings(height_nm=1000.0))
    every = [place.film_nm(x, y) for x in np.arange(-9e5, 9e5, 3e4) for y in np.arange(-9e5, 9e5, 3e4)]
    assert np.mean(every) == pytest.approx(1000.0, abs=80.0)
    assert np.std(every) == pytest.approx(500.0, rel=0.25)
    assert place.film_nm(100.0, 0.0) == pytest.approx(place.film_nm(0.0, 0.0), abs=30.0)
    assert place.specimen_nm((0.0, 0.0, 200.0), 40.0, 5.0)[2] == place.film_nm(0.0, 0.0) + 200.0


def test_the_holder_does_to_a_grid_what_it_does_to_a_crystal_that_was_centred_at_tilt_0() -> None:
    motion = MotionSettings(runout_nm=(100.0, 100.0), backlash_nm=(50.0, -40.0), drift_nm_s=(0.2, 0.0), seed=3)
    x_nm, y_nm, _ = GridPlace(PLAIN, motion).specimen_nm((0.0, 0.0, 0.0), 30.0, 10.0)
    from drivers.simulated.crystalmotion import moved_nm

    assert (x_nm, y_nm * math.cos(math.radians(30.0))) == pytest.approx(moved_nm(motion, 30.0, 0.0, 10.0))


@pytest.mark.parametrize(("tilt_deg", "y_nm", "seen"), [(0.0, 19e3, True), (60.0, 19e3, False), (-60.0, 19e3, True)])
def test_bars_come_in_from_one_side_at_high_tilt(tilt_deg: float, y_nm: float, seen: bool) -> None:
    grid = CrystalGrid(dataclasses.replace(PLAIN, bar_height_nm=12_000.0))
    assert bool(grid.is_open(np.array([0.0]), np.array([y_nm]), tilt_deg)[0]) is seen
    assert bool(grid.is_open(np.array([0.0]), np.array([-y_nm]), -tilt_deg)[0]) is seen
    assert bool(grid.is_open(np.array([y_nm]), np.array([0.0]), tilt_deg)[0])
    picture = grid.let_through(10.0 * np.eye(2), np.array([0.0, y_nm]) - 100.0, (20, 20), tilt_deg)
    assert bool(picture.max() > 0.1) is seen


def test_a_tilted_film_is_thicker() -> None:
    grid = CrystalGrid(dataclasses.replace(PLAIN, crystals_um2=0.0, unevenness=0.0))
    flat, tilted = (grid.let_through(10.0 * np.eye(2), np.zeros(2), (20, 20), tilt_deg) for tilt_deg in (0.0, 60.0))
    assert tilted == pytest.approx(flat**2, rel=1e-5)


@virtual
async def test_a_snapshot_shows_the_crystal_where_tracking_looks_for_it(clock: VirtualClock) -> None:
    """By what the instrument tells of its snapshots, with the probe moved off its neutral place."""
    options = {
        **STILL,
        "pictures": {"wide_cross": False},
        "beam_on": True,
        "grid": {**GRID, "crystals_um2": 0.03, "dirt_um2": 0.0, "probe_nm": 1000.0},
    }
    async with SIMULATED.connect(clock, 1, options) as parts:
        microscope = parts.assembled()
        truth, stage, tracking = microscope.truth, microscope.stagexyz, microscope.tracking
        assert truth is not None
        assert stage is not None
        assert microscope.optics is not None
        assert tracking is not None
        assert tracking.probe_selects
        assert tracking.aperture_nm == 1000.0
        crystals = grid_of(truth.specimen.source.grid).crystals_in(  # type: ignore[attr-defined]
            np.full(2, -15_000.0), np.full(2, 15_000.0)
        )
        apart = [
            np.sort(np.hypot(crystals.x_nm - x, crystals.y_nm - y))[1]
            for x, y in zip(crystals.x_nm, crystals.y_nm, strict=True)
        ]
        one = int(np.argmax(np.where((crystals.length_nm < 700) & (crystals.thickness_nm > 100), apart, 0.0)))
        away_nm = 120.0, -90.0
        await stage.move_xy(away_nm[0] - float(crystals.x_nm[one]), away_nm[1] - float(crystals.y_nm[one]))
        await clock.sleep_s(3.0)
        focus = await microscope.optics.focus()
        await microscope.optics.set_focus(focus + 1500)
        await clock.sleep_s(2.0)
        picture = (await exposed(microscope, 0.02)).counts.astype(float)
        a, b, c, d = (1500 * each for each in tracking.snapshot)
        radius_px = 1500 * tracking.disc_radius_px
        optics = Optics((GEOMETRY.beam_fast_px, GEOMETRY.beam_slow_px), radius_px, (a, b, c, d), 0.0)
        answer = locate(picture, Told(optics, Place.even(0.0, 0.0, 200.0)))
        assert isinstance(answer, Located)
        assert (answer.place.x_nm, answer.place.y_nm) == pytest.approx(away_nm, abs=40.0)


@virtual
async def test_the_truth_of_a_rotation_is_of_the_crystal_under_the_beam(clock: VirtualClock, tmp_path: Path) -> None:
    grid = {**GRID, "second_phase": "chabazite", "second_share": 0.5, "probe_nm": 900.0}
    async with SIMULATED_TIMING.connect(clock, 1, {**SMALL, **STILL, "grid": grid}) as parts:
        microscope = parts.assembled()
        truth, stage = microscope.truth, microscope.stagexyz
        assert truth is not None
        assert stage is not None
        assert microscope.stage is not None
        settings = truth.specimen.source.grid  # type: ignore[attr-defined]
        crystals = grid_of(settings).crystals_in(np.full(2, -9_000.0), np.full(2, 9_000.0))
        one = int(np.flatnonzero(crystals.phase == 1)[0])
        await stage.move_xy(30.0 - float(crystals.x_nm[one]), -float(crystals.y_nm[one]))
        await clock.sleep_s(3.0)
        frames = [await exposed(microscope, 0.1)]
        await microscope.stage.rotate(20.0, 2.0)
        await clock.sleep_s(2.0)
        frames += [await exposed(microscope, 0.1) for _ in range(3)]
        intervals = [(frame.start_ns, frame.end_ns) for frame in frames]
        truth.write(tmp_path / "truth.h5", [1, 2, 3, 4], intervals)
    with h5py.File(tmp_path / "truth.h5") as file:
        assert file.attrs["crystal_number"] == crystals.number[one]
        assert file.attrs["phase"] == 1
        assert file["orientation"][()] == pytest.approx(crystals.orientation[one])
        assert file["cell"][()] == pytest.approx([13.675, 13.675, 14.767, 90, 90, 120])
        assert file["frame_crystal_nm"][()] == pytest.approx(np.array([[30.0, 0.0]] * 4), abs=1.0)
        assert np.all(file["frame_crystal_share"][()] > 0.5)


@virtual
async def test_the_dose_of_a_crystal_begins_when_the_beam_comes_to_it(clock: VirtualClock) -> None:
    async with SIMULATED_TIMING.connect(clock, 1, {**SMALL, **STILL, "grid": GRID}) as parts:
        microscope = parts.assembled()
        stage, view = microscope.stagexyz, microscope.truth.view  # type: ignore[union-attr]
        assert stage is not None
        assert microscope.beam is not None
        await exposed(microscope, 1.0)
        await exposed(microscope, 1.0)
        assert view.irradiated_s(clock.now_ns()) > 2.0
        await microscope.beam.blank()
        await stage.move_xy(9_000.0, 0.0)
        await clock.sleep_s(3.0)
        await microscope.beam.unblank()
        await exposed(microscope, 1.0)
        assert 1.0 <= view.irradiated_s(clock.now_ns()) < 1.5


def test_an_instrument_tells_of_its_probe_and_a_file_has_the_last_word() -> None:
    usual = InstrumentSettings.read("simulated", True, {"grid": {"probe_nm": 800.0}})
    assert (usual.pictures.probe_selects, usual.pictures.aperture_nm) == (True, 800.0)
    said = InstrumentSettings.read("simulated", True, {"grid": {}, "pictures": {"probe_selects": False}})
    assert not said.pictures.probe_selects
