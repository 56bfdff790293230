"""The check of devices: measures what there is, moves and exposes nothing, says what would not work."""

import asyncio
import json
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from drivers.approach import OnClock
from drivers.calibration.rotationspeed import RotationSpeeds, stage_facts
from drivers.check.command import devices_app
from drivers.check.judgement import Judgement, judge, judge_settling, proposed
from drivers.check.measure import CALLS, Measured, Times, measure
from drivers.check.rotation import measure_rotations, speeds_to_try
from drivers.check.settling import Settling
from drivers.contract import Microscope
from drivers.simulated.microscope import SIMULATED_TIMING
from engine.clock import RealClock, ns
from engine.clock.virtual import VirtualClock
from engine.errors import DeviceError, DeviceLost
from engine.frame import Frame
from protocols.cred import CRED
from protocols.cred.plan import CredPlan
from tests.engine.virtually import really, virtual

PLAN = CredPlan()


@asynccontextmanager
async def connected(clock: Any, **options: Any) -> AsyncIterator[Microscope]:
    async with SIMULATED_TIMING.connect(clock, 3, options) as parts:
        yield parts.assembled()


class Wrapped:
    """A device with some of its methods replaced, that notes which ones are called."""

    def __init__(self, device: Any, **replaced: Any) -> None:
        self.device = device
        self.replaced = replaced
        self.asked: list[tuple[str, tuple[Any, ...]]] = []

    def __getattr__(self, name: str) -> Any:
        attribute = self.replaced.get(name) or getattr(self.device, name)
        if not callable(attribute):
            return attribute

        def noted(*args: Any) -> Any:
            self.asked.append((name, args))
            return attribute(*args)

        return noted

    def names(self) -> set[str]:
        return {name for name, _ in self.asked}


async def checked(clock: Any, microscope: Microscope, plan: CredPlan = PLAN, frames: int = 8) -> Measured:
    return await measure(clock, microscope, (plan.exposure_s, plan.snapshot_exposure_s), plan.defocus, frames)


async def judged(clock: Any, microscope: Microscope, plan: CredPlan = PLAN) -> Judgement:
    return judge(CRED, plan, microscope.facts, await checked(clock, microscope, plan))


@virtual
async def test_every_call_is_timed_as_often_as_said(clock: VirtualClock) -> None:
    async with connected(clock, api_call_s=0.04, api_jitter=0.0, stage={"stage_read_s": 0.25}) as microscope:
        measured = await checked(clock, microscope)
    assert {name: times.n for name, times in measured.calls.items()} == dict.fromkeys(
        ("stage.angle", "beam.is_blanked", "beam.blank", "optics.set_focus", "optics.focus"), CALLS
    )
    assert measured.timing == {"api_call_s": 0.04, "api_call_worst_s": 0.04, "stage_read_s": 0.25}


@virtual
async def test_the_cameras_first_frames_are_told_apart(clock: VirtualClock) -> None:
    detector = {"slow_first_s": [0.7, 0.5], "overhead_s": [0.004, 0.004]}
    async with connected(clock, detector=detector) as microscope:
        cadence = (await checked(clock, microscope)).cadence
        remarks = (await judged(clock, microscope)).remarks
    assert cadence.first_s == pytest.approx(1.212, abs=0.002)
    assert cadence.second_s == pytest.approx(1.012, abs=0.002)
    assert cadence.rest.median_s == pytest.approx(0.512, abs=0.002)
    assert cadence.declared_s == pytest.approx(0.512)
    assert cadence.snapshot.median_s == pytest.approx(0.022, abs=0.002)
    assert sum("frame after arming took" in remark for remark in remarks) == 2


@virtual
async def test_the_simulated_microscope_has_nothing_to_complain_of(clock: VirtualClock) -> None:
    async with connected(clock) as microscope:
        measured = await checked(clock, microscope)
        assert judge(CRED, PLAN, microscope.facts, measured).problems == ()
    assert (measured.cadence.busy, measured.cadence.missing) == (0, 0)


@virtual
async def test_the_beam_stays_off_the_stage_at_rest_and_the_lens_is_put_back(clock: VirtualClock) -> None:
    async with connected(clock, beam_on=True) as microscope:
        focus, angle = await microscope.optics.focus(), (await microscope.stage.angle()).value
        stage, beam = Wrapped(microscope.stage), Wrapped(microscope.beam)
        await checked(clock, replace(microscope, stage=stage, beam=beam))
        assert stage.names() == {"angle"}
        assert beam.names() == {"blank", "is_blanked"}
        assert beam.asked[0][0] == "blank"
        assert await microscope.beam.is_blanked()
        assert await microscope.optics.focus() == focus
        assert (await microscope.stage.angle()).value == pytest.approx(angle, abs=0.02)


@pytest.mark.parametrize("part", ["optics.set_focus", "detector.start", "stage.angle"])
@virtual
async def test_a_check_that_fails_leaves_beam_and_lens_safe(clock: VirtualClock, part: str) -> None:
    async with connected(clock, beam_on=True) as microscope:
        device, method = part.split(".")
        focus = await microscope.optics.focus()
        calls = 0

        async def fails_the_second_time(*args: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == 2:
                raise DeviceError("broken")
            return await getattr(getattr(microscope, device), method)(*args)

        broken: dict[str, Any] = {device: Wrapped(getattr(microscope, device), **{method: fails_the_second_time})}
        with pytest.raises(DeviceError, match="broken"):
            await checked(clock, replace(microscope, **broken))
        assert await microscope.beam.is_blanked()
        assert await microscope.optics.focus() == focus


@virtual
async def test_a_device_that_never_answers_ends_the_check(clock: VirtualClock) -> None:
    async with connected(clock) as microscope:

        async def never() -> None:
            await asyncio.get_running_loop().create_future()

        with pytest.raises(DeviceLost, match=r"stage.angle: no answer for 30 s"):
            await checked(clock, replace(microscope, stage=Wrapped(microscope.stage, angle=never)))
        assert await microscope.beam.is_blanked()


@virtual
async def test_a_camera_slower_than_its_driver_says_would_not_work(clock: VirtualClock) -> None:
    async with connected(clock) as microscope:
        facts = replace(microscope.detector.facts, readout_s=0.002, overhead_s=0.0)
        optimist = Wrapped(microscope.detector, facts=facts)
        problems = (await judged(clock, replace(microscope, detector=optimist))).problems
    assert any("not ready again after the 502 ms that its driver declares" in problem for problem in problems)


@virtual
async def test_a_camera_that_is_late_now_and_then_is_worth_a_remark(clock: VirtualClock) -> None:
    async with connected(clock) as microscope:
        measured = await checked(clock, microscope)
        cadence = replace(measured.cadence, busy=1, paced=30, rest=Times(30, 0.51, 0.52))
        judgement = judge(CRED, PLAN, microscope.facts, replace(measured, cadence=cadence))
    assert judgement.problems == ()
    assert any("(1 of 30 starts refused)" in remark for remark in judgement.remarks)
    assert "acquisition period: 520.0 ms as measured, 512.0 ms as declared." in judgement.remarks


@virtual
async def test_a_camera_that_loses_frames_would_not_work(clock: VirtualClock) -> None:
    async with connected(clock) as microscope:

        async def every_other(frames: AsyncIterator[Frame]) -> AsyncIterator[Frame]:
            async for frame in frames:
                yield replace(frame, number=frame.number + frame.number // 5)

        careless = Wrapped(microscope.detector, frames=lambda: every_other(microscope.detector.frames()))
        problems = (await judged(clock, replace(microscope, detector=careless))).problems
    assert any(problem.startswith("The camera lost 2 frames of 18") for problem in problems)


@virtual
async def test_a_camera_whose_change_of_exposure_costs_time_costs_slots(clock: VirtualClock) -> None:
    async with connected(clock) as microscope:
        detector = microscope.detector

        async def start(exposure_s: float) -> int:
            if exposure_s < 0.1:
                await clock.sleep_s(0.3)
            return await detector.start(exposure_s)

        judgement = await judged(clock, replace(microscope, detector=Wrapped(detector, start=start)))
    assert any("changing the exposure costs time" in remark for remark in judgement.remarks)
    assert any("3 slot(s) each" in remark for remark in judgement.remarks)


# What a camera does, what its driver declares, and what is proposed for the devices file.
PROPOSED: dict[str, tuple[dict[str, Any], float, dict[str, float]]] = {
    "as declared": ({}, 0.012, {}),
    "faster than declared": ({}, 0.030, {"readout_s": 0.014}),
    "set anew for half a second": ({"change_s": 0.5}, 0.012, {"change_s": 0.5}),
    "set anew, as declared": ({"change_s": 0.5, "declared_change_s": 0.5}, 0.012, {}),
}


@pytest.mark.parametrize(("does", "dead_s", "lines"), PROPOSED.values(), ids=PROPOSED)
@virtual
async def test_what_was_measured_of_the_camera_is_proposed_for_the_devices_file(
    clock: VirtualClock, does: dict[str, Any], dead_s: float, lines: dict[str, float]
) -> None:
    async with connected(clock, detector={"overhead_s": [0.004, 0.004], **does}) as microscope:
        facts = replace(microscope.detector.facts, readout_s=dead_s, overhead_s=0.0)
        able = Wrapped(microscope.detector, facts=facts, options_measured=("readout_s", "change_s"))
        measured = await checked(clock, replace(microscope, detector=able))
        assert proposed(able, measured.cadence) == pytest.approx(lines, abs=0.0015)
        assert proposed(microscope.detector, measured.cadence) == {}  # it has no such options
        remarks = judge(CRED, PLAN, replace(microscope.facts, detector=facts), measured).remarks
    assert any("of each slot are lost" in remark for remark in remarks) == ("readout_s" in lines)
    assert any("takes 500 ms more" in remark for remark in remarks) == ("change_s" in lines)


# What frames of Instamatic's own camera server took beyond their 0.4 s, in ms, and what is proposed to be declared.
# The server's camera needs 2 ms, the way there and back another 2.
ON_MACHINES: dict[str, tuple[list[float], float]] = {
    "at rest": ([3.7, 3.8, 4.0, 3.9, 4.1, 3.7, 4.2, 4.3, 3.9, 4.1], 0.006),
    "busy": ([4.1, 13.8, 3.7, 4.2, 23.0, 12.2, 3.7, 6.5, 8.7, 6.0, 8.0, 3.9, 7.2, 5.0, 43.8, 46.7, 18.4, 3.8], 0.009),
    "very busy": ([15.6, 177.5, 8.4, 8.3, 7.8, 4.0, 35.6, 11.7, 9.6, 7.6, 4.3, 4.1, 10.9, 7.7, 8.1, 19.3], 0.010),
}


@pytest.mark.parametrize(("took_ms", "readout_s"), ON_MACHINES.values(), ids=ON_MACHINES)
@virtual
async def test_a_busy_machine_hardly_moves_what_is_proposed(
    clock: VirtualClock, took_ms: list[float], readout_s: float
) -> None:
    async with connected(clock) as microscope:
        facts = replace(microscope.detector.facts, readout_s=0.020, overhead_s=0.0)
        able = Wrapped(microscope.detector, facts=facts, options_measured=("readout_s",))
        measured = await checked(clock, microscope)
    rest = Times.of([0.5 + took / 1e3 for took in took_ms])
    assert proposed(able, replace(measured.cadence, rest=rest)) == {"readout_s": readout_s}


@virtual
async def test_a_lens_that_does_not_keep_its_value_would_not_work(clock: VirtualClock) -> None:
    async with connected(clock) as microscope:

        async def nothing(value: int) -> None: ...

        problems = (
            await judged(clock, replace(microscope, optics=Wrapped(microscope.optics, set_focus=nothing)))
        ).problems
    assert problems[0] == "The lens was set to 32500 and reads 31000: it does not keep what it is given."


@virtual
async def test_a_blanker_that_does_not_close_would_not_work(clock: VirtualClock) -> None:
    async with connected(clock, beam_on=True) as microscope:

        async def nothing() -> None: ...

        problems = (await judged(clock, replace(microscope, beam=Wrapped(microscope.beam, blank=nothing)))).problems
    assert any("the blanker says that it is open" in problem for problem in problems)


@virtual
async def test_a_plan_that_only_the_declared_times_allow_would_not_work(clock: VirtualClock) -> None:
    plan = CredPlan(snapshot_interval=2)
    async with connected(clock, api_call_s=0.2, api_jitter=0.0) as microscope:
        declared = replace(microscope, timing=replace(microscope.timing, api_call_s=0.03, api_call_worst_s=0.04))
        judgement = await judged(clock, declared, plan)
    assert any("does not fit what was measured: snapshot cycle" in problem for problem in judgement.problems)
    assert any("usually takes 200 ms, plans have counted on 30 ms" in remark for remark in judgement.remarks)


@virtual
async def test_a_plan_that_fits_nothing_is_told_as_such(clock: VirtualClock) -> None:
    async with connected(clock, stage={"limits_deg": [-20.0, 20.0]}) as microscope:
        problems = (await judged(clock, microscope)).problems
    assert any("however fast it is: start_deg" in problem for problem in problems)


@virtual
async def test_a_speed_that_the_stage_does_not_have_would_not_work(clock: VirtualClock) -> None:
    speeds = RotationSpeeds(levels={2: 1.0, 3: 0.5})
    async with connected(clock) as microscope:
        facts = stage_facts((-70.0, 70.0), 0.1, speeds)
        stage = Wrapped(microscope.stage, facts=facts, rotation_speeds=speeds)
        stepped = replace(microscope, stage=stage)
        problems = (await judged(clock, stepped, CredPlan(rotation="commanded"))).problems
        assert [problem for problem in problems if "nearest it can do is 0.5 deg/s" in problem]
        assert (await judged(clock, stepped, CredPlan(rotation="commanded", speed_deg_s=0.5))).problems == ()
        assert (await judged(clock, stepped, CredPlan(rotation="pedal"))).problems == ()  # the operator's affair
        assert speeds_to_try(stage, 0.45) == [0.5, 1.0]


@virtual
async def test_rotations_tell_the_true_speed_and_end_where_they_began(clock: VirtualClock) -> None:
    async with connected(clock, start_deg=-30.0, stage={"speed_error": 0.03}) as microscope:
        stage = microscope.stage
        measured = await measure_rotations(OnClock(clock), stage, speeds_to_try(stage, 0.45))
        assert (await stage.angle()).value == pytest.approx(-30, abs=0.02)
    assert len(measured) == 18
    ratios = [rotation.speed_deg_s / rotation.asked_deg_s for rotation in measured if rotation.speed_deg_s]
    assert max(ratios) - min(ratios) < 0.01
    assert 0.001 < abs(ratios[0] - 1) < 0.1
    for rotation in measured:
        nominal_s = rotation.span_deg / rotation.asked_deg_s / ratios[0]
        assert 0 < rotation.time_s - nominal_s < 0.6  # acceleration, backlash and the call


@virtual
async def test_rotations_stay_within_the_holders_limits(clock: VirtualClock) -> None:
    async with connected(clock, start_deg=3.0, stage={"limits_deg": [-5.0, 5.0]}) as microscope:
        stage = Wrapped(microscope.stage)
        await measure_rotations(OnClock(clock), stage, [1.0])
    targets = [args[0] for name, args in stage.asked if name == "rotate"]
    assert min(targets) > -5
    assert max(targets) == pytest.approx(3.0, abs=0.02)


@virtual
async def test_a_stage_that_gets_stuck_is_stopped_and_told(clock: VirtualClock) -> None:
    async with connected(clock, stage={"stops_at_deg": 1.0}) as microscope:
        stage = Wrapped(microscope.stage)
        with pytest.raises(DeviceError, match=r"told to go to 2\.00 deg.*stands at 1\.0"):
            await measure_rotations(OnClock(clock), stage, [1.0])
        assert stage.asked[-1][0] == "stop"


@pytest.mark.realtime
@really
async def test_it_works_on_the_real_clock(clock: RealClock) -> None:
    options: dict[str, Any] = {"api_call_s": 0.001, "stage": {"acceleration_s": 0.01}, "detector": {"arm_s": 0.001}}
    async with connected(clock, **options) as microscope:
        measured = await measure(clock, microscope, (0.02, 0.005), 1500, frames=6)
        rotations = await measure_rotations(OnClock(clock), microscope.stage, [10.0], [2.0])
    assert measured.cadence.missing == 0
    assert measured.cadence.rest.median_s >= 0.02
    assert measured.calls["stage.angle"].median_s >= 0.001
    assert all(rotation.time_s > 0.1 for rotation in rotations)


DEVICES = """\
[microscope]
driver = "simulated-timing"
api_call_s = 0.06  # slow ones
api_jitter = 0.0
"""


@pytest.fixture
def devices_file(tmp_path: Path) -> Path:
    path = tmp_path / "devices.toml"
    path.write_text(DEVICES, encoding="utf-8")
    return path


def command(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(devices_app, ["check", *words, "--clock", "virtual", "--frames", "5"])
    return result.exit_code, result.stdout, result.stderr


def test_the_command_writes_what_it_measured_where_plans_read_it(devices_file: Path) -> None:
    status, output, _ = command(str(devices_file))
    assert status == 0
    assert "The plan of cred works with these devices (" in output
    text = devices_file.read_text(encoding="utf-8")
    assert text.startswith(DEVICES)
    timing = {"api_call_s": 0.06, "api_call_worst_s": 0.06, "stage_read_s": 0.06}
    assert tomllib.loads(text)["timing"] == timing
    assert command(str(devices_file))[0] == 0  # and it can be read again


@pytest.mark.long
def test_a_lens_that_needs_longer_than_plans_count_on_is_told_with_what_to_do() -> None:
    status, said, _ = command("simulated", "--beam")
    assert status == 0
    assert "plans count on 349.3 ms, when 0.2 % of what the defocus does to it are left" in said


# When the pattern was as at rest, what was left 0.1 s after the lens was told to go back, and whether plans that count
# on 0.1 s would not work.
SETTLED = {
    "in time": (0.09, 0.0, False),
    "later, by less than harms a frame": (0.3, 0.04, False),
    "too late": (0.3, 0.06, True),
    "never while it was looked at, by little": (None, 0.01, False),
    "never while it was looked at": (None, 0.4, True),
}


@pytest.mark.parametrize(("settled_s", "left", "harms"), SETTLED.values(), ids=SETTLED)
def test_a_lens_that_leaves_the_first_frame_out_of_focus_would_not_work(
    settled_s: float | None, left: float, harms: bool
) -> None:
    turns = (((0.0, 1.0), (0.11, left)), ((0.0, 1.0), (0.11, 0.0), (0.3, 0.0)))
    judged = judge_settling(Settling(1500, settled_s, "it still moved 1 s after that", turns), 0.1)
    assert bool(judged.problems) is harms
    (said,) = judged.problems or judged.remarks
    assert "plans count on 100 ms" in said
    assert ("such as settling_s (credline devices list DRIVER tells them)" in said) is harms
    assert (f"{100 * left:.1f} % of what the defocus does" in said) is (settled_s != 0.09)


def test_what_a_plan_records_is_told_in_figures_without_advice() -> None:
    _, said, _ = command("simulated", "--set", "snapshot_interval=10")
    (line,) = [line for line in said.splitlines() if line.startswith("- not recorded:")]
    assert "as measured, 10 % of the range" in line
    assert "snapshot_interval" not in line


def test_the_command_writes_nothing_when_told_so_or_without_a_file(devices_file: Path) -> None:
    status, output, _ = command(str(devices_file), "--no-write")
    assert status == 0
    assert "For the devices file:\n[timing]\napi_call_s = 0.06" in output
    assert devices_file.read_text(encoding="utf-8") == DEVICES
    assert "[timing]" in command("simulated-timing")[1]


def test_the_command_as_json_has_one_object_in_its_last_line(devices_file: Path) -> None:
    status, output, errors = command(str(devices_file), "--json", "--move", "--set", "speed_deg_s=2.0")
    assert status == 0
    (line,) = output.splitlines()
    result = json.loads(line)
    assert result["problems"] == []
    assert result["camera"]["declared_s"] == pytest.approx(0.512)
    assert len(result["rotation"]["measured"]) == 18
    assert "rotation" in errors


def test_the_command_says_what_would_not_work_and_fails(devices_file: Path) -> None:
    status, output, _ = command(str(devices_file), "--set", "exposure_s=0.05", "--set", "snapshot_interval=2")
    assert status == 1
    assert "WOULD NOT WORK: The plan does not fit this instrument" in output


def test_a_check_takes_as_long_as_it_says_under_virtual_time_too(devices_file: Path) -> None:
    result = json.loads(command(str(devices_file), "--json")[1])
    assert result["calls"]["beam.blank"]["median_s"] == pytest.approx(0.06)
    assert ns(result["camera"]["rest"]["median_s"]) > ns(0.5)
