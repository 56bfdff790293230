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
