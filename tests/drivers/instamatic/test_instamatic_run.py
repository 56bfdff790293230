"""A whole cRED run on the real clock: Instamatic's TEM server as the microscope, its stage turning, a simulated camera.

The server is a process of its own that was not written here (PyPI instamatic 2.2.2). What the run recorded is replayed.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import h5py
import pytest

from engine.replay.replay import first_divergence, load_run, replay
from tests.drivers.instamaticprocess import CREDLINE, microscope_tables, raw_call, temserver

pytestmark = [pytest.mark.realtime, pytest.mark.counterpart]

RANGE_DEG, SPEED_DEG_S = 12.0, 1.0
PLAN = f"""
sample = "instamatic"
rotation = "commanded"
start_deg = -6.0
range_deg = {RANGE_DEG}
speed_deg_s = {SPEED_DEG_S}
exposure_s = 0.25
snapshot_interval = 10
relax_cycles = 1
formats = ["smv", "xds"]
"""
CAMERA_TABLE = """
[detector]
driver = "{camera}"
beam_on = true
"""


# The folder of a run, its result, and the speed setting the server was left with.
Finished = tuple[Path, dict[str, Any], float]


def credline(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*CREDLINE, *words], capture_output=True, text=True, timeout=240, check=False, env=os.environ)


@pytest.fixture(scope="module", params=["simulated", "simulated-timing"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run with a camera that makes pictures (of what the simulation's own stage holds), and one without."""
    folder = tmp_path_factory.mktemp("run")
    with temserver(folder) as (port, _):
        call = raw_call(port)
        call("setRotationSpeed", value=5)
        (folder / "plan.toml").write_text(PLAN, encoding="utf-8")
        tables = microscope_tables(port) + CAMERA_TABLE.format(camera=request.param)
        (folder / "devices.toml").write_text(tables, encoding="utf-8")
        done = credline(
            *("run", "cred", "--config", str(folder / "plan.toml"), "--devices", str(folder / "devices.toml")),
            *("--out", str(folder / "out"), "--accept-timing", "--json"),
        )
        assert done.returncode == 0, done.stderr
        assert call("isBeamBlanked") == [200, True]
        assert call("isStageMoving") == [200, False]
        angle_deg = call("getStagePosition")[1][3]
        assert RANGE_DEG / 2 <= angle_deg <= RANGE_DEG / 2 + 3
        left_setting = call("getRotationSpeed")[1]
    result = json.loads(done.stdout.splitlines()[-1])
    return Path(result["run_dir"]), result, left_setting


def test_the_run_is_done_over_the_range_that_the_server_turned(run: Finished) -> None:
    _, result, left_setting = run
    assert result["status"] == "done"
    assert result["oscillation_deg"] == pytest.approx(SPEED_DEG_S * result["period_s"], rel=0.01)
    # How many slots are lost, at the ends as well, depends on how busy this machine is.
    assert RANGE_DEG / 2 < result["end_deg"] - result["start_deg"] < RANGE_DEG + 0.6
    assert result["frames"] > 5
    assert result["snapshots"] > 0
    assert left_setting == 5


def test_the_rotation_that_was_fitted_is_the_servers(run: Finished) -> None:
    folder, result, _ = run
    document = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert document["result"]["rate_deg_s"] == pytest.approx(SPEED_DEG_S, rel=0.01)
    assert len(document["stage_readings"]) >= 4
    assert max(abs(reading["residual_deg"]) for reading in document["stage_readings"]) < 0.1
    with h5py.File(folder / "frames.h5") as file:
        assert len(file["diffraction/frames"]) >= result["frames"]


def test_the_trace_replays_to_the_same_bytes(run: Finished) -> None:
    folder, _, _ = run
    records = load_run(folder)
    again = replay(records)
    assert first_divergence(records, again) is None
    lines = "".join(json.dumps(record, separators=(",", ":")) + "\n" for record in again)
    assert lines.encode() == (folder / "trace.jsonl").read_bytes()
    done = credline("replay", str(folder))
    assert done.returncode == 0, done.stderr
    assert "all agree" in done.stdout


def test_neither_trace_nor_run_document_names_the_network(run: Finished) -> None:
    folder, _, _ = run
    assert "127.0.0.1" not in (folder / "trace.jsonl").read_text()
