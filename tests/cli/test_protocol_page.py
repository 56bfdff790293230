"""docs/protocol-writing.md, word for word: its files in an empty folder, its commands, and what it says they print."""

import re
import sys
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import pytest

from tests.cli.commandline import command
from tests.packages import called, installed, seen

PAGE = Path(__file__).parents[2] / "docs" / "protocol-writing.md"
PYTEST = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider")
NOT_RUN = ("mkdir fading && cd fading", "pip install -e .")
"""What the test does itself: the folder is a temporary one, and pip would fetch the newest setuptools."""


def blocks() -> Iterator[tuple[str, str]]:
    """Language and text of every block of the page, in order."""
    yield from re.findall(r"^```(\w*)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def plain(text: str) -> str:
    """Without the lines of tables, and with one space between words."""
    return " ".join(re.sub(r"[^\x00-\x7f]", " ", text).split())


@pytest.mark.long
@pytest.mark.realtime
def test_the_page_leads_from_an_empty_folder_to_a_run_a_replay_and_a_test(tmp_path: Path) -> None:
    folder = tmp_path / "fading"
    folder.mkdir()
    environment: dict[str, str] = {}
    said, commands, shown = "", 0, 0
    for language, text in blocks():
        if language in ("python", "toml"):
            name, _, content = text.removeprefix("# ").partition("\n")
            (folder / name).write_text(content, encoding="utf-8")
        elif language == "sh":
            said = ""
            for line in text.splitlines():
                if line == "pip install -e .":
                    environment = installed(folder, tmp_path / "site")
                if line in NOT_RUN:
                    continue
                program, *words = line.split()
                if program == "pytest":
                    done = called([*PYTEST, *words], environment, folder)
                else:
                    assert program == "credline"
                    with seen(tmp_path / "site"), chdir(folder):
                        done = command(*words)
                assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
                said += done.stdout + done.stderr
                commands += 1
        elif language == "text":
            for line in text.splitlines():
                assert plain(line) in plain(said), f"{line!r} is not in:\n{said}"
                shown += 1
    assert (commands, shown) == (10, 6)
    assert "3 passed" in said
