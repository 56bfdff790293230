"""Slips of the first day: each is refused in words that say what to write instead."""

from pathlib import Path

import pytest

from engine.errors import DataError
from engine.record.document import RunDocument
from tests.cli.conftest import Credline

MISTYPED = {
    "a plan without --config": ("run cred lab.toml", "A plan is named with --config lab.toml, devices with --devices"),
    "a space for the sign": ("plan cred --set exposure_s 0.3", "one word, --set exposure_s=0.3"),
    "a place without quotes": ("export run --set beam=[258.3, 260.1]", 'quotes, --set "beam=[258.3, 260.1]"'),
    "a latency with a space": ("replay run --what-if api_latency=80 ms", "A value with its unit is one word, as 80ms"),
    "a key as an option": ("run cred --formats autoed", "--set formats=VALUE"),
    "a key as an option of a check": ("devices check --exposure-s 0.3", "--set exposure_s=VALUE"),
    "no such clock": ("run cred --clock virtal", "'virtal' is not one of 'real', 'virtual'"),
}


@pytest.mark.parametrize("name", MISTYPED)
def test_a_slip_is_told_what_to_write_instead(credline: Credline, name: str) -> None:
    words, says = MISTYPED[name]
    status, out, err = credline(*words.split())
    assert (status, out) == (2, "")
    assert says in err
    assert "Value error" not in err


EXAMPLES = {
    "an option that is none": ("soak cred --seds 3", "Example: credline soak cred --seeds 1000"),
    "a value that is no number": ("soak cred --seeds many", "Example: credline soak cred --seeds 1000"),
    "an argument left out": ("trace show", "Example: credline trace show runs/mordenite_001 --slot 10-12"),
    "an option of a group of another package": ("zones cell --volt 3", "Example: credline zones cell patterns.h5"),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_words_that_make_no_command_get_an_example_of_it(credline: Credline, name: str) -> None:
    words, example = EXAMPLES[name]
    status, _, err = credline(*words.split())
    assert status == 2
    assert err.splitlines()[-1] == example


def test_a_folder_of_runs_or_a_file_of_one_is_told_which_run_to_name(credline: Credline, tmp_path: Path) -> None:
    for name in ("lta_001", "mfi_002"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "run.json").write_text("{}")
    with pytest.raises(DataError, match="Runs in it: lta_001, mfi_002"):
        RunDocument.read(Path("runs"))
    assert "is a file; give the folder of the run, runs/lta_001" in credline("export", "runs/lta_001/run.json")[2]
    assert "credline runs list" in credline("export", "lta_001")[2]


def test_a_file_in_place_of_the_folder_for_runs_is_called_that(credline: Credline, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    status, _, err = credline("run", "cred", "--clock", "virtual", "--out", "notes.txt", "--set", "formats=[]")
    assert status == 2
    assert "--out notes.txt: is a file; nothing was started. Name a folder" in err
