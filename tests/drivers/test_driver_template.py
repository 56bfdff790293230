"""The template of a driver package installs as it stands, is found by its name, and passes the conformance suite."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

TEMPLATE = Path(__file__).parents[2] / "examples" / "driver"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Its tests in a folder of their own, and the environment in which the package is installed.

    What pip does is done by hand (module, metadata, entry points), for pip would fetch the newest setuptools.
    """
    folder = tmp_path_factory.mktemp("driver")
    shutil.copytree(TEMPLATE / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    told = tomllib.loads((TEMPLATE / "pyproject.toml").read_text(encoding="utf-8"))
    site = folder / "site"
    metadata = site / f"{told['project']['name'].replace('-', '_')}-{told['project']['version']}.dist-info"
    metadata.mkdir(parents=True)
    for module in told["tool"]["setuptools"]["py-modules"]:
        shutil.copy(TEMPLATE / f"{module}.py", site)
    name, version = told["project"]["name"], told["project"]["version"]
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    lines = [
        line
        for group, points in told["project"]["entry-points"].items()
        for line in (f"[{group}]", *(f"{key} = {value}" for key, value in points.items()))
    ]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder, {**os.environ, "PYTHONPATH": str(site)}


def run(words: list[str], environment: dict[str, str], folder: Path) -> str:
    done = subprocess.run(words, env=environment, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.realtime
def test_an_installed_driver_is_found_by_its_name(package: tuple[Path, dict[str, str]]) -> None:
    folder, environment = package
    program = "from engine.run.registry import registered; print(registered('drivers')['ourcamera'].load().address({}))"
    assert run([sys.executable, "-c", program], environment, folder) == "ourcamera 127.0.0.1:7700\n"


@pytest.mark.realtime
def test_the_template_passes_the_conformance_suite(package: tuple[Path, dict[str, str]]) -> None:
    folder, environment = package
    output = run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"], environment, folder)
    assert "passed" in output
    assert "skipped" not in output
