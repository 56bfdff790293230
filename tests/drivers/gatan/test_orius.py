"""The Orius driver: the contract of a detector, and what it does when the plug-in or the network misbehaves.

The counterpart is our emulator; no program that speaks this protocol runs without DigitalMicrograph.
"""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import numpy as np
import pytest

from drivers.conformance import Bench, Body, DeclaredConformance, DetectorConformance
from drivers.conformance.bench import numbers_left
from drivers.contract import Detector
from drivers.declared import Declared
from drivers.gatan.orius import ORIUS
from drivers.gatan.socket import packed, unpacked
from engine.clock import NS_PER_S, RealClock
from engine.errors import DeviceError, DeviceLost, Refused
from tests.drivers.emulators.orius import COLUMNS, ROWS, OriusEmulator, counts_of
from tests.drivers.onlyacamera import only_a_camera
from tests.drivers.proxy import Proxy
from tests.engine.virtually import really

EXPOSURE = (0.05, 0.01)


async def on_emulator(body: Body) -> None:
    emulator, clock = OriusEmulator(), RealClock()
    async with emulator.serving(), ORIUS.connect(clock, 7, emulator.options) as parts:
        await body(clock, only_a_camera(parts))


@pytest.mark.realtime
class TestOrius(DetectorConformance, DeclaredConformance):
    @pytest.fixture
    def bench(self) -> Bench:
        return Bench(lambda body: asyncio.run(on_emulator(body)))

    @pytest.fixture
    def declared(self) -> Declared:
        return ORIUS.facts({"rows": ROWS, "columns": COLUMNS, "overhead_s": 0.3})


# -- messages, as the plug-in's source has them -----------------------------------------------------------------------


def test_a_request_is_its_length_the_longs_and_the_doubles() -> None:
    assert packed((9, 1)) == bytes.fromhex("0c000000 09000000 01000000")
    assert packed((6,), (0.5,)) == bytes.fromhex("10000000 06000000 000000000000e03f")


def test_a_reply_gives_its_results() -> None:
    assert unpacked(struct.pack("<iii", 0, 2, 1), 1, 1).longs == (2,)
    assert unpacked(struct.pack("<iii", 0, 2, 1), 1, 1).bools == (True,)


@pytest.mark.parametrize(
    ("message", "kind", "says"),
    [
        (struct.pack("<i", -1), DeviceError, "does not know this function"),
        (struct.pack("<ii", 3, 0), DeviceError, "a call inside DigitalMicrograph failed"),
        (struct.pack("<ii", 99, 0), DeviceError, "error 99"),
        (struct.pack("<i", 0), ValueError, "4 bytes instead of 8"),
        (b"\0\0", ValueError, "2 bytes"),
        (bytes(500), ValueError, "500 bytes"),
    ],
)
def test_a_reply_that_is_none_is_not_taken_for_one(message: bytes, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says):
        unpacked(message, 1, 0)


# -- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"prot": 1}, "no option 'prot'"),
        ({"port": "48890"}, "port = '48890'"),
        ({"binning": 0}, "binning = 0"),
        ({"processing": "raw"}, "processing = 'raw'"),
        ({"overhead_s": True}, "overhead_s = True"),
        ({"exposure_limits_s": [2.0, 1.0]}, "exposure_limits_s"),
    ],
)
@really
async def test_a_wrong_option_is_refused_before_anything_is_connected(
    clock: RealClock, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(Refused, match=says):
        async with ORIUS.connect(clock, 7, options):
            pass


def test_the_address_names_the_instrument() -> None:
    assert ORIUS.address({"port": 50000}) == "orius 127.0.0.1:50000"


# -- what it asks for and gets ----------------------------------------------------------------------------------------


@asynccontextmanager
async def camera(clock: RealClock, emulator: OriusEmulator, **options: Any) -> AsyncIterator[Detector]:
    async with ORIUS.connect(clock, 7, {**emulator.options, **options}) as parts:
        assert parts.detector is not None
        yield parts.detector


async def one(detector: Detector) -> Any:
    await detector.start(EXPOSURE[0])
    return await anext(aiter(detector.frames()))


@pytest.mark.realtime
@really
async def test_the_request_says_what_the_plug_in_expects(clock: RealClock) -> None:
    emulator = OriusEmulator()
    async with emulator.serving(), camera(clock, emulator, binning=2, processing="dark subtracted") as detector:
        await detector.arm(EXPOSURE)
        assert (await one(detector)).counts.shape == (ROWS // 2, COLUMNS // 2)
    size = (ROWS // 2, COLUMNS // 2)
    longs = (size[0] * size[1], size[1], size[0], 1, 2, 0, 0, *size, -1, 0, 0, -1)
    assert emulator.requests == [(longs, (0.05, 0.0))]
    assert emulator.selected == [1, 1]


@pytest.mark.realtime
@pytest.mark.parametrize("superchunk", [1 << 25, 1000, 100])
@really
async def test_all_counts_arrive_whatever_the_chunks(clock: RealClock, superchunk: int) -> None:
    emulator = OriusEmulator()
    emulator.superchunk = superchunk
    async with emulator.serving(), camera(clock, emulator) as detector:
        await detector.arm(EXPOSURE)
        for image in range(3):
            frame = await one(detector)
            assert frame.counts.dtype == np.uint16
            assert np.array_equal(frame.counts, counts_of(image, (ROWS, COLUMNS)))


@pytest.mark.realtime
@really
async def test_an_image_later_than_any_readout_leaves_open_when_it_was_exposed(clock: RealClock) -> None:
    emulator = OriusEmulator()
    async with emulator.serving(), camera(clock, emulator, overhead_s=0.1) as detector:
        emulator.readout_s = 0.5
        await detector.arm((0.02,))
        await detector.start(0.02)
        frame = await anext(detector.frames())
    open_ns = frame.start_bounds_ns[1] - frame.start_ns
    assert frame.start_bounds_ns[0] == frame.start_ns
    assert open_ns >= 0.35 * NS_PER_S
    assert frame.end_bounds_ns == (frame.end_ns, frame.end_ns + open_ns)


@pytest.mark.realtime
@really
async def test_the_shutter_opens_after_the_delay_of_the_devices_file(clock: RealClock) -> None:
    emulator = OriusEmulator()
    async with emulator.serving(), camera(clock, emulator, open_delay_s=0.01) as detector:
        await detector.arm(EXPOSURE)
        asked_ns = clock.now_ns()
        assert await detector.start(0.05) >= asked_ns + 10_000_000


@pytest.mark.realtime
@pytest.mark.parametrize(
    ("fault", "says"), [({"cameras": 1}, "has 1 cameras"), ({"inserted": False}, "not inserted")], ids=["none", "out"]
)
@really
async def test_a_camera_that_is_not_there_is_said_at_once(clock: RealClock, fault: dict[str, Any], says: str) -> None:
    emulator = OriusEmulator()
    vars(emulator).update(fault)
    async with emulator.serving():
        with pytest.raises(DeviceError, match=says):
            async with camera(clock, emulator):
                pass


@pytest.mark.realtime
@pytest.mark.parametrize(("error", "says"), [(3, "inside DigitalMicrograph"), (-2, "ran out of memory")])
@really
async def test_an_error_of_digitalmicrograph_is_reported_and_the_next_image_is_right(
    clock: RealClock, error: int, says: str
) -> None:
    emulator = OriusEmulator()
    async with emulator.serving(), camera(clock, emulator) as detector:
        await detector.arm(EXPOSURE)
        emulator.error = error
        with pytest.raises(DeviceError, match=says):
            await one(detector)
        assert np.array_equal((await one(detector)).counts, counts_of(0, (ROWS, COLUMNS)))
        assert emulator.connections == 1


@pytest.mark.realtime
@really
async def test_an_image_of_another_size_is_not_taken_for_one_of_ours(clock: RealClock) -> None:
    emulator = OriusEmulator()
    async with emulator.serving(), camera(clock, emulator) as detector:
        await detector.arm(EXPOSURE)
        emulator.turned = True
        with pytest.raises(DeviceError, match=r"an image of 64 x 48 .* instead of 48 x 64; check rows"):
            await one(detector)
        emulator.turned = False
        await detector.arm(EXPOSURE)
        assert (await one(detector)).number == 0


@pytest.mark.realtime
@really
async def test_an_exposure_given_up_is_not_taken_for_the_next(clock: RealClock) -> None:
    emulator = OriusEmulator()
    async with emulator.serving(), camera(clock, emulator) as detector:
        await detector.arm((0.3, 0.01))
        await detector.start(0.3)
        frames = detector.frames()
        await detector.disarm()
        assert await numbers_left(frames) == []
        await detector.arm(EXPOSURE)
        frame = await one(detector)
        assert frame.number == 0
        assert np.array_equal(frame.counts, counts_of(1, (ROWS, COLUMNS)))


# -- faults -----------------------------------------------------------------------------------------------------------


@pytest.mark.realtime
@really
async def test_a_plug_in_that_is_not_there_is_one_line(clock: RealClock) -> None:
    emulator = OriusEmulator()
    async with emulator.serving():
        port = emulator.port
    with pytest.raises(DeviceError, match="cannot be reached") as caught:
        async with ORIUS.connect(clock, 7, {"port": port}):
            pass
    assert "\n" not in str(caught.value)


@pytest.mark.realtime
@pytest.mark.parametrize("mode", ["cut", "garbage"])
@really
async def test_a_broken_connection_is_said_and_arming_reconnects(clock: RealClock, mode: Any) -> None:
    emulator = OriusEmulator()
    async with emulator.serving(), Proxy(emulator.port) as proxy:
        async with camera(clock, emulator, port=proxy.port) as detector:
            await detector.arm(EXPOSURE)
            await detector.start(EXPOSURE[0])
            proxy.mode = mode
            with pytest.raises(DeviceError, match="connection was closed"):
                await anext(aiter(detector.frames()))
            with pytest.raises(DeviceError, match="no exposure"):
                await detector.start(EXPOSURE[0])
            with pytest.raises(DeviceError):
                await detector.arm(EXPOSURE)
            proxy.mode = "pass"
            await detector.arm(EXPOSURE)
            assert (await one(detector)).number == 0


@pytest.mark.realtime
@pytest.mark.parametrize("mode", ["stall", "half"])
@really
async def test_a_silent_plug_in_is_lost_in_bounded_time(
    clock: RealClock, mode: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drivers.gatan.orius.LATE_IMAGE_S", 0.5)
    emulator = OriusEmulator()
    async with emulator.serving(), Proxy(emulator.port) as proxy:
        async with camera(clock, emulator, port=proxy.port) as detector:
            await detector.arm(EXPOSURE)
            proxy.mode = mode
            await detector.start(EXPOSURE[0])
            with pytest.raises(DeviceLost, match="no answer in time"):
                await anext(aiter(detector.frames()))
            proxy.mode = "pass"
            await detector.arm(EXPOSURE)
            assert (await one(detector)).number == 0


@pytest.mark.realtime
@really
async def test_a_plug_in_ten_times_slower_is_waited_for(clock: RealClock) -> None:
    emulator = OriusEmulator()
    async with emulator.serving(), camera(clock, emulator) as detector:
        await detector.arm(EXPOSURE)
        emulator.readout_s *= 10
        for number in range(2):
            assert (await one(detector)).number == number


@pytest.mark.realtime
@really
async def test_digitalmicrograph_restarted_in_the_middle_is_a_fault_and_then_works_again(clock: RealClock) -> None:
    first, second = OriusEmulator(), OriusEmulator()
    async with AsyncExitStack() as running, second.serving(), Proxy(0) as proxy:
        await running.enter_async_context(first.serving())
        proxy.target_port = first.port
        async with camera(clock, first, port=proxy.port) as detector:
            await detector.arm(EXPOSURE)
            await detector.start(EXPOSURE[0])
            await running.aclose()
            with pytest.raises(DeviceError, match="connection was closed"):
                await anext(aiter(detector.frames()))
            proxy.target_port = second.port
            second.cameras = 1
            with pytest.raises(DeviceError, match="has 1 cameras"):  # looked at anew
                await detector.arm(EXPOSURE)
            second.cameras = 2
            await detector.arm(EXPOSURE)
            assert (await one(detector)).number == 0


@pytest.mark.realtime
@really
async def test_a_second_client_takes_the_connection_and_that_is_said(clock: RealClock) -> None:
    emulator = OriusEmulator()
    async with emulator.serving(), camera(clock, emulator) as detector:
        await detector.arm(EXPOSURE)
        _, other = await asyncio.open_connection("127.0.0.1", emulator.port)
        await emulator.replaced.wait()
        with pytest.raises(DeviceError, match="another program"):
            await one(detector)
        other.close()
