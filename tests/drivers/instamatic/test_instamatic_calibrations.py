"""Calibrations of snapshots, flux, lens and rotation go through the calls of Instamatic's real TEM server.

The camera is a simulated one that sees nothing of that server, so what needs pictures ends with its reason, with
everything back where it was; the rotation, which needs none, is measured and stored.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest

from drivers.calibration.instrumentfile import read_instrument
from tests.drivers.instamaticprocess import CREDLINE, microscope_tables, raw_call, temserver

pytestmark = [pytest.mark.realtime, pytest.mark.counterpart]

WITHOUT_PICTURES = {
    "snapshot": ("no disc is seen", ["exposure_s=0.01", "radius_nm=2000"]),
    "flux": ("no disc is seen", ["exposure_s=0.01", "radius_nm=2000", "spot_sizes=[1, 2]"]),
    "lens": ("no beam is seen", ["exposure_s=0.01"]),
}


def calibrate(folder: Path, port: int, what: str, settings: list[str]) -> subprocess.CompletedProcess[str]:
    devices = folder / f"{what}.toml"
    camera = '\n[detector]\ndriver = "simulated-timing"\n'
    text = f'instrument = "{what}_instrument.toml"\n' + microscope_tables(port) + camera
    devices.write_text(text, encoding="utf-8")
    words = ["calibrate", what, "--devices", str(devices), "--out", str(folder / "runs"), "--json"]
    words += [word for setting in settings for word in ("--set", setting)]
    command = [*CREDLINE, *words]
    for _ in range(5):  # a machine that wakes too late for the plan is refused, which is not asked about here
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=os.environ)
        if "this machine wakes" not in done.stderr:
            break
    return done


@pytest.mark.parametrize("what", WITHOUT_PICTURES)
def test_what_sees_nothing_says_so_and_puts_all_back(tmp_path: Path, what: str) -> None:
    why, settings = WITHOUT_PICTURES[what]
    with temserver(tmp_path) as (port, _):
        call = raw_call(port)
        call("setFunctionMode", value="diff")
        parts = ("getStagePosition", "getDiffFocus", "getSpotSize", "getBrightness")
        before = {name: call(name)[1] for name in parts}
        done = calibrate(tmp_path, port, what, settings)
        assert done.returncode == 1, done.stderr
        assert why in done.stderr
        assert json.loads(done.stdout.splitlines()[-1])["stored"] is None
        assert call("isBeamBlanked") == [200, True]
        after = {name: call(name)[1] for name in parts}
    assert after["getStagePosition"] == pytest.approx(before["getStagePosition"], abs=50)
    assert {name: after[name] for name in parts[1:]} == {name: before[name] for name in parts[1:]}
    assert not (tmp_path / f"{what}_instrument.toml").exists()


def test_the_rotation_is_measured_by_its_own_readings(tmp_path: Path) -> None:
    with temserver(tmp_path) as (port, _):
        raw_call(port)("setFunctionMode", value="diff")
        settings = ["watch=false", "spans_deg=[1, 2]", "speed_deg_s=1.0"]
        done = calibrate(tmp_path, port, "rotation", settings)
    assert done.returncode == 0, done.stderr
    values = {value.name: value for value in read_instrument(tmp_path / "rotation_instrument.toml").values}
    assert {"rotation_speed_share", "run_in_s"} <= set(values)
    assert values["rotation_speed_share"].value == pytest.approx(1.0, rel=0.3)
