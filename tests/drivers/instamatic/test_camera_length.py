"""A calibration through the real TEM server of Instamatic: camera lengths are set, read back, and put back."""

import json
from pathlib import Path

import pytest

from engine.record.endings import Status
from engine.run.perform import Request, execute
from protocols.calibrate.cameralength.experiment import CAMERA_LENGTH_TYPE
from protocols.calibrate.cameralength.plan import CameraLengthPlan
from tests.drivers.instamaticprocess import microscope_tables, raw_call, temserver

pytestmark = [pytest.mark.counterpart, pytest.mark.realtime]

TABLES = """
[microscope.mode]
diff = [150, 200, 250, 300, 400, 500]

[detector]
driver = "simulated"
pictures.shape = [64, 64]
pictures.wide_cross = false
geometry.beam_fast_px = 32.0
geometry.beam_slow_px = 32.0
"""


def test_camera_lengths_go_through_the_calls_of_the_real_server_and_back(tmp_path: Path) -> None:
    with temserver(tmp_path) as (port, _):
        before = raw_call(port)("getMagnification")
        devices = tmp_path / "devices.toml"
        devices.write_text(microscope_tables(port) + TABLES, encoding="utf-8")
        plan = CameraLengthPlan(camera_lengths_mm=(300.0, 500.0), frames=1, exposure_s=0.05, relax_cycles=1)
        report = execute(
            Request(CAMERA_LENGTH_TYPE, plan, tmp_path / "out", str(devices), accept_timing=True, draw=False)
        )
        after = raw_call(port)("getMagnification")
    assert report.ending.status is Status.DONE, report.ending.reason
    assert report.alarms == ()
    trace = [json.loads(line) for line in (report.folder / "trace.jsonl").read_text().splitlines()]
    calls = [each for each in trace if each["kind"] == "call" and each["name"] == "mode.set_camera_length_mm"]
    set_to = [each["args"][0] for each in calls]
    assert set_to[:2] == [300.0, 500.0]
    assert len(set_to) == 3
    assert after == before
