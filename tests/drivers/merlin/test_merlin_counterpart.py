"""The Merlin driver with LiberTEM-live's simulator, a program that was not written here: conformance, rate, faults."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.conformance import Bench, Body, DeclaredConformance, DetectorConformance
from drivers.contract import Microscope, Parts
from drivers.declared import Declared
from drivers.facts import Geometry, Timing
from drivers.merlin.camera import MERLIN
from drivers.selfpaced.series import SelfPaced
from engine.clock import NS_PER_S, RealClock
from engine.errors import DeviceError
from tests.drivers import mibdata
from tests.drivers.counterparts import accepts
from tests.drivers.merlinsimulator import Simulator, simulator
from tests.drivers.proxy import Proxy
from tests.engine.virtually import really

pytestmark = [pytest.mark.realtime, pytest.mark.counterpart]

FRAMES = 2500
DWELL_US = "10000"
PATIENT_S = 20.0


def camera_only(parts: Parts) -> Microscope:
    """A microscope of which only the camera may be touched."""
    nothing: Any = None
    return Microscope(
        nothing, nothing, nothing, parts.detector or nothing, Geometry(0.025, 250, 0.055, 0, 256, 256), Timing(1, 1, 1)
    )


def bench_on(found: Simulator) -> Bench:
    def run(body: Body) -> None:
        async def connected() -> None:
            clock = RealClock()
            options = {"port": found.port, "data_port": found.data_port, "timeout_s": PATIENT_S}
            async with MERLIN.connect(clock, 1, options) as parts:
                await body(clock, camera_only(parts))

        asyncio.run(connected())

    return Bench(run, exposure_s=0.05, snapshot_exposure_s=0.01)


def noise(shape: tuple[int, int], count: int) -> Iterator[Any]:
    made = np.random.default_rng(1).poisson(5, (10, *shape))
    return (made[each % 10] for each in range(count))


@pytest.fixture(scope="module")
def small_simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    dataset = mibdata.write(tmp_path_factory.mktemp("mib"), noise((64, 64), FRAMES))
    with simulator(dataset, FRAMES, "--wait-trigger", "--dwelltime", DWELL_US) as running:
        yield running


class TestOnLiberTEMsSimulator(DetectorConformance, DeclaredConformance):
    @pytest.fixture
    def declared(self) -> Declared:
        return MERLIN.facts({})

    @pytest.fixture
    def bench(self, small_simulator: Simulator) -> Bench:
        return bench_on(small_simulator)


@really
async def test_a_thousand_frames_at_the_highest_rate_and_none_is_lost(
    clock: RealClock, tmp_path: Path, record_property: Any, capsys: Any
) -> None:
    count = 1000
    dataset = mibdata.write(tmp_path, noise((512, 512), count))
    with simulator(dataset, count, "--wait-trigger") as found:
        options = {"port": found.port, "data_port": found.data_port, "timeout_s": PATIENT_S}
        async with MERLIN.connect(clock, 1, options) as parts:
            detector = parts.detector
            assert isinstance(detector, SelfPaced)
            await detector.arm((0.01, 0.01), every_part=True)
            made = list(noise((512, 512), 10))
            numbers, begin_ns, end_ns = [], 0, 0
            async for frame in detector.every_part():
                begin_ns = begin_ns or clock.now_ns()
                assert np.array_equal(frame.counts[::64], made[frame.number % 10][::64])
                numbers.append(frame.number)
                if len(numbers) == count:
                    end_ns = clock.now_ns()
                    break
    assert numbers == list(range(count))
    rate = (count - 1) / (end_ns - begin_ns) * NS_PER_S
    record_property("frames_per_s", round(rate))
    with capsys.disabled():
        print(f"\n1000 frames of 512 x 512 in 12 bits: {rate:.0f} frames/s, {rate * 512 * 512 * 2 / 1e6:.0f} MB/s")


@pytest.mark.parametrize("mode", [["--wait-trigger"], ["--garbage"], ["--wait-trigger", "--continuous"], []])
@really
async def test_every_mode_of_the_simulator_is_understood(clock: RealClock, tmp_path: Path, mode: list[str]) -> None:
    dataset = mibdata.write(tmp_path, noise((64, 64), 300), 6)
    with simulator(dataset, 300, "--dwelltime", DWELL_US, *mode) as found:
        trigger = "soft" if mode else "internal"
        options = {"port": found.port, "data_port": found.data_port, "depth": 6, "trigger": trigger}
        async with MERLIN.connect(clock, 1, {**options, "timeout_s": PATIENT_S}) as parts:
            detector = parts.detector
            assert detector is not None
            await detector.arm((0.05, 0.01))
            frames = detector.frames()
            await detector.start(0.05)
            frame = await anext(frames)
            assert frame.counts.dtype == np.uint16
            assert 5 * 2 < frame.counts.mean() < 5 * 8


@pytest.mark.parametrize("fault", ["stall", "garbage", "half", "cut"])
@really
async def test_a_spoilt_stream_of_the_simulator_is_said(clock: RealClock, tmp_path: Path, fault: Any) -> None:
    dataset = mibdata.write(tmp_path, noise((64, 64), 1000))
    with simulator(dataset, 1000, "--wait-trigger", "--dwelltime", DWELL_US) as found:
        async with Proxy(found.data_port) as data:
            options = {"port": found.port, "data_port": data.port, "timeout_s": 2.0}
            async with MERLIN.connect(clock, 1, options) as parts:
                detector = parts.detector
                assert detector is not None
                await detector.arm((0.05, 0.01))
                frames = detector.frames()
                await detector.start(0.05)
                data.mode = fault
                with pytest.raises(DeviceError, match="the series is over"):
                    await anext(frames)
                data.mode = "pass"
                if not accepts(found.port):  # a simulator that did not survive its own stream says nothing of ours
                    pytest.skip("the simulator takes no connections any more")
                await detector.arm((0.05, 0.01))
                frames = detector.frames()
                await detector.start(0.05)
                assert (await anext(frames)).number == 0


@really
async def test_a_simulator_that_ends_in_the_middle_is_said_also_when_settings_cannot_be_put_back(
    clock: RealClock, tmp_path: Path
) -> None:
    dataset = mibdata.write(tmp_path, noise((64, 64), 1000))
    with simulator(dataset, 1000, "--wait-trigger", "--dwelltime", DWELL_US) as found:
        options = {"port": found.port, "data_port": found.data_port, "timeout_s": 2.0}
        instrument = MERLIN.connect(clock, 1, options)
        detector = (await instrument.__aenter__()).detector
        assert detector is not None
        await detector.arm((0.05, 0.01))
        frames = detector.frames()
        await detector.start(0.05)
        found.process.kill()
        with pytest.raises(DeviceError, match="the series is over"):
            await anext(frames)
        for left in (detector.arm((0.05, 0.01)), instrument.__aexit__(None, None, None)):
            with pytest.raises(DeviceError, match="Check that the Merlin software runs"):
                await left
