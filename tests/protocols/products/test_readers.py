"""A run of a mordenite crystal as credline performs it, read by all programs around XDS that are tried here."""

import json
from pathlib import Path

import pytest

from tests.engine.traces import record_run
from tests.protocols.products.readers import keywords, performed

pytestmark = [pytest.mark.counterpart, pytest.mark.long]


def test_a_run_is_found_by_all_with_the_same_angles_and_geometry(tmp_path: Path) -> None:
    project = tmp_path / "project"
    formats = ("xds", "redp", "autoed", "pyautoprocess")
    run = record_run(project, devices="simulated", range_deg=-8.0, formats=formats)

    monitor = performed(["python", "-P", Path(__file__).with_name("autoleimonitor.py"), project, "look"], project)
    assert json.loads(monitor.stdout.splitlines()[-1])[run.name]["status"] == "instamatic-ready", monitor.stderr

    cell = ["-c", "18.256", "20.534", "7.542", "90", "90", "90", "-s", "63"]
    assert performed(["edtools.update_xds", *cell], project).returncode == 0
    ours = keywords(run / "SMV" / "XDS.INP")
    assert ours["SPACE_GROUP_NUMBER"] == ["63"]
    assert ours["UNIT_CELL_CONSTANTS"] == ["18.256 20.534 7.542 90.000 90.000 90.000"]

    words = ["autoprocess", "pyautoprocess", "--config-file", "pyautoprocess/microscope.json"]
    performed([*words, "--microscope-config", "credline"], run)
    theirs = keywords(run / "pyautoprocess" / "mordenite" / "auto_process" / "XDS.INP")
    told = json.loads((run / "ED" / f"{run.name}.json").read_text(encoding="utf-8"))
    width_deg = float(ours["OSCILLATION_RANGE"][0])
    assert float(theirs["OSCILLATION_RANGE"][0]) == pytest.approx(width_deg, abs=1e-7)
    assert told["angle_increment"] == pytest.approx(width_deg, abs=1e-7)
    assert theirs["ROTATION_AXIS"] == ours["ROTATION_AXIS"]
    x, y, z = map(float, ours["ROTATION_AXIS"][0].split())
    assert [float(c) for c in told["rotation_axis"].split(",")] == pytest.approx([x, -y, -z])
