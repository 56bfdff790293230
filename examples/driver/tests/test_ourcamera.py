"""Our camera keeps credline's contract, and its faults are told as they are."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from camera_emulator import camera_emulator
from drivers.conformance import Bench, DeclaredConformance, DetectorConformance, bench_for
from engine.clock import RealClock
from engine.errors import DeviceError, DeviceLost, Refused

from ourcamera import OURCAMERA


@asynccontextmanager
async def instrument(clock):
    async with camera_emulator() as (_, port), OURCAMERA.connect(clock, 0, {"port": port}) as parts:
        yield parts


class TestOurCamera(DetectorConformance, DeclaredConformance):
    @pytest.fixture
    def bench(self) -> Bench:
        return bench_for(instrument, exposure_s=0.02, snapshot_exposure_s=0.002)

    @pytest.fixture
    def declared(self):
        return OURCAMERA.facts({})


@pytest.mark.parametrize(
    ("fault", "told"), [("stall", "no answer to 'EXPOSE"), ("garbage", "ValueError"), ("gone", "closed")]
)
def test_a_camera_that_fails_is_lost_and_never_misunderstood(fault, told, monkeypatch):
    monkeypatch.setattr("ourcamera.ANSWER_S", 0.3)

    async def body():
        clock = RealClock()
        async with camera_emulator() as (emulator, port), OURCAMERA.connect(clock, 0, {"port": port}) as parts:
            await parts.detector.arm((0.02, 0.002))
            emulator.fault = fault
            with pytest.raises(DeviceLost, match=told):
                await parts.detector.start(0.02)
            with pytest.raises(DeviceLost):
                await anext(parts.detector.frames())
            with pytest.raises(DeviceLost):
                await parts.detector.disarm()

    asyncio.run(body())


@pytest.mark.parametrize("options", [{"prot": 1}, {"port": "7700"}, {"host": 3}, {"port": 0}])
def test_mistakes_in_the_devices_file_are_refused(options):
    async def body():
        async with OURCAMERA.connect(RealClock(), 0, options):
            raise AssertionError

    with pytest.raises(Refused, match="ourcamera"):
        asyncio.run(body())


def test_a_camera_that_is_not_there_is_told():
    async def body():
        async with OURCAMERA.connect(RealClock(), 0, {"port": 1}):
            raise AssertionError

    with pytest.raises(DeviceError, match=r"127\.0\.0\.1:1 cannot be reached.*nothing was started"):
        asyncio.run(body())
