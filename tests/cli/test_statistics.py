"""`credline statistics`: how far the runs of a laboratory came, from their folders or from its runs.csv."""

import csv
import json
from pathlib import Path

import pytest

from tests.cli.conftest import Credline


def test_a_run_leaves_a_row_and_is_counted_by_folder_and_by_table_alike(credline: Credline, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    words = ("--clock", "virtual", "--devices", "simulated-timing", "--out", str(out), "--set", "range_deg=-4")
    assert credline("run", "cred", *words)[0] == 0
    with (out / "runs.csv").open(newline="") as file:
        row = next(csv.DictReader(file))
    assert (row["planned_deg"], row["status"]) == ("4", "done")
    assert float(row["range_deg"]) == pytest.approx(4, abs=0.3)
    code, told, _ = credline("statistics", str(out), "--out", "ranges.png")
    assert code == 0
    assert "1 run, median " in told
    assert (tmp_path / "ranges.png").stat().st_size > 1000
    by_table = json.loads(credline("statistics", str(out / "runs.csv"), "--json")[1])
    by_folder = json.loads(credline("statistics", str(out), "--json")[1])
    assert by_table == pytest.approx(by_folder, rel=1e-4)
    assert by_table["below_20"] == 1.0


def test_a_folder_without_such_runs_is_said(credline: Credline, tmp_path: Path) -> None:
    code, told, _ = credline("statistics", str(tmp_path))
    assert (code, told.strip()) == (1, f"{tmp_path}: no cRED run with frames in it.")


@pytest.mark.long
def test_what_the_spots_of_each_frame_hold_is_drawn_run_by_run(credline: Credline, tmp_path: Path) -> None:
    devices = tmp_path / "leaving.toml"
    devices.write_text('[microscope]\ndriver = "simulated"\nmotion.drift_nm_s = [60.0, 0.0]\n', encoding="utf-8")
    plan = ("--set", "range_deg=7", "--set", "formats=[]")
    for number, name in enumerate(("simulated", str(devices))):
        words = ("--clock", "virtual", "--devices", name, "--out", str(tmp_path / "runs"), *plan)
        assert credline("run", "cred", *words, "--set", f"sample=s{number}")[0] == 0
    code, told, _ = credline("statistics", str(tmp_path / "runs"), "--scales", "scales.png")
    assert code == 0
    assert (tmp_path / "scales.png").stat().st_size > 1000
    assert "s0_001: the spots of its 27 frames have not faded" in told
    assert "s1_001: the spots have faded in 1" in told  # a third of them, and a few more or less
    assert "of 27 frames, first in slot 1" in told
    code, _, said = credline("statistics", str(tmp_path / "runs" / "runs.csv"), "--scales", "scales.png")
    assert code == 2
    assert "nothing was drawn" in said
