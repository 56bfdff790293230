"""Instamatic's camera server with other types of counts: taken as they come, through a whole run; a change is named."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import fabio
import numpy as np
import pytest

from engine.clock import RealClock
from engine.errors import DeviceError
from engine.record.frametable import FramesFile
from engine.replay.replay import first_divergence, load_run, replay
from tests.drivers.emulators.instamaticcamera import CameraServerEmulator
from tests.drivers.instamatic.test_camera import EXPOSURE, a_camera
from tests.engine.virtually import really

pytestmark = [
    pytest.mark.realtime,
    pytest.mark.skipif(sys.platform == "darwin", reason="no shared memory of this kind on macOS"),
]
TYPES = ["int8", "uint8", "int16", ">i2", "uint16", ">u2", "int32", ">i4", "uint32", "int64", "uint64", ">u8", "<f4"]
DEVICES = """
[microscope]
driver = "simulated"
[detector]
driver = "instamatic-camera"
port = {port}
[geometry]
camera_length_mm = 250.0
rotation_axis_deg = -38.5
beam_fast_px = 24.0
beam_slow_px = 32.0
"""
PLAN = {
    "exposure_s": 0.2,
    "range_deg": 2.0,
    "speed_deg_s": 2.0,
    "start_deg": -1.0,
    "snapshot_interval": 0,
    "relax_cycles": 0,
    "sample": "counts",
    "formats": ["smv"],
}


class Spots(CameraServerEmulator):
    """Pictures of a beam, whose first pixel holds a count of the test's choice."""

    first: float = 0

    async def _picture(self, exposure_s: float) -> dict[str, Any]:
        answer = await super()._picture(exposure_s)
        counts: np.ndarray[Any, Any] = np.ndarray(self._shape, self._dtype, self._memory.buf)
        slow, fast = np.indices(self._shape)
        counts[:] = (120 * np.exp(-((slow - 32) ** 2 + (fast - 24) ** 2) / 20)).astype(self._dtype)
        counts[0, 0] = self.first
        counts[0, 1] = self.pictures % 100  # no picture is like the one before
        return answer


@pytest.mark.parametrize("dtype", TYPES)
@really
async def test_counts_come_in_the_type_that_the_server_has(clock: RealClock, dtype: str) -> None:
    async with CameraServerEmulator(dtype=dtype) as server, a_camera(clock, server) as camera:
        assert camera.facts.dtype == ""
        await camera.arm(EXPOSURE)
        for number in range(2):
            await camera.start(0.005)
            counts = (await anext(camera.frames())).counts
            assert counts.dtype == np.dtype(dtype)
            assert (counts == number).all()


@pytest.mark.parametrize("dtype", ["float64", "complex64", "bool", "object", "float16", "i4,i4", "<M8[s]", ""])
@really
async def test_counts_that_cannot_be_kept_are_refused(clock: RealClock, dtype: str) -> None:
    async with CameraServerEmulator() as server, a_camera(clock, server) as camera:
        server.answers["get_image"] = (200, {"shape": (64, 48), "dtype": dtype, "name": "psm_0"})
        await camera.arm(EXPOSURE)
        await camera.start(0.005)
        with pytest.raises(DeviceError, match="not counts that can be kept"):
            await anext(camera.frames())


@really
async def test_a_type_that_changes_between_frames_is_named_and_no_other_client_is_blamed(clock: RealClock) -> None:
    async with CameraServerEmulator(dtype="int64") as server, a_camera(clock, server) as camera:
        await camera.arm(EXPOSURE)
        await camera.start(0.005)
        await anext(camera.frames())
        server._dtype = "int32"
        await camera.start(0.005)
        with pytest.raises(DeviceError, match="frame 1 has counts of int32, those before it had int64") as raised:
            await anext(camera.frames())
        assert "client" not in str(raised.value)
        await camera.arm(EXPOSURE)  # a new series may be of another type
        await camera.start(0.005)
        assert (await anext(camera.frames())).counts.dtype == np.int32


async def run_with(server: CameraServerEmulator, folder: Path) -> str:
    """`credline run` in a process of its own, as an operator does it; what it said."""
    (folder / "devices.toml").write_text(DEVICES.format(port=server.port), encoding="utf-8")
    words = ["run", "cred", "--devices", str(folder / "devices.toml"), "--accept-timing", "--out", str(folder / "out")]
    for key, value in PLAN.items():
        words += ["--set", f"{key}={json.dumps(value)}"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from engine.commands.main import main; main()", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=os.environ,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    return said.decode()


@pytest.mark.parametrize(
    ("dtype", "first", "why"),
    [
        pytest.param(">u2", 7, "", marks=pytest.mark.long),
        pytest.param("int64", -3, "below zero", marks=pytest.mark.long),
        pytest.param("float32", float("nan"), "not a number", marks=pytest.mark.long),
        pytest.param("uint64", 2**40, "above 65535", marks=pytest.mark.long),
    ],
)
@really
async def test_a_whole_run_keeps_the_type_and_says_what_was_clipped(
    clock: RealClock, tmp_path: Path, dtype: str, first: float, why: str
) -> None:
    async with Spots("json", (64, 48), dtype) as server:
        server.first = first
        said = await run_with(server, tmp_path)
    folder = next((tmp_path / "out").glob("*_001"))
    assert json.loads((folder / "run.json").read_text())["status"] == "done", said
    with FramesFile(folder / "frames.h5") as file:
        assert file.dtype("diffraction") == np.dtype(dtype).newbyteorder("<")
        table = file.table("diffraction")
        at = int(np.flatnonzero(table["kept"])[0])  # on a busy machine not every one is
        slot, counts = int(table["slot"][at]), file.picture("diffraction", at)
    with fabio.open(str(folder / "SMV" / "data" / f"{slot:05d}.img")) as image:
        assert np.array_equal(image.data.flat[1:], np.rint(counts.flat[1:]).astype(np.uint16))
        assert image.data[0, 0] == (7 if not why else 65535 if why.startswith("above") else 0)
        assert image.header["CLIPPED_PIXELS"] == ("1" if why else "0")
    records = await asyncio.to_thread(load_run, folder)
    assert first_divergence(records, await asyncio.to_thread(replay, records, folder)) is None
