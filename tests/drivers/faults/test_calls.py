"""Calls that meet with a fault: what the run sees, what the trace says; counted from the begin or from a state."""

import asyncio
import dataclasses
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from drivers.contract import Microscope
from drivers.faults import inject
from drivers.parts import OPTIONAL_PARTS, Deflector, OpticalMode
from engine.clock import ns
from engine.clock.virtual import VirtualClock
from engine.errors import DeviceError, Refused
from engine.record.trace import Trace
from engine.run.registry import registered
from tests.drivers.faults.bench import Bench, bench, part
from tests.engine.virtually import virtual


@virtual
async def test_calls_are_counted_from_the_begin_of_a_state_and_befallen_once(clock: VirtualClock) -> None:
    async with bench(clock, "beam.blank expose+2 error") as on:
        blank, enter = on.microscope.beam.blank, on.enter
        await blank()
        await blank()
        enter("expose")
        await blank()
        with pytest.raises(DeviceError, match="nothing was done"):
            await blank()
        enter("refocus")
        await blank()
        await blank()
        enter("expose")
        await blank()
        await blank()
        assert on.injected == ["beam.blank expose+2 error"]
        assert on.faults.never_came == []


@virtual
async def test_a_state_that_is_never_entered_leaves_its_faults_out_and_says_so(clock: VirtualClock) -> None:
    async with bench(clock, "beam.blank expose+1 error", "host expose+0 starve 1") as on:
        on.enter("relax")
        await on.microscope.beam.blank()
        await on.clock.sleep_s(5.0)
        assert on.injected == []
        assert len(on.faults.never_came) == 2


@virtual
async def test_the_host_and_the_stage_are_befallen_so_long_after_a_state_was_entered_first(clock: VirtualClock) -> None:
    async with bench(clock, "stage.motion expose+0.5 stop", "host expose+1 starve 2") as on:
        await on.turning()
        on.enter("expose")
        began_ns = on.clock.now_ns()
        await on.clock.sleep_s(0.6)
        on.enter("expose")
        assert not on.truth.is_rotating(on.clock.now_ns())
        await on.clock.sleep_s(0.5)
        assert on.clock.now_ns() == began_ns + ns(3.0)
        await on.clock.sleep_s(5.0)
        assert on.injected == ["stage.motion expose+0.5 stop", "host expose+1 starve 2"]


Seen = Callable[[Bench], Coroutine[Any, Any, None]]
API_S = 0.035


async def second_is_slow(on: Bench) -> None:
    assert await on.took_s(on.microscope.beam.blank()) == pytest.approx(API_S)
    assert await on.took_s(on.microscope.beam.blank()) == pytest.approx(API_S + 0.4)
    assert await on.took_s(on.microscope.beam.blank()) == pytest.approx(API_S)


async def never_returns(on: Bench) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1000):
            await on.microscope.beam.blank()
    assert not on.truth.is_blanked()
    await on.microscope.beam.blank()
    assert on.truth.is_blanked()


async def error_and_not_done(on: Bench) -> None:
    with pytest.raises(DeviceError, match="answered with an error; nothing was done"):
        await on.microscope.beam.blank()
    assert not on.truth.is_blanked()


async def accepted_and_not_done(on: Bench) -> None:
    await on.microscope.beam.blank()
    assert not on.truth.is_blanked()
    assert await on.microscope.beam.is_blanked() is False


async def gone_for_a_while(on: Bench) -> None:
    for call in (on.microscope.beam.blank, on.microscope.beam.is_blanked):  # the whole device, whatever is asked
        with pytest.raises(DeviceError, match=r"not connected; .* was not done"):
            await call()
    await on.clock.sleep_s(1.49)
    with pytest.raises(DeviceError, match="not connected"):
        await on.microscope.beam.blank()
    await on.clock.sleep_s(0.01)
    await on.microscope.beam.blank()
    assert on.truth.is_blanked()


async def angle_is_off(on: Bench) -> None:
    assert (await on.microscope.stage.angle()).value == pytest.approx(0.0, abs=0.02)
    reading = await on.microscope.stage.angle()
    assert reading.value == pytest.approx(-2.5, abs=0.02)
    assert reading.t_after_ns - reading.t_before_ns == pytest.approx(ns(API_S), rel=0.01)
    assert (await on.microscope.stage.angle()).value == pytest.approx(0.0, abs=0.02)


async def truth_is_the_other(on: Bench) -> None:
    assert await on.microscope.beam.is_blanked() is True
    assert await on.microscope.beam.is_blanked() is False


async def lens_is_off(on: Bench) -> None:
    assert await on.microscope.optics.focus() == 31_500
    assert await on.microscope.optics.focus() == 31_000


async def the_move_is_refused_and_nothing_moves(on: Bench) -> None:
    stage = part(on.microscope.stagexyz)
    with pytest.raises(DeviceError, match="nothing was done"):
        await stage.move_xy(5000.0, 0.0)
    assert await stage.is_moving() is False
    await stage.move_xy(5000.0, 0.0)
    assert await stage.is_moving() is True


async def the_flag_is_the_other(on: Bench) -> None:
    stage = part(on.microscope.stagexyz)
    assert await stage.is_moving() is True
    assert await stage.is_moving() is False


async def the_place_is_off(on: Bench) -> None:
    stage = part(on.microscope.stagexyz)
    reading = await stage.position()
    assert (reading.x_nm, reading.y_nm, reading.z_nm) == pytest.approx((700.0, 700.0, 700.0), abs=20.0)
    assert (await stage.position()).x_nm == pytest.approx(0.0, abs=20.0)


async def the_pair_stays(on: Bench) -> None:
    deflectors = part(on.microscope.deflectors)
    neutral = await deflectors.read(Deflector.BEAM_SHIFT)
    await deflectors.set(Deflector.BEAM_SHIFT, 40_000, 40_000)
    assert await deflectors.read(Deflector.BEAM_SHIFT) == neutral


async def the_pair_is_off(on: Bench) -> None:
    deflectors = part(on.microscope.deflectors)
    x, y = await deflectors.read(Deflector.BEAM_TILT)
    assert (x, y) == (0x8000 - 50, 0x8000 - 50)


async def the_mode_is_another(on: Bench) -> None:
    mode = part(on.microscope.mode)
    assert await mode.mode() is not OpticalMode.DIFFRACTION
    assert await mode.mode() is OpticalMode.DIFFRACTION


async def the_camera_length_is_off(on: Bench) -> None:
    mode = part(on.microscope.mode)
    assert await mode.camera_length_mm() == 260.0
    assert await mode.camera_length_mm() == 250.0


async def the_spot_is_another(on: Bench) -> None:
    illumination = part(on.microscope.illumination)
    assert await illumination.spot_size() == 3
    assert await illumination.spot_size() == 1


CALLS: dict[str, Seen] = {
    "beam.blank 2 slow 0.4": second_is_slow,
    "beam.blank 1 hang": never_returns,
    "beam.blank 1 error": error_and_not_done,
    "beam.blank 1 ignored": accepted_and_not_done,
    "beam.blank 1 away 1.5": gone_for_a_while,
    "stage.angle 2 wrong -2.5": angle_is_off,
    "beam.is_blanked 1 wrong 1": truth_is_the_other,
    "optics.focus 1 wrong 500": lens_is_off,
    "stagexyz.move_xy 1 error": the_move_is_refused_and_nothing_moves,
    "stagexyz.is_moving 1 wrong 1": the_flag_is_the_other,
    "stagexyz.position 1 wrong 700": the_place_is_off,
    "deflectors.set 1 ignored": the_pair_stays,
    "deflectors.read 1 wrong -50": the_pair_is_off,
    "mode.mode 1 wrong 1": the_mode_is_another,
    "mode.camera_length_mm 1 wrong 10": the_camera_length_is_off,
    "illumination.spot_size 1 wrong 2": the_spot_is_another,
}


@pytest.mark.parametrize("words", CALLS)
@virtual
async def test_a_call_meets_its_fault_and_the_trace_says_so_once(clock: VirtualClock, words: str) -> None:
    async with bench(clock, words) as on:
        await CALLS[words](on)
        assert on.injected == [words]
        assert [str(fault) for fault in on.faults.came_about] == [words]


@pytest.mark.parametrize("name", OPTIONAL_PARTS)
@virtual
async def test_a_part_that_the_instrument_does_not_have_cannot_be_befallen(clock: VirtualClock, name: str) -> None:
    driver = registered("drivers")["simulated-timing"].load()
    async with driver.connect(clock, 1, {}) as parts:
        microscope: Microscope = dataclasses.replace(parts, **{name: None}).assembled()
        with pytest.raises(Refused, match=f"this instrument has no {name}. Nothing was started"):
            inject(microscope, clock, [f"{name}.read 1 error"])
        assert getattr(inject(microscope, clock, ["beam.blank 1 error"]), name) is None


@virtual
async def test_calls_before_and_after_the_run_meet_no_fault(clock: VirtualClock) -> None:
    driver = registered("drivers")["simulated-timing"].load()
    async with driver.connect(clock, 1, {"beam_on": True}) as parts:
        microscope = inject(parts.assembled(), clock, ["beam.blank 1 error"])
        await microscope.beam.blank()  # not begun yet
        microscope.faults.begin(Trace(clock))
        await microscope.faults.end()
        await microscope.beam.blank()
        assert microscope.faults.came_about == []


@virtual
async def test_what_is_no_call_passes_through(clock: VirtualClock) -> None:
    async with bench(clock, "stage.angle 1 error") as on:
        assert on.microscope.stage.facts.limits_deg == (-80.0, 80.0)
        assert on.microscope.detector.facts.shape == (32, 32)
        assert on.microscope.optics.facts.settling_s(1500) > 0
