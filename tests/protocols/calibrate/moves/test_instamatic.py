"""Calibrations by moves through Instamatic's own TEM server (PyPI instamatic 2.2.2) on the real clock.

Its simulated microscope moves no image of a camera of ours, so runs end by finding that out; what counts are the calls,
and that all is back afterwards.
"""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.drivers.instamaticprocess import CREDLINE, microscope_tables, raw_call, temserver

pytestmark = [pytest.mark.realtime, pytest.mark.counterpart, pytest.mark.long]

CAMERA = """
[detector]
driver = "simulated"
beam_on = true  # the server's own blanker is not the one that this camera looks through
pictures.shape = [96, 96]
pictures.wide_cross = false
geometry.beam_fast_px = 48.0
geometry.beam_slow_px = 48.0
mode.mode = "{mode}"
"""


@pytest.mark.parametrize(
    ("what", "read", "mode"),
    [
        ("image-shift", "getImageShift1", "imaging"),
        ("diffraction-shift", "getDiffShift", "diffraction"),
        ("stage", "getStagePosition", "imaging"),
    ],
)
def test_a_run_goes_through_its_calls_and_puts_all_back(tmp_path: Path, what: str, read: str, mode: str) -> None:
    with temserver(tmp_path) as (port, _):
        call = raw_call(port)
        before, devices = call(read)[1], tmp_path / "devices.toml"
        devices.write_text(microscope_tables(port) + CAMERA.format(mode=mode), encoding="utf-8")
        words = ("run", what, "--devices", str(devices), "--out", str(tmp_path / "runs"), "--accept-timing", "--json")
        done = subprocess.run(
            [*CREDLINE, *words], capture_output=True, text=True, timeout=280, check=False, env=os.environ
        )
        told = json.loads(done.stdout.splitlines()[-1])
        give_up_s = time.monotonic() + 60.0
        while call("isStageMoving")[1]:  # the safe state does not wait for its arrival
            assert time.monotonic() < give_up_s
        after = call(read)[1]
        assert call("getFunctionMode")[1] == "diff"
    assert told["status"] == "failed", done.stderr
    assert "did not move" in told["reason"] or "nothing in common" in told["reason"], told["reason"]
    if what == "stage":
        assert [after[k] for k in (0, 1)] == pytest.approx([before[k] for k in (0, 1)], abs=100)
    else:
        assert after == before
    trace = [json.loads(line) for line in (Path(told["run_dir"]) / "trace.jsonl").read_text().splitlines()]
    calls = {record["name"] for record in trace if record["kind"] == "call" and "error" not in record}
    assert {"beam.unblank", "stagexyz.move_xy" if what == "stage" else "deflectors.set"} <= calls
