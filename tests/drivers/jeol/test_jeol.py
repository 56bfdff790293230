"""JEOL microscopes through TEMCOM, tried on an emulator of its COM objects: no real microscope was near."""

import asyncio
import importlib
import sys
import threading
from collections.abc import Awaitable, Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from drivers.approach import OnClock
from drivers.check.rotation import measure_rotations, speeds_to_try
from drivers.conformance import (
    BeamConformance,
    Bench,
    DeclaredConformance,
    OpticsConformance,
    StageConformance,
    bench_for,
)
from drivers.contract import Parts
from drivers.declared import Declared
from drivers.jeol.microscope import JEOL, JeolDriver, JeolStage
from drivers.jeol.temcom import open_temcom
from engine.clock import RealClock
from engine.errors import DeviceBusy, DeviceError, DeviceLost, Refused
from tests.drivers.emulators.temcom import Temcom
from tests.engine.virtually import really

pytestmark = pytest.mark.realtime
OPTIONS = {"call_limit_s": 20.0}


def on_bench(temcom: Temcom, options: dict[str, Any]) -> Bench:
    driver = JeolDriver("jeol", temcom.open)
    return bench_for(
        lambda clock: driver.connect(clock, 1, options), speed_deg_s=10.0, travel_deg=4.0, patience_s=120.0
    )


class TestJeol(StageConformance, BeamConformance, OpticsConformance, DeclaredConformance):
    @pytest.fixture
    def bench(self) -> Bench:
        return on_bench(Temcom(), OPTIONS)

    @pytest.fixture
    def declared(self) -> Declared:
        return JEOL.facts(OPTIONS)


class TestJeolWhoseRotationBlocks(StageConformance):
    """As PyJEM's users report: the command to rotate returns at the standstill."""

    @pytest.fixture
    def bench(self) -> Bench:
        return on_bench(Temcom(blocking=True), OPTIONS)


class TestJeolTenTimesSlower(StageConformance, BeamConformance):
    @pytest.fixture
    def bench(self) -> Bench:
        return on_bench(Temcom(call_s=0.02, blocking=True), OPTIONS)


class TestJeolWithoutRates(StageConformance, DeclaredConformance):
    @pytest.fixture
    def bench(self) -> Bench:
        return on_bench(Temcom(rate_setting=False, real_rates=(10.0,) * 4), {**OPTIONS, "fixed_speed_deg_s": 10.0})

    @pytest.fixture
    def declared(self) -> Declared:
        return JEOL.facts({**OPTIONS, "fixed_speed_deg_s": 10.0})


Use = Callable[[Parts], Awaitable[None]]


async def used(clock: RealClock, temcom: Temcom, use: Use, **options: Any) -> None:
    async with JeolDriver("jeol", temcom.open).connect(clock, 1, {**OPTIONS, **options}) as parts:
        await use(parts)


@really
async def test_lens_and_blanker_do_not_wait_for_the_stage(clock: RealClock) -> None:
    temcom = Temcom(blocking=True)
    order: list[str] = []

    async def use(parts: Parts) -> None:
        assert parts.stage is not None
        assert parts.beam is not None
        await parts.stage.rotate(30.0, 0.5)  # the command is still out there
        await parts.beam.blank()
        order.append("blanked")
        assert temcom.turning()
        await parts.stage.stop()
        assert not temcom.turning()

    await used(clock, temcom, use)
    assert order == ["blanked"]


@really
async def test_com_lives_and_ends_in_the_threads_that_use_it(clock: RealClock) -> None:
    temcom = Temcom()

    async def use(parts: Parts) -> None:
        assert parts.stage is not None
        assert parts.beam is not None
        await parts.beam.blank()
        await parts.stage.rotate(1.0, 10.0)

    await used(clock, temcom, use)
    assert len(set(temcom.initialised)) == 4
    assert threading.get_ident() not in temcom.initialised
    assert sorted(temcom.left) == sorted(temcom.initialised)
    names = {thread.name for thread in threading.enumerate()}
    assert not any(name.startswith("jeol") for name in names)


@really
async def test_the_instrument_is_left_as_it_was_found(clock: RealClock) -> None:
    temcom = Temcom(rate=1, blanked=0, blocking=True)

    async def use(parts: Parts) -> None:
        assert parts.stage is not None
        await parts.stage.rotate(50.0, 0.5)
        assert temcom.rate == 3
        assert temcom.turning()

    await used(clock, temcom, use)
    assert (temcom.rate, temcom.blanked, temcom.il1) == (1, 0, 30_000)
    assert not temcom.turning()  # nobody is there to stop it any more


@really
async def test_the_wavelength_is_that_of_the_high_tension(clock: RealClock) -> None:
    async def use(parts: Parts) -> None:
        assert parts.geometry["wavelength_A"] == pytest.approx(0.02508, abs=5e-6)

    await used(clock, Temcom(), use)


@really
async def test_a_speed_that_no_rate_gives_is_refused_with_the_nearest(clock: RealClock) -> None:
    temcom = Temcom()

    async def use(parts: Parts) -> None:
        assert parts.stage is not None
        with pytest.raises(DeviceError, match=r"0\.45 deg/s; nothing moved.*0\.5 deg/s \(setting 3\)"):
            await parts.stage.rotate(10.0, 0.45)
        assert temcom.angle_deg() == 0

    await used(clock, temcom, use)


@really
async def test_a_calibration_changes_what_the_rates_are(clock: RealClock) -> None:
    temcom = Temcom()

    async def use(parts: Parts) -> None:
        assert parts.stage is not None
        await parts.stage.rotate(10.0, 0.45)
        assert temcom.rate == 3

    await used(clock, temcom, use, rotation={"pace": 1.11})


@really
async def test_measured_rotations_calibrate_the_rates(clock: RealClock) -> None:
    temcom = Temcom(real_rates=(8.0, 1.6, 0.8, 0.4))

    async def use(parts: Parts) -> None:
        stage = parts.stage
        assert isinstance(stage, JeolStage)
        assert stage.rotation_speeds is not None
        assert speeds_to_try(stage, 4.0) == [1.0, 2.0, 10.0]
        measured = await measure_rotations(OnClock(clock), stage, [2.0, 10.0], (0.4, 0.8, 1.6))
        fitted = stage.rotation_speeds.refitted([(r.span_deg, r.asked_deg_s, r.time_s) for r in measured])
        assert fitted.calibration.pace == pytest.approx(1.25, rel=0.05)
        assert fitted.nearest(0.4).setting == 3

    await used(clock, temcom, use)


@really
async def test_without_rates_and_a_known_speed_only_the_pedal_is_left(clock: RealClock) -> None:
    async def use(parts: Parts) -> None:
        assert parts.stage is not None
        with pytest.raises(DeviceError, match=r"cannot set a speed.*nothing moved.*pedal"):
            await parts.stage.rotate(10.0, 0.45)
        await parts.stage.release_to_pedal(10.0, 0.45)

    await used(clock, Temcom(rate_setting=False), use)


@really
async def test_outside_diffraction_mode_the_lens_is_left_alone(clock: RealClock) -> None:
    temcom = Temcom(mode=0)

    async def use(parts: Parts) -> None:
        assert parts.optics is not None
        with pytest.raises(DeviceError, match="not in diffraction mode; nothing was changed"):
            await parts.optics.set_focus(31_000)
        assert temcom.il1 == 30_000
        temcom.mode = 4
        await parts.optics.set_focus(31_000)
        assert temcom.il1 == 31_000

    await used(clock, temcom, use)


@pytest.mark.parametrize("value", [-1, 65_536])
@really
async def test_a_lens_value_out_of_range_is_refused(clock: RealClock, value: int) -> None:
    async def use(parts: Parts) -> None:
        assert parts.optics is not None
        with pytest.raises(DeviceError, match="nothing was changed"):
            await parts.optics.set_focus(value)

    await used(clock, Temcom(), use)


GARBAGE = {
    "no number of this world": ("GetPos", (1.0, 2.0, 3.0, 10**400, 0.0, 0)),
    "no number": ("GetPos", (1.0, 2.0, 3.0, float("nan"), 0.0, 0)),
    "half an answer": ("GetPos", (1.0, 2.0, 0)),
    "text": ("GetPos", ("a", "b", "c", "d", "e", 0)),
    "nothing": ("GetPos", None),
    "no status": ("GetPos", (1.0, 2.0, 3.0, 4.0, 5.0, None)),
    "a status": ("GetPos", (1.0, 2.0, 3.0, 4.0, 5.0, 7)),
}


@pytest.mark.parametrize("case", GARBAGE)
@really
async def test_an_answer_that_makes_no_sense_is_an_error_and_the_next_one_is_used(clock: RealClock, case: str) -> None:
    temcom = Temcom()

    async def use(parts: Parts) -> None:
        assert parts.stage is not None
        method, temcom.answers[method] = GARBAGE[case][0], GARBAGE[case][1]
        with pytest.raises(DeviceError, match="stage"):
            await parts.stage.angle()
        temcom.answers.clear()
        assert (await parts.stage.angle()).value == 0

    await used(clock, temcom, use)


@really
async def test_a_call_that_the_microscope_refuses_is_told_with_its_status(clock: RealClock) -> None:
    temcom = Temcom(statuses={"SetBeamBlank": 3})

    async def use(parts: Parts) -> None:
        assert parts.beam is not None
        with pytest.raises(DeviceError, match=r"SetBeamBlank answered status 3; it was not done"):
            await parts.beam.blank()

    await used(clock, temcom, use)


@really
async def test_a_command_that_answers_nothing_was_done(clock: RealClock) -> None:
    temcom = Temcom(blanked=0, answers={"SetBeamBlank": None})

    async def use(parts: Parts) -> None:
        assert parts.beam is not None
        await parts.beam.blank()

    await used(clock, temcom, use)
    assert temcom.blanked == 1


@pytest.mark.parametrize("how", ["gone", "restarted"])
@really
async def test_a_server_that_went_away_loses_the_device_until_connected_again(clock: RealClock, how: str) -> None:
    temcom = Temcom()

    async def use(parts: Parts) -> None:
        assert parts.beam is not None
        if how == "gone":
            temcom.gone = True
        else:
            temcom.restart()
        with pytest.raises(DeviceLost, match=r"TEM server has gone \(0x800706BA\)"):
            await parts.beam.blank()
        temcom.gone = False
        with pytest.raises(DeviceLost, match="SetBeamBlank happened is unknown"):  # objects do not come back
            await parts.beam.is_blanked()

    await used(clock, temcom, use)

    async def again(parts: Parts) -> None:
        assert parts.beam is not None
        assert await parts.beam.is_blanked()

    await used(clock, temcom, again)


@really
async def test_a_server_that_stalls_is_busy_then_lost_and_does_not_keep_the_program(clock: RealClock) -> None:
    temcom = Temcom()
    try:
        async with JeolDriver("jeol", temcom.open).connect(clock, 1, {"call_limit_s": 1.5}) as parts:
            assert parts.beam is not None
            temcom.stalled.clear()
            call = asyncio.create_task(parts.beam.blank())
            while ("SetBeamBlank", (1,)) not in temcom.calls:  # noqa: ASYNC110 called in another thread
                await asyncio.sleep(0.001)
            call.cancel()
            await asyncio.wait([call])
            with pytest.raises(DeviceBusy, match="not returned"):
                await parts.beam.is_blanked()
            while not isinstance(await failure(parts.beam.is_blanked()), DeviceLost):
                pass
    finally:
        temcom.stalled.set()


async def failure(call: Awaitable[object]) -> Exception:
    with pytest.raises(DeviceError) as caught:
        await call
    return caught.value


@really
async def test_it_waits_for_a_server_that_is_still_starting(clock: RealClock) -> None:
    async def use(parts: Parts) -> None:
        assert parts.beam is not None
        assert await parts.beam.is_blanked()

    await used(clock, Temcom(not_ready=2), use)


@really
async def test_a_server_that_never_starts_is_given_up(clock: RealClock) -> None:
    async def use(parts: Parts) -> None:
        raise AssertionError

    with pytest.raises(DeviceError, match=r"TEMCOM was not ready within 0\.1 s.*nothing was moved"):
        await used(clock, Temcom(not_ready=1000), use, ready_s=0.1)


@really
async def test_a_stage_at_its_limiter_is_told(clock: RealClock) -> None:
    temcom = Temcom(blocking=True, answers={"GetStatus": (0, 0, 0, 2, 0, 0)})

    async def use(parts: Parts) -> None:
        assert parts.stage is not None
        with pytest.raises(DeviceError, match="hardware limiter; it did not rotate"):
            await parts.stage.rotate(20.0, 0.5)

    await used(clock, temcom, use)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"host": "127.0.0.1"}, "no option 'host'"),
        ({"limits_deg": [60.0, -60.0]}, "two rising numbers"),
        ({"limits_deg": 60.0}, "two rising numbers"),
        ({"ready_s": "long"}, "a number from"),
        ({"backlash_deg": -1}, "a number from"),
        ({"call_limit_s": True}, "a number from"),
        ({"rotation": 3}, "not a table"),
        ({"rotation": {"rate": 3}}, "no key 'rate'"),
    ],
)
@really
async def test_mistakes_in_the_options_are_refused(clock: RealClock, options: dict[str, Any], complaint: str) -> None:
    async def use(parts: Parts) -> None:
        raise AssertionError

    with pytest.raises(Refused, match=complaint):
        await used(clock, Temcom(), use, **options)


@pytest.mark.skipif("sys.platform == 'win32'", reason="there the answer depends on what is installed")
@really
async def test_without_windows_the_refusal_says_what_to_do(clock: RealClock) -> None:
    with pytest.raises(Refused, match=r"jeol: TEMCOM needs Windows and comtypes.*\[jeol\]"):
        async with JEOL.connect(clock, 1, {}):
            raise AssertionError


@pytest.mark.parametrize("initialised_before", [False, True])
def test_comtypes_is_asked_in_the_right_order(monkeypatch: pytest.MonkeyPatch, initialised_before: bool) -> None:
    """With a stand-in for comtypes, whose names and rules are those of comtypes 1.4.8."""
    did: list[object] = []

    def initialise(flags: int) -> None:
        did.append(("CoInitializeEx", flags))
        if initialised_before:
            raise OSError(-2147417850, "RPC_E_CHANGED_MODE")

    comtypes, client = ModuleType("comtypes"), ModuleType("comtypes.client")
    comtypes.__dict__.update(client=client, CLSCTX_ALL=7, CoInitializeEx=initialise)
    comtypes.__dict__.update(CoInitialize=lambda: did.append("CoInitialize"), CoUninitialize=lambda: did.append("end"))
    client.__dict__["GetModule"] = lambda tlib: did.append(tlib) or SimpleNamespace(TEM3="class TEM3")
    client.__dict__["CreateObject"] = lambda *args: did.append(args) or "TEM3"
    monkeypatch.setitem(sys.modules, "comtypes", comtypes)
    monkeypatch.setitem(sys.modules, "comtypes.client", client)
    monkeypatch.setattr(sys, "coinit_flags", None, raising=False)
    monkeypatch.delattr(sys, "coinit_flags")
    tem, release = open_temcom()
    assert tem == "TEM3"
    assert sys.coinit_flags == 0  # type: ignore[attr-defined]  # read by comtypes when it is imported: multithreaded
    release()
    assert did == [
        ("CoInitializeEx", 0),
        *(["CoInitialize"] if initialised_before else []),
        ("{CE70FCE4-26D9-4BAB-9626-EC88DB7F6A0A}", 3, 0),
        ("class TEM3", 7),
        "end",
    ]


@pytest.mark.parametrize("works", [True, False])
def test_the_watchdog_can_blank_the_beam_on_its_own(monkeypatch: pytest.MonkeyPatch, works: bool) -> None:
    temcom = Temcom(blanked=0, answers={} if works else {"GetBeamBlank": (0, 0)})
    monkeypatch.setattr("drivers.jeol.temcom.open_temcom", temcom.open)
    assert JEOL.second_connection is not None
    module, function = JEOL.second_connection.function.split(":")
    assert getattr(importlib.import_module(module), function)(**JEOL.second_connection.arguments) is works
    assert temcom.blanked == 1
    assert temcom.left == temcom.initialised


def test_one_computer_has_one_temcom() -> None:
    assert JEOL.address({}) == JEOL.address({"limits_deg": [-70, 70]})
