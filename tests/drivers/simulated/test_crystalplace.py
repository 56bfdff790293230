"""A crystal that moves is seen to, fades as it leaves the aperture, and can be followed by image shift or stage."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from drivers.parts import Deflector
from drivers.simulated.crystalmotion import MotionSettings, moved_nm
from drivers.simulated.deflectors import NEUTRAL
from drivers.simulated.hiddeninstrument import HiddenInstrument
from drivers.simulated.microscope import SIMULATED, SIMULATED_TIMING
from drivers.simulated.settings import InstrumentSettings, configure
from drivers.simulated.shots import ColumnState, CrystalSource, Shot, develop
from engine.clock import NS_PER_S, ns
from engine.clock.virtual import VirtualClock
from engine.errors import Refused
from tests.engine.virtually import virtual

SMALL: dict[str, Any] = {
    "geometry": {"beam_fast_px": 64.0, "beam_slow_px": 64.0, "pixel_size_mm": 0.22},
    "pictures": {"shape": [128, 128], "wide_cross": False, "disc_radius_px": 40.0, "pixel_response_sigma": 0.0},
}
SETTINGS = InstrumentSettings.read("simulated", True, SMALL)
MOTION = {"height_nm": 900.0, "axis_off_nm": -400.0, "drift_nm_s": [0.5, 0.0], "runout_nm": [50.0, 80.0]}


def connected(clock: VirtualClock, options: Mapping[str, Any]) -> Any:
    return SIMULATED_TIMING.connect(clock, 3, options)


def seen(parts: Any, clock: VirtualClock) -> tuple[float, float]:
    now_ns = clock.now_ns()
    place: tuple[float, float] = parts.truth.crystal_nm(now_ns, now_ns)
    return place


@virtual
async def test_it_goes_where_the_motion_takes_it_while_the_stage_turns(clock: VirtualClock) -> None:
    async with connected(clock, {"motion": MOTION, "start_deg": -40.0}) as parts:
        assert seen(parts, clock) == pytest.approx((0.0, 0.0), abs=1e-6)
        await parts.stage.rotate(20.0, 1.0)
        await clock.sleep_s(45.0)
        now_ns = clock.now_ns()
        tilt_deg, since_s = parts.truth.angle_deg(now_ns), now_ns / NS_PER_S
        motion = configure(MotionSettings(), "motion", {"motion": MOTION})
        assert seen(parts, clock) == pytest.approx(moved_nm(motion, tilt_deg, -40.0, since_s))
        assert abs(seen(parts, clock)[1]) > 400


@virtual
async def test_without_motion_and_scene_it_stays_and_is_never_cut(clock: VirtualClock) -> None:
    async with connected(clock, {}) as parts:
        await parts.stage.rotate(20.0, 1.0)
        await parts.stagexyz.move_xy(5000.0, 0.0)
        await clock.sleep_s(30.0)
        now_ns = clock.now_ns()
        assert parts.truth.crystal_share(now_ns, now_ns) == 1.0
        assert not parts.view.shot(0, now_ns, now_ns, 0.1).column.can_leave


@virtual
async def test_the_image_shift_moves_it_in_the_aperture_along_the_axes_of_the_image(clock: VirtualClock) -> None:
    async with connected(clock, {}) as parts:
        await parts.deflectors.set(Deflector.IMAGE_SHIFT, NEUTRAL + 400, NEUTRAL)
        await clock.sleep_s(1.0)
        # 0.5 nm along fast and -0.1 along slow for each unit; the stage's y is against the rows.
        assert seen(parts, clock) == pytest.approx((200.0, 40.0))


@virtual
async def test_the_image_shift_moves_the_pattern_a_little_and_the_diffraction_shift_can_undo_it(
    clock: VirtualClock,
) -> None:
    async with connected(clock, {}) as parts:

        def pattern_px() -> tuple[float, float]:
            now_ns = clock.now_ns()
            shot: Shot = parts.view.shot(0, now_ns, now_ns + ns(0.01), 0.01)
            return shot.beam_shift_px

        before = np.array(pattern_px())
        await parts.deflectors.set(Deflector.IMAGE_SHIFT, NEUTRAL + 1000, NEUTRAL)
        await clock.sleep_s(1.0)
        assert pattern_px() - before == pytest.approx([2.0, 0.5])
        undo = np.rint(np.linalg.solve([[0.03, 0.01], [-0.01, 0.03]], [-2.0, -0.5]))
        await parts.deflectors.set(Deflector.DIFFRACTION_SHIFT, *(NEUTRAL + undo))
        await clock.sleep_s(1.0)
        assert pattern_px() - before == pytest.approx([0.0, 0.0], abs=0.03)


@virtual
async def test_the_stage_takes_it_back(clock: VirtualClock) -> None:
    options = {"motion": {"centred_off_nm": [300.0, 0.0]}, "stagexyz": {"reproducibility_nm": 0.0, "backlash_nm": 0.0}}
    async with connected(clock, options) as parts:
        await parts.stagexyz.move_xy(-300.0, 0.0)
        await clock.sleep_s(1.0)
        assert seen(parts, clock) == pytest.approx((0.0, 0.0))


@virtual
async def test_an_operator_centres_it_before_each_run(clock: VirtualClock) -> None:
    async with connected(clock, {"motion": {**MOTION, "drawn_seed": 4}}) as parts:
        await parts.stagexyz.move_xy(40_000.0, 0.0)
        await parts.deflectors.set(Deflector.IMAGE_SHIFT, NEUTRAL + 400, NEUTRAL)
        await clock.sleep_s(10.0)
        off_nm = MotionSettings.drawn(4).centred_off_nm
        parts.specimen.set({"start_deg": -60.0})
        assert seen(parts, clock) == pytest.approx(off_nm)
        parts.specimen.set({"start_deg": -60.0}, child=(2,))
        assert seen(parts, clock) != pytest.approx(off_nm), "another crystal moves in its own way"


def shot(x_nm: float, defocus: float = 0.0, can_leave: bool = True) -> Shot:
    column = ColumnState(true_length_mm=250.0, crystal_nm=(x_nm, 0.0), can_leave=can_leave)
    return Shot(0, 0.0, 0.25, 0.5, 1.0, defocus, (0.0, 0.0), noise_seed=1, column=column)


@pytest.mark.parametrize("scene", ["", "brick, 400 nm"])
@pytest.mark.parametrize("rendered", ["all", "snapshots"])
def test_spots_fade_as_it_leaves_the_aperture(scene: str, rendered: str) -> None:
    options = {**SMALL, "pictures": {**SMALL["pictures"], "rendered": rendered}}
    settings = InstrumentSettings.read("simulated", True, options)
    maker = CrystalSource(scene=scene, orientation_seed=2).maker(settings.geometry, settings.pictures)
    expected = [
        maker.expected(0.0, 0.25, 0.5, crystal_nm=place) for place in (None, (0.0, 0.0), (750.0, 0.0), (1e4, 0.0))
    ]
    spots = np.array([each.sum() for each in expected]) - expected[-1].sum()
    assert spots[0] > 500
    assert spots[1] == pytest.approx(spots[0])
    assert 0.3 * spots[0] < spots[2] < 0.7 * spots[0]
    assert expected[-1].sum() == pytest.approx(maker.expected(0.0, 0.25, 0.5, scale=0.0).sum())


def test_all_its_spots_fall_alike() -> None:
    maker = CrystalSource(orientation_seed=3).maker(SETTINGS.geometry, SETTINGS.pictures)
    none = maker.expected(0.0, 0.25, 0.5, scale=0.0)
    there, left = (maker.expected(0.0, 0.25, 0.5, crystal_nm=(x_nm, 0.0)) - none for x_nm in (0.0, 700.0))
    share = maker.aperture.light((700.0, 0.0), 0.125).crystal
    assert 0.2 < share < 0.9
    bright = there > 10
    assert left[bright] / there[bright] == pytest.approx(share, abs=1e-6)


def test_a_crystal_that_cannot_leave_diffracts_wherever_the_stage_is() -> None:
    maker = CrystalSource().maker(SETTINGS.geometry, SETTINGS.pictures)
    near, far = (develop(maker, shot(x_nm, can_leave=False)) for x_nm in (0.0, 1e5))
    assert np.array_equal(near, far)


def test_neighbours_in_the_aperture_add_spots_of_their_own() -> None:
    alone, crowded = (
        CrystalSource(orientation_seed=2, scene=scene).maker(SETTINGS.geometry, SETTINGS.pictures)
        for scene in ("brick, 400 nm", "brick, 400 nm, neighbours")
    )
    assert crowded.scene is not None
    neighbour_nm = crowded.scene.bodies[1].middle_nm
    away_nm = (-float(neighbour_nm[0]), -float(neighbour_nm[1]))
    spots = [maker.expected(0.0, 0.25, 0.5, crystal_nm=away_nm) for maker in (alone, crowded)]
    without = alone.expected(0.0, 0.25, 0.5, crystal_nm=(1e5, 0.0))
    assert spots[0].sum() == pytest.approx(without.sum())
    assert spots[1].sum() > without.sum() + 500


@virtual
async def test_the_truth_tells_where_it_was_in_each_exposure(clock: VirtualClock, tmp_path: Path) -> None:
    options: Mapping[str, Any] = {
        "crystal": {"scene": "brick, 400 nm"},
        "motion": {"drift_nm_s": [90.0, 0.0]},
        "beam_on": True,
        "pictures": {"rendered": "snapshots"},
    }
    async with connected(clock, options) as parts:
        await parts.detector.arm((0.5,))
        frames = parts.detector.frames()
        taken = []
        for _ in range(3):
            await parts.detector.start(0.5)
            taken.append(await anext(frames))
            await clock.sleep_s(5.0)
        kept = [(frame.start_ns, frame.end_ns) for frame in taken[:2]]
        parts.truth.write(tmp_path / "truth.h5", [0, 1], kept)
    with h5py.File(tmp_path / "truth.h5") as file:
        assert file["exposure_ns"].shape == (3, 2)
        assert file["exposure_defocus"][:] == pytest.approx([0.0, 0.0, 0.0])
        middles_s = file["exposure_ns"][:].mean(axis=1) / NS_PER_S
        assert file["exposure_crystal_nm"][:, 0] == pytest.approx(90.0 * middles_s)
        assert file["frame_crystal_nm"][:] == pytest.approx(file["exposure_crystal_nm"][:2])
        shares = file["exposure_crystal_share"][:]
    assert shares[0] == 1.0 >= shares[1] > shares[2] == 0.0
    total = [int(frame.counts[frame.counts < 3000].sum()) for frame in taken]
    assert total[0] - total[2] > 2000, "and the frames show it"


def test_what_the_image_shift_does_to_the_pattern_is_hidden_too() -> None:
    hidden = HiddenInstrument.draw(3, SETTINGS)
    assert hidden.beside_px != SETTINGS.deflectors.image_shift_pattern_px
    assert hidden.instrument(SETTINGS).deflectors.image_shift_pattern_px == hidden.beside_px
    assert "pattern_shift" in hidden.truth(SETTINGS)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"pictures": {"rendered": "some"}}, r"\[pictures\] rendered = 'some' is not one of all, snapshots, nothing"),
        ({"crystal": {"scene": "cube"}}, r"crystal\.scene = 'cube'"),
        ({"motion": {"jumps_per_deg": 1e9}}, r"\[motion\] jumps_per_deg = 1e\+09 is not between 0 and 10"),
        ({"motion": {"worse": -1}}, r"\[motion\] worse = -1 is not between 0 and 100"),
        ({"motion": {"height_um": 1.0}}, r"\[motion\] has no key 'height_um'"),
    ],
)
@pytest.mark.parametrize("driver", [SIMULATED, SIMULATED_TIMING])
def test_what_cannot_be_is_refused_before_anything_starts(driver: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(Refused, match=said):
        driver.facts(options)
