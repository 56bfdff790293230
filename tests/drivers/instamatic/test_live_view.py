"""A live view through the real TEM server of Instamatic: stage and mode go where its operator says, and stay there."""

import json
from pathlib import Path

import pytest

from engine.record.endings import Status
from engine.run.perform import Request, execute
from protocols.view.plan import ViewPlan
from protocols.view.view import VIEW
from tests.drivers.instamatic.test_camera_length import TABLES
from tests.drivers.instamaticprocess import microscope_tables, raw_call, temserver
from tests.protocols.view.test_view import Operator

pytestmark = [pytest.mark.counterpart, pytest.mark.realtime]


def test_stage_and_mode_go_through_the_calls_of_the_real_server_and_stay(tmp_path: Path) -> None:
    words = {3: "move x 5", 4: "move z 2", 5: "mode diffraction 300", 30: "stop"}
    with temserver(tmp_path) as (port, _):
        _, before = raw_call(port)("getStagePosition")
        devices = tmp_path / "devices.toml"
        devices.write_text(microscope_tables(port) + TABLES, encoding="utf-8")
        operator = Operator(words)
        report = execute(
            Request(VIEW, ViewPlan(lasts_min=1), tmp_path / "out", str(devices), accept_timing=True, draw=False),
            lambda run, _: run.trace.observe(lambda record: operator(record, run)),
        )
        _, after = raw_call(port)("getStagePosition")
        _, mode = raw_call(port)("getFunctionMode")
    assert report.ending.status is Status.STOPPED, report.ending.reason
    assert report.alarms == ()
    trace = [json.loads(line) for line in (report.folder / "trace.jsonl").read_text().splitlines()]
    assert [each["text"] for each in trace if each["name"] == "operator"] == []
    moved = [now - then for now, then in zip(after, before, strict=True)]
    assert moved[:3] == pytest.approx([5000, 0, 2000], abs=2)
    assert mode == "diff"
