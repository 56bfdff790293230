"""The journal gives back its whole lines, also when its end is torn, and names what is wrong with any other."""

from pathlib import Path

import pytest

from engine.errors import DataError
from engine.record.journal import LINE_LIMIT_BYTES, read_journal

WHOLE = b'{"t_ns":0,"began":true,"timing":null}\n{"t_ns":5,"state":"relax"}\n{"t_ns":9,"state":"expose"}\n'
LINES = [{"t_ns": 0, "began": True, "timing": None}, {"t_ns": 5, "state": "relax"}, {"t_ns": 9, "state": "expose"}]


def journal_of(folder: Path, content: bytes) -> Path:
    (folder / "journal.jsonl").write_bytes(content)
    return folder


def test_the_lines_of_a_run_folder_or_of_a_file_come_in_order(tmp_path: Path) -> None:
    folder = journal_of(tmp_path, WHOLE)
    assert list(read_journal(folder)) == LINES
    assert list(read_journal(folder / "journal.jsonl")) == LINES


def test_cut_off_at_any_byte_it_gives_the_whole_lines(tmp_path: Path) -> None:
    for length in range(len(WHOLE)):
        assert list(read_journal(journal_of(tmp_path, WHOLE[:length]))) == LINES[: WHOLE[:length].count(b"\n")]


def test_a_tail_of_zeros_is_a_torn_line(tmp_path: Path) -> None:
    for length in range(len(WHOLE)):
        content = WHOLE[:length].ljust(len(WHOLE), b"\0")
        assert list(read_journal(journal_of(tmp_path, content))) == LINES[: content.count(b"\n")]


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        (b"no JSON\n", "line 2 is no JSON"),
        (b"[1]\n", "line 2 holds no JSON object"),
        (b'{"state":"relax"}\n', "line 2 has no 't_ns'"),
        (b'{"t_ns":true}\n', "line 2 has no 't_ns'"),
        (b'{"t_ns":9223372036854775808}\n', "line 2 has no 't_ns'"),
        (b'{"t_ns":1,"state":7}\n', "line 2 has a 'state' that is no text"),
        (b'{"t_ns":1,"began":1}\n', "line 2 has a 'began'"),
        (b"\xff\n", "line 2 is no JSON"),
        (b"[" * 60_000 + b"\n", "line 2 is no JSON"),
        (b"x" * (LINE_LIMIT_BYTES + 1), "line 2 is longer than"),
    ],
)
def test_a_damaged_line_is_named_after_the_lines_before_it(tmp_path: Path, line: bytes, wrong: str) -> None:
    reading = read_journal(journal_of(tmp_path, WHOLE.splitlines(keepends=True)[0] + line))
    assert next(reading) == LINES[0]
    with pytest.raises(DataError, match=wrong):
        next(reading)


def test_an_empty_journal_has_no_lines_and_a_missing_one_is_an_error(tmp_path: Path) -> None:
    assert list(read_journal(journal_of(tmp_path, b""))) == []
    with pytest.raises(DataError, match="cannot be read"):
        list(read_journal(tmp_path / "none"))
