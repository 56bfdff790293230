"""Tables keep all letters of figures and words in a terminal of any width."""

import re

import pytest
from rich.table import Table

from engine.commands.statstables import _tables
from engine.commands.tables import print_whole
from engine.record.trace import read_trace
from engine.views.stats import TraceStats
from tests.engine.traces import record_run


@pytest.mark.parametrize("columns", [20, 40, 60, 200])
def test_no_figure_and_no_word_is_cut(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    table = Table("step", "from")
    table.add_column("median", no_wrap=True)
    table.add_column("max", justify="right")
    table.add_row("readout and overhead", "snapshot_exposure_s", "123456.789", "1234567.125")
    print_whole(table)
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("readout", "overhead", "123456.789", "1234567.125"))
    letters = sorted(re.sub("[^a-z_]", "", printed))
    assert letters == sorted("step from median max readout and overhead snapshot_exposure_s".replace(" ", ""))
    assert "…" not in printed


@pytest.mark.parametrize("columns", [40, 60])
def test_the_figures_of_a_trace_are_whole(
    tmp_path_factory: pytest.TempPathFactory,
    columns: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = record_run(tmp_path_factory.mktemp("runs"))
    document = TraceStats.read(read_trace(run)).document()
    printed = []
    for width in (columns, 200):
        monkeypatch.setenv("COLUMNS", str(width))
        print_whole(*_tables(document))
        printed.append(sorted(re.findall(r"-?\d+\.\d+", capsys.readouterr().out)))
    assert printed[0] == printed[1]
