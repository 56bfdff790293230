"""`credline setup`: from answers to the files of an instrument, and to what is missing; wrong answers write nothing."""

import json
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from drivers.calibration.instrumentfile import read_instrument
from protocols.calibrate.setup.answers import AnswersOfPerson
from protocols.calibrate.setup.describing import described
from tests.cli.commandline import command

SIMULATED = 'name = "sim"\nmicroscope.driver = "simulated-timing"\n'


def setup(folder: Path, answers: str, *more: str) -> tuple[int, str, dict[str, Any]]:
    """Status, what was said, and the last line as JSON, empty where there is none."""
    path = folder / "answers.toml"
    path.write_text(answers)
    done = command("setup", "--answers", str(path), "--out", str(folder), "--clock", "virtual", "--json", *more)
    return done.returncode, done.stderr, json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip() else {}


def test_a_simulated_instrument_is_written_answers_and_has_its_calibrations_before_it(tmp_path: Path) -> None:
    status, said, result = setup(tmp_path, SIMULATED)
    path = tmp_path / "sim-devices.toml"
    assert status == 0, said
    assert (result["devices"], result["answers"], result["works"]) == (str(path), True, True)
    assert f"credline calibrate flatfield --devices {path}" in said
    assert f"credline calibrate flatfield --devices {path}" in result["missing"]["cRED"]
    written = tomllib.loads(path.read_text())
    assert (written["instrument"], written["microscope"]) == ("sim.toml", {"driver": "simulated-timing"})
    assert written["timing"]["api_call_s"] == pytest.approx(0.035, rel=0.1), "measured by the check"
    again = command("setup", "--devices", str(path), "--clock", "virtual", "--no-check", "--json")
    assert json.loads(again.stdout.splitlines()[-1])["answers"]
    assert "flatfield: not made" in command("calibrate", "list", "--devices", str(path)).stdout


COMBINATIONS: dict[str, tuple[str, dict[str, dict[str, object]], dict[str, float]]] = {
    "JEOL and Timepix through Instamatic's servers": (
        'microscope.driver = "instamatic"\nmicroscope.limits_deg = [-65.0, 65.0]\ndetector.driver = '
        '"instamatic-camera"\n',
        {"microscope": {"driver": "instamatic", "limits_deg": [-65.0, 65.0]}},
        {"camera_length_mm": 15.0},
    ),
    "Thermo and Merlin": (
        'microscope.driver = "thermo"\ndetector.driver = "merlin"\nmicroscope.host = "127.0.0.7"\n',
        {"microscope": {"driver": "thermo", "host": "127.0.0.7"}, "detector": {"driver": "merlin"}},
        {},
    ),
    "JEOL and DECTRIS": (
        'microscope.driver = "jeol"\ndetector.driver = "dectris"\n',
        {"microscope": {"driver": "jeol"}, "detector": {"driver": "dectris"}},
        {},
    ),
}


@pytest.mark.parametrize("name", COMBINATIONS)
def test_what_no_driver_tells_is_asked_and_kept_as_what_nobody_measured(name: str, tmp_path: Path) -> None:
    answers, tables, sigmas = COMBINATIONS[name]
    asked = {"high_tension_kV": 200.0, "camera_length_mm": 300.0}
    typed: dict[str, float] = {}
    while True:  # one that is not asked is refused, one that is missing as well: what is asked is found so
        text = "".join(f"{key} = {value}\n" for key, value in typed.items())
        status, said, _ = setup(tmp_path, f'name = "lab"\n{text}{answers}')
        if status != 2:
            break
        missing = next(key for key in asked if f"{key} is missing" in said)
        typed[missing] = asked[missing]
    assert status == 1, "nobody answers there"
    assert "then: credline setup --devices" in said
    written = tomllib.loads((tmp_path / "lab-devices.toml").read_text())
    assert written["instrument"] == "lab.toml"
    for table, keys in tables.items():
        assert keys.items() <= written[table].items()
    values = {value.name: value for value in read_instrument(tmp_path / "lab.toml").values}
    assert {key: values[key].sigma for key in values} == {key: pytest.approx(sigmas[key], rel=0.01) for key in sigmas}
    assert {value.data for value in values.values()} <= {"setup"}


INSTAMATIC_DECTRIS = 'microscope.driver = "instamatic"\ndetector.driver = "dectris"\n'
WRONG = {
    "no driver": ('name = "sim"\n', "microscope.driver is missing"),
    "a microscope as a camera": (
        'microscope.driver = "jeol"\ndetector.driver = "simulated"\n',
        "simulated is a microscope with its camera: name it as microscope.driver, and leave out detector.driver.",
    ),
    "a driver that there is not": ('microscope.driver = "simulatd"\n', "Did you mean simulated?"),
    "a key that nobody asks for": (f'{SIMULATED}microscop.host = "x"\n', "nobody asked for microscop.host"),
    "a name that is a path": ('name = "../sim"\nmicroscope.driver = "simulated"\n', "use letters"),
    "metres": (
        f"{INSTAMATIC_DECTRIS}camera_length_mm = 0.25\n",
        "If 0.25 m was meant, write camera_length_mm = 250",
    ),
    "volts": (
        f"{INSTAMATIC_DECTRIS}camera_length_mm = 250\nhigh_tension_kV = 200000\n",
        "200000 kV cannot be",
    ),
    "an option that cannot be": (f"{SIMULATED}microscope.api_call_s = -1.0\n", "give a positive time"),
    "a text for a number": (
        f'{INSTAMATIC_DECTRIS}camera_length_mm = "long"\n',
        "'long' is not a number",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_answer_is_refused_and_nothing_is_written(name: str, tmp_path: Path) -> None:
    answers, words = WRONG[name]
    status, said, _ = setup(tmp_path, answers)
    assert (status, words in said) == (2, True), said
    assert [path.name for path in tmp_path.iterdir()] == ["answers.toml"]


def test_files_that_are_there_are_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "sim.toml").write_text("# measured in years of work")
    status, said, _ = setup(tmp_path, SIMULATED)
    assert status == 2
    assert "sim.toml is there already" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answers.toml", "sim.toml"]


def test_a_person_is_asked_again_after_a_wrong_word(monkeypatch: pytest.MonkeyPatch) -> None:
    typed = iter(["lab", "thermoo", "thermo", "", "8081", "[-50, 50]", "merlin", "", "", ""])
    asked: list[str] = []

    def prompt(text: str, default: object = None, **_: object) -> object:
        asked.append(text)
        return next(typed) or default

    monkeypatch.setattr("typer.prompt", prompt)
    found = described(AnswersOfPerson(), date(2026, 11, 28))
    assert found.tables["microscope"] == {"driver": "thermo", "motion_port": 8081, "limits_deg": [-50, 50]}
    assert sum("driver of the microscope" in text for text in asked) == 2
    assert found.tables["detector"] == {"driver": "merlin"}
    assert not found.values
