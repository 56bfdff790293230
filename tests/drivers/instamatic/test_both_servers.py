"""Whole cRED runs with both of Instamatic's own servers as they are: TEM server and camera server, two processes.

The camera of instamaticserver.py writes down when it really exposed, so that the stated angles can be held against the
true ones: also with a shutter that waits after each change of exposure, and with a server that stands still meanwhile.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from engine.replay.replay import first_divergence, load_run, replay
from tests.drivers.instamaticprocess import CREDLINE, camserver, exposures_file, microscope_tables, raw_call, temserver

pytestmark = [
    pytest.mark.realtime,
    pytest.mark.counterpart,
    pytest.mark.skipif(sys.platform != "linux", reason="the camera server is stubbed for Linux alone"),
]
PLAN = """
sample = "servers"
rotation = "commanded"
start_deg = -8.0
range_deg = 16.0
speed_deg_s = 1.0
exposure_s = 0.4
snapshot_interval = 5
relax_cycles = 1
formats = ["smv"]
"""
CAMERA_TABLES = """
[detector]
driver = "instamatic-camera"
port = {camera_port}
{camera}

[geometry]
camera_length_mm = 250.0
beam_fast_px = 24.0
beam_slow_px = 32.0
"""


@contextmanager
def both(
    folder: Path, camera: str = "", mode: str = "diff", **configured: Any
) -> Iterator[tuple[Path, int, dict[str, int]]]:
    """Both servers and a devices file that names them: the file, the TEM server's port, the ids of both processes."""
    with (
        temserver(folder, mode=mode) as (port, microscope),
        camserver(folder, "json", "exposing", **configured) as (camera_port, process),
    ):
        file = folder / "devices.toml"
        tables = CAMERA_TABLES.format(camera_port=camera_port, camera=camera)
        file.write_text(microscope_tables(port) + tables, encoding="utf-8")
        (folder / "plan.toml").write_text(PLAN, encoding="utf-8")
        yield file, port, {"camera": process.pid, "microscope": microscope.pid}


def begun(devices: Path, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*CREDLINE, *words, "--config", str(devices.parent / "plan.toml"), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
    )


def run(devices: Path) -> "subprocess.Popen[str]":
    out = devices.parent / "out"
    accepted = ("--accept-timing", "--accept-gaps")
    return begun(devices, "run", "cred", "--devices", str(devices), "--out", str(out), *accepted)


def frames_of(devices: Path) -> tuple[dict[str, Any], Any]:
    """The result of the run and the table of its frames."""
    folder = next((devices.parent / "out").glob("*_001"))
    document = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    with h5py.File(folder / "frames.h5") as file:
        return document["result"], file["diffraction/frames"][:]


def off_deg(devices: Path, frames: Any, rate_deg_s: float) -> Any:
    """How far the stated angle of each frame is from that of its true begin.

    The two processes share a clock but for its zero, which is that of the exposure that is known best.
    """
    lines = np.loadtxt(exposures_file(devices.parent))[frames["number"]]
    assert (lines[:, 0] == 0.4).all()
    late_s = lines[:, 1] - frames["start_ns"] / 1e9
    return np.abs((late_s - late_s.min()) * rate_deg_s)


def test_angles_are_within_their_uncertainty_with_a_fast_shutter(tmp_path: Path) -> None:
    with both(tmp_path) as (devices, port, _):
        process = run(devices)
        _, said = process.communicate(timeout=200)
        assert process.returncode == 0, said
        assert raw_call(port)("isBeamBlanked") == [200, True]
        assert raw_call(port)("isStageMoving") == [200, False]
    result, frames = frames_of(devices)
    kept = frames["kept"] == 1
    assert kept.any()  # how many, depends on how busy this machine is
    assert (off_deg(devices, frames, result["rate_deg_s"]) <= frames["uncertainty_deg"])[kept].all()
    assert frames["uncertainty_deg"][kept].min() <= 0.03  # the median is 0.01 where the machine is not busy
    folder = next((tmp_path / "out").glob("*_001"))
    records = load_run(folder)
    assert first_divergence(records, replay(records)) is None


def test_a_slow_shutter_gives_no_wrong_angle(tmp_path: Path) -> None:
    with both(tmp_path, setup_s=0.5) as (devices, _, _):
        process = run(devices)
        _, said = process.communicate(timeout=200)
        assert process.returncode == 0, said
    result, frames = frames_of(devices)
    kept = frames["kept"] == 1
    off = off_deg(devices, frames, result["rate_deg_s"])
    assert (off[~kept] > 0.2).any()
    assert (off <= frames["uncertainty_deg"]).all()
    assert kept.any()
    assert off[kept].max() < 0.15


@pytest.mark.parametrize("server", ["camera", "microscope"])
def test_a_server_that_stands_still_gives_no_wrong_angle(tmp_path: Path, server: str) -> None:
    with both(tmp_path) as (devices, _, pids):
        process = run(devices)
        while not exposures_file(tmp_path).exists() or len(exposures_file(tmp_path).read_text().splitlines()) < 7:
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        os.kill(pids[server], signal.SIGSTOP)
        time.sleep(2.0)
        os.kill(pids[server], signal.SIGCONT)
        _, said = process.communicate(timeout=200)
        assert process.returncode == 0, said
    result, frames = frames_of(devices)
    kept = frames["kept"] == 1
    assert (off_deg(devices, frames, result["rate_deg_s"]) <= frames["uncertainty_deg"]).all()
    lines = np.loadtxt(exposures_file(tmp_path))
    stood_still = np.isin(frames["number"], np.flatnonzero(lines[:, 2] - lines[:, 1] > 1.0))  # a snapshot may have, too
    assert (frames["uncertainty_deg"][stood_still] > 0.5).all()
    assert not kept[stood_still].any()
    assert off_deg(devices, frames, result["rate_deg_s"])[kept].max() < 0.15


def test_outside_diffraction_mode_nothing_is_exposed(tmp_path: Path) -> None:
    with both(tmp_path, mode="mag1") as (devices, _, _):  # as the TEM server starts
        process = run(devices)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 2
        assert "is in imaging mode, and its frames are to show diffraction; nothing was started" in said
    assert not exposures_file(tmp_path).exists()
    assert not (tmp_path / "out").exists()


def test_the_check_proposes_what_it_measured_and_the_plan_counts_on_it(tmp_path: Path) -> None:
    with both(tmp_path, setup_s=0.5) as (devices, _, _):
        process = begun(devices, "devices", "check", str(devices), "--frames", "6", "--no-write")
        out, said = process.communicate(timeout=200)
        found = json.loads(out.splitlines()[-1])
        assert found["proposed"]["change_s"] == pytest.approx(0.5, abs=0.1)
        assert re.search(r"^change_s = 0\.[456]", said, re.MULTILINE)
        exposures_file(tmp_path).unlink()
        devices.write_text(devices.read_text().replace("[geometry]", "change_s = 0.5\n[geometry]"))
        process = run(devices)
        _, said = process.communicate(timeout=200)
        assert process.returncode == 0, said
    result, frames = frames_of(devices)
    kept = frames["kept"] == 1
    assert result["snapshot_slots"] == 4
    assert kept.any()
    assert (off_deg(devices, frames, result["rate_deg_s"]) <= frames["uncertainty_deg"])[kept].all()
