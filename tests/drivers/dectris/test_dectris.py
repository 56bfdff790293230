"""The DECTRIS driver on our emulator: what it asks of the detector, what it puts back, what it does about faults."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

import numpy as np
import pytest

from drivers.conformance.bench import cancelled_soon, numbers_left
from drivers.contract import Detector, PacedDetector
from drivers.dectris.driver import DECTRIS
from engine.clock import RealClock, ns
from engine.errors import DeviceBusy, DeviceError, Refused
from engine.frame import Frame
from tests.drivers.counterparts import free_port
from tests.drivers.emulators.simplon import COLUMNS, MASKED_ROW, OVERLOADED, ROWS, SimplonEmulator, counts_of
from tests.drivers.proxy import Proxy
from tests.engine.virtually import really

pytest.importorskip("dectris.compression", reason="make counterparts installs it; it needs a compiler")

pytestmark = pytest.mark.realtime

EXPOSURE = (0.05, 0.01)


@asynccontextmanager
async def camera(clock: RealClock, emulator: SimplonEmulator, **options: Any) -> AsyncIterator[Detector]:
    async with DECTRIS.connect(clock, 7, {**emulator.options, **options}) as parts:
        assert parts.detector is not None
        yield parts.detector


@asynccontextmanager
async def armed(clock: RealClock, **options: Any) -> AsyncIterator[tuple[SimplonEmulator, Detector]]:
    emulator = SimplonEmulator()
    async with emulator.serving(), camera(clock, emulator, **options) as detector:
        await detector.arm(EXPOSURE)
        yield emulator, detector


async def one(detector: Detector, exposure_s: float = EXPOSURE[0]) -> Frame:
    await detector.start(exposure_s)
    return await anext(aiter(detector.frames()))


# -- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"prot": 1}, "no option 'prot'"),
        ({"port": "80"}, "port = '80'"),
        ({"port": 0}, "port = 0"),
        ({"series": "ints"}, "series = 'ints'"),
        ({"initialize": 1}, "initialize = 1"),
        ({"subframe_s": -0.1}, "subframe_s = -0.1"),
        ({"overhead_s": float("nan")}, "overhead_s = nan"),
        ({"depth_bits": 24}, "depth_bits = 24"),
    ],
)
@really
async def test_a_wrong_option_is_refused_before_anything_is_connected(
    clock: RealClock, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(Refused, match=says):
        async with DECTRIS.connect(clock, 7, options):
            pass


def test_the_address_names_the_instrument() -> None:
    assert DECTRIS.address({"host": "10.0.0.2"}) == "dectris 10.0.0.2:80"


# -- what it asks of the detector -------------------------------------------------------------------------------------


@really
async def test_every_trigger_carries_its_exposure_so_that_a_snapshot_needs_no_new_configuration(
    clock: RealClock,
) -> None:
    async with armed(clock) as (emulator, detector):
        for exposure_s in (0.05, 0.01, 0.05):
            await one(detector, exposure_s)
        assert emulator.exposures_s == [0.05, 0.01, 0.05]
        assert emulator.commands == ["arm", "trigger", "trigger", "trigger"]
        assert emulator.found["detector/trigger_mode"] == "inte"


@really
async def test_a_paced_series_is_triggered_once_and_sums_its_images(clock: RealClock) -> None:
    async with armed(clock, series="paced") as (emulator, detector):
        frames = [await one(detector, exposure_s) for exposure_s in (0.05, 0.01, 0.03)]
        assert emulator.commands == ["arm", "trigger"]
        assert emulator.found["detector/trigger_mode"] == "ints"
        assert [round((frame.end_ns - frame.start_ns) / 1e7) for frame in frames] == [5, 1, 3]
        # Its first row holds the column numbers in each image.
        assert [int(frame.counts[0, 10]) for frame in frames] == [50, 10, 30]


@really
async def test_a_paced_series_tells_when_its_images_begin_and_an_exposure_begins_with_one(clock: RealClock) -> None:
    async with armed(clock, series="paced") as (_, camera):
        detector = cast(PacedDetector, camera)
        assert detector.facts.paced is not None
        lead_ns = ns(detector.facts.paced.lead_s)
        soon_ns = clock.now_ns() + ns(0.02)
        told_ns = await detector.part_begin_ns(soon_ns)
        assert soon_ns <= told_ns < soon_ns + 2 * lead_ns
        await clock.sleep_until(told_ns - lead_ns, precise=True)
        asked_ns = clock.now_ns()
        began_ns = await detector.start(0.05)
        assert asked_ns <= began_ns <= clock.now_ns() + 2 * lead_ns
    with pytest.raises(DeviceError, match="its images do not run; nothing was exposed"):
        await detector.part_begin_ns(0)


@really
async def test_an_external_series_waits_for_its_pulse(clock: RealClock) -> None:
    async with armed(clock, series="external") as (emulator, detector):
        assert emulator.commands == ["arm"]
        assert emulator.found["detector/trigger_mode"] == "exts"
        with pytest.raises(DeviceError, match=r"external trigger; no exposure"):
            await detector.start(EXPOSURE[0])
        emulator.pulse()
        async with clock.timeout_at(clock.now_ns() + ns(20)):
            while True:
                try:
                    assert (await one(detector)).number == 0
                    break
                except DeviceError:
                    await clock.sleep_s(0.01)


@really
async def test_masked_pixels_are_zero_and_overloaded_ones_saturated(clock: RealClock) -> None:
    for series in ("triggered", "paced"):
        async with armed(clock, series=series) as (_, detector):
            counts = (await one(detector)).counts
            assert counts[MASKED_ROW].max() == 0
            assert counts[OVERLOADED] == detector.facts.saturation
            assert (counts == detector.facts.saturation).sum() == 1


@pytest.mark.parametrize(("depth_bits", "dtype"), [(16, np.uint16), (32, np.uint32)])
@really
async def test_sums_are_as_deep_as_the_devices_file_says(clock: RealClock, depth_bits: int, dtype: type) -> None:
    """What does not fit into 16 bits reads as overloaded, never as a small number."""
    emulator = SimplonEmulator()
    emulator.brightness = 30_000
    async with emulator.serving(), camera(clock, emulator, series="paced", depth_bits=depth_bits) as detector:
        await detector.arm(EXPOSURE)
        assert detector.facts.saturation == np.iinfo(dtype).max
        counts = (await one(detector)).counts
        assert counts.dtype == dtype
        assert counts[20, 20] == min(detector.facts.saturation, 150_000)
        assert counts[0, 10] == 50


@really
async def test_counts_are_those_of_the_detector(clock: RealClock) -> None:
    async with armed(clock) as (_, detector):
        for number in range(3):
            expected = counts_of(number)
            expected[MASKED_ROW] = 0
            frame = await one(detector)
            assert frame.counts.dtype == np.uint16
            assert np.array_equal(frame.counts, expected)


@pytest.mark.parametrize("series", ["triggered", "paced", "external"])
@pytest.mark.parametrize("ends", ["well", "with an error"])
@really
async def test_the_detector_is_put_back_as_it_was_found(clock: RealClock, series: str, ends: str) -> None:
    emulator = SimplonEmulator()
    before = {key: value for key, value in emulator.found.items() if "mask" not in key}
    async with emulator.serving():
        try:
            async with camera(
                clock, emulator, series=series, flatfield_correction=True, countrate_correction=False
            ) as it:
                await it.arm(EXPOSURE)
                assert emulator.found["detector/flatfield_correction_applied"] is True
                assert emulator.found["detector/countrate_correction_applied"] is False
                assert emulator.found["stream/format"] == "legacy"
                if ends != "well":
                    raise RuntimeError("the run broke")
        except RuntimeError:
            pass
        assert {key: value for key, value in emulator.found.items() if "mask" not in key} == before
        assert emulator.state == "idle"


@really
async def test_a_detector_with_the_api_1_6_has_other_keys_and_is_used_all_the_same(clock: RealClock) -> None:
    emulator = SimplonEmulator()
    emulator.version = "1.6.0"
    emulator.config["detector/pixel_mask"] = emulator.config.pop("detector/threshold/1/pixel_mask")
    emulator.config["stream/format"] = {"value": "legacy"}
    async with emulator.serving():
        async with camera(clock, emulator) as detector:
            await detector.arm(EXPOSURE)
            assert (await one(detector)).counts[MASKED_ROW].max() == 0
        del emulator.config["detector/pixel_mask"]
        async with camera(clock, emulator) as detector:  # without a mask, the marker stays
            await detector.arm(EXPOSURE)
            assert (await one(detector)).counts[MASKED_ROW].min() == detector.facts.saturation


@pytest.mark.parametrize(
    ("version", "state", "says"), [("2.0.0", "idle", "version '2.0.0'"), ("1.8.0", "na", "state is 'na'")]
)
@really
async def test_a_detector_that_cannot_be_used_is_said_and_left_alone(
    clock: RealClock, version: str, state: str, says: str
) -> None:
    emulator = SimplonEmulator()
    emulator.version, emulator.state = version, state
    async with emulator.serving():
        with pytest.raises(DeviceError, match=says):
            async with camera(clock, emulator):
                pass
    assert emulator.commands == []


@really
async def test_a_detector_just_switched_on_is_initialised_where_the_devices_file_says_so(clock: RealClock) -> None:
    emulator = SimplonEmulator()
    emulator.state = "na"
    async with emulator.serving(), camera(clock, emulator, initialize=True):
        assert emulator.commands == ["initialize"]


# -- lost, late and foreign images ------------------------------------------------------------------------------------


@really
async def test_a_lost_image_leaves_a_gap_in_the_numbers(clock: RealClock) -> None:
    async with armed(clock) as (emulator, detector):
        emulator.lost = {1}
        for _ in range(3):
            began_ns = await detector.start(0.05)
            await clock.sleep_until(began_ns + ns(detector.facts.cycle_s(0.05)))
        frames = detector.frames()
        await detector.disarm()
        assert await numbers_left(frames) == [0, 2]


@pytest.mark.parametrize("series", ["triggered", "paced"])
@really
async def test_a_frame_whose_exposure_is_over_is_waited_for_when_disarming(clock: RealClock, series: str) -> None:
    emulator = SimplonEmulator()
    async with emulator.serving(), Proxy(emulator.stream_port) as stream:
        async with camera(clock, emulator, stream_port=stream.port, series=series) as detector:
            await detector.arm(EXPOSURE)
            stream.mode = "stall"
            began_ns = await detector.start(0.05)
            await clock.sleep_until(began_ns + ns(0.1))
            frames = detector.frames()
            asyncio.get_running_loop().call_later(0.2, setattr, stream, "mode", "pass")
            await detector.disarm()
            assert await numbers_left(frames) == [0]


@really
async def test_a_lost_image_of_a_paced_series_loses_the_exposure_it_belongs_to(clock: RealClock) -> None:
    async with armed(clock, series="paced") as (emulator, detector):
        for number in range(3):
            began_ns = await detector.start(0.05)
            if number == 1:
                emulator.lost = {emulator.number + 3}
            await clock.sleep_until(began_ns + ns(detector.facts.cycle_s(0.05)))
        frames = detector.frames()
        await detector.disarm()
        assert await numbers_left(frames) == [0, 2]


@really
async def test_images_of_another_series_are_not_taken_for_ours(clock: RealClock) -> None:
    async with armed(clock) as (emulator, detector):
        emulator.send_image(0, series=39)
        await detector.start(0.05)
        emulator.send_image(0, series=39)
        emulator.send({"htype": "dseries_end-1.0", "series": 39})
        emulator.send_image(1, series=42)
        assert np.array_equal((await anext(aiter(detector.frames()))).counts[0], counts_of(0)[0])
        assert (await one(detector)).number == 1


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("end", "ended the series after 1 exposures"),
        ("unasked", "image 5, which was not asked for"),
        ("cbor", "version 2"),
        ("noise", "not JSON"),
        ("shape", r"\(48, 65\) pixels instead of \(48, 64\)"),
    ],
)
@really
async def test_a_stream_that_makes_no_sense_is_a_fault_and_arming_again_helps(
    clock: RealClock, what: str, says: str
) -> None:
    async with armed(clock) as (emulator, detector):
        await one(detector)
        about = {"htype": "dimage_d-1.0", "shape": [COLUMNS + 1, ROWS], "type": "uint16", "encoding": "<"}
        head = {"htype": "dimage-1.0", "series": emulator.series, "frame": 1}
        {
            "end": emulator.end_series,
            "unasked": lambda: emulator.send_image(5),
            "cbor": lambda: emulator.send(b"\xd9\xd9\xf7\xa0"),
            "noise": lambda: emulator.send(b"\x00\xff"),
            "shape": lambda: emulator.send(head, about, bytes(2 * ROWS * (COLUMNS + 1)), {}),
        }[what]()
        with pytest.raises(DeviceError, match=says):
            await anext(aiter(detector.frames()))
        with pytest.raises(DeviceError, match="No exposure was made"):
            await detector.start(0.05)
        await detector.arm(EXPOSURE)
        assert (await one(detector)).number == 0


@really
async def test_an_exposure_is_under_way_whether_or_not_the_trigger_was_answered(clock: RealClock) -> None:
    async with armed(clock) as (emulator, detector):
        emulator.replies_at_once = True
        began_ns = await detector.start(0.3)
        await clock.sleep_until(began_ns + ns(0.1))
        with pytest.raises(DeviceBusy):
            await detector.start(0.3)
        assert (await anext(aiter(detector.frames()))).number == 0
        assert (await one(detector)).number == 1


@really
async def test_no_more_is_asked_for_than_the_detector_takes(clock: RealClock) -> None:
    emulator = SimplonEmulator()
    emulator.config["detector/nimages"]["max"] = 5000
    emulator.config["detector/ntrigger"]["max"] = 4000
    async with emulator.serving():
        for series, nimages, ntrigger in (("paced", 5000, 1), ("triggered", 1, 4000)):
            async with camera(clock, emulator, series=series) as detector:
                await detector.arm(EXPOSURE)
                assert emulator.found["detector/nimages"] == nimages
                assert emulator.found["detector/ntrigger"] == ntrigger


@really
async def test_something_else_that_speaks_http_is_not_taken_for_a_detector(clock: RealClock) -> None:
    emulator = SimplonEmulator()
    del emulator.config["detector/trigger_mode"]
    async with emulator.serving():
        with pytest.raises(DeviceError, match="has no detector trigger_mode"):
            async with camera(clock, emulator):
                pass


@really
async def test_a_cancelled_start_leaves_the_camera_usable(clock: RealClock) -> None:
    async with armed(clock) as (_, detector):
        await cancelled_soon(detector.start(0.05))
        await detector.arm(EXPOSURE)
        assert (await one(detector)).number == 0


# -- faults of the network --------------------------------------------------------------------------------------------


@really
async def test_a_detector_that_is_not_there_is_one_line(clock: RealClock) -> None:
    emulator = SimplonEmulator()
    async with emulator.serving():
        options = emulator.options
    with pytest.raises(DeviceError, match="cannot be reached") as caught:
        async with DECTRIS.connect(clock, 7, options):
            pass
    assert "\n" not in str(caught.value)


@really
async def test_a_stream_that_is_not_there_is_said_when_connecting(
    clock: RealClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drivers.dectris.socket.CONNECT_LIMIT_S", 0.5)
    emulator = SimplonEmulator()
    async with emulator.serving():
        with pytest.raises(DeviceError, match="its stream cannot be reached"):
            async with camera(clock, emulator, stream_port=free_port()):
                pass


def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.dectris.rest.REQUEST_LIMIT_S", 1.0)
    monkeypatch.setattr("drivers.dectris.detector.REPLY_LIMIT_S", 1.0)
    monkeypatch.setattr("drivers.dectris.detector.ARM_LIMIT_S", 1.0)


@pytest.mark.parametrize("mode", ["cut", "stall", "garbage", "half"])
@pytest.mark.parametrize("series", ["triggered", "paced"])
@really
async def test_bad_http_is_a_fault_in_bounded_time_and_arming_again_helps(
    clock: RealClock, mode: Any, series: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator = SimplonEmulator()
    async with emulator.serving(), Proxy(emulator.port) as proxy:
        async with camera(clock, emulator, port=proxy.port, series=series) as detector:
            await detector.arm(EXPOSURE)
            impatient(monkeypatch)
            proxy.mode = mode
            with pytest.raises(DeviceError):
                await detector.disarm()
            with pytest.raises(DeviceError):
                await detector.arm(EXPOSURE)
            with pytest.raises(DeviceError, match="no exposure was made"):
                await detector.start(0.05)
            proxy.mode = "pass"
            await detector.arm(EXPOSURE)
            assert (await one(detector)).number == 0


@pytest.mark.parametrize("mode", ["cut", "stall", "garbage", "half"])
@really
async def test_a_trigger_without_a_proper_answer_is_a_fault(
    clock: RealClock, mode: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator = SimplonEmulator()
    emulator.lost = set(range(100))
    async with emulator.serving(), Proxy(emulator.port) as proxy:
        async with camera(clock, emulator, port=proxy.port) as detector:
            await detector.arm(EXPOSURE)
            impatient(monkeypatch)
            await detector.start(0.05)
            proxy.mode = mode
            with pytest.raises(DeviceError, match=r"unknown|whether"):
                await anext(aiter(detector.frames()))
            with pytest.raises(DeviceError, match="No exposure was made"):
                await detector.start(0.05)
            proxy.mode = "pass"
            emulator.lost = set()
            await detector.arm(EXPOSURE)
            assert (await one(detector)).number == 0


@pytest.mark.parametrize("mode", ["cut", "stall", "garbage"])
@really
async def test_a_paced_series_whose_stream_falls_silent_exposes_no_more(
    clock: RealClock, mode: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drivers.dectris.detector.SILENCE_S", 0.5)
    emulator = SimplonEmulator()
    async with emulator.serving(), Proxy(emulator.stream_port) as proxy:
        async with camera(clock, emulator, stream_port=proxy.port, series="paced") as detector:
            await detector.arm(EXPOSURE)
            proxy.mode = mode
            await clock.sleep_s(1.0)
            with pytest.raises(DeviceError, match="No exposure was made"):
                await detector.start(0.05)
            proxy.mode = "pass"
            await detector.arm(EXPOSURE)
            assert (await one(detector)).number == 0


@really
async def test_a_network_ten_times_slower_is_waited_for(clock: RealClock) -> None:
    emulator = SimplonEmulator()
    async with emulator.serving(), Proxy(emulator.port) as rest, Proxy(emulator.stream_port) as stream:
        rest.delay_s = stream.delay_s = 0.05
        async with camera(clock, emulator, port=rest.port, stream_port=stream.port) as detector:
            await detector.arm(EXPOSURE)
            for number in range(3):
                assert (await one(detector)).number == number


@pytest.mark.parametrize("series", ["triggered", "paced"])
@really
async def test_a_detector_restarted_in_the_middle_is_a_fault_and_then_works_again(
    clock: RealClock, series: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drivers.dectris.detector.SILENCE_S", 0.5)
    first, second = SimplonEmulator(), SimplonEmulator()
    second.state = "na"
    async with AsyncExitStack() as running, second.serving(), Proxy(0) as rest, Proxy(0) as stream:
        await running.enter_async_context(first.serving())
        rest.target_port, stream.target_port = first.port, first.stream_port
        async with camera(clock, first, port=rest.port, stream_port=stream.port, series=series) as detector:
            await detector.arm(EXPOSURE)
            assert (await one(detector)).number == 0
            await running.aclose()
            rest.target_port, stream.target_port = second.port, second.stream_port
            with pytest.raises(DeviceError):
                await one(detector)
            with pytest.raises(DeviceError, match="state is 'na'"):  # read anew
                await detector.arm(EXPOSURE)
            second.state = "idle"
            await detector.arm(EXPOSURE)
            assert (await one(detector)).number == 0


@really
async def test_nothing_is_left_running(clock: RealClock) -> None:
    import threading

    before = set(asyncio.all_tasks())
    async with armed(clock):
        pass
    left = {task for task in asyncio.all_tasks() if task not in before and not task.done()}
    assert not {task.get_name() for task in left if "dectris" in task.get_name()}
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("stream of the")]
