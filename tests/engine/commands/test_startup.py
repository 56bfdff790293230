"""What is asked of the command line and answered without work costs no heavy import."""

import json
import re
import subprocess
import sys

import pytest

HEAVY = (
    "asyncio",
    "drivers",
    "h5py",
    "matplotlib",
    "numpy",
    "protocols",
    "pydantic",
    "rich",
    "scipy",
    "structlog",
    "transitions",
)
ASKED = """
import json, sys
from engine.commands.main import main
sys.argv = ["credline", *{words!r}]
try:
    main()
except SystemExit as end:
    print(json.dumps({{"status": end.code, "modules": sorted(sys.modules)}}), file=sys.stderr)
"""


def asked(*words: str) -> tuple[str, list[str]]:
    """What the command printed, and which modules its process had imported in the end."""
    done = subprocess.run(
        [sys.executable, "-c", ASKED.format(words=words)], capture_output=True, text=True, timeout=60, check=True
    )
    end = json.loads(done.stderr.splitlines()[-1])
    assert end["status"] in (0, None), done.stderr
    return done.stdout, end["modules"]


@pytest.mark.parametrize("words", [["-h"], ["--help"], ["--version"]], ids=" ".join)
def test_help_and_version_import_nothing_heavy(words: list[str]) -> None:
    printed, modules = asked(*words)
    assert printed
    tops = {name.partition(".")[0] for name in modules}
    assert sorted(tops.intersection(HEAVY)) == []


@pytest.mark.parametrize("words", [["run", "-h"], ["soak", "-h"], ["replay", "-h"], ["trace", "-h"]], ids=" ".join)
def test_help_of_one_command_imports_nothing_but_what_typer_reads_options_with(words: list[str]) -> None:
    printed, modules = asked(*words)
    assert printed
    tops = {name.partition(".")[0] for name in modules}
    assert tops.intersection(HEAVY) <= {"pydantic"}  # imported by typer itself, in some of its versions


def test_the_heavy_packages_are_those_that_a_command_at_work_needs() -> None:
    _, modules = asked("plan", "cred")
    tops = {name.partition(".")[0] for name in modules}
    assert {"asyncio", "drivers", "numpy", "protocols", "pydantic", "rich"} <= tops


def test_the_version_names_the_program_and_the_python_it_runs_on() -> None:
    printed, _ = asked("--version")
    assert re.fullmatch(r"credline \d+\.\d+\.\d+\S* \(Python 3\.\d+\.\d+\S*, \w+\)\n", printed)
