"""The page of a session: what stands in it is what its records say."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from engine.errors import DataError, Refused
from protocols.session.judging.mergedfiles import FILE, FOLDER
from protocols.session.report.export import export_session
from protocols.session.report.page import write_report
from protocols.session.report.source import SessionSource, open_session
from protocols.session.report.troubles import session_troubles
from tests.protocols.session.judging.test_session_coverage import STAGE
from tests.protocols.session.report.written import written_session


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written_session(tmp_path_factory.mktemp("runs") / "night_001", STAGE, 8, judge_each=8)


@pytest.fixture(scope="module")
def source(night: Path) -> SessionSource:
    return open_session(night)


@pytest.fixture(scope="module")
def page(night: Path) -> str:
    (line,) = export_session(night, ["report"], lambda *_: None)
    assert line == f"report: {night / 'report' / 'index.html'}"
    return (night / "report" / "index.html").read_text()


class Words(HTMLParser):
    """The text of a page, without its styles, and its pictures."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.pictures: dict[str, str] = {}
        self.style = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.style = tag == "style"
        if tag == "img":
            told = dict(attrs)
            self.pictures[str(told["alt"])] = str(told["src"])

    def handle_data(self, data: str) -> None:
        if not self.style and data.strip():
            self.texts.append(data.strip())


def test_the_records_are_read(source: SessionSource) -> None:
    assert [each.number for each in source.sets] == list(range(1, 9))
    assert sorted(source.phase_of) == [1, 3, 4, 5, 6, 7, 8]
    assert source.unplaced == {2: "no lattice is found in 812 reflections"}
    assert source.tallies["cred"].count == 8
    beam_on_s = [each["result"]["beam_on_s"] for each in source.night.data_sets]
    assert source.tallies["cred"].beam_on_s == pytest.approx(sum(beam_on_s))
    assert source.tallies["serialed-recall"].count == 9
    assert source.minutes[source.sets[0].crystal] == pytest.approx(
        (12 + 30 + source.night.data_sets[0]["result"]["beam_on_s"]) / 60, abs=0.01
    )
    assert [each.data_sets for each in source.growth] == [8]


def test_the_page_says_what_came_of_the_night(page: str) -> None:
    words = Words(page)
    text = "\n".join(words.texts)
    assert "done: 12 data sets" in text
    assert "device fault: camera: it does not answer" in text
    assert "1 crystal set aside: at recall: the crystal is not where it was, and not within 3 um" in text
    assert "1 data set of no phase: no lattice is found in 812 reflections" in text
    assert "3.0 min went in waiting for devices" in text
    assert {"The grid", "Growth", "Histograms", "Time"} <= set(words.pictures)
    assert all(each.startswith("data:image/png;base64,") for each in words.pictures.values())
    for word in ("Phases", "Data sets", "Set aside", "Time and dose", "Plan", "Devices"):
        assert word in words.texts
    assert "Files of merged intensities" in text


def test_what_was_merged_while_it_ran_stands_in_it(page: str) -> None:
    texts = Words(page).texts
    at = texts.index("DIALS: data sets")
    assert texts[at + 1 : at + 4] == ["complete", "R_meas", "CC1/2"]
    assert texts[at + 4 : at + 11] == ["1", "C m m m", "2", "0", "88.4%", "4.4", "0.089"]
    assert texts[at + 11 : at + 15] == ["1", "71.0%", "0.101", "0.990"]


def test_the_page_needs_nothing_beside_it(page: str) -> None:
    assert not re.search(r'(src|href)="(?!data:)', page)


@pytest.mark.long
def test_what_was_merged_since_stands_in_it(night: Path) -> None:
    (night / FOLDER).mkdir()
    shell = {
        "from_A": 99.0,
        "to_A": 1.0,
        "observations": 900,
        "unique": 300,
        "completeness": 0.931,
        "multiplicity": 3.0,
        "i_over_sigma": 8.0,
        "r_meas": 0.123,
        "cc_half": 0.987,
    }
    phase = {
        "number": 1,
        "words": "phase 1",
        "lattice": "oC",
        "cell": [18.1, 20.5, 7.5, 90, 90, 90],
        "data_sets": [1, 3],
        "merged": [1],
        "left_out": [{"number": 3, "why": "its intensities do not agree"}],
        "doubts": [],
        "group": "C m m m",
        "d_min_A": 1.0,
        "passed": 0.95,
        "attainable": 0.97,
        "attainable_words": "97%",
        "shells": [shell],
        **shell,
        "dials": {"why_not": "", "completeness": 0.92, "r_meas": 0.2, "cc_half": 0.95},
    }
    told = {"schema": 1, "phases": [phase], "unplaced": [], "data_sets": []}
    (night / FOLDER / FILE).write_text(json.dumps(told))
    merged = open_session(night)
    assert merged.is_merged
    page = Words(write_report(merged).read_text())
    assert {"0.123", "0.9870", "93.1%", "0.950", "C m m m", "1 of 2"} <= set(page.texts)
    assert "phase 1: data set 3 was not merged: its intensities do not agree" in page.texts
    assert "Merged statistics" in page.pictures
    (night / FOLDER / FILE).write_text("{")
    assert any("merged.json" in line for line in session_troubles(open_session(night)))
    (night / FOLDER / FILE).unlink()
    (night / FOLDER).rmdir()


def test_a_trace_that_was_cut_off_is_reported_as_far_as_it_goes(night: Path, tmp_path: Path) -> None:
    half = tmp_path / "night_002"
    half.mkdir()
    (half / "run.json").write_text((night / "run.json").read_text())
    lines = (night / "trace.jsonl").read_text().splitlines(keepends=True)
    some = next(n for n, line in enumerate(lines) if '"data set"' in line) + 1
    (half / "trace.jsonl").write_text("".join(lines[:some]) + "no JSON\n")
    told = open_session(half)
    assert [each.number for each in told.sets] == [1]
    assert any(line.startswith("not readable") for line in session_troubles(told))


def test_an_empty_session_has_a_page(night: Path, tmp_path: Path) -> None:
    empty = tmp_path / "night_003"
    empty.mkdir()
    (empty / "run.json").write_text((night / "run.json").read_text())
    (empty / "trace.jsonl").write_text((night / "trace.jsonl").read_text().splitlines(keepends=True)[0])
    assert "no data set has a cell" in write_report(open_session(empty)).read_text()


def test_what_is_no_session_is_refused(night: Path, tmp_path: Path) -> None:
    other = tmp_path / "run"
    other.mkdir()
    (other / "run.json").write_text((night / "run.json").read_text().replace('"session"', '"cred"', 1))
    with pytest.raises(Refused, match="not of session"):
        open_session(other)
    with pytest.raises(DataError):
        open_session(tmp_path / "nothing")


def test_what_is_no_format_is_refused(night: Path) -> None:
    assert export_session(night, [], lambda *_: None) == ()
    with pytest.raises(Refused, match="is none of report"):
        export_session(night, ["smv"], lambda *_: None)
