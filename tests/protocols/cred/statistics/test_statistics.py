"""How far the runs of a laboratory came: shares, bins, and rows that are none."""

import pytest

from engine.errors import DataError
from protocols.cred.statistics.histogram import histogram_lines, ranges_of
from protocols.cred.statistics.row import RunRow, read_row


def run(range_deg: float, holder_deg: float | None = None, tracking: str = "off") -> RunRow:
    return RunRow(f"run {range_deg}", "done", "", range_deg, range_deg, holder_deg, tracking)


def test_shares_are_those_of_the_paper_and_a_short_holder_counts_only_where_it_could() -> None:
    told = ranges_of([run(5.0), run(19.9), run(84.0, holder_deg=84.0), run(100.0), run(130.0)])
    assert (told.runs, told.below_20, told.median_deg) == (5, 2 / 5, 84.0)
    assert told.above_80 == 3 / 5
    assert told.above_120 == 1 / 4
    assert ranges_of([]).runs == 0


def test_each_run_stands_in_the_bin_in_which_it_ended() -> None:
    lines = histogram_lines([run(0.5), run(10.0), run(10.5), run(155.0)])
    assert [line.split()[4] for line in lines[:2]] == ["1", "2"]
    assert lines[-1].split()[:5] == ["150", "to", "160", "deg", "1"]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"run": "a", "range_deg": "many"}, "range_deg = 'many' is no angle"),
        ({"run": "a", "range_deg": "nan"}, "range_deg = 'nan' is no angle"),
        ({"run": "a"}, "a row has no range_deg"),
        ({"range_deg": "5"}, "a row has no run"),
    ],
)
def test_a_table_of_something_else_is_refused(row: dict[str, str], says: str) -> None:
    with pytest.raises(DataError, match=says):
        read_row(row, "runs.csv")
