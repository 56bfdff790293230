"""The driver of Instamatic's camera server, against that server itself (PyPI instamatic 2.2.2), a process on Linux.

Its simulated camera comes as it is; the other types, binnings and shutters of Instamatic's cameras are those of a
camera in instamaticserver.py, which writes down when it really exposed.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
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
from engine.errors import DeviceError
from engine.frame import Frame
from protocols.products.distortion import shifts
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


Stock = tuple[int, dict[str, str]]
"""The port of a server, and the options that it needs."""


@pytest.fixture(scope="module", params=[*PROTOCOLS, "socket"])
def stock(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stock]:
    """The camera server as it comes, for each protocol, and as it is for clients on another computer."""
    folder, remote = tmp_path_factory.mktemp("camserver"), request.param == "socket"
    options = {"protocol": "pickle", "pictures": "socket"} if remote else {"protocol": request.param}
    with camserver(folder, options["protocol"], shared_memory=not remote) as (port, _):
        yield port, options


class TestInstamaticsOwnCameraServer(DetectorConformance):
    @pytest.fixture
    def bench(self, stock: Stock) -> Bench:
        port, options = stock

        def run(body: Body) -> None:
            async def on_the_real_clock() -> None:
                clock = RealClock()
                async with (
                    connected(clock, port, readout_s=0.2, **options) as parts,
                    SIMULATED_TIMING.connect(clock, 7, {}) as rest,
                ):
                    await body(clock, rest.assembled({"detector": parts}))

            asyncio.run(on_the_real_clock())

        return Bench(run, exposure_s=0.05, snapshot_exposure_s=0.01)


@really
async def test_the_simulated_camera_is_taken_as_it_comes(clock: RealClock, stock: Stock) -> None:
    port, options = stock
    async with connected(clock, port, **options) as parts:
        frames = await exposed(camera_of(parts), [0.02, 0.01, 0.02])
        assert camera_of(parts).facts.saturation == 255
    assert [frame.number for frame in frames] == [0, 1, 2]
    for frame in frames:
        assert frame.counts.dtype == np.int64
        assert frame.counts.shape == (516, 516)
        assert frame.counts.max() == 255
    assert (frames[0].counts != frames[1].counts).any()


@really
async def test_what_the_camera_knows_of_the_geometry_is_taken_over(clock: RealClock, stock: Stock) -> None:
    port, options = stock
    async with connected(clock, port, **options) as parts:
        assert parts.geometry == {
            "pixel_size_mm": 0.055,
            "rotation_axis_deg": pytest.approx(-128.343, abs=1e-3),
            "distortion_amplitude_percent": 2.43,
            "distortion_azimuth_deg": pytest.approx(6.63),
        }


def test_the_distortion_is_undone_as_instamatic_undoes_it() -> None:
    half, azimuth_rad = 2.43 / 200, np.radians(180 - 83.37)  # rows first, as its correction tables are made
    turned = np.array([[np.cos(azimuth_rad), -np.sin(azimuth_rad)], [np.sin(azimuth_rad), np.cos(azimuth_rad)]])
    theirs = turned @ np.diag([1 - half, 1 + half]) @ turned.T - np.eye(2)
    slow, fast = np.mgrid[:64, :48] + 0.5
    rows, columns = np.moveaxis(np.stack([slow - 32, fast - 24], axis=-1) @ theirs, -1, 0)
    ours_fast, ours_slow = shifts((64, 48), (24.0, 32.0), 2.43, 90.0 - 83.37)
    assert np.abs(ours_fast - columns).max() < 0.02
    assert np.abs(ours_slow - rows).max() < 0.02
    assert np.abs(columns).max() > 0.1


# The set-ups of Instamatic's Orius and TVIPS cameras: binned by two, and what a devices file may ask for instead.
@pytest.mark.parametrize(("asked", "binning"), [({}, 2), ({"binning": 4}, 4), ({"binning": 1}, 1)])
@really
async def test_a_binned_camera_is_taken_with_its_binning(
    clock: RealClock, tmp_path: Path, asked: dict[str, int], binning: int
) -> None:
    with camserver(tmp_path, camera="binned", default_binsize=2) as (port, _):
        async with connected(clock, port, **asked) as parts:
            assert camera_of(parts).facts.shape == (64 // binning, 48 // binning)
            assert parts.geometry["pixel_size_mm"] == pytest.approx(0.055 * binning)
            (frame,) = await exposed(camera_of(parts), [0.01])
    assert frame.counts.shape == (64 // binning, 48 // binning)


@really
async def test_a_binning_that_the_camera_does_not_have_is_refused(clock: RealClock, tmp_path: Path) -> None:
    with camserver(tmp_path, camera="binned", default_binsize=2) as (port, _):
        with pytest.raises(DeviceError, match="binning = 3 is not one of 1, 2, 4"):
            async with connected(clock, port, binning=3):
                pass


@really
async def test_a_camera_that_exposes_by_a_setting_of_its_own_is_told_so(clock: RealClock, tmp_path: Path) -> None:
    with camserver(tmp_path, camera="tvips", exposes_s=0.01) as (port, _):  # as its EMMENU class does
        async with connected(clock, port) as parts:
            camera = camera_of(parts)
            await camera.arm([0.5])
            await camera.start(0.5)
            with pytest.raises(DeviceError, match=r"exposure of 0\.5 s was asked for; it was exposed otherwise"):
                await anext(camera.frames())


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


@pytest.mark.parametrize("dtype", ["int16", ">u2", "float32", "int64"])
@really
async def test_pictures_come_through_the_socket_from_another_computer(
    clock: RealClock, tmp_path: Path, dtype: str
) -> None:
    with camserver(tmp_path, "pickle", "remote", shared_memory=False, dtype=dtype, dimensions=[300, 200]) as (port, _):
        async with connected(clock, port, protocol="pickle", pictures="socket") as parts:
            frames = await exposed(camera_of(parts), [0.01, 0.02, 0.01])
    assert [frame.counts.dtype for frame in frames] == [np.dtype(dtype)] * 3
    assert [frame.counts.shape for frame in frames] == [(300, 200)] * 3
    assert [float(frame.counts[0, 0]) for frame in frames] == [0, 1, 2]
    assert (frames[1].counts[1:] == 20).all()
    assert frames[0].counts.flags.writeable


# How the server sends its pictures, how the devices file says it does, and what is said of that.
MIXED_UP = {
    "a socket for shared memory": (False, {}, "cam_use_shared_memory must be true"),
    "shared memory for a socket": (True, {"pictures": "socket"}, "cam_use_shared_memory: false"),
}


@pytest.mark.parametrize(("shared_memory", "options", "says"), MIXED_UP.values(), ids=MIXED_UP)
@really
async def test_the_wrong_way_of_pictures_is_told_with_what_to_set(
    clock: RealClock, tmp_path: Path, shared_memory: bool, options: dict[str, str], says: str
) -> None:
    with camserver(tmp_path, "pickle", "mixed", shared_memory=shared_memory) as (port, _):
        async with connected(clock, port, protocol="pickle", **options) as parts:
            with pytest.raises(DeviceError, match=says):
                await exposed(camera_of(parts), [0.01])


class Exposures:
    """What the camera of instamaticserver.py has written: begin and end of each exposure, on the clock of the test."""

    def __init__(self, clock: RealClock, folder: Path) -> None:
        origin_ns = time.perf_counter_ns() - clock.now_ns()
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
