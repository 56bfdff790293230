"""Faults: what a run sees of each, what its trace says, what is refused, and how runs end that met with one."""

import asyncio
import dataclasses
import errno
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from structlog.testing import capture_logs

from drivers.contract import Microscope
from drivers.faults import Faults, FaultyDisk, inject
from drivers.faultwords import Fault
from drivers.parts import OPTIONAL_PARTS, Deflector, OpticalMode
from engine.clock import ns
from engine.clock.virtual import VirtualClock
from engine.errors import DeviceError, Refused
from engine.record.trace import Record, Trace
from engine.run.perform import Report, Request, execute
from engine.run.registry import registered
from protocols.cred import CRED
from protocols.cred.plan import CredPlan
from tests.engine.virtually import virtual

Device = TypeVar("Device")


class Bench:
    """An instrument in the hands of its faults."""

    def __init__(self, clock: VirtualClock, microscope: Microscope) -> None:
        self.clock = clock
        self.microscope = microscope
        self.trace = Trace(clock)
        self.records: list[Record] = []
        self.faults: Faults = microscope.faults
        self.truth: Any = microscope.truth

    @property
    def injected(self) -> list[str]:
        return [record["fault"] for record in self.records if record["kind"] == "injected"]

    def enter(self, state: str) -> None:
        """What a run records when it enters a state."""
        self.trace.record("state", state, trigger="")

    async def took_s(self, call: Coroutine[Any, Any, Any]) -> float:
        began_ns = self.clock.now_ns()
        await call
        return (self.clock.now_ns() - began_ns) / 1e9

    async def turning(self) -> None:
        await self.microscope.stage.rotate(30.0, 1.0)
        await self.clock.sleep_s(1.0)


def part(device: Device | None) -> Device:
    """A part that this instrument has."""
    assert device is not None
    return device


@asynccontextmanager
async def bench(clock: VirtualClock, *faults: str, **options: Any) -> AsyncIterator[Bench]:
    driver = registered("drivers")["simulated-timing"].load()
    async with driver.connect(clock, 1, {"beam_on": True, "api_jitter": 0.0, **options}) as parts:
        made = Bench(clock, inject(parts.assembled(), clock, faults))
        made.trace.observe(made.records.append)
        made.faults.begin(made.trace)
        try:
            yield made
        finally:
            await made.faults.end()


# --- the words

WORDS = [
    "beam.blank 1 hang",
    "stage.angle 3 slow 0.4",
    "stage.angle 3 error",
    "stage.angle 3 wrong -2.5",
    "beam.blank 1 ignored",
    "optics.set_focus 2 away 1.5",
    "stagexyz.move_xy 1 error",
    "deflectors.set 1 ignored",
    "mode.mode 2 wrong 1",
    "illumination.brightness 1 wrong -20",
    "detector.frames 4 drop",
    "detector.frames 4 double",
    "detector.frames 4 torn",
    "detector.frames 4 late 0.8",
    "detector.frames 4 type",
    "detector.frames 4 dark",
    "detector.frames 4 saturated",
    "detector.frames 4 same",
    "detector.start 4 shutter 0.3",
    "detector.start 4 slow 0.3",
    "mode.changed 3.2 imaging",
    "mode.changed 0 low-mag",
    "mode.changed expose+1 diffraction",
    "compute.score 2 late",
    "compute.score 1 dead",
    "compute.score 3 never",
    "stage.motion 3.5 jump -0.4",
    "stage.motion 3.5 stop",
    "stage.motion 3.5 reverse",
    "stage.motion 3.5 slip 0.5",
    "host 2 starve 0.3",
    "host 2 leap 5",
    "disk.write 40 full",
    "disk.write 40 error",
    "disk.write 40 slow 2",
    "disk.sync 12 slow 3",
    "disk.sync 12 error",
    "stage.angle finalize+2 hang",
    "optics.set_focus defocus-snapshot+1 away 1.5",
    "detector.frames expose+4 late 0.8",
    "stage.motion expose+3.5 slip 0.5",
    "host finalize+0.1 leap 5",
]


@pytest.mark.parametrize("words", WORDS)
def test_a_fault_is_written_as_it_is_read(words: str) -> None:
    assert str(Fault.parse(words)) == words


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("", "'' is not known"),
        ("nonsense", "'nonsense' is not known; use DEVICE.METHOD"),
        ("detector.frame 20 drop", "away, lost. Did you mean detector.frames?"),
        ("beam 1 error", "'beam' is not known"),
        ("beam. 1 error", "'beam.' is not known"),
        ("gun.angle 1 error", "'gun.angle' is not known"),
        ("beam.blank 1 explode", "'explode' is not known; use slow, hang"),
        ("beam.blank one hang", "write beam.blank WHEN hang"),
        ("beam.blank -1 hang", "write beam.blank WHEN hang"),
        ("beam.blank nan hang", "write beam.blank WHEN hang"),
        ("beam.blank 1 hang 5", "write beam.blank WHEN hang"),
        ("beam.blank 1 slow", "write beam.blank WHEN slow VALUE"),
        ("beam.blank 1 slow soon", "write beam.blank WHEN slow VALUE"),
        ("beam.blank 1 slow inf", "write beam.blank WHEN slow VALUE"),
        ("beam.blank 1 slow 1 2", "write beam.blank WHEN slow VALUE"),
        ("beam.blank", "is not known"),
        ("beam.blank +1 hang", "WHEN also as STATE+NUMBER"),
        ("beam.blank expose+ hang", "WHEN also as STATE+NUMBER"),
        ("disk.write expose+1 full", "write disk.write WHEN full, with plain numbers."),
        ("compute.score expose+1 late", "write compute.score WHEN late, with plain numbers."),
        ("stage.angle 1 ignored", "so it cannot be ignored"),
        ("detector.start 1 ignored", "so it cannot be ignored"),
        ("stagexyz.is_moving 1 ignored", "so it cannot be ignored"),
        ("deflectors.read 1 ignored", "so it cannot be ignored"),
        ("mode.magnification 1 ignored", "so it cannot be ignored"),
        ("illumination.spot_size 1 ignored", "so it cannot be ignored"),
        ("detector.frames 1 slow 1", "'slow' is not known; use drop, double, torn, late, type, dark, saturated, same"),
        ("detector.start 1 shutter", "write detector.start WHEN shutter VALUE"),
        ("detector.start 1 shutter -0.1", "write detector.start WHEN shutter VALUE"),
        ("detector.arm 1 shutter 0.1", "'shutter' is not known"),
        ("mode.changed 1 stem", "'stem' is not known; use low-mag, imaging, diffraction"),
        ("stage.motion 1 hang", "'hang' is not known; use stop, reverse, jump, slip"),
        ("host 1 hang", "'hang' is not known; use starve, leap"),
        ("disk.write 1 hang", "'hang' is not known; use full, error, slow"),
        ("disk.sync 1 full", "'full' is not known; use error, slow"),
    ],
)
def test_words_that_are_no_fault_are_refused_in_one_line(words: str, says: str) -> None:
    with pytest.raises(Refused) as caught:
        Fault.parse(words)
    assert says in str(caught.value)
    assert str(caught.value).endswith("Nothing was started.")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "words",
    [
        "stage.fly 1 error",
        "detector.facts 1 error",
        "optics.blank 1 hang",
        "stagexyz.rotate 1 hang",
        "mode.set 1 error",
    ],
)
@virtual
async def test_a_call_that_a_device_does_not_have_is_refused(clock: VirtualClock, words: str) -> None:
    with pytest.raises(Refused, match="has no such call"):
        async with bench(clock, words):
            pass


# --- counted from a state


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


# --- calls

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


# --- frames


async def numbers(on: Bench, exposures: int = 4) -> list[tuple[int, tuple[int, ...], float]]:
    """Number, shape and moment of every frame that comes of so many exposures, one a second."""
    detector = on.microscope.detector
    await detector.arm((0.1, 0.01))
    frames = detector.frames()
    began_ns = on.clock.now_ns()

    async def collect() -> list[tuple[int, tuple[int, ...], float]]:
        return [
            (frame.number, frame.counts.shape, round((on.clock.now_ns() - began_ns) / 1e9, 1)) async for frame in frames
        ]

    collecting = asyncio.create_task(collect())
    for _ in range(exposures):
        await detector.start(0.1)
        await on.clock.sleep_s(1.0)
    await detector.disarm()
    return await collecting


WHOLE, HALF = (32, 32), (16, 32)


@pytest.mark.parametrize(
    ("words", "came"),
    [
        ("detector.frames 2 drop", [(0, WHOLE, 0.1), (2, WHOLE, 2.1), (3, WHOLE, 3.1)]),
        (
            "detector.frames 2 double",
            [(0, WHOLE, 0.1), (1, WHOLE, 1.1), (1, WHOLE, 1.1), (2, WHOLE, 2.1), (3, WHOLE, 3.1)],
        ),
        ("detector.frames 2 torn", [(0, WHOLE, 0.1), (1, HALF, 1.1), (2, WHOLE, 2.1), (3, WHOLE, 3.1)]),
        ("detector.frames 2 late 0.8", [(0, WHOLE, 0.1), (1, WHOLE, 1.9), (2, WHOLE, 2.1), (3, WHOLE, 3.1)]),
    ],
)
@virtual
async def test_a_frame_meets_its_fault(
    clock: VirtualClock, words: str, came: list[tuple[int, tuple[int, ...], float]]
) -> None:
    async with bench(clock, words) as on:
        assert await numbers(on) == came
        assert on.injected == [words]


@pytest.mark.parametrize("tells", [False, True])
@virtual
async def test_a_shutter_opens_later_than_the_camera_tells_and_its_frame_is_so_much_later(
    clock: VirtualClock, tells: bool
) -> None:
    async with bench(clock, "detector.start 2 shutter 0.3", detector={"tells_instants": tells}) as on:
        detector = on.microscope.detector
        await detector.arm((0.1,))
        came = detector.frames()
        for held_s in (0.0, 0.3, 0.0):
            begun_ns = await detector.start(0.1)
            frame = await anext(came)
            begin_ns, end_ns = on.truth.exposures()[-1]
            assert (begin_ns, end_ns) == (begun_ns + ns(held_s), begun_ns + ns(held_s + 0.1))
            assert clock.now_ns() - end_ns < ns(0.02)
            assert (frame.start_ns, frame.end_ns) == (begun_ns, begun_ns + ns(0.1))
            if tells:  # it does not know better
                assert frame.start_bounds_ns == (begun_ns, begun_ns)
            else:
                open_ns = clock.now_ns() - frame.end_ns
                assert frame.start_bounds_ns == (begun_ns, begun_ns + open_ns)
                assert frame.end_bounds_ns == (frame.end_ns, clock.now_ns())
        assert on.injected == ["detector.start 2 shutter 0.3"]


async def pictures(on: Bench, exposures: int) -> list[Any]:
    """The counts of every frame that comes of so many exposures."""
    detector = on.microscope.detector
    await detector.arm((0.1,))
    came, counts = detector.frames(), []
    for _ in range(exposures):
        await detector.start(0.1)
        counts.append((await anext(came)).counts)
    return counts


@pytest.mark.parametrize(
    ("words", "first_pixels"),
    [
        # The cheap pictures of the simulation hold their number there.
        ("detector.frames 3 dark", [0, 1, 0, 0, 0]),
        ("detector.frames 3 saturated", [0, 1, 65535, 65535, 65535]),
        ("detector.frames 3 same", [0, 1, 2, 2, 2]),
    ],
)
@virtual
async def test_from_some_frame_on_a_camera_sees_nothing_or_too_much_or_nothing_new(
    clock: VirtualClock, words: str, first_pixels: list[int]
) -> None:
    async with bench(clock, words) as on:
        assert [int(counts[0, 0]) for counts in await pictures(on, 5)] == first_pixels
        assert on.injected == [words]


@virtual
async def test_one_frame_is_of_other_counts_than_were_declared(clock: VirtualClock) -> None:
    async with bench(clock, "detector.frames 2 type") as on:
        assert [counts.dtype.str for counts in await pictures(on, 3)] == ["<u2", "<i4", "<u2"]


@virtual
async def test_an_operators_hand_changes_the_mode_and_no_call_shows_it(clock: VirtualClock) -> None:
    async with bench(clock, "mode.changed 2 imaging") as on:
        mode = part(on.microscope.mode)
        assert await mode.mode() is OpticalMode.DIFFRACTION
        await clock.sleep_s(2.0)
        assert await mode.mode() is OpticalMode.IMAGING
        assert on.injected == ["mode.changed 2 imaging"]


@pytest.mark.parametrize(
    ("words", "missing", "says"),
    [
        ("detector.start 1 shutter 0.1", "truth", "only a simulated shutter can be held"),
        ("stage.motion 1 stop", "truth", "only a simulated stage can be disturbed"),
        ("mode.changed 1 imaging", "mode", "only the mode of a simulated instrument can be changed"),
    ],
)
@virtual
async def test_what_only_a_simulation_can_do_is_refused_of_another(
    clock: VirtualClock, words: str, missing: str, says: str
) -> None:
    driver = registered("drivers")["simulated-timing"].load()
    async with driver.connect(clock, 1, {}) as parts:
        microscope: Microscope = dataclasses.replace(parts, **{missing: None}).assembled()
        with pytest.raises(Refused, match=says):
            inject(microscope, clock, [words])


# --- the stage's motion


@pytest.mark.parametrize(
    ("words", "before_deg", "after_deg"),
    [
        # One deg/s from 0 on: what is moved in the second before the fault at 2 s, and in the second after.
        ("stage.motion 2 stop", 1.0, 0.0),
        ("stage.motion 2 reverse", 1.0, -1.0),
        ("stage.motion 2 jump 0.4", 1.0, 1.4),
        ("stage.motion 2 jump -0.4", 1.0, 0.6),
        ("stage.motion 2 slip 0.3", 1.0, 0.7),
    ],
)
@virtual
async def test_the_stage_itself_strays(clock: VirtualClock, words: str, before_deg: float, after_deg: float) -> None:
    async with bench(clock, words) as on:
        await on.turning()
        await on.clock.sleep_s(2.5)
        at = [on.truth.angle_deg(ns(second)) for second in (1.0, 1.999_999, 3.0)]
        assert at[1] - at[0] == pytest.approx(before_deg, abs=0.01)
        assert at[2] - at[1] == pytest.approx(after_deg, abs=0.01)
        assert on.injected == [words]


@pytest.mark.parametrize("words", ["stage.motion 0.5 stop", "stage.motion 0.5 jump 3"])
@virtual
async def test_a_stage_that_stands_does_not_stray(clock: VirtualClock, words: str) -> None:
    async with bench(clock, words) as on:
        await on.clock.sleep_s(1.0)
        assert on.truth.angle_deg(clock.now_ns()) == 0.0
        assert on.injected == []
        assert on.faults.came_about == []


# --- the host


@virtual
async def test_while_the_host_is_starved_timers_come_late_and_the_stage_turns_on(clock: VirtualClock) -> None:
    async with bench(clock, "host 2.0 starve 0.3") as on:
        await on.turning()
        assert await clock.sleep_until(ns(2.1)) == ns(2.3)
        moved_deg = on.truth.angle_deg(ns(2.3)) - on.truth.angle_deg(ns(2.0))
        assert moved_deg == pytest.approx(0.3, abs=0.01)
        assert on.injected == ["host 2 starve 0.3"]


@virtual
async def test_when_the_hosts_clock_leaps_the_stage_does_not(clock: VirtualClock) -> None:
    async with bench(clock, "host 2.0 leap 5") as on:
        await on.turning()
        assert await clock.sleep_until(ns(2.1)) == ns(7.0)
        assert on.truth.angle_deg(ns(7.0)) == pytest.approx(on.truth.angle_deg(ns(2.0)), abs=0.01)


# --- the disk


def disk(clock: VirtualClock, *faults: str) -> FaultyDisk:
    return FaultyDisk(clock, [Fault.parse(words) for words in faults])


@pytest.mark.parametrize(("kind", "number"), [("full", errno.ENOSPC), ("error", errno.EIO)])
@virtual
async def test_of_a_write_that_fails_half_is_done(clock: VirtualClock, tmp_path: Path, kind: str, number: int) -> None:
    faulty = disk(clock, f"disk.write 2 {kind}")
    with (tmp_path / "file").open("wb", buffering=0) as file:
        faulty.write(file, b"first,")
        with pytest.raises(OSError) as caught:  # noqa: PT011 its number is asked next
            faulty.write(file, memoryview(b"second"))
        faulty.write(file, b",third")
    assert caught.value.errno == number
    assert (tmp_path / "file").read_bytes() == b"first,sec,third"
    assert [str(fault) for fault in faulty.happened] == [f"disk.write 2 {kind}"]


@virtual
async def test_a_sync_fails_by_its_own_number(clock: VirtualClock, tmp_path: Path) -> None:
    faulty = disk(clock, "disk.sync 2 error")
    with (tmp_path / "file").open("wb", buffering=0) as file:
        for _ in range(5):
            faulty.write(file, b".")
        faulty.sync(file)
        with pytest.raises(OSError, match="Input/output error"):
            faulty.sync(file)


@virtual
async def test_a_slow_disk_takes_virtual_time_and_nothing_else(clock: VirtualClock, tmp_path: Path) -> None:
    faulty = disk(clock, "disk.write 1 slow 2", "disk.sync 1 slow 3")
    with (tmp_path / "file").open("wb", buffering=0) as file:
        await asyncio.to_thread(faulty.write, file, b"whole")
        assert clock.now_ns() == ns(2)
        await asyncio.to_thread(faulty.sync, file)
        assert clock.now_ns() == ns(5)
    assert (tmp_path / "file").read_bytes() == b"whole"


@virtual
async def test_faults_of_the_disk_are_told_at_the_beginning(clock: VirtualClock) -> None:
    async with bench(clock, "disk.write 7 full", "beam.blank 1 error", "disk.sync 3 slow 1") as on:
        assert on.injected == ["disk.write 7 full", "disk.sync 3 slow 1"]
        assert on.faults.came_about == []  # planned, not met yet


# --- whole runs: 12 slots of 0.5 s at 0.45 deg/s by command, exposed from 6.2 s on

PLAN: dict[str, Any] = {
    "range_deg": 2.7,
    "start_deg": 0.0,
    "rotation": "commanded",
    "snapshot_interval": 5,
    "relax_cycles": 1,
    "formats": (),
}
BEAM, STAGE, LENS = "THE BEAM MAY STILL BE ON", "THE STAGE MAY STILL BE ROTATING", "the lens may be left defocused"

ENDINGS: dict[str, tuple[str, str, str]] = {
    # fault: status, words of the reason, alarm
    "beam.blank 1 hang": ("done", "range covered", ""),
    "beam.blank 1 error": ("done", "range covered", ""),
    "beam.blank 1 ignored": ("done", "range covered", ""),
    "beam.blank 1 slow 1": ("done", "range covered", ""),
    "beam.blank 1 away 1": ("done", "range covered", ""),
    "beam.blank 1 away 60": ("done", "range covered", BEAM),
    "beam.unblank 1 ignored": ("failed", "the blanker stays closed", ""),
    "beam.unblank 1 hang": ("failed", "beam.unblank: no answer for 10 s", ""),
    "stage.angle 6 wrong 5": ("done", "range covered", ""),
    "stage.angle 1 error": ("done", "range covered", ""),
    "stage.angle 1 hang": ("failed", "stage.angle: no answer for 10 s", ""),
    "stage.rotate 1 ignored": ("done", "range covered", ""),  # it stands there already
    "stage.rotate 2 ignored": ("failed", "no rotation within rotation_timeout_s", ""),
    "stage.stop 1 away 60": ("done", "range covered", STAGE),
    "optics.focus 2 wrong 400": ("done", "range covered", ""),
    "optics.set_focus 1 error": ("failed", "the optics answered with an error", ""),
    "optics.set_focus 4 away 60": ("failed", "optics: not connected", LENS),
    "detector.arm 1 error": ("failed", "the detector answered with an error", ""),
    "detector.start 4 error": ("failed", "the detector answered with an error", ""),
    "detector.disarm 1 error": ("done", "range covered", ""),
    "detector.frames 4 drop": ("failed", "no frame 5 s after its exposure", ""),
    "detector.frames 4 double": ("failed", "lost or doubled", ""),
    "detector.frames 4 torn": ("failed", "a frame of (16, 32) pixels", ""),
    "detector.frames 4 late 0.3": ("done", "range covered", ""),
    "detector.frames 1 late 1.2": ("done", "range covered", ""),
    "detector.frames 4 late 9": ("failed", "no frame 5 s after its exposure", ""),
    "disk.write 20 full": ("failed", "No space left on device", ""),
    "disk.write 20 error": ("failed", "Input/output error", ""),
    "disk.sync 11 error": ("failed", "Input/output error", ""),
    "disk.sync 6 slow 3": ("done", "range covered", ""),
    "disk.write 12 slow 2": ("done", "range covered", ""),
}


def perform(out: Path, *faults: str) -> Report:
    plan = CredPlan(**PLAN)
    return execute(Request(CRED, plan, out, "simulated-timing", virtual=True, seed=1, draw=False, faults=faults))


@pytest.mark.parametrize("words", ENDINGS)
def test_how_a_run_ends_that_meets_with_a_fault(tmp_path: Path, words: str) -> None:
    status, reason, alarm = ENDINGS[words]
    report = perform(tmp_path, words)
    records = [json.loads(line) for line in (report.folder / "trace.jsonl").read_text().splitlines()]
    assert [record["fault"] for record in records if record["kind"] == "injected"] == [words]
    assert (report.ending.status.value, reason in report.ending.reason) == (status, True), report.ending
    assert [alarm in told for told in report.alarms] == ([True] if alarm else []), report.alarms


@pytest.mark.parametrize("words", ["disk.write {} full", "disk.write {} error", "disk.sync {} error"])
def test_a_disk_that_fails_ends_the_run_unless_only_the_trace_is_cut_off(tmp_path: Path, words: str) -> None:
    for number in range(1, 36, 4):
        report = perform(tmp_path, words.format(number))
        if report.ending.status.value == "failed":
            assert report.document["disk_failed"] == report.ending.reason
        else:
            assert (report.ending.status.value, report.document["result"]["frames"]) == ("done", 10)
            assert report.document["trace_cut_off"]


def test_several_faults_befall_one_run(tmp_path: Path) -> None:
    report = perform(tmp_path, "beam.blank 1 ignored", "stage.angle 9 wrong 3", "detector.frames 5 late 0.3")
    trace = (report.folder / "trace.jsonl").read_text()
    assert trace.count('"kind":"injected"') == 3
    assert report.ending.status.value == "done"
    assert report.document["result"]["lost_slots"] == 1


def test_faults_that_never_came_about_are_named_at_the_end(tmp_path: Path) -> None:
    asked = "beam.unblank 1 ignored", "stage.motion 400 stop", "disk.write 4000 full", "beam.unblank 1 ignored"
    with capture_logs() as told:
        perform(tmp_path, *asked)
    assert [entry["event"] for entry in told if "came about" in entry["event"]] == [
        "1 of 4 faults came about; not: stage.motion 400 stop, disk.write 4000 full, beam.unblank 1 ignored"
    ]


def test_of_faults_that_all_came_about_nothing_is_said(tmp_path: Path) -> None:
    with capture_logs() as told:
        perform(tmp_path, "beam.blank 1 ignored", "disk.sync 6 slow 3")
    assert not [entry for entry in told if "came about" in entry["event"]]


def test_faults_that_are_none_leave_no_folder(tmp_path: Path) -> None:
    with pytest.raises(Refused):
        perform(tmp_path / "out", "beam.blank 1 explode")
    assert not (tmp_path / "out").exists()
