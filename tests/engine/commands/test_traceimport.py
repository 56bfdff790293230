"""`credline trace import`: which program's importer reads the logs."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from engine.errors import Refused
from engine.run import registry
from tests.engine.traces import trace


@dataclass(frozen=True)
class Imported:
    """What an importer gives."""

    logs: tuple[Path | None, ...]
    warnings: tuple[str, ...] = ("half of it was not understood",)
    summary: str = "two records"

    def lines(self) -> list[str]:
        return [f"{[log.name if log else None for log in self.logs]}\n"]


def ours(*logs: Path | None) -> Imported:
    return Imported(logs)


OURS = EntryPoint("ours", f"{__name__}:ours", "")
OTHER = EntryPoint("other", "nowhere:importer", "")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, EntryPoint]:
    points = {"ours": OURS}

    def registered(group: str) -> Mapping[str, EntryPoint]:
        return points if group == "importers" else {}

    monkeypatch.setattr(registry, "registered", registered)
    return points


@pytest.mark.parametrize(("words", "logs"), [(["a.log"], ["a.log", None]), (["a.log", "b.log"], ["a.log", "b.log"])])
def test_the_only_importer_there_is_need_not_be_named(
    installed: dict[str, EntryPoint], tmp_path: Path, words: list[str], logs: list[str | None]
) -> None:
    out = tmp_path / "t.jsonl"
    done = trace("import", *words, "-o", out)
    assert done.exit_code == 0, done.exception
    assert out.read_text() == f"{logs}\n"
    assert done.stdout.strip() == f"{out}: two records"
    assert done.stderr.strip() == "warning: half of it was not understood"


def test_among_several_one_is_named(installed: dict[str, EntryPoint], tmp_path: Path) -> None:
    installed["other"] = OTHER
    assert trace("import", "a.log", "--from", "ours", "-o", tmp_path / "t.jsonl").exit_code == 0
    error = trace("import", "a.log", "-o", tmp_path / "u.jsonl").exception
    assert isinstance(error, Refused)
    assert "Importers are installed for: other, ours." in str(error)
    assert not (tmp_path / "u.jsonl").exists()


def test_a_program_without_an_importer_is_refused(installed: dict[str, EntryPoint], tmp_path: Path) -> None:
    error = trace("import", "a.log", "--from", "theirs", "-o", tmp_path / "t.jsonl").exception
    assert isinstance(error, Refused)
    assert str(error) == "--from: 'theirs' is not known; nothing was written. Installed are: ours."
