"""The driver of Instamatic's camera server, against an emulator of it that lies and fails; the server itself is the
counterpart of test_camera_server.py.
"""

import asyncio
import pickle
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.conformance import Bench, Body, DeclaredConformance, DetectorConformance
from drivers.contract import Detector
from drivers.declared import Declared
from drivers.instamatic.camera import INSTAMATIC_CAMERA
from drivers.simulated.microscope import SIMULATED_TIMING
from drivers.turn import Turn
from engine.clock import RealClock
from engine.errors import DeviceError, DeviceLost, Refused
from tests.drivers.counterparts import free_port
from tests.drivers.emulators.instamaticcamera import CameraServerEmulator
from tests.drivers.instamatic.test_codec import Exploit
from tests.drivers.proxy import Proxy
from tests.engine.virtually import really

pytestmark = [
    pytest.mark.realtime,
    pytest.mark.skipif(sys.platform == "darwin", reason="no shared memory of this kind on macOS"),
]
EXPOSURE = (0.02, 0.005)


@asynccontextmanager
async def a_camera(
    clock: RealClock, server: CameraServerEmulator, port: int | None = None, **options: Any
) -> AsyncIterator[Detector]:
    given = {"port": port or server.port, "timeout_s": 2, "readout_s": 0.03, **options}
    async with INSTAMATIC_CAMERA.connect(clock, 0, given) as parts:
        assert parts.detector is not None
        assert parts.geometry == {"pixel_size_mm": 0.055}
        yield parts.detector


@pytest.mark.parametrize("protocol", ["json", "msgpack", "pickle"])
class TestInstamaticCamera(DetectorConformance, DeclaredConformance):
    @pytest.fixture
    def declared(self, protocol: str) -> Declared:
        return INSTAMATIC_CAMERA.facts({"protocol": protocol, "readout_s": 0.2})

    @pytest.fixture
    def bench(self, protocol: str) -> Bench:
        def run(body: Body) -> None:
            async def on_the_real_clock() -> None:
                clock = RealClock()
                async with (
                    CameraServerEmulator(protocol) as server,
                    a_camera(clock, server, protocol=protocol, readout_s=0.2) as camera,
                    SIMULATED_TIMING.connect(clock, 7, {}) as rest,
                ):
                    microscope = rest.assembled({"detector": type(rest)(detector=camera)})
                    await body(clock, microscope)

            asyncio.run(on_the_real_clock())

        return Bench(run, exposure_s=0.05, snapshot_exposure_s=0.01)


async def one_frame(camera: Detector) -> int:
    """A fault shows at the start where the connection is known to be gone, else with the frame."""
    await camera.start(0.02)
    return (await anext(camera.frames())).number


@really
async def test_a_picture_is_copied_before_the_next_overwrites_it(clock: RealClock) -> None:
    async with CameraServerEmulator() as server, a_camera(clock, server) as camera:
        await camera.arm(EXPOSURE)
        frames = camera.frames()
        received = []
        for _ in range(5):
            await camera.start(0.005)
            received.append(await anext(frames))
        assert [int(frame.counts[0, 0]) for frame in received] == list(range(5))
        assert [int(frame.counts[-1, -1]) for frame in received] == list(range(5))


@really
async def test_a_large_picture_is_copied_whole(clock: RealClock) -> None:
    async with CameraServerEmulator(shape=(2048, 1024), dtype="int64") as server, a_camera(clock, server) as camera:
        assert camera.facts.shape == (2048, 1024)
        await camera.arm(EXPOSURE)
        await camera.start(0.005)
        frame = await anext(camera.frames())
        assert frame.counts.dtype == np.int64
        assert (frame.counts == 0).all()


TURNS = [Turn(rot90, flipud) for rot90 in range(4) for flipud in (False, True)]


@pytest.mark.parametrize("turn", TURNS, ids=str)
@really
async def test_pictures_are_turned_as_the_devices_file_says(clock: RealClock, turn: Turn) -> None:
    sent = np.zeros((64, 48), np.uint16)
    sent[-1] = np.arange(48)
    async with (
        CameraServerEmulator() as server,
        a_camera(clock, server, rot90=turn.rot90, flipud=turn.flipud) as camera,
    ):
        server.ramp = 1
        assert camera.facts.shape == turn.shape(64, 48)
        await camera.arm(EXPOSURE)
        await camera.start(0.005)
        frame = await anext(camera.frames())
    assert np.array_equal(frame.counts, np.rot90(np.flipud(sent) if turn.flipud else sent, turn.rot90))


LIES: dict[str, tuple[Any, str]] = {
    "a position instead of a picture": ((200, [1, 2, 3, 4, 5]), "answer to get_image is not one"),
    "nothing": ((200, None), "answer to get_image is not one"),
    "a file instead of shared memory": (
        (200, {"shape": (64, 48), "dtype": "uint16", "name": "../../etc/passwd"}),
        "not the name of shared memory",
    ),
    "objects instead of counts": (
        (200, {"shape": (64, 48), "dtype": "object", "name": "psm_0"}),
        "not counts that can be kept",
    ),
    "another size": ((200, {"shape": (32, 24), "dtype": "uint16", "name": "psm_0"}), "32 x 24 pixels instead"),
    "a size without end": (
        (200, {"shape": (10**9, 10**9), "dtype": "uint16", "name": "psm_0"}),
        "not rows and columns",
    ),
    "memory that is not there": (
        (200, {"shape": (64, 48), "dtype": "uint16", "name": "psm_00000000"}),
        "shared memory psm_00000000 of frame 0 cannot be read",
    ),
    "an error of the camera": ((500, ("RuntimeError", ("no beam",))), "refused with RuntimeError: no beam"),
    "no status": ((404, None), r"not \(status, value\)"),
}


@pytest.mark.parametrize(("answer", "says"), LIES.values(), ids=LIES)
@really
async def test_an_answer_that_is_no_picture_is_an_error_of_its_frame(clock: RealClock, answer: Any, says: str) -> None:
    async with CameraServerEmulator() as server, a_camera(clock, server) as camera:
        server.answers["get_image"] = answer
        await camera.arm(EXPOSURE)
        await camera.start(0.02)
        with pytest.raises(DeviceError, match=says):
            await anext(camera.frames())
        del server.answers["get_image"]
        await camera.arm(EXPOSURE)
        await camera.start(0.02)
        assert (await anext(camera.frames())).number == 0


@really
async def test_an_exploit_in_an_answer_is_refused_and_nothing_runs(clock: RealClock, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    async with CameraServerEmulator("pickle") as server, a_camera(clock, server, protocol="pickle") as camera:
        server.answers["get_image"] = pickle.dumps((200, Exploit(victim)))
        await camera.arm(EXPOSURE)
        await camera.start(0.02)
        with pytest.raises(DeviceError, match="not admitted"):
            await anext(camera.frames())
    assert not victim.exists()


@really
async def test_a_camera_that_falls_silent_is_lost_and_can_be_armed_again(clock: RealClock) -> None:
    async with CameraServerEmulator() as server, a_camera(clock, server, timeout_s=0.3) as camera:
        await camera.arm(EXPOSURE)
        server.on_time.clear()
        await camera.start(0.02)
        with pytest.raises(DeviceLost, match="no answer to get_image"):
            await anext(camera.frames())
        with pytest.raises(DeviceLost, match="no exposure was made"):
            await camera.start(0.02)
        server.on_time.set()
        await camera.arm(EXPOSURE)
        await camera.start(0.02)
        assert (await anext(camera.frames())).number == 0


@pytest.mark.parametrize("mode", ["stall", "half", "garbage", "cut"])
@really
async def test_after_a_fault_of_the_line_the_camera_can_be_armed_again(clock: RealClock, mode: Any) -> None:
    async with (
        CameraServerEmulator() as server,
        Proxy(server.port) as proxy,
        a_camera(clock, server, proxy.port, timeout_s=0.3) as camera,
    ):
        await camera.arm(EXPOSURE)
        proxy.mode = mode
        with pytest.raises(DeviceError):
            await one_frame(camera)
        with pytest.raises(DeviceError):
            await camera.arm(EXPOSURE)
        proxy.mode = "pass"
        await camera.arm(EXPOSURE)
        await camera.start(0.02)
        assert (await anext(camera.frames())).number == 0


@really
async def test_a_slow_server_is_waited_for(clock: RealClock) -> None:
    async with (
        CameraServerEmulator() as server,
        Proxy(server.port) as proxy,
        a_camera(clock, server, proxy.port) as camera,
    ):
        await camera.arm(EXPOSURE)
        proxy.delay_s = 0.3
        await camera.start(0.02)
        assert (await anext(camera.frames())).number == 0


@really
async def test_a_camera_whose_range_nobody_knows_is_not_used(clock: RealClock) -> None:
    async with CameraServerEmulator() as server:
        server.answers["dynamic_range"] = (500, ("AttributeError", ("dynamic_range",)))
        with pytest.raises(DeviceError, match="saturation into the devices file"):
            async with a_camera(clock, server):
                pass
        async with a_camera(clock, server, saturation=4095) as camera:
            assert camera.facts.saturation == 4095


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"bits": 12}, "no option 'bits'"),
        ({"saturation": -1}, "saturation = -1 is not a whole number"),
        ({"exposure_limits_s": [1, 1]}, "two rising numbers"),
    ],
)
@really
async def test_an_option_that_cannot_be_is_refused(clock: RealClock, options: dict[str, Any], says: str) -> None:
    with pytest.raises(Refused, match=says):
        async with INSTAMATIC_CAMERA.connect(clock, 0, {"port": free_port(), **options}):
            pass
