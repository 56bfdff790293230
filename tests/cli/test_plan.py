"""`credline plan` on instruments that are not there, from their devices file alone; and `--connected`, which asks."""

import asyncio
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from engine.commands.main import app
from engine.errors import Refused
from tests.drivers.emulators.instamaticcamera import CameraServerEmulator
from tests.drivers.emulators.merlin import MerlinEmulator
from tests.packages import CREDLINE

GEOMETRY = """
[geometry]
camera_length_mm = 250.0
rotation_axis_deg = -38.5
beam_fast_px = 24.0
beam_slow_px = 32.0
"""
SIMULATED = '[microscope]\ndriver = "simulated-timing"\n'
ORIUS = '[detector]\ndriver = "orius"\npixel_size_mm = 0.015\n'
ALONE = {
    "merlin": (f'{SIMULATED}[detector]\ndriver = "merlin"\n', {"detector.shape"}),
    "serval": (
        f'{SIMULATED}[detector]\ndriver = "serval"\n',
        {"detector.shape", "detector.paced.saturation", "detector.wide_cross"},
    ),
    "dectris": (
        f'{SIMULATED}[detector]\ndriver = "dectris"\n',
        {"detector.shape", "detector.exposure_limits_s", "detector.saturation", "geometry.pixel_size_mm"},
    ),
    "dectris, paced": (
        f'{SIMULATED}[detector]\ndriver = "dectris"\nseries = "paced"\n',
        {"detector.shape", "detector.exposure_limits_s", "geometry.pixel_size_mm"},
    ),
    "instamatic-camera": (
        f'{SIMULATED}[detector]\ndriver = "instamatic-camera"\n',
        {"detector.shape", "detector.dtype", "detector.saturation", "geometry.pixel_size_mm"},
    ),
    "orius": (f"{SIMULATED}{ORIUS}", set()),
    "instamatic": (
        f'[microscope]\ndriver = "instamatic"\n{ORIUS}',
        {"geometry.wavelength_A"},
    ),
    "jeol": (
        f'[microscope]\ndriver = "jeol"\n{ORIUS}',
        {"geometry.wavelength_A", "stage.can_rotate", "stage.speeds_deg_s"},
    ),
    "thermo": (
        f'[microscope]\ndriver = "thermo"\n{ORIUS}',
        {"geometry.wavelength_A", "stage.limits_deg", "stagexyz.limits_nm"},
    ),
    "an instrument that is all network": (
        '[microscope]\ndriver = "instamatic"\n[detector]\ndriver = "merlin"\n',
        {"geometry.wavelength_A", "detector.shape"},
    ),
}
"""Devices files, each with the facts that only the connected instrument tells."""


@pytest.fixture
def nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any connection fails the test, and nothing is locked."""

    def forbidden(*_: object, **__: object) -> Any:
        raise AssertionError("a plan asked somebody")

    monkeypatch.setattr(socket, "socket", forbidden)
    monkeypatch.setattr(asyncio, "run", forbidden)
    monkeypatch.setattr("engine.run.devicesfile.instruments_locked", forbidden)


def plan(folder: Path, devices: str, *words: str) -> str:
    """What a plan that fits prints, all of it."""
    path = folder / "devices.toml"
    path.write_text(devices, encoding="utf-8")
    done = CliRunner().invoke(
        app, ["plan", "cred", "--full", "--devices", str(path), *words], env={"COLUMNS": "200"}, catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    return done.output


def not_known(printed: str) -> set[str]:
    """The facts that a plan said nobody knows so far."""
    start = "- Not known so far: "
    return {line.removeprefix(start).split()[0] for line in printed.splitlines() if line.startswith(start)}


@pytest.mark.usefixtures("nobody_is_asked")
@pytest.mark.parametrize(("devices", "unknown"), ALONE.values(), ids=ALONE)
def test_a_plan_needs_no_hardware_and_says_what_only_that_can_tell(
    tmp_path: Path, devices: str, unknown: set[str]
) -> None:
    printed = plan(tmp_path, devices + GEOMETRY)
    for words in ("diffraction frame:", "snapshot cycle:", "slack", "declared by the driver", "written in the"):
        assert words in printed
    assert not_known(printed) == unknown
    told_space = "not known before the camera has told how large its pictures are"
    assert (told_space in printed) is ("detector.shape" in unknown)


@pytest.mark.usefixtures("nobody_is_asked")
def test_a_plan_says_at_one_look_what_will_be_recorded_and_what_not(tmp_path: Path) -> None:
    devices = tmp_path / "devices.toml"
    devices.write_text(f'{SIMULATED}[detector]\ndriver = "merlin"\n{GEOMETRY}', encoding="utf-8")

    def said(*words: str) -> str:
        done = CliRunner().invoke(app, ["plan", "cred", "--devices", str(devices), *words], env={"COLUMNS": "100"})
        assert done.exit_code == 0, done.output
        return done.output

    short, full = said(), said("--full")
    assert len(short.splitlines()) <= 24 < len(full.splitlines())
    for words in (
        "snapshot cycle",
        "slots",
        "not recorded",
        "duration",
        "wavelength",
        "Not known so far: detector.shape",
    ):
        assert words in short
        assert words in full
    for words in ("refocus", "declared by the driver"):
        assert words not in short
        assert words in full
    assert short.splitlines()[-1].startswith("With --full:")
    assert "With --full" not in full


@pytest.mark.usefixtures("nobody_is_asked")
def test_what_was_measured_overrules_what_is_declared(tmp_path: Path) -> None:
    devices = f'[microscope]\ndriver = "instamatic"\n{ORIUS}{GEOMETRY}'
    assert "defocus           │       50.0 │    100.0" in plan(tmp_path, devices)
    timing = "[timing]\napi_call_s = 0.041\napi_call_worst_s = 0.077\n"
    printed = plan(tmp_path, devices + timing)
    assert "defocus           │       41.0 │     77.0" in printed
    assert "measured in the devices file" in printed
    assert "stage_read_s 0.27" in printed  # which was not measured


@pytest.mark.usefixtures("nobody_is_asked")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("depth = 13", "merlin: depth = 13"),
        ('host = "a/b"', "merlin: host = 'a/b'"),
        ("expsure = 1", "merlin has no option 'expsure'"),
    ],
)
def test_a_mistake_in_the_options_is_refused_as_when_connected(tmp_path: Path, options: str, words: str) -> None:
    with pytest.raises(Refused, match=words):
        plan(tmp_path, f'{SIMULATED}[detector]\ndriver = "merlin"\n{options}\n')


@pytest.mark.usefixtures("nobody_is_asked")
def test_a_plan_that_cannot_fit_what_is_declared_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"the detector exposes for 0\.01 to 100 s"):
        plan(tmp_path, f'{SIMULATED}[detector]\ndriver = "merlin"\n{GEOMETRY}', "--set", "snapshot_exposure_s=0.005")


async def called(folder: Path, devices: str, *words: str) -> tuple[int | None, str]:
    """The command in a process of its own, while emulators serve in this one."""
    path = folder / "devices.toml"
    path.write_text(devices + GEOMETRY, encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        *CREDLINE,
        *("plan", "cred", "--full", "--devices", str(path), *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "COLUMNS": "200"},
    )
    printed, _ = await asyncio.wait_for(process.communicate(), 100)
    return process.returncode, printed.decode()


@pytest.mark.realtime
@pytest.mark.skipif(sys.platform == "darwin", reason="no shared memory of this kind on macOS")
def test_a_camera_that_is_there_is_not_asked_unless_it_shall_be(tmp_path: Path) -> None:
    async def body() -> None:
        async with CameraServerEmulator("json", (64, 48), "uint16") as camera:
            devices = f'{SIMULATED}[detector]\ndriver = "instamatic-camera"\nport = {camera.port}\n'
            status, printed = await called(tmp_path, devices)
            assert (status, camera.connections) == (0, 0), printed
            assert "detector.shape" in not_known(printed)
            status, printed = await called(tmp_path, devices, "--connected")
            assert status == 0, printed
            assert "shape (64, 48)" in printed
            assert not_known(printed) == {"detector.dtype"}

    asyncio.run(body())


@pytest.mark.realtime
def test_connected_asks_the_instrument_and_changes_nothing_there(tmp_path: Path) -> None:
    async def body() -> None:
        merlin = MerlinEmulator((64, 128))
        async with merlin.serving():
            ports = f"port = {merlin.port}\ndata_port = {merlin.data_port}\n"
            devices = f'{SIMULATED}[detector]\ndriver = "merlin"\n{ports}'
            status, printed = await called(tmp_path, devices, "--connected")
        assert status == 0, printed
        assert "shape (64, 128)" in printed
        assert "told by the instrument" in printed
        assert not_known(printed) == set()
        assert "tells otherwise" not in printed
        assert "disk space                 23 MB" in printed
        assert {word.partition(",")[0] for word in merlin.log} == {"GET"}

    asyncio.run(body())
