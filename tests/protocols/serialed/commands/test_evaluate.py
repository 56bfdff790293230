import json

import pytest
import typer
from typer.testing import CliRunner

from protocols.serialed.commands.evaluate import evaluate

app = typer.Typer()
app.command()(evaluate)


@pytest.mark.long
def test_the_finder_holds_its_figures_on_fields_of_a_seed():
    answer = CliRunner().invoke(app, ["--seed", "77", "--fields", "12", "--json"])
    assert answer.exit_code == 0
    told = json.loads(answer.stdout.splitlines()[-1])
    assert told["recall"] >= 0.9
    assert told["precision"] >= 0.85
    assert told["rms_px"] <= 1.3
    assert len(told["by_kind"]) == 12


def test_the_last_line_is_one_object():
    answer = CliRunner().invoke(app, ["--seed", "3", "--fields", "1", "--json"])
    told = json.loads(answer.stdout.splitlines()[-1])
    assert {"recall", "precision", "rms_px", "cpu_s_per_field", "by_kind"} <= set(told)
    assert "large, dark, continuous" in told["by_kind"]
