"""Packages that are installed into a folder of their own, and credline as their users call it."""

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

CREDLINE = (sys.executable, "-c", "from engine.commands.main import main; main()")

Environment = Mapping[str, str]


def installed(project: Path, site: Path) -> dict[str, str]:
    """The environment in which the package of a project folder is installed, in `site`.

    What pip does is done by hand (modules, metadata, entry points), for pip would fetch the newest setuptools.
    """
    told = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    name, version = told["project"]["name"], told["project"]["version"]
    metadata = site / f"{name.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir(parents=True)
    for module in told["tool"]["setuptools"]["py-modules"]:
        shutil.copy(project / f"{module}.py", site)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    lines = [
        line
        for group, points in told["project"]["entry-points"].items()
        for line in (f"[{group}]", *(f"{key} = {value}" for key, value in points.items()))
    ]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    path = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}


@contextmanager
def seen(site: Path) -> Iterator[None]:
    """Here too, what is installed in `site` is found; forgotten afterwards."""
    with patch.object(sys, "path", [str(site), *sys.path]):
        try:
            yield
        finally:
            for name, module in list(sys.modules.items()):
                if Path(getattr(module, "__file__", None) or ".").is_relative_to(site):
                    del sys.modules[name]


def called(words: Sequence[str], environment: Environment, folder: Path) -> "subprocess.CompletedProcess[str]":
    """A command that has ended, with what it wrote."""
    return subprocess.run(words, env=environment, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
