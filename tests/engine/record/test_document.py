"""run.json is one model: what was written is read back, older ones are read, and what is wrong is said in one line."""

import json
from pathlib import Path

import pytest

from engine.errors import DataError
from engine.record.document import RunDocument

DOCUMENT = RunDocument(
    protocol="stills",
    status="done",
    run_id="grid_001-ab",
    label="grid",
    version="1",
    created_at="2026-11-21T01:02:03+01:00",
    clock="real",
    seed=3,
    devices="simulated",
    plan={"exposure_s": 0.5},
    reason="all taken",
    alarms=("the lens may be out of focus",),
    instrument={"geometry": {"pixel_size_mm": 0.055}, "detector": {"shape": [4, 4]}},
    result={"frames": 3},
    own={"stage_readings": []},
)


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    DOCUMENT.write(tmp_path, durable=False)
    assert RunDocument.read(tmp_path) == DOCUMENT
    assert DOCUMENT.has_ended


def test_a_sample_of_schema_1_is_the_label(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"schema": 1, "protocol": "cred", "sample": "mordenite"}))
    document = RunDocument.read(tmp_path)
    assert (document.label, document.own) == ("mordenite", {})


def test_the_header_of_a_trace_stands_for_a_lost_run_json() -> None:
    header = {"protocol": "cred", "plan": {"sample": "m"}, "seed": 1, "instrument": {"geometry": {}, "timing": {}}}
    document = RunDocument.from_header(header, "m_001")
    assert (document.protocol, document.label, document.instrument, document.has_ended) == (
        "cred",
        "m",
        {"geometry": {}},
        False,
    )
    assert RunDocument.from_header(None, "m_001").protocol == ""


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "not readable as JSON"),
        ("[]", "is not the run.json"),
        ('{"schema": 3, "protocol": "cred"}', "schema 3"),
        ('{"schema": 1, "protocol": "cred", "alarms": 5}', "'alarms' is no list of texts"),
        ('{"schema": 1, "protocol": "cred", "result": []}', "'result' is no object"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(DataError, match=says):
        RunDocument.read(tmp_path)
