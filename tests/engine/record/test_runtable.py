"""runs.csv: a row for each run that has ended, whatever a person has done with the table in between."""

from pathlib import Path

import pytest

from engine.errors import DataError
from engine.record.runtable import add_row, read_rows


def test_rows_come_one_after_the_other_under_the_names_of_their_columns(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    add_row(path, {"run": "a_001", "range_deg": 60.123456789, "reason": "range covered", "scale": None})
    add_row(path, {"run": "a_002", "reason": 'the stage "stopped", as told\nin two lines'})
    assert read_rows(path) == [
        {"run": "a_001", "range_deg": "60.1235", "reason": "range covered", "scale": ""},
        {"run": "a_002", "range_deg": "", "reason": 'the stage "stopped", as told\nin two lines', "scale": ""},
    ]


def test_a_column_that_is_new_is_added_and_older_rows_stay(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    add_row(path, {"run": "a_001"})
    add_row(path, {"run": "b_001", "tracking": "correct"})
    assert read_rows(path) == [{"run": "a_001", "tracking": ""}, {"run": "b_001", "tracking": "correct"}]
    assert [file.name for file in tmp_path.iterdir()] == ["runs.csv"]


def test_a_table_that_a_spreadsheet_has_saved_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_bytes("\ufeffrun,mine\r\na_001,\u00e9\r\n".encode())
    add_row(path, {"run": "a_002"})
    assert [row["run"] for row in read_rows(path)] == ["a_001", "a_002"]
    assert read_rows(path)[0]["mine"] == "\u00e9"


def test_a_file_that_is_no_table_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(DataError, match="cannot be read as a table"):
        add_row(path, {"run": "a_001"})
    assert path.read_bytes() == b"\x89PNG\xff\xfe"
