"""The reader in docs/serialed-results.md does what the page says, as it stands there."""

import re
from pathlib import Path

import pytest

from protocols.serialed.results.export import export_serial
from tests.protocols.serialed.results.serialruns import Crystal, write_run

PAGE = Path(__file__).parents[4] / "docs" / "serialed-results.md"


def test_the_reader_prints_the_best_isolated_crystals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fields = {
        1: [Crystal(40, 30, 0.7), Crystal(90, 70, 0.02), Crystal(30, 100, 0.95), Crystal(99, 9, 0.9, neighbour_nm=9)]
    }
    made = write_run(tmp_path / "grid_001", fields)
    export_serial(made.folder, ("nexus",))
    (snippet,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(made.folder)
    exec(compile(snippet, str(PAGE), "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == ["crystal 3: score 0.95", "crystal 1: score 0.70"]
    assert all("beam at 50." in line for line in lines)


def test_the_page_names_every_column_of_the_table() -> None:
    from protocols.serialed.results.csvfiles import CRYSTAL_COLUMNS

    text = PAGE.read_text(encoding="utf-8")
    assert [name for name in CRYSTAL_COLUMNS if f"`{name}`" not in text] == []
