"""The template of an experiment of one's own: its own tests pass where it is installed."""

import shutil
import sys
from pathlib import Path

import pytest

from tests.packages import called, installed

TEMPLATE = Path(__file__).parents[2] / "examples" / "protocol"


@pytest.mark.long
@pytest.mark.realtime
def test_the_template_passes_its_own_tests(tmp_path: Path) -> None:
    shutil.copytree(TEMPLATE / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    done = called(words, installed(TEMPLATE, tmp_path / "site"), tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 passed" in done.stdout
