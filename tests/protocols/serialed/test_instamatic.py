"""A serial run through Instamatic's own TEM server (PyPI instamatic 2.2.2) on the real clock, and a simulated camera.

That camera looks at a grid of its own, which the server's stage and coils do not move: every field shows the same. What
counts are the calls, their order, and that all is back afterwards.
"""

import json
import os
import subprocess
from datetime import date
from pathlib import Path

import pytest

from drivers.calibration.calibratedvalue import CalibratedValue
from drivers.calibration.instrumentfile import store
from tests.drivers.instamaticprocess import CREDLINE, microscope_tables, raw_call, temserver

pytestmark = [pytest.mark.realtime, pytest.mark.counterpart, pytest.mark.long]

MODE = """
[microscope.mode]
mag1 = [2500]
settling_s = 0.2
"""
CAMERA = """
[detector]
driver = "simulated"
beam_on = true  # the server's own blanker is not the one that this camera looks through
pictures.shape = [256, 256]
pictures.wide_cross = false
pictures.magnified = 0.9465
geometry.beam_fast_px = 128.0
geometry.beam_slow_px = 128.0
mode.mode = "imaging"
grid.seed = 5
grid.film = "continuous"
grid.bar_nm = 0.0
grid.crystals_um2 = 0.2
"""
NM_PER_PX = 23.24


def calibrated(path: Path) -> None:
    """What `credline calibrate stage` and `beam-shift` would have stored."""
    common = {"date": date(2026, 11, 1), "data": "stage_001", "program": "test", "high_tension_kV": 200.0}
    zero = ((0.0,) * 4,) * 4
    matrices = {
        "stage": ("px per nm", (1 / NM_PER_PX, 0.0, 0.0, -1 / NM_PER_PX)),
        "beam_shift": ("px per unit", (0.04, 0.0, 0.0, 0.04)),
    }
    values = [
        CalibratedValue.model_validate(
            {
                "name": name,
                "value": value,
                "sigma": (0.0,) * 4,
                "covariance": zero,
                "unit": unit,
                "magnification": 2500.0,
            }
            | common
        )
        for name, (unit, value) in matrices.items()
    ]
    store(path, values)


def test_a_run_goes_through_its_calls_and_puts_all_back(tmp_path: Path) -> None:
    with temserver(tmp_path) as (port, _):
        call = raw_call(port)
        call("setBeamShift", x=32768, y=32768)  # it begins at random: so near an end that the shift reaches no crystal
        before = {read: call(read)[1] for read in ("getBeamShift", "getBrightness", "getFunctionMode")}
        devices = tmp_path / "devices.toml"
        calibrated(tmp_path / "instrument.toml")
        devices.write_text(
            'instrument = "instrument.toml"\n' + microscope_tables(port) + MODE + CAMERA, encoding="utf-8"
        )
        keys = ("probe_looks=false", "width_um=26", "height_um=13", "score=false", "formats=[]", "crystals_per_field=4")
        settings = [word for key in keys for word in ("--set", key)]
        words = (
            "run",
            "serialed",
            "--devices",
            str(devices),
            "--out",
            str(tmp_path / "runs"),
            "--accept-timing",
            "--no-watchdog",  # it blanks the beam of a machine that stands still for 3 s
            "--json",
        )
        done = subprocess.run(
            [*CREDLINE, *words, *settings], capture_output=True, text=True, timeout=280, check=False, env=os.environ
        )
        assert done.stdout, done.stderr
        told = json.loads(done.stdout.splitlines()[-1])
        after = {read: call(read)[1] for read in before}
    assert told["status"] == "done", done.stderr
    assert told["images"] == 2
    assert told["patterns"] == told["crystals_found"] > 0
    assert after == before
    trace = [json.loads(line) for line in (Path(told["run_dir"]) / "trace.jsonl").read_text().splitlines()]
    calls = {record["name"] for record in trace if record["kind"] == "call" and "error" not in record}
    assert {"stagexyz.move_xy", "mode.set_mode", "illumination.set_brightness", "deflectors.set"} <= calls
