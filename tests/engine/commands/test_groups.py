"""Groups of commands from other packages: shown without being imported, loaded when used, harmless when broken."""

import os
import subprocess
import sys
from collections.abc import Mapping
from importlib.machinery import PathFinder
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import typer

from engine.commands.groups import PromisedGroup, first_line
from engine.commands.main import with_groups
from engine.errors import Refused
from tests.quickly import quick

PROGRAM = "from engine.commands.main import main; main()"
WORKING = '''"""Wash the grids of this lab.

More words that help does not show.
"""
import typer
print("the lab's package was imported")
lab_app = typer.Typer()
@lab_app.callback()
def group() -> None: ...
@lab_app.command()
def rinse(times: int = 1) -> None:
    "Rinse a grid."
    print(f"rinsed {times} times")
'''
BROKEN: Mapping[str, str] = {
    "a missing package": '"""Wash the grids of this lab."""\nimport a_package_that_nobody_has\n',
    "an error of its own": '"""Wash the grids of this lab."""\nraise OSError("no licence server")\n',
    "a mistake in writing": '"""Wash the grids of this lab."""\ndef\n',
    "no such app": '"""Wash the grids of this lab."""\n',
    "something else than an app": '"""Wash the grids of this lab."""\nlab_app = 3\n',
}


def a_lab(folder: Path, module: str) -> dict[str, str]:
    """A package of some lab that registers the group `wash`, as installed; the environment in which it is found."""
    (folder / "labwash.py").write_text(module)
    installed = folder / "labwash-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: labwash\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[credline.commands]\nwash = labwash:lab_app\n")
    where = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH", ""))))
    return {**os.environ, "PYTHONPATH": where}


def credline(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *words],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
        check=False,
    )


def test_help_shows_a_group_by_the_first_line_of_its_module_without_importing_it(tmp_path: Path) -> None:
    done = credline(a_lab(tmp_path, WORKING), "-h")
    assert done.returncode == 0, done.stderr
    shown = next(line for line in done.stdout.splitlines() if line.split()[:1] == ["wash"])
    assert shown.split(maxsplit=1)[1] == "Wash the grids of this lab."
    assert "imported" not in done.stdout


def test_a_group_is_loaded_when_one_of_its_commands_is_used(tmp_path: Path) -> None:
    environment = a_lab(tmp_path, WORKING)
    done = credline(environment, "wash", "rinse", "--times", "3")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["the lab's package was imported", "rinsed 3 times"]
    help_of_it = credline(environment, "wash", "-h")
    assert help_of_it.returncode == 0, help_of_it.stderr
    assert "Rinse a grid." in help_of_it.stdout


@pytest.mark.parametrize("module", quick(2, BROKEN.values()), ids=BROKEN)
def test_a_broken_group_spoils_no_other_command_and_is_refused_in_one_line_when_used(
    tmp_path: Path, module: str
) -> None:
    environment = a_lab(tmp_path, module)
    whole = credline(environment, "-h")
    assert whole.returncode == 0, whole.stderr
    assert "wash" in whole.stdout
    assert "run " in whole.stdout
    assert credline(environment, "graph", "-h").returncode == 0
    used = credline(environment, "wash", "rinse")
    assert used.returncode == 2
    (line,) = used.stderr.splitlines()
    assert line.startswith("credline: refused: wash: ")
    assert "nothing was done" in line


def test_a_word_that_the_group_does_not_know_is_refused_as_in_any_command(tmp_path: Path) -> None:
    done = credline(a_lab(tmp_path, WORKING), "wash", "dry")
    assert done.returncode == 2
    assert "dry" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_group_that_was_promised_makes_its_context_from_the_loaded_one() -> None:
    trace = PromisedGroup("trace", EntryPoint("trace", "engine.commands.trace:trace_app", ""))
    context = trace.make_context("trace", ["show", "-h"], resilient_parsing=True)
    assert {"show", "stats", "plot", "export"} <= set(context.command.commands)


def test_an_app_that_is_none_is_refused() -> None:
    group = PromisedGroup("odd", EntryPoint("odd", "engine.errors:Refused", ""))
    with pytest.raises(Refused, match="is no typer app"):
        group.make_context("odd", [])


@pytest.mark.parametrize(
    "module",
    ["no_such_package", "no_such_package.inside", "engine.no_such_module", "math.inside", "engine.errors.deep"],
)
def test_a_module_that_is_not_there_has_an_empty_first_line(module: str) -> None:
    assert first_line(module) == ""


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ('# encoding: utf-8\n\n"""Größe.\n\nMore."""\n', "Größe."),
        ("'''\n  Begins below.\n'''", "Begins below."),
        ('r"""Raw."""', "Raw."),
        ('import os\n"""No docstring."""', ""),
        ('b"""No text."""', ""),
        ('"""Never ends', ""),
        ("\x00", ""),
        ("", ""),
        ('"""Broken below."""\ndef', "Broken below."),
    ],
)
def test_the_first_line_is_that_of_the_docstring_and_of_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, line: str
) -> None:
    package = tmp_path / "lab"
    package.mkdir()
    (package / "inside.py").write_text(source, encoding="utf-8")
    monkeypatch.setattr("engine.commands.groups.find_spec", lambda name: PathFinder.find_spec(name, [str(tmp_path)]))
    assert first_line("lab.inside") == line


def test_an_app_of_one_command_is_that_command(monkeypatch: pytest.MonkeyPatch) -> None:
    app = typer.Typer()

    @app.command()
    def level(height: int) -> None:
        """Say how high it is."""
        typer.echo(f"{height} nm")

    point = EntryPoint("level", "lab:app", "credline.commands")
    monkeypatch.setattr(EntryPoint, "load", lambda self: app)
    context = PromisedGroup("level", point).make_context("level", ["7"])
    assert (context.command.name, context.params) == ("level", {"height": 7})


def test_every_group_that_is_installed_here_has_a_first_line_and_loads() -> None:
    command = with_groups()
    groups = {name: group for name, group in command.commands.items() if isinstance(group, PromisedGroup)}
    assert {"trace", "devices", "zones"} <= set(groups)
    for name, group in groups.items():
        assert group.help, name
        context = group.make_context(name, [], resilient_parsing=True)
        assert isinstance(context.command, typer.core.TyperGroup | typer.core.TyperCommand), name
