"""The driver of Instamatic's camera server, against that server itself (PyPI instamatic 2.2.2), a process on Linux.

Its simulated camera comes as it is; the other types, binnings and shutters of Instamatic's cameras are those of a camera
in instamaticserver.py, which writes down when it really exposed.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.conformance import Bench, Body, DetectorConformance
from drivers.contract import Detector, Parts
from drivers.instamatic.camera import INSTAMATIC_CAMERA
from drivers.simulated.microscope import SIMULATED_TIMING
from engine.clock import NS_PER_S, RealClock
from engine.frame import Frame
from tests.drivers.instamaticprocess import camserver, exposures_file
from tests.engine.virtually import really

pytestmark = [
    pytest.mark.realtime,
    pytest.mark.counterpart,
    pytest.mark.skipif(sys.platform != "linux", reason="the camera server is stubbed for Linux alone"),
]
PROTOCOLS = ["json", "pickle", "msgpack"]


@asynccontextmanager
async def connected(clock: RealClock, port: int, **options: Any) -> AsyncIterator[Parts]:
    async with INSTAMATIC_CAMERA.connect(clock, 0, {"port": port, "timeout_s": 5, **options}) as parts:
        yield parts


def camera_of(parts: Parts) -> Detector:
    assert parts.detector is not None
    return parts.detector


async def exposed(camera: Detector, exposures_s: list[float]) -> list[Frame]:
    """A series, each exposure begun as soon as the frame before is there."""
    await camera.arm(exposures_s)
    frames, got = camera.frames(), []
    for exposure_s in exposures_s:
        await camera.start(exposure_s)
        got.append(await anext(frames))
    await camera.disarm()
    return got


@pytest.mark.parametrize("protocol", PROTOCOLS)
class TestInstamaticsOwnCameraServer(DetectorConformance):
    @pytest.fixture
    def bench(self, protocol: str, tmp_path: Path) -> Bench:
        def run(body: Body) -> None:
            async def on_the_real_clock() -> None:
                clock = RealClock()
                with camserver(tmp_path, protocol) as (port, _):
                    async with (
                        connected(clock, port, protocol=protocol, readout_s=0.2) as parts,
                        SIMULATED_TIMING.connect(clock, 7, {}) as rest,
                    ):
                        await body(clock, rest.assembled({"detector": parts}))

            asyncio.run(on_the_real_clock())

        return Bench(run, exposure_s=0.05, snapshot_exposure_s=0.01)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@really
async def test_the_simulated_camera_is_taken_as_it_comes(clock: RealClock, tmp_path: Path, protocol: str) -> None:
    with camserver(tmp_path, protocol) as (port, _):
        async with connected(clock, port, protocol=protocol) as parts:
            frames = await exposed(camera_of(parts), [0.02, 0.01, 0.02])
            assert camera_of(parts).facts.saturation == 255
    assert [frame.number for frame in frames] == [0, 1, 2]
    for frame in frames:
        assert frame.counts.dtype == np.int64
        assert frame.counts.shape == (516, 516)
        assert frame.counts.max() == 255
    assert (frames[0].counts != frames[1].counts).any()


# What get_image gives of Instamatic's other cameras: Timepix, Merlin, Gatan's DLL.
@pytest.mark.parametrize(("dtype", "protocol"), [("int16", "json"), (">u2", "pickle"), ("float32", "msgpack")])
@really
async def test_the_types_of_the_other_cameras_come_as_they_are(
    clock: RealClock, tmp_path: Path, dtype: str, protocol: str
) -> None:
    with camserver(tmp_path, protocol, "other", dtype=dtype) as (port, _):
        async with connected(clock, port, protocol=protocol) as parts:
            frames = await exposed(camera_of(parts), [0.01, 0.01])
    assert [frame.counts.dtype for frame in frames] == [np.dtype(dtype)] * 2
    assert [float(frame.counts[0, 0]) for frame in frames] == [0, 1]
    assert (frames[1].counts[1:] == 20).all()


class Exposures:
    """What the camera of instamaticserver.py has written: begin and end of each exposure, on the clock of the test."""

    def __init__(self, clock: RealClock, folder: Path) -> None:
        origin_ns = time.perf_counter_ns() - clock.now_ns()  # noqa: TID251 - the two processes share this counter
        lines = [line.split() for line in exposures_file(folder).read_text().splitlines()]
        self.begin_ns = [round(float(begin) * NS_PER_S) - origin_ns for _, begin, _ in lines]
        self.end_ns = [round(float(end) * NS_PER_S) - origin_ns for _, _, end in lines]


def assert_covered(frames: list[Frame], true: Exposures) -> None:
    """Each exposure was between its frame's bounds."""
    assert len(true.begin_ns) == len(frames)
    for frame, begin_ns in zip(frames, true.begin_ns, strict=True):
        assert frame.start_bounds_ns[0] <= begin_ns <= frame.start_bounds_ns[1]


def open_s(frame: Frame) -> float:
    return (frame.start_bounds_ns[1] - frame.start_bounds_ns[0]) / NS_PER_S


@really
async def test_a_shutter_that_waits_after_a_change_is_within_the_bounds_of_its_frame(
    clock: RealClock, tmp_path: Path
) -> None:
    with camserver(tmp_path, camera="slow", setup_s=0.4) as (port, _):
        async with connected(clock, port) as parts:
            frames = await exposed(camera_of(parts), [0.1, 0.1, 0.1, 0.02, 0.1, 0.1])
    assert_covered(frames, Exposures(clock, tmp_path))
    assert all(open_s(frames[k]) > 0.4 for k in (3, 4))
    assert min(open_s(frame) for frame in frames) < 0.2  # a busy machine adds to it


@really
async def test_a_server_that_stands_still_leaves_open_when_it_exposed(clock: RealClock, tmp_path: Path) -> None:
    with camserver(tmp_path, camera="stopped") as (port, process):
        async with connected(clock, port) as parts:
            camera = camera_of(parts)
            await camera.arm([0.1])
            await camera.start(0.1)
            frames = [await anext(camera.frames())]
            os.kill(process.pid, signal.SIGSTOP)
            try:
                await camera.start(0.1)
                await clock.sleep_s(0.8)
            finally:
                os.kill(process.pid, signal.SIGCONT)
            frames.append(await anext(camera.frames()))
    assert_covered(frames, Exposures(clock, tmp_path))
    assert open_s(frames[1]) > 0.6
