"""The whole instrument with a grid: what an image shows at a place diffracts when the beam is moved there."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from drivers.contract import Microscope
from drivers.parts import Deflector, OpticalMode
from drivers.simulated.gridtruth import grid_of
from drivers.simulated.microscope import SIMULATED, SIMULATED_TIMING
from drivers.simulated.settings import InstrumentSettings
from engine.clock.virtual import VirtualClock
from engine.errors import Refused
from engine.frame import Frame
from tests.engine.virtually import virtual

GRID: dict[str, Any] = {"seed": 3, "film": "continuous", "torn": 0.0, "amorphous": 0.0, "probe_nm": 300.0}
SMALL: dict[str, Any] = {"pictures": {"rendered": "snapshots"}, "beam_on": True}
STILL = {"stagexyz": {"reproducibility_nm": 0.0, "overshoot_nm": 0.0}, "deflectors": {"lag": (0.0,) * 4}}
UNITS = np.linalg.inv(np.array([[0.9, -0.2], [0.2, 0.9]]))
"""What a nm along (fast, slow) of an image takes of the beam shift."""


async def exposed(microscope: Microscope, exposure_s: float) -> Frame:
    await microscope.detector.arm([exposure_s])
    await microscope.detector.start(exposure_s)
    frame = await anext(microscope.detector.frames())
    await microscope.detector.disarm()
    return frame


async def in_mode(clock: VirtualClock, microscope: Microscope, mode: OpticalMode) -> None:
    assert microscope.mode is not None
    await microscope.mode.set_mode(mode)
    await clock.sleep_s(1.0)


@virtual
async def test_the_beam_goes_to_a_crystal_of_an_image_and_lights_that(clock: VirtualClock) -> None:
    async with SIMULATED_TIMING.connect(clock, 1, {**SMALL, **STILL, "grid": GRID}) as parts:
        microscope = parts.assembled()
        truth, stage, coils = microscope.truth, microscope.stagexyz, microscope.deflectors
        assert truth is not None
        assert stage is not None
        assert coils is not None
        await stage.move_xy(9_000.0, 4_000.0)
        await clock.sleep_s(2.0)
        await in_mode(clock, microscope, OpticalMode.IMAGING)
        image = (await exposed(microscope, 0.5)).counts
        (seen,) = truth.seen_on_grid()
        assert seen.is_image
        assert seen.field_nm == pytest.approx((-9_000.0, -4_000.0))
        assert seen.place_nm(*seen.place_px(-8_000.0, -4_300.0)) == pytest.approx((-8_000.0, -4_300.0))
        per_px = seen.nm_per_px[0]
        assert per_px * 128 == pytest.approx(5_950.0, rel=0.01), "5.95 um as in the paper"
        crystals = grid_of(truth.specimen.source.grid).crystals_in(  # type: ignore[attr-defined]
            np.array(seen.field_nm) - 2_400.0, np.array(seen.field_nm) + 2_400.0
        )
        await in_mode(clock, microscope, OpticalMode.DIFFRACTION)
        assert len(crystals) > 2
        for k in range(3):
            place = seen.place_px(crystals.x_nm[k], crystals.y_nm[k])
            dark = image[int(place[1]), int(place[0])]
            assert dark < 0.9 * np.percentile(image, 90), "what is there is darker than the film"
            units = UNITS @ (np.array(place) - 64.0) * per_px
            x, y = (float(round(0x8000 + value)) for value in units)
            await coils.set(Deflector.BEAM_SHIFT, x, y)
            await clock.sleep_s(0.1)
            await exposed(microscope, 0.1)
            pattern = truth.seen_on_grid()[-1]
            lit = truth.lit_on_grid(pattern)
            assert not pattern.is_image
            assert pattern.beam_nm == pytest.approx((crystals.x_nm[k], crystals.y_nm[k]), abs=2.0)
            assert crystals.number[k] in lit.numbers
            assert min(lit.away_nm) < 2.0


@virtual
async def test_the_beam_of_patterns_is_where_an_image_shows_its_disc(clock: VirtualClock) -> None:
    options = {**SMALL, **STILL, "start_deg": 30.0, "grid": {**GRID, "crystals_um2": 0.0, "dirt_um2": 0.0}}
    options["illumination"] = {"disc_nm": (250.0, -400.0), "drift_nm_min": (3_000.0, 0.0), "brightness": 31_600}
    async with SIMULATED_TIMING.connect(clock, 1, options) as parts:
        microscope = parts.assembled()
        stage, coils, truth = microscope.stagexyz, microscope.deflectors, microscope.truth
        assert stage is not None
        assert coils is not None
        assert truth is not None
        await stage.move_z(3_000.0)
        await coils.set(Deflector.BEAM_SHIFT, 0x8000 - 300.0, 0x8000 + 500.0)
        await coils.set(Deflector.IMAGE_SHIFT, 0x8000 + 900.0, 0x8000 - 300.0)
        await in_mode(clock, microscope, OpticalMode.IMAGING)
        picture = (await exposed(microscope, 0.5)).counts.astype(float)
        (image,) = truth.seen_on_grid()
        rows, columns = np.mgrid[:128, :128] + 0.5
        lit = picture > 0.5 * picture.max()
        assert (columns[lit].mean(), rows[lit].mean()) == pytest.approx(image.place_px(*image.beam_nm), abs=0.5)
        await in_mode(clock, microscope, OpticalMode.DIFFRACTION)
        await exposed(microscope, 0.1)
        pattern = truth.seen_on_grid()[-1]
        drifted_nm = 3_000.0 / 60e9 * (pattern.begin_ns + pattern.end_ns - image.begin_ns - image.end_ns) / 2
        assert pattern.beam_nm == pytest.approx((image.beam_nm[0] + drifted_nm, image.beam_nm[1]), abs=1.0)


@virtual
async def test_a_beam_that_drifts_is_elsewhere_later(clock: VirtualClock) -> None:
    options = {**SMALL, **STILL, "grid": GRID, "illumination": {"drift_nm_min": (60.0, 0.0)}}
    async with SIMULATED_TIMING.connect(clock, 1, options) as parts:
        microscope = parts.assembled()
        assert microscope.truth is not None
        for _ in range(2):
            await exposed(microscope, 0.1)
            await clock.sleep_s(60.0)
        first, second = (seen.beam_nm for seen in microscope.truth.seen_on_grid())
        assert second[0] - first[0] == pytest.approx(60.0, abs=1.0)


@virtual
async def test_truth_of_a_run_is_written_as_tables(clock: VirtualClock, tmp_path: Path) -> None:
    grid = {**GRID, "second_phase": "random", "second_share": 0.5, "crystals_um2": 2.0}
    async with SIMULATED_TIMING.connect(clock, 1, {"beam_on": True, "grid": grid}) as parts:
        microscope = parts.assembled()
        assert microscope.truth is not None
        for mode in (OpticalMode.IMAGING, OpticalMode.DIFFRACTION):
            await in_mode(clock, microscope, mode)
            await exposed(microscope, 0.1)
        microscope.truth.write_grid(tmp_path / "grid_truth.h5")
        lit = microscope.truth.lit_on_grid(microscope.truth.seen_on_grid()[1])
    with h5py.File(tmp_path / "grid_truth.h5") as file:
        assert file["exposures/image"][()].tolist() == [1, 0]
        assert np.isnan(file["exposures/field_nm"][1]).all()
        assert file["lit/exposure"][()].tolist() == [1] * len(lit.numbers)
        assert tuple(file["lit/crystal"][()].tolist()) == lit.numbers
        assert set(file["lit/crystal"][()]) <= set(file["crystals/number"][()])
        assert file["crystals/orientation"].shape == (len(file["crystals/number"]), 3, 3)
        assert [len(file["phases"][name].attrs["cell"]) for name in ("0", "1")] == [6, 6]
        assert file.attrs["seed"] == 3


@virtual
async def test_a_plan_lays_a_grid_under_the_beam_and_another_one_takes_it_away(clock: VirtualClock) -> None:
    async with SIMULATED_TIMING.connect(clock, 1, SMALL) as parts:
        microscope = parts.assembled()
        (specimen,) = microscope.specimens
        mode, truth = microscope.mode, microscope.truth
        assert mode is not None
        assert truth is not None
        specimen.set({"beam_on": True, "grid": GRID})
        await in_mode(clock, microscope, OpticalMode.IMAGING)
        assert await mode.magnification() == 2500.0
        with_grid = (await exposed(microscope, 0.5)).counts
        assert len(truth.seen_on_grid()) == 1
        specimen.set({"beam_on": True})
        assert await mode.magnification() == 5000.0
        without = (await exposed(microscope, 0.5)).counts
        assert len(truth.seen_on_grid()) == 1
        assert not np.array_equal(with_grid, without)
        specimen.set({"grid": GRID}, child=[1])
        specimen.set({"crystal": {"orientation_seed": 3}}, child=[2])
        assert truth.specimen.source.grid is not None, "a child finds its parent's grid"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        ({"film": "glass"}, r"\[grid\] film = 'glass' is not one of"),
        ({"colour": 3}, r"\[grid\] has no key 'colour'"),
        ({"phase": "nowhere.cif"}, "nowhere.cif: no such file"),
        ({"second_phase": "cell 3"}, "is no cell"),
        (7, "grid = 7 is not a table"),
    ],
)
@virtual
async def test_a_grid_that_cannot_be_is_refused_before_anything_begins(
    clock: VirtualClock, grid: Any, words: str
) -> None:
    with pytest.raises(Refused, match=words):
        async with SIMULATED_TIMING.connect(clock, 1, {"grid": grid}):
            pass


def test_options_win_over_what_is_usual_with_a_grid() -> None:
    usual = InstrumentSettings.read("simulated", True, {"grid": {}})
    assert (usual.stagexyz.reproducibility_nm, usual.pictures.magnified) == (500.0, 1.893)
    said = InstrumentSettings.read("simulated", True, {"grid": {}, "stagexyz": {"reproducibility_nm": 20.0}})
    assert said.stagexyz.reproducibility_nm == 20.0
    assert said.stagexyz.overshoot_nm == usual.stagexyz.overshoot_nm
    without = InstrumentSettings.read("simulated", True, {})
    assert (without.stagexyz.reproducibility_nm, without.pictures.magnified) == (20.0, 1.0)
    assert without.source.grid is None


@virtual
async def test_the_same_seed_gives_the_same_pictures(clock: VirtualClock) -> None:
    pictures: list[np.ndarray] = []
    for _ in range(2):
        async with SIMULATED.connect(clock, 5, {"beam_on": True, "grid": {"seed": 8}}) as parts:
            microscope = parts.assembled()
            await in_mode(clock, microscope, OpticalMode.IMAGING)
            pictures.append((await exposed(microscope, 0.5)).counts)
            await in_mode(clock, microscope, OpticalMode.DIFFRACTION)
            pictures.append((await exposed(microscope, 0.1)).counts)
    assert pictures[0].shape == (512, 512)
    assert np.array_equal(pictures[0], pictures[2])
    assert np.array_equal(pictures[1], pictures[3])
    assert pictures[0].max() > 300
