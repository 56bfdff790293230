"""The optional parts of a JEOL microscope through TEMCOM, on an emulator of its COM objects: no real one was near."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from drivers.approach import OnClock, arrive_xy
from drivers.conformance import (
    Bench,
    DeclaredConformance,
    DeflectorsConformance,
    IlluminationConformance,
    ModeConformance,
    StageXYZConformance,
    bench_for,
)
from drivers.contract import Microscope
from drivers.declared import Declared
from drivers.jeol.microscope import JEOL, JeolDriver
from drivers.parts import Deflector, OpticalMode
from engine.clock import RealClock
from engine.errors import DeviceBusy, DeviceError, DeviceLost, Refused
from tests.drivers.emulators.temcom import STEPS, Temcom
from tests.drivers.optionalparts import at_rest, deflectors_of, illumination_of, mode_of, stage_of
from tests.engine.virtually import really

pytestmark = pytest.mark.realtime

# As an operator writes the panel of the emulated microscope into the devices file.
LISTS: dict[str, Any] = {
    "lowmag": list(STEPS[2]),
    "mag1": list(STEPS[0]),
    "diff_mm": [150, 200, 250, 300, 400, 500, 600, 800, 1000],
}
OPTIONS: dict[str, Any] = {"call_limit_s": 20.0, "stagexyz": {"flag_late_s": 0.0}, "mode": LISTS}


def on_bench(temcom: Temcom, options: dict[str, Any]) -> Bench:
    driver = JeolDriver("jeol", temcom.open)
    return bench_for(
        lambda clock: driver.connect(clock, 1, options),
        distance_nm=20_000.0,
        scatter_nm=1.0,
        patience_s=120.0,
    )


class TestParts(
    StageXYZConformance, DeflectorsConformance, ModeConformance, IlluminationConformance, DeclaredConformance
):
    @pytest.fixture
    def bench(self) -> Bench:
        return on_bench(Temcom(), OPTIONS)

    @pytest.fixture
    def declared(self) -> Declared:
        return JEOL.facts(OPTIONS)


class TestTranslationThatBlocks(StageXYZConformance):
    """As PyJEM's users report: a command to move returns at the standstill, so y begins when x has arrived."""

    @pytest.fixture
    def bench(self) -> Bench:
        return on_bench(Temcom(blocking=True), OPTIONS)


class TestTranslationWhoseStatusIsLate(StageXYZConformance):
    """As Instamatic's authors saw on a NeoARM: for the first half second of a move the status says rest."""

    @pytest.fixture
    def bench(self) -> Bench:
        options = {**OPTIONS, "stagexyz": {"flag_late_s": 0.25}}
        return on_bench(Temcom(flag_late_s=0.2), options)


Use = Callable[[Microscope], Awaitable[None]]


async def used(clock: RealClock, temcom: Temcom, use: Use, **options: Any) -> None:
    from drivers.simulated.microscope import SIMULATED_TIMING

    async with (
        JeolDriver("jeol", temcom.open).connect(clock, 1, {**OPTIONS, **options}) as parts,
        SIMULATED_TIMING.connect(clock, 7, {}) as camera,
    ):
        await use(parts.assembled({"detector": camera}, {"camera_length_mm": 300.0}))


# --- stage position


@pytest.mark.parametrize("blocking", [False, True])
@really
async def test_a_place_is_that_of_the_stage_in_nm(clock: RealClock, blocking: bool) -> None:
    temcom = Temcom(blocking=blocking)

    async def use(microscope: Microscope) -> None:
        await arrive_xy(stage_of(microscope), OnClock(clock), -30_000.0, 20_000.5)
        await stage_of(microscope).move_z(-1_000.0)
        await at_rest(clock, stage_of(microscope))

    await used(clock, temcom, use)
    assert [axis.at for axis in temcom.xyz] == [-30_000.0, 20_000.5, -1_000.0]
    assert "SetPosition" not in {name for name, _ in temcom.calls}  # that one is relative


@really
async def test_the_tilt_does_not_count_as_moving_and_still_keeps_the_stage_from_being_moved(clock: RealClock) -> None:
    temcom = Temcom(blocking=True)

    async def use(microscope: Microscope) -> None:
        stage = stage_of(microscope)
        assert stage.facts.tilt_counts_as_moving is False
        await microscope.stage.rotate(30.0, 0.5)
        assert await stage.is_moving() is False
        with pytest.raises(DeviceBusy, match="nothing else was begun"):
            await stage.move_xy(0.0, 0.0)
        assert temcom.turning()

    await used(clock, temcom, use)
    assert "SetX" not in {name for name, _ in temcom.calls}


@really
async def test_where_it_is_allowed_x_and_y_move_while_the_stage_tilts(clock: RealClock) -> None:
    temcom = Temcom(blocking=True)

    async def use(microscope: Microscope) -> None:
        await microscope.stage.rotate(30.0, 0.5)
        await stage_of(microscope).move_xy(-30_000.0, 17_000.0)
        await at_rest(clock, stage_of(microscope))
        assert temcom.turning()

    await used(clock, temcom, use, stagexyz={"flag_late_s": 0.0, "xy_while_tilting": True})
    assert [axis.at for axis in temcom.xyz[:2]] == [-30_000.0, 17_000.0]


@pytest.mark.parametrize("which", ["stagexyz", "stage"])
@really
async def test_a_stop_of_either_ends_a_move_in_x_and_what_was_to_follow_in_y(clock: RealClock, which: str) -> None:
    temcom = Temcom(blocking=True)

    async def use(microscope: Microscope) -> None:
        stage = stage_of(microscope)
        await stage.move_xy(30_000.0, 60_000.0)  # in x for more than a second
        await getattr(microscope, which).stop()
        await at_rest(clock, stage)
        where = await stage.position()
        assert where.x_nm < 20_000.0
        assert where.y_nm == 17_720.5

    await used(clock, temcom, use)
    assert "SetY" not in {name for name, _ in temcom.calls}


@really
async def test_a_move_under_way_is_stopped_on_leaving(clock: RealClock) -> None:
    temcom = Temcom(blocking=True)

    async def use(microscope: Microscope) -> None:
        await stage_of(microscope).move_xy(30_000.0, 60_000.0)

    await used(clock, temcom, use)
    assert not any(axis.moving for axis in temcom.xyz)
    assert temcom.xyz[0].at < 20_000.0


@really
async def test_a_move_that_ends_at_a_limiter_is_told_once(clock: RealClock) -> None:
    async def use(microscope: Microscope) -> None:
        stage = stage_of(microscope)
        await stage.move_xy(-60_000.0, 17_000.0)
        with pytest.raises(DeviceError, match="x stands at its hardware limiter; it did not arrive"):
            await at_rest(clock, stage)
        assert await stage.is_moving() is False
        await stage.move_xy(-30_000.0, 17_000.0)  # and can be moved off
        await at_rest(clock, stage)

    await used(clock, Temcom(limiter_nm=40_000.0), use)


@really
async def test_a_command_that_is_refused_later_on_is_told_once(clock: RealClock) -> None:
    temcom = Temcom(blocking=True, statuses={"SetY": 5})

    async def use(microscope: Microscope) -> None:
        stage = stage_of(microscope)
        await stage.move_xy(-15_000.0, 0.0)
        with pytest.raises(DeviceError, match="SetY answered status 5; it was not done"):
            await at_rest(clock, stage)
        assert await stage.is_moving() is False
        assert (await stage.position()).x_nm == -15_000.0

    await used(clock, temcom, use)


@really
async def test_a_command_that_is_refused_at_once_is_told_by_the_move(clock: RealClock) -> None:
    async def use(microscope: Microscope) -> None:
        with pytest.raises(DeviceError, match="SetZ answered status 2; it was not done"):
            await stage_of(microscope).move_z(0.0)
        assert await stage_of(microscope).is_moving() is False

    await used(clock, Temcom(statuses={"SetZ": 2}), use)


@really
async def test_a_stage_that_goes_on_after_a_stop_is_told(clock: RealClock) -> None:
    temcom = Temcom(statuses={"Stop": 0}, answers={"GetStatus": (1, 0, 0, 0, 0, 0)})

    async def use(microscope: Microscope) -> None:
        with pytest.raises(DeviceError, match="told to stop and still moves"):
            await stage_of(microscope).stop()
        temcom.answers.clear()

    await used(clock, temcom, use)


@really
async def test_a_command_that_neither_answers_nor_moves_loses_the_stage(clock: RealClock) -> None:
    temcom = Temcom(blocking=True, answers={"GetStatus": (0, 0, 0, 0, 0, 0)})

    async def use(microscope: Microscope) -> None:
        with pytest.raises(DeviceLost, match="did not answer the command to move"):
            await stage_of(microscope).move_xy(30_000.0, 0.0)

    await used(clock, temcom, use, call_limit_s=0.5)


# --- deflectors and illumination

COILS = {
    Deflector.BEAM_SHIFT: "CLA1",
    Deflector.BEAM_TILT: "CLA2",
    Deflector.IMAGE_SHIFT: "IS1",
    Deflector.DIFFRACTION_SHIFT: "PLA",
}


@pytest.mark.parametrize("which", Deflector)
@really
async def test_a_pair_is_that_of_its_own_coils_in_whole_numbers(clock: RealClock, which: Deflector) -> None:
    temcom = Temcom()
    before = dict(temcom.coils)

    async def use(microscope: Microscope) -> None:
        assert (deflectors_of(microscope).facts.units or {})[which] == "raw, 16 bits"
        await deflectors_of(microscope).set(which, 1234.0, 65_535.0)
        assert await deflectors_of(microscope).read(which) == (1234, 65_535)

    await used(clock, temcom, use)
    assert temcom.coils == before | {COILS[which]: (1234, 65_535)}


@really
async def test_spot_sizes_count_from_1_as_on_the_panel(clock: RealClock) -> None:
    temcom = Temcom(spots=3)

    async def use(microscope: Microscope) -> None:
        illumination = illumination_of(microscope)
        assert await illumination.spot_size() == 1
        await illumination.set_spot_size(3)
        await illumination.set_brightness(5555.0)
        with pytest.raises(DeviceError, match="SelectSpotSize answered status 1; it was not done"):
            await illumination.set_spot_size(4)  # the devices file says five

    await used(clock, temcom, use)
    assert (temcom.spot, temcom.cl3) == (2, 5555)


# --- mode


@pytest.mark.parametrize(("unit", "times"), [("cm", 10.0), ("mm", 1.0), ("CM", 10.0), ("m", 1000.0)])
@really
async def test_a_camera_length_is_in_mm_whatever_the_microscope_counts_in(
    clock: RealClock, unit: str, times: float
) -> None:
    temcom = Temcom(unit=unit)

    async def use(microscope: Microscope) -> None:
        mode = mode_of(microscope)
        assert await mode.camera_length_mm() == 30 * times
        await mode.set_camera_length_mm(15 * times)
        assert await mode.camera_length_mm() == 15 * times

    await used(clock, temcom, use, mode={"diff_mm": [value * times for value in STEPS[4]]})
    assert temcom.steps[4] == 0


@really
async def test_the_nominal_camera_length_is_told_in_diffraction_mode_only(clock: RealClock) -> None:
    told: list[float | None] = []
    for number in (4, 0):
        async with JeolDriver("jeol", Temcom(mode=number).open).connect(clock, 1, OPTIONS) as parts:
            told.append(parts.geometry.get("camera_length_mm"))
    assert told == [300.0, None]


@pytest.mark.parametrize("lists", [{"diff_mm": [100, 150, 200, 250, 300, 400]}, {"diff_mm": [150, 200, 300, 400]}])
@really
async def test_a_list_that_is_not_this_microscopes_is_told_with_where_it_is_now(
    clock: RealClock, lists: dict[str, Any]
) -> None:
    async def use(microscope: Microscope) -> None:
        mode = mode_of(microscope)
        with pytest.raises(DeviceError, match=r"told to go to camera length in mm = 400 and shows (300|500) now"):
            await mode.set_camera_length_mm(400.0)

    await used(clock, Temcom(), use, mode=lists)


@really
async def test_a_unit_that_is_none_is_not_used(clock: RealClock) -> None:
    async def use(microscope: Microscope) -> None:
        with pytest.raises(DeviceError, match="tells 30 in 'mrad', where mm or cm or m belongs; not used"):
            await mode_of(microscope).camera_length_mm()
        with pytest.raises(DeviceError, match="told to go to camera length in mm = 150; where it is now is unknown"):
            await mode_of(microscope).set_camera_length_mm(150.0)

    await used(clock, Temcom(unit="mrad"), use)


@really
async def test_without_lists_magnification_and_camera_length_are_read_and_not_set(clock: RealClock) -> None:
    temcom = Temcom()

    async def use(microscope: Microscope) -> None:
        mode = mode_of(microscope)
        assert await mode.camera_length_mm() == 300.0
        with pytest.raises(DeviceError, match="not known; nothing was changed"):
            await mode.set_camera_length_mm(300.0)
        await mode.set_mode(OpticalMode.LOW_MAG)
        assert await mode.magnification() == 150.0
        with pytest.raises(DeviceError, match="not known; nothing was changed"):
            await mode.set_magnification(150.0)

    await used(clock, temcom, use, mode={})
    assert "SetSelector" not in {name for name, _ in temcom.calls}


@pytest.mark.parametrize(("other", "name", "ours"), [(1, "MAG2", "mag1"), (0, "MAG", "samag"), (7, "mode 7", "mag2")])
@really
async def test_an_imaging_mode_that_the_devices_file_does_not_name_is_told_and_can_be_left(
    clock: RealClock, other: int, name: str, ours: str
) -> None:
    temcom = Temcom()

    async def use(microscope: Microscope) -> None:
        mode = mode_of(microscope)
        temcom.mode = 4
        temcom.answers["GetFunctionMode"] = (other, name, 0)
        with pytest.raises(DeviceError, match=f"is in {name}, which has no name here; nothing was read"):
            await mode.magnification()
        with pytest.raises(DeviceError, match=f"is in {name}, which has no name here; nothing was changed"):
            await mode.set_magnification(2500.0)
        await mode.set_mode(OpticalMode.IMAGING)
        temcom.answers.clear()
        assert await mode.mode() is OpticalMode.IMAGING

    await used(clock, temcom, use, mode={"imaging": ours})
    assert temcom.mode == {"mag1": 0, "mag2": 1, "samag": 3}[ours]


@really
async def test_after_our_change_of_mode_the_diffraction_lens_is_not_set_in_another_one(clock: RealClock) -> None:
    temcom = Temcom()

    async def use(microscope: Microscope) -> None:
        await microscope.optics.set_focus(31_000)
        await mode_of(microscope).set_mode(OpticalMode.IMAGING)
        with pytest.raises(DeviceError, match="not in diffraction mode; nothing was changed"):
            await microscope.optics.set_focus(32_000)

    await used(clock, temcom, use)
    assert temcom.il1 == 31_000


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"stagexyz": {"x_limits_nm": [1.0, -1.0]}}, r"\[stagexyz\]: x_limits_nm .* two rising numbers"),
        ({"stagexyz": {"speed": 1}}, r"\[stagexyz\] has no option 'speed'"),
        ({"deflectors": {"settling_s": -1}}, r"\[deflectors\]: settling_s"),
        ({"mode": {"imaging": "lowmag"}}, r"\[mode\]: imaging"),
        ({"mode": {"imaging": "samag", "mag1": [1.0]}}, r"\[mode\] has no option 'mag1'"),
        ({"illumination": {"spot_sizes": 9}}, r"\[illumination\]: spot_sizes"),
        ({"mode": 3}, r"\[microscope.mode\]"),
    ],
)
@really
async def test_mistakes_in_the_options_of_parts_are_refused(
    clock: RealClock, options: dict[str, Any], complaint: str
) -> None:
    async def use(microscope: Microscope) -> None:
        raise AssertionError

    with pytest.raises(Refused, match=complaint):
        await used(clock, Temcom(), use, **options)
