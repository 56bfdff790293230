"""`credline runs list`: a table whose figures and paths are whole in any terminal."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from engine.commands.runs import runs_app, table
from tests.engine.run.test_runlist import run


def runs(*words: object, columns: int = 60) -> Result:
    return CliRunner().invoke(runs_app, ["list", *map(str, words)], env={"COLUMNS": str(columns)})


@pytest.mark.parametrize("columns", [40, 60, 200])
def test_a_narrow_terminal_costs_no_figure_and_no_path(tmp_path: Path, columns: int) -> None:
    folder = run(tmp_path / "zeolite_with_a_long_name_001")
    done = runs(tmp_path, columns=columns)
    assert done.stdout.splitlines() == [
        "status  label    range deg  frames  lost  report, or folder",
        f"done    zeolite       9.90      39     1  {folder}",
    ]


def test_what_is_wrong_is_said_beside_the_list(tmp_path: Path) -> None:
    run(tmp_path / "zeolite_001")
    (tmp_path / "bad_001").mkdir()
    (tmp_path / "bad_001" / "run.json").write_text("{")
    (tmp_path / "photos").mkdir()
    done = runs(tmp_path)
    assert done.exit_code == 0
    assert len(done.stdout.splitlines()) == 3
    first, last = done.stderr.splitlines()
    assert first.startswith(f"{tmp_path / 'bad_001' / 'run.json'}: not readable as JSON")
    assert last == f"{tmp_path}: 1 more folder in it, not of runs."


def test_no_runs_are_no_error(tmp_path: Path) -> None:
    done = runs(tmp_path)
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path}: no runs in it.\n")


def test_columns_are_those_that_any_row_has_and_numbers_stand_to_the_right() -> None:
    rows = [{"a": "x", "n": "5", "end": "/p"}, {"a": "longer", "own": "y", "n": "", "end": "/q"}]
    assert table(rows, "end") == ["a       n  own  end", "x       5  -    /p", "longer  -  y    /q"]
