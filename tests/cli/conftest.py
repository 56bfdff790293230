"""The command line in this process: quicker than in one of its own, for tables of cases."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from engine.commands.main import main

Credline = Callable[..., tuple[int, str, str]]
"""The command with these words: its exit status, standard output and standard error."""


@pytest.fixture
def credline(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Iterator[Credline]:
    """`credline` in this process, in the folder `tmp_path`."""
    monkeypatch.chdir(tmp_path)

    def command(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["credline", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    yield command
    structlog.reset_defaults()
