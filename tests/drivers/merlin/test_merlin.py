"""The Merlin driver against an emulator that acts on its commands, through a proxy that spoils the connections."""

import asyncio
import gc
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from drivers.conformance import Bench, Body, DeclaredConformance
from drivers.contract import Detector
from drivers.declared import Declared
from drivers.merlin.camera import MERLIN
from drivers.merlin.link import Commands
from drivers.selfpaced.series import SelfPaced
from engine.clock import NS_PER_MS, RealClock, ns
from engine.errors import DeviceBusy, DeviceError, DeviceLost, Refused
from engine.frame import Frame
from tests.drivers.counterparts import free_port
from tests.drivers.emulators.merlin import MerlinEmulator
from tests.drivers.onlyacamera import only_a_camera
from tests.drivers.proxy import Proxy
from tests.engine.virtually import really

pytestmark = pytest.mark.realtime

LONG = (0.05, 0.01)
TIMEOUT_S = 1.0
# The emulator runs in the test's own loop, on a machine that may be busy with other things.
PATIENT_S = 5.0


@asynccontextmanager
async def connected(
    clock: RealClock, emulator: MerlinEmulator, **options: Any
) -> AsyncIterator[tuple[SelfPaced, Proxy, Proxy]]:
    """A driver on the emulator, with a proxy before each port."""
    async with (
        emulator.serving(),
        Proxy(emulator.port) as commands,
        Proxy(emulator.data_port) as data,
        MERLIN.connect(
            clock, 1, {"port": commands.port, "data_port": data.port, "timeout_s": TIMEOUT_S, **options}
        ) as parts,
    ):
        detector = parts.detector
        assert isinstance(detector, SelfPaced)
        yield detector, commands, data
        commands.mode = data.mode = "pass"


async def one_frame(detector: Detector, exposure_s: float = 0.05) -> Any:
    frames = aiter(detector.frames())
    await detector.start(exposure_s)
    return await anext(frames)


async def until_it_is_over(detector: Detector) -> None:
    """Frame after frame: parts that came before the end may make one still."""
    while True:
        await one_frame(detector)


async def exposed_until_it_fails(detector: Detector, frames: AsyncIterator[Frame]) -> None:
    while True:
        await anext(frames)
        await detector.start(0.01)


@pytest.mark.parametrize("options", [{}, {"depth": 24, "subframe_s": 0.02}, {"wide_cross": True}], ids=str)
class TestMerlinOnTheEmulator(DeclaredConformance):
    """The whole contract of a detector is tried on LiberTEM-live's simulator (test_merlin_counterpart.py)."""

    @pytest.fixture
    def declared(self, options: dict[str, Any]) -> Declared:
        return MERLIN.facts(options)

    @pytest.fixture
    def bench(self, options: dict[str, Any]) -> Bench:
        async def on_emulator(body: Body) -> None:
            emulator, clock = MerlinEmulator(), RealClock()
            async with emulator.serving():
                given = {"port": emulator.port, "data_port": emulator.data_port, **options}
                async with MERLIN.connect(clock, 1, given) as parts:
                    await body(clock, only_a_camera(parts))

        return Bench(lambda body: asyncio.run(on_emulator(body)))


def sums(first: int, parts: int) -> int:
    return sum(sequence % 7 for sequence in range(first, first + parts))


@really
async def test_an_exposure_is_the_sum_of_consecutive_frames_of_the_series(clock: RealClock) -> None:
    async with connected(clock, MerlinEmulator()) as (detector, _, _):
        await detector.arm(LONG)
        frame = await one_frame(detector)
        assert frame.counts.shape == (32, 64)
        assert {int(frame.counts.min())} == {int(frame.counts.max())} <= {sums(first, 5) for first in range(7)}
        assert frame.end_ns - frame.start_ns == ns(0.05)
        snapshot = await one_frame(detector, 0.01)
        assert int(snapshot.counts.max()) < 7
        assert (frame.number, snapshot.number) == (0, 1)


@really
async def test_frames_and_snapshots_change_no_setting_and_start_one_series(clock: RealClock) -> None:
    emulator = MerlinEmulator()
    async with connected(clock, emulator) as (detector, _, _):
        await detector.arm(LONG)
        before = len(emulator.log)
        for exposure_s in (0.05, 0.01, 0.05):
            await one_frame(detector, exposure_s)
        assert emulator.log[before:] == []
        assert emulator.log.count("CMD,STARTACQUISITION") == 1
        assert emulator.parameters["ACQUISITIONTIME"] == "10.000000"
        assert emulator.parameters["CONTINUOUSRW"] == "1"


@really
async def test_a_grid_of_cycle_times_keeps_its_place_among_the_frames(clock: RealClock) -> None:
    async with connected(clock, MerlinEmulator()) as (detector, _, _):
        await detector.arm(LONG)
        frames = detector.frames()
        at_ns = clock.now_ns()
        places = []
        for _ in range(10):
            await clock.sleep_until(at_ns)
            # On a busy machine the question comes too late for the part that was meant, and gets one of the next.
            places.append((await detector.start(0.05) - at_ns) % (10 * NS_PER_MS))
            await anext(frames)
            at_ns += ns(detector.facts.cycle_s(0.05))
        off = sorted((place - places[-1] + 5 * NS_PER_MS) % (10 * NS_PER_MS) - 5 * NS_PER_MS for place in places)
        assert abs(off[5]) < 2 * NS_PER_MS


@pytest.mark.parametrize(("depth", "readout_s"), [(1, 0.0), (6, 0.0), (12, 0.0), (24, 0.002)])
@really
async def test_every_depth_is_asked_for_and_summed(clock: RealClock, depth: int, readout_s: float) -> None:
    emulator = MerlinEmulator()
    emulator.picture = lambda sequence: np.full((32, 64), 1, np.uint32)
    async with connected(clock, emulator, depth=depth) as (detector, _, _):
        await detector.arm(LONG)
        frame = await one_frame(detector)
        assert detector.facts.saturation_of(0.05) == min(5 * (2**depth - 1), 65535)
        assert int(frame.counts.max()) == 5
        assert emulator.parameters["COUNTERDEPTH"] == str(depth)
        assert float(emulator.parameters["ACQUISITIONPERIOD"]) == pytest.approx(10 + 1000 * readout_s)
        assert frame.end_ns - frame.start_ns == ns(0.05 + 4 * readout_s)


@really
async def test_a_pixel_that_was_full_in_one_frame_is_saturated_in_the_sum(clock: RealClock) -> None:
    emulator = MerlinEmulator()

    def picture(sequence: int) -> Any:
        counts = np.ones((32, 64), np.uint16)
        counts[3, 4] = 4095 if sequence % 5 == 0 else 0
        return counts

    emulator.picture = picture
    async with connected(clock, emulator) as (detector, _, _):
        await detector.arm(LONG)
        frame = await one_frame(detector)
        assert int(frame.counts[3, 4]) == detector.facts.saturation_of(0.05)
        assert int(frame.counts[0, 0]) == 5


@really
async def test_a_sum_that_sixteen_bits_cannot_hold_is_saturated_and_never_wraps(clock: RealClock) -> None:
    emulator = MerlinEmulator()
    emulator.picture = lambda sequence: np.full((32, 64), 20_000, np.uint32)
    async with connected(clock, emulator, depth=24) as (detector, _, _):
        await detector.arm(LONG)
        frame = await one_frame(detector)
        assert frame.counts.dtype == np.uint16
        assert set(frame.counts.flat) == {65535} == {detector.facts.saturation}


@really
async def test_settings_are_put_back_when_the_driver_leaves(clock: RealClock) -> None:
    emulator = MerlinEmulator()
    before = dict(emulator.parameters)
    async with connected(clock, emulator) as (detector, _, _):
        await detector.arm(LONG)
        assert emulator.parameters != before
    assert emulator.parameters == before
    assert emulator.log.count("CMD,STOPACQUISITION") >= 1


@really
async def test_a_detector_in_use_is_left_alone(clock: RealClock) -> None:
    emulator = MerlinEmulator()
    emulator.parameters["DETECTORSTATUS"] = "1"
    with pytest.raises(DeviceBusy, match="another program"):
        async with connected(clock, emulator):
            raise AssertionError("the body must not run")
    assert not [line for line in emulator.log if line.startswith(("SET", "CMD"))]


@really
async def test_a_setting_that_is_refused_is_said_and_nothing_is_armed(clock: RealClock) -> None:
    emulator = MerlinEmulator()
    async with connected(clock, emulator) as (detector, _, _):
        emulator.refused["COUNTERDEPTH"] = 3
        with pytest.raises(DeviceError, match=r"SET COUNTERDEPTH 12 was refused, the value is out of range"):
            await detector.arm(LONG)
        with pytest.raises(DeviceError, match="no exposure"):
            await detector.start(0.05)
        emulator.refused.clear()
        await detector.arm(LONG)
        assert (await one_frame(detector)).number == 0


@really
async def test_an_exposure_that_the_camera_made_otherwise_is_not_taken(clock: RealClock) -> None:
    emulator = MerlinEmulator()
    emulator.shutter_factor = 1.5
    async with connected(clock, emulator) as (detector, _, _):
        with pytest.raises(DeviceError, match=r"exposed for 0\.015 s, asked were 0\.01 s"):
            await detector.arm(LONG)


@really
async def test_a_lost_frame_of_the_series_shows_as_a_gap(clock: RealClock) -> None:
    emulator = MerlinEmulator()
    async with connected(clock, emulator, timeout_s=PATIENT_S) as (detector, _, _):
        await detector.arm(LONG)
        await detector.start(0.05)
        emulator.lost = set(range(1, 1_000_000, 5))  # one in five: no exposure of five is complete
        frames = detector.frames()
        with pytest.raises(DeviceError, match=r"[1-5] of the parts \d+ to \d+ of the series were lost"):
            await exposed_until_it_fails(detector, frames)
        emulator.lost = set()
        number = (await one_frame(detector)).number
        assert number >= 1  # the lost one keeps its number


@really
async def test_the_numbers_of_single_frames_are_those_of_the_camera(clock: RealClock) -> None:
    emulator = MerlinEmulator()
    emulator.lost = {30, 31}
    async with connected(clock, emulator, timeout_s=PATIENT_S) as (detector, _, _):
        await detector.arm(LONG, every_part=True)
        numbers = []
        async for frame in detector.every_part():
            numbers.append(frame.number)
            if frame.number > 40:
                break
        assert numbers == [number for number in range(42) if number + 1 not in emulator.lost]


@really
async def test_two_drivers_are_not_given_one_detector(clock: RealClock) -> None:
    assert MERLIN.address({}) == "merlin 127.0.0.1:6341"
    assert MERLIN.address({"host": "10.0.0.3", "port": 7}) == "merlin 10.0.0.3:7"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"ip": "x"}, "has no option 'ip'"),
        ({"host": 5}, "host = 5"),
        ({"port": "6341"}, "port = '6341'"),
        ({"port": 0}, "port = 0"),
        ({"depth": 11}, "depth = 11"),
        ({"trigger": "hard"}, "one of soft, internal"),
        ({"subframe_s": 1.0}, "subframe_s = 1.0"),
        ({"subframe_s": True}, "subframe_s = True"),
        ({"timeout_s": 0}, "timeout_s = 0"),
        ({"wide_cross": "yes"}, "true or false"),
        ({"pixel_size_mm": float("nan")}, "pixel_size_mm"),
    ],
)
@really
async def test_a_wrong_option_is_refused_before_anything_is_started(
    clock: RealClock, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(Refused, match=reason):
        async with MERLIN.connect(clock, 1, options):
            raise AssertionError("the body must not run")


@really
async def test_a_detector_that_is_not_there_is_said_in_one_line(clock: RealClock) -> None:
    with pytest.raises(DeviceLost, match=r"127\.0\.0\.1:\d+.*GET \w+ was not done\. Check that the Merlin") as caught:
        async with MERLIN.connect(clock, 1, {"port": free_port()}):
            raise AssertionError("the body must not run")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mode", ["stall", "garbage", "half"])
@really
async def test_a_spoilt_command_port_is_a_device_error_and_no_wrong_answer(clock: RealClock, mode: Any) -> None:
    async with connected(clock, MerlinEmulator()) as (detector, commands, _):
        commands.mode = mode
        with pytest.raises(DeviceError, match=r"merlin.*whether .* was done is unknown"):
            await detector.arm(LONG)
        commands.mode = "pass"
        await detector.arm(LONG)
        assert (await one_frame(detector)).number == 0


@pytest.mark.parametrize("mode", ["stall", "garbage", "half", "cut"])
@really
async def test_a_spoilt_data_port_ends_the_series_and_is_said(clock: RealClock, mode: Any) -> None:
    timeout_s = TIMEOUT_S if mode == "stall" else PATIENT_S  # a slow machine is waited for
    async with connected(clock, MerlinEmulator(), timeout_s=timeout_s) as (detector, _, data):
        await detector.arm(LONG)
        frames = detector.frames()
        data.mode = mode
        await detector.start(0.01)
        with pytest.raises(DeviceError, match="the series is over"):
            await exposed_until_it_fails(detector, frames)
        with pytest.raises(DeviceError, match="No exposure was made"):
            await detector.start(0.01)
        data.mode = "pass"
        await detector.arm(LONG)
        assert (await one_frame(detector)).number == 0


@really
async def test_a_slow_command_port_is_waited_for(clock: RealClock) -> None:
    async with connected(clock, MerlinEmulator(), timeout_s=PATIENT_S) as (detector, commands, _):
        commands.delay_s = 0.02
        await detector.arm(LONG)
        assert (await one_frame(detector)).number == 0


@really
async def test_a_slow_data_port_delivers_late_what_was_exposed_in_time(clock: RealClock) -> None:
    async with connected(clock, MerlinEmulator(), timeout_s=PATIENT_S) as (detector, _, data):
        data.delay_s = 0.1
        await detector.arm(LONG)
        for number in range(2):
            frame = await one_frame(detector)
            assert frame.number == number
            assert int(frame.counts.max()) in {sums(first, 5) for first in range(7)}


@really
async def test_a_detector_that_sends_no_frame_is_not_armed(clock: RealClock) -> None:
    emulator = MerlinEmulator()
    emulator.hangs = True
    async with connected(clock, emulator) as (detector, _, _):
        with pytest.raises(DeviceError, match="not armed"):
            await detector.arm(LONG)
        emulator.hangs = False
        await detector.arm(LONG)
        assert (await one_frame(detector)).number == 0


@really
async def test_a_restarted_software_is_said_and_its_state_read_again(clock: RealClock) -> None:
    first, second = MerlinEmulator(), MerlinEmulator()
    second.parameters["IMAGEX"] = "128"
    async with second.serving(), connected(clock, first) as (detector, commands, data):
        await detector.arm(LONG)
        for proxy, port in ((commands, second.port), (data, second.data_port)):
            proxy.mode = "cut"
            await proxy.idle()
            proxy.target_port = port
            proxy.mode = "pass"
        with pytest.raises(DeviceError, match="the series is over"):
            await until_it_is_over(detector)
        with pytest.raises(DeviceError, match=r"its picture is \(32, 128\) now and was \(32, 64\)"):
            await detector.arm(LONG)
        second.parameters["IMAGEX"] = "64"
        await detector.arm(LONG)
        assert (await one_frame(detector)).number == 0


@pytest.mark.parametrize("how", ["cancelled", "timed out"])
@really
async def test_the_reply_of_a_command_that_was_given_up_is_no_answer_to_the_next(clock: RealClock, how: str) -> None:
    emulator = MerlinEmulator()
    async with emulator.serving(), Proxy(emulator.port) as proxy:
        commands = Commands(clock, "127.0.0.1", proxy.port, 0.3)
        assert await commands.get("IMAGEX") == "64"
        proxy.mode = "stall"
        asking = asyncio.ensure_future(commands.get("IMAGEX"))
        await clock.sleep_s(0.1)
        if how == "cancelled":
            asking.cancel()
        await asyncio.wait([asking])
        emulator.parameters["IMAGEX"] = "128"
        proxy.mode = "pass"
        assert await commands.get("IMAGEX") == "128"
        commands.close()


@really
async def test_a_cancelled_arm_leaves_the_camera_usable_at_any_moment(clock: RealClock) -> None:
    async with connected(clock, MerlinEmulator()) as (detector, commands, _):
        for turns in range(0, 60, 7):
            commands.delay_s = 0.002
            arming = asyncio.ensure_future(detector.arm(LONG))
            await clock.sleep_s(turns / 1000)
            arming.cancel()
            await asyncio.wait([arming])
        commands.delay_s = 0.0
        await detector.arm(LONG)
        assert (await one_frame(detector)).number == 0


@really
async def test_nothing_is_left_running_after_the_driver_has_left(clock: RealClock) -> None:
    before = set(threading.enumerate())
    async with connected(clock, MerlinEmulator()) as (detector, _, _):
        await detector.arm(LONG)
        await detector.start(0.05)
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert not [name for name in left if "series" in name]
    gc.collect()  # a socket left open would warn here
