"""`credline campaign fig4`: by hand and automatic side by side."""

import csv
import json
from pathlib import Path

import pytest

from tests.cli.conftest import Credline

SHARES = {"runs", "below_20", "above_80", "above_120"}


@pytest.mark.long
def test_a_campaign_tells_both_histograms_and_draws_them(credline: Credline, tmp_path: Path) -> None:
    words = ("--experiments", "2", "--worse", "8", "--jobs", "1", "--out", "fig4.png", "--table", "fig4.csv")
    code, told, said = credline("campaign", "fig4", *words, "--json")
    assert code == 0, said
    counted = json.loads(told.splitlines()[-1])
    assert (counted["experiments"], counted["seed"], counted["worse"]) == (2, 0, 8.0)
    assert set(counted["hand"]) == set(counted["auto"]) == SHARES
    assert counted["hand"]["runs"] == counted["auto"]["runs"] == 2
    assert "by hand:" in said
    assert (tmp_path / "fig4.png").stat().st_size > 1000
    with (tmp_path / "fig4.csv").open(newline="") as file:
        assert [row["experiment"] for row in csv.DictReader(file)] == ["0", "1"]


def test_a_campaign_that_there_is_not_is_refused(credline: Credline) -> None:
    code, _, said = credline("campaign", "fig5")
    assert code == 2
    assert "fig4" in said
