"""The DECTRIS driver and the process of eiger-simulator: counts, order, a restart, a proxy between, a long series."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import numpy as np
import pytest

from drivers.conformance.bench import numbers_left
from drivers.contract import Detector
from drivers.dectris.driver import DECTRIS
from engine.clock import RealClock, ns
from engine.errors import DeviceError
from tests.drivers.eigersim import IMAGES, EigerSimulator, counts_of, prepared
from tests.drivers.proxy import Proxy
from tests.engine.virtually import really

pytestmark = [pytest.mark.counterpart, pytest.mark.realtime]

EXPOSURE = (0.05, 0.01)


@pytest.fixture(scope="module")
def prepared_simulator(tmp_path_factory: pytest.TempPathFactory) -> EigerSimulator:
    return prepared(tmp_path_factory.mktemp("eigersim"), "bslz4")


@pytest.fixture
def simulator(prepared_simulator: EigerSimulator) -> Iterator[EigerSimulator]:
    with prepared_simulator.running():
        yield prepared_simulator


@asynccontextmanager
async def camera(clock: RealClock, simulator: EigerSimulator, **options: Any) -> AsyncIterator[Detector]:
    async with DECTRIS.connect(clock, 7, {**simulator.options, **options}) as parts:
        assert parts.detector is not None
        yield parts.detector


@really
async def test_a_snapshot_is_one_of_its_images_and_a_frame_the_sum_of_consecutive_ones(
    clock: RealClock, simulator: EigerSimulator
) -> None:
    async with camera(clock, simulator) as detector:
        await detector.arm(EXPOSURE)
        frames = aiter(detector.frames())
        for exposure_s, images in ((0.01, 1), (0.05, 5), (0.03, 3)):
            await detector.start(exposure_s)
            counts = (await anext(frames)).counts
            sums = [sum(counts_of(first + k).astype(np.uint32) for k in range(images)) for first in range(IMAGES)]
            assert any(np.array_equal(counts, each) for each in sums)


@really
async def test_four_hundred_exposures_of_one_image_lose_none(clock: RealClock, simulator: EigerSimulator) -> None:
    async with camera(clock, simulator, subframe_s=0.02) as detector:
        await detector.arm((0.02, 0.02))
        frames = aiter(detector.frames())
        for number in range(400):
            await detector.start(0.02)
            assert (await anext(frames)).number == number


@really
async def test_its_configuration_is_put_back(clock: RealClock, simulator: EigerSimulator) -> None:
    keys = ("count_time", "frame_time", "nimages", "ntrigger", "trigger_mode", "countrate_correction_applied")
    before = [simulator.get(key) for key in keys]
    async with camera(clock, simulator, countrate_correction=False) as detector:
        await detector.arm(EXPOSURE)
        changed = await asyncio.to_thread(lambda: [simulator.get(key) for key in keys])
        assert changed != before
    assert [simulator.get(key) for key in keys] == before


@really
async def test_one_triggered_exposure(clock: RealClock, simulator: EigerSimulator) -> None:
    """Of a series of triggers it ends the series after the first, which a detector does not; that is said."""
    async with camera(clock, simulator, series="triggered") as detector:
        await detector.arm(EXPOSURE)
        frames = aiter(detector.frames())
        await detector.start(0.05)
        frame = await anext(frames)
        assert frame.number == 0
        assert frame.counts.dtype == np.uint16
        assert any(np.array_equal(frame.counts, counts_of(image)) for image in range(IMAGES))
        with pytest.raises(DeviceError, match="ended the series after 1 exposures"):
            await anext(frames)


@really
async def test_restarted_in_the_middle_it_is_a_fault_and_then_works_again(
    clock: RealClock, prepared_simulator: EigerSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drivers.dectris.detector.SILENCE_S", 0.5)
    with ExitStack() as process:
        await asyncio.to_thread(process.enter_context, prepared_simulator.running())
        async with camera(clock, prepared_simulator) as detector:
            await detector.arm(EXPOSURE)
            frames = aiter(detector.frames())
            await detector.start(0.05)
            assert (await anext(frames)).number == 0
            await asyncio.to_thread(process.close)
            with pytest.raises(DeviceError):
                await anext(frames)
            with pytest.raises(DeviceError, match="No exposure was made"):
                await detector.start(0.05)
            with pytest.raises(DeviceError, match="cannot be reached"):
                await detector.arm(EXPOSURE)
            await asyncio.to_thread(process.enter_context, prepared_simulator.running())
            await detector.arm(EXPOSURE)
            await detector.start(0.05)
            assert (await anext(aiter(detector.frames()))).number == 0


@pytest.mark.parametrize("mode", ["cut", "half", "stall"])
@really
async def test_a_broken_network_to_it_is_a_fault_and_arming_again_helps(
    clock: RealClock, simulator: EigerSimulator, mode: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drivers.dectris.rest.REQUEST_LIMIT_S", 1.0)
    async with Proxy(simulator.port) as rest, Proxy(simulator.stream_port) as stream:
        async with camera(clock, simulator, port=rest.port, stream_port=stream.port) as detector:
            await detector.arm(EXPOSURE)
            await detector.start(0.05)
            assert (await anext(aiter(detector.frames()))).number == 0
            rest.mode = stream.mode = mode
            with pytest.raises(DeviceError):
                await detector.disarm()
            rest.mode = stream.mode = "pass"
            await detector.arm(EXPOSURE)
            began_ns = await detector.start(0.05)
            await clock.sleep_until(began_ns + ns(detector.facts.cycle_s(0.05)))
            frames = detector.frames()
            await detector.disarm()
            assert await numbers_left(frames) == [0]
