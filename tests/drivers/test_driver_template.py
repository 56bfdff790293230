"""The template of a driver package installs as it stands, is found by its name, and passes the conformance suite."""

import shutil
import sys
from pathlib import Path

import pytest

from tests.packages import CREDLINE, called, installed

TEMPLATE = Path(__file__).parents[2] / "examples" / "driver"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Its tests in a folder of their own, and the environment in which the package is installed."""
    folder = tmp_path_factory.mktemp("driver")
    shutil.copytree(TEMPLATE / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    return folder, installed(TEMPLATE, folder / "site")


def run(words: list[str], environment: dict[str, str], folder: Path) -> str:
    done = called(words, environment, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.realtime
def test_an_installed_driver_is_found_by_its_name(package: tuple[Path, dict[str, str]]) -> None:
    folder, environment = package
    program = "from engine.run.registry import registered; print(registered('drivers')['ourcamera'].load().address({}))"
    assert run([sys.executable, "-c", program], environment, folder) == "ourcamera 127.0.0.1:7700\n"


@pytest.mark.realtime
def test_a_plan_is_made_from_what_it_declares(package: tuple[Path, dict[str, str]]) -> None:
    folder, environment = package
    devices = '[microscope]\ndriver = "simulated-timing"\n[detector]\ndriver = "ourcamera"\n'
    (folder / "devices.toml").write_text(devices, encoding="utf-8")
    output = run([*CREDLINE, "plan", "cred", "--devices", "devices.toml"], environment, folder)
    assert "acquisition period         510.0 ms" in output
    assert "Not known so far" not in output


@pytest.mark.realtime
def test_the_template_passes_the_conformance_suite(package: tuple[Path, dict[str, str]]) -> None:
    folder, environment = package
    output = run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"], environment, folder)
    assert "passed" in output
    assert "skipped" not in output
