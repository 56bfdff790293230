"""The Serval driver against an emulator of its interface, through proxies that spoil the connections."""

import asyncio
import gc
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from drivers.conformance import Bench, Body, DeclaredConformance, DetectorConformance
from drivers.contract import Detector, Microscope
from drivers.declared import Declared
from drivers.facts import Geometry, Timing
from drivers.selfpaced.series import SelfPaced
from drivers.serval.camera import SERVAL, ServalSettings
from engine.clock import RealClock, ns
from engine.errors import DeviceBusy, DeviceError, DeviceLost, Refused
from engine.frame import Frame
from tests.drivers.counterparts import free_port
from tests.drivers.emulators.serval import ServalEmulator, jsonimage
from tests.drivers.proxy import Proxy
from tests.engine.virtually import really

pytest.importorskip("httpx")
pytestmark = pytest.mark.realtime

LONG = (0.05, 0.01)
TIMEOUT_S = 1.0
# The emulator runs in the test's own loop, on a machine that may be busy with other things.
PATIENT_S = 5.0


@asynccontextmanager
async def connected(
    clock: RealClock, emulator: ServalEmulator, **options: Any
) -> AsyncIterator[tuple[SelfPaced, Proxy, Proxy]]:
    """A driver on the emulator, with a proxy before HTTP and one before the stream of frames."""
    async with emulator.serving(), Proxy(emulator.port) as http, Proxy(free_port()) as stream:
        emulator.stream_target = lambda port: stream.target_port if port == stream.port else port
        found = {"port": http.port, "stream_port": stream.port, "timeout_s": TIMEOUT_S, **options}
        async with SERVAL.connect(clock, 1, found) as parts:
            detector = parts.detector
            assert isinstance(detector, SelfPaced)
            yield detector, http, stream
            http.mode = stream.mode = "pass"


async def one_frame(detector: Detector, exposure_s: float = 0.05) -> Frame:
    frames = aiter(detector.frames())
    await detector.start(exposure_s)
    return await anext(frames)


async def exposed_until_it_fails(detector: Detector, frames: AsyncIterator[Frame]) -> None:
    while True:
        await anext(frames)
        await detector.start(0.01)


SUMS = {sum(number % 7 for number in range(first, first + 5)) for first in range(7)}


@pytest.mark.parametrize("frames", ["stream", "tiff"])
@pytest.mark.parametrize("mode", ["CONTINUOUS", "AUTOTRIGSTART_TIMERSTOP"])
@really
async def test_an_exposure_is_the_sum_of_consecutive_frames_in_every_mode(
    clock: RealClock, mode: str, frames: str
) -> None:
    emulator = ServalEmulator()
    async with connected(clock, emulator, trigger_mode=mode, frames=frames) as (detector, _, _):
        await detector.arm(LONG)
        shut_s = 0.0 if mode == "CONTINUOUS" else 0.003
        assert emulator.config["TriggerMode"] == mode
        assert emulator.config["ExposureTime"] == 0.01
        assert emulator.config["TriggerPeriod"] == pytest.approx(0.01 + shut_s)
        frame = await one_frame(detector)
        assert frame.counts.shape == (32, 64)
        assert {int(frame.counts.min()), int(frame.counts.max())} <= SUMS
        assert frame.end_ns - frame.start_ns == ns(0.05 + 4 * shut_s)
        assert int((await one_frame(detector, 0.01)).counts.max()) < 7


@really
async def test_frames_and_snapshots_change_no_setting_and_run_one_measurement(clock: RealClock) -> None:
    emulator = ServalEmulator()
    async with connected(clock, emulator) as (detector, _, _):
        await detector.arm(LONG)
        before = len(emulator.log)
        for exposure_s in (0.05, 0.01, 0.05):
            await one_frame(detector, exposure_s)
        assert emulator.log[before:] == []
        assert emulator.log.count("GET /measurement/start") == 1


@really
async def test_configuration_and_destination_are_put_back_when_the_driver_leaves(clock: RealClock) -> None:
    emulator = ServalEmulator()
    config, destination = dict(emulator.config), dict(emulator.destination)
    async with connected(clock, emulator) as (detector, _, _):
        await detector.arm(LONG)
        assert emulator.config != config
        assert emulator.destination["Image"][0]["Format"] == "jsonimage"
    assert (emulator.config, emulator.destination) == (config, destination)
    assert emulator.log[-3] == "GET /measurement/stop"


@really
async def test_configuration_is_put_back_after_a_failure_too(clock: RealClock) -> None:
    emulator = ServalEmulator()
    config = dict(emulator.config)

    async def run() -> None:
        async with connected(clock, emulator) as (detector, _, _):
            await detector.arm(LONG)
            raise RuntimeError("the run failed")

    with pytest.raises(RuntimeError, match="the run failed"):
        await run()
    assert emulator.config == config


@really
async def test_other_keys_of_the_configuration_are_left_alone(clock: RealClock) -> None:
    emulator = ServalEmulator()
    emulator.config |= {"PixelDepth": 12, "BothCounters": True, "Tdc": ["PN0123", "PN0123"]}
    async with connected(clock, emulator) as (detector, _, _):
        await detector.arm(LONG)
        assert emulator.config["BothCounters"] is False
        assert emulator.config["Tdc"] == ["PN0123", "PN0123"]
        assert detector.facts.saturation_of(0.05) == 5 * 4095
    assert emulator.config["BothCounters"] is True


@pytest.mark.parametrize("status", ["DA_RECORDING", "DA_STARTING"])
@really
async def test_a_running_measurement_is_left_alone(clock: RealClock, status: str) -> None:
    emulator = ServalEmulator()
    emulator._status = status
    with pytest.raises(DeviceBusy, match="a measurement is running"):
        async with connected(clock, emulator):
            raise AssertionError("the body must not run")
    assert not [line for line in emulator.log if line.startswith("PUT") or "measurement" in line]


@really
async def test_a_serval_without_a_detector_is_said(clock: RealClock) -> None:
    emulator = ServalEmulator()
    emulator.detector = None
    with pytest.raises(DeviceError, match="no detector is connected"):
        async with connected(clock, emulator):
            raise AssertionError("the body must not run")


@really
async def test_older_versions_tell_their_size_elsewhere(clock: RealClock) -> None:
    emulator = ServalEmulator((64, 128))
    emulator.has_info = False
    async with connected(clock, emulator) as (detector, _, _):
        assert detector.facts.shape == (64, 128)
        assert not detector.facts.wide_cross


@really
async def test_the_cross_of_a_quad_is_wide_unless_the_devices_file_says_otherwise(clock: RealClock) -> None:
    async with connected(clock, ServalEmulator((512, 512))) as (detector, _, _):
        assert detector.facts.wide_cross
    async with connected(clock, ServalEmulator((512, 512)), wide_cross=False) as (detector, _, _):
        assert not detector.facts.wide_cross


@really
async def test_a_port_kept_from_an_earlier_measurement_is_gone_round(clock: RealClock) -> None:
    emulator = ServalEmulator()
    port = free_port()
    emulator.busy_ports = {port, port + 1}
    async with connected(clock, emulator, stream_port=port) as (detector, _, _):
        await detector.arm(LONG)
        assert emulator.destination["Image"][0]["Base"] == f"tcp://listen@127.0.0.1:{port + 2}"
        assert (await one_frame(detector)).number == 0


@really
async def test_a_refused_request_is_said_and_nothing_is_armed(clock: RealClock) -> None:
    emulator = ServalEmulator()
    async with connected(clock, emulator) as (detector, _, _):
        emulator.refused = {"/server/destination": 400}
        with pytest.raises(DeviceError, match=r"PUT /server/destination was refused with status 400 \(\"refused\"\)"):
            await detector.arm(LONG)
        with pytest.raises(DeviceError, match="no exposure"):
            await detector.start(0.05)
        emulator.refused = {}
        await detector.arm(LONG)
        assert (await one_frame(detector)).number == 0


@really
async def test_a_lost_frame_of_the_measurement_shows_as_a_gap(clock: RealClock) -> None:
    emulator = ServalEmulator()
    async with connected(clock, emulator, timeout_s=PATIENT_S) as (detector, _, _):
        await detector.arm(LONG)
        frames = detector.frames()
        await detector.start(0.05)
        emulator.lost = set(range(0, 1_000_000, 5))  # one in five: no exposure of five is complete
        with pytest.raises(DeviceError, match=r"[1-5] of the parts \d+ to \d+ of the series were lost"):
            await exposed_until_it_fails(detector, frames)
        emulator.lost = set()
        assert (await one_frame(detector)).number >= 1  # the lost one keeps its number


@really
async def test_the_numbers_of_single_frames_are_those_of_the_camera(clock: RealClock) -> None:
    emulator = ServalEmulator()
    emulator.lost = {30, 31}
    async with connected(clock, emulator, timeout_s=PATIENT_S) as (detector, _, _):
        await detector.arm(LONG, every_part=True)
        numbers = []
        async for frame in detector.every_part():
            numbers.append(frame.number)
            if frame.number > 40:
                break
        # The stream is connected after the start: the first few may be missed.
        assert numbers == [number for number in range(numbers[0], 42) if number not in emulator.lost]


@really
async def test_a_picture_of_another_size_is_not_taken(clock: RealClock) -> None:
    emulator = ServalEmulator()
    emulator.picture = lambda number: np.zeros((16, 16), np.uint16)
    async with connected(clock, emulator) as (detector, _, _):
        with pytest.raises(DeviceError, match=r"a frame has \(16, 16\) pixels, the detector said \(32, 64\)"):
            await detector.arm(LONG)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"url": "http://127.0.0.1:8080"}, "has no option 'url'"),
        ({"host": "http://127.0.0.1"}, "port as an option of its own"),
        ({"host": "127.0.0.1:8080"}, "port as an option of its own"),
        ({"host": "cam\tera"}, "is not a name or an address"),
        ({"port": 99999}, "port = 99999"),
        ({"stream_port": "8086"}, "stream_port = '8086'"),
        ({"frames": "png"}, "one of stream, tiff"),
        ({"trigger_mode": "CONTINOUS"}, "one of CONTINUOUS, AUTOTRIGSTART_TIMERSTOP"),
        ({"byte_order": "middle"}, "one of big, little"),
        ({"subframe_s": 1.0}, "subframe_s = 1.0"),
        ({"wide_cross": 1}, "true or false"),
    ],
)
@really
async def test_a_wrong_option_is_refused_before_anything_is_started(
    clock: RealClock, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(Refused, match=reason):
        async with SERVAL.connect(clock, 1, options):
            raise AssertionError("the body must not run")


def test_two_programs_are_not_given_one_camera() -> None:
    assert SERVAL.address({}) == "serval 127.0.0.1:8080"
    assert SERVAL.address({"host": "10.0.0.3", "port": 8081}) == "serval 10.0.0.3:8081"


def test_an_address_of_ipv6_stands_in_brackets_in_the_url() -> None:
    assert ServalSettings.read({"host": "::1"}).url == "http://[::1]:8080"


@really
async def test_a_serval_that_is_not_there_is_said_in_one_line(clock: RealClock) -> None:
    with pytest.raises(DeviceLost, match=r"127\.0\.0\.1:\d+.*GET \S+ was not done\. Check that Serval runs") as caught:
        async with SERVAL.connect(clock, 1, {"port": free_port()}):
            raise AssertionError("the body must not run")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mode", ["stall", "garbage", "half"])
@really
async def test_a_spoilt_http_connection_is_a_device_error_and_no_wrong_answer(clock: RealClock, mode: Any) -> None:
    async with connected(clock, ServalEmulator()) as (detector, http, _):
        http.mode = mode
        with pytest.raises(DeviceError, match=r"serval.*whether .* was done is unknown"):
            await detector.arm(LONG)
        http.mode = "pass"
        await detector.arm(LONG)
        assert (await one_frame(detector)).number == 0


@pytest.mark.parametrize("mode", ["stall", "garbage", "half", "cut"])
@really
async def test_a_spoilt_stream_ends_the_series_and_is_said(clock: RealClock, mode: Any) -> None:
    async with connected(clock, ServalEmulator()) as (detector, _, stream):
        await detector.arm(LONG)
        frames = detector.frames()
        stream.mode = mode
        await detector.start(0.01)
        with pytest.raises(DeviceError, match="the series is over"):
            await exposed_until_it_fails(detector, frames)
        with pytest.raises(DeviceError, match="No exposure was made"):
            await detector.start(0.01)
        stream.mode = "pass"
        await detector.arm(LONG)
        assert (await one_frame(detector)).number == 0


@pytest.mark.parametrize("mode", ["stall", "garbage", "cut"])
@really
async def test_spoilt_pictures_by_http_end_the_series_and_are_said(clock: RealClock, mode: Any) -> None:
    async with connected(clock, ServalEmulator(), frames="tiff") as (detector, http, _):
        await detector.arm(LONG)
        frames = detector.frames()
        http.mode = mode
        await detector.start(0.01)
        with pytest.raises(DeviceError, match="the series is over"):
            await exposed_until_it_fails(detector, frames)
        http.mode = "pass"
        await detector.arm(LONG)
        assert (await one_frame(detector)).number == 0


@really
async def test_a_slow_serval_is_waited_for(clock: RealClock) -> None:
    async with connected(clock, ServalEmulator(), timeout_s=PATIENT_S) as (detector, http, stream):
        http.delay_s = 0.02
        stream.delay_s = 0.1
        await detector.arm(LONG)
        for number in range(2):
            frame = await one_frame(detector)
            assert frame.number == number
            assert int(frame.counts.max()) in SUMS


@really
async def test_a_camera_that_makes_no_frames_is_not_armed(clock: RealClock) -> None:
    emulator = ServalEmulator()
    emulator.hangs = True
    async with connected(clock, emulator) as (detector, _, _):
        with pytest.raises(DeviceError, match="not armed"):
            await detector.arm(LONG)
        emulator.hangs = False
        await detector.arm(LONG)
        assert (await one_frame(detector)).number == 0


@really
async def test_a_restarted_serval_is_said_and_its_state_read_again(clock: RealClock) -> None:
    first, second = ServalEmulator(), ServalEmulator((16, 64))
    async with second.serving(), connected(clock, first) as (detector, http, stream):
        second.stream_target = first.stream_target
        await detector.arm(LONG)
        for proxy in (http, stream):
            proxy.mode = "cut"
            await proxy.idle()
        await first._stop()
        http.target_port = second.port
        http.mode = stream.mode = "pass"
        with pytest.raises(DeviceError, match="the series is over"):
            await one_frame(detector)
        with pytest.raises(DeviceError, match=r"its picture is \(16, 64\) now and was \(32, 64\)"):
            await detector.arm(LONG)
        second.shape = (32, 64)
        second.picture = first.picture
        second.config |= {"BiasVoltage": 90}
        await detector.arm(LONG)
        assert (await one_frame(detector)).number == 0
        assert second.config["BiasVoltage"] == 90  # not what the first one had


@really
async def test_a_cancelled_arm_leaves_the_camera_usable_at_any_moment(clock: RealClock) -> None:
    async with connected(clock, ServalEmulator(), timeout_s=PATIENT_S) as (detector, _, _):
        for turns in range(0, 60, 7):
            arming = asyncio.ensure_future(detector.arm(LONG))
            await clock.sleep_s(turns / 1000)
            arming.cancel()
            await asyncio.wait([arming])
        await detector.arm(LONG)
        assert (await one_frame(detector)).number == 0


@really
async def test_nothing_is_left_running_after_the_driver_has_left(clock: RealClock) -> None:
    before = set(threading.enumerate())
    for frames in ("stream", "tiff"):
        async with connected(clock, ServalEmulator(), frames=frames) as (detector, _, _):
            await detector.arm(LONG)
            await detector.start(0.05)
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert not [name for name in left if "series" in name]
    gc.collect()  # a socket left open would warn here


def test_the_emulators_stream_is_what_its_description_says() -> None:
    assert jsonimage(np.array([[1, 258]], np.uint16), 3).endswith(b"}\n\x00\x01\x01\x02")


class TestOnTheEmulator(DetectorConformance, DeclaredConformance):
    @pytest.fixture
    def declared(self) -> Declared:
        return SERVAL.facts({})

    @pytest.fixture(params=["stream", "tiff"])
    def bench(self, request: pytest.FixtureRequest) -> Bench:
        def run(body: Body) -> None:
            async def on_emulator() -> None:
                clock = RealClock()
                async with connected(clock, ServalEmulator(), timeout_s=PATIENT_S, frames=request.param) as (
                    camera,
                    _,
                    _,
                ):
                    nothing: Any = None
                    facts = Geometry(0.025, 250, 0.055, 0, 256, 256), Timing(1, 1, 1)
                    await body(clock, Microscope(nothing, nothing, nothing, camera, *facts))

            asyncio.run(on_emulator())

        return Bench(run, exposure_s=0.05, snapshot_exposure_s=0.01)
