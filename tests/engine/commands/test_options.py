"""Options that commands have in common: the devices may be named by a variable, and then it is said."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from engine.commands.main import app
from engine.errors import Refused

SLOW = '[microscope]\ndriver = "simulated-timing"\napi_call_s = 0.05\n'


@pytest.fixture
def devices_file(tmp_path: Path) -> Path:
    path = tmp_path / "ours.toml"
    path.write_text(SLOW)
    return path


def test_the_variable_names_the_devices_and_it_is_said(devices_file: Path) -> None:
    done = CliRunner().invoke(app, ["plan", "cred", "--full"], env={"CREDLINE_DEVICES": str(devices_file)})
    assert done.exit_code == 0, done.output
    assert done.stderr.splitlines() == [f"devices: {devices_file}, as CREDLINE_DEVICES says"]
    assert "50.0" in done.stdout


@pytest.mark.parametrize(("words", "said"), [(["--devices", "simulated"], None), ([], "")])
def test_what_is_typed_comes_before_the_variable_and_an_empty_one_is_none(
    devices_file: Path, words: list[str], said: str | None
) -> None:
    variable = str(devices_file) if said is None else said
    done = CliRunner().invoke(app, ["plan", "cred", "--full", *words], env={"CREDLINE_DEVICES": variable})
    assert done.exit_code == 0, done.output
    assert done.stderr == ""
    assert "35.0" in done.stdout


def test_a_variable_that_names_nothing_is_refused() -> None:
    done = CliRunner().invoke(app, ["plan", "cred"], env={"CREDLINE_DEVICES": "nowhere.toml"})
    assert isinstance(done.exception, Refused)
    assert "as CREDLINE_DEVICES says" in done.stderr
