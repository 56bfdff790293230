"""`credline trace import`: what Instamatic's logs tell becomes a trace, and nothing else does."""

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.instamatic.daylog import log_line
from drivers.instamatic.log import import_instamatic
from engine.errors import CredlineError, DataError, Refused
from engine.record.trace import Record, read_trace
from engine.replay.replay import load_run
from tests.engine.traces import CRED_LOG, FRAME_BYTES, command, merlin_log, trace, write_trace

S = 1_000_000_000
MS = 1_000_000


@pytest.fixture
def summary(tmp_path: Path) -> Path:
    path = tmp_path / "cRED_log.txt"
    path.write_text(CRED_LOG)
    return path


def day(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "instamatic_2024-11-18.log"
    path.write_text(text, encoding="utf-8")
    return path


def imported(out: Path, *logs: Path) -> list[Record]:
    done = trace("import", *logs, "-o", out)
    assert done.exit_code == 0, done.exception
    return list(read_trace(out))  # by the schema


def of(records: list[Record], kind: str) -> list[Record]:
    return [record for record in records if record["kind"] == kind]


def test_the_line_of_the_issue_is_understood() -> None:
    line = log_line("2024-11-18 11:33:37,207 | camera_merlin:242 | INFO | Change exposure to 0.01 s")
    assert line is not None
    assert (line.local_time, line.module, line.line, line.level) == (
        "2024-11-18 11:33:37,207",
        "camera_merlin",
        242,
        "INFO",
    )
    assert line.message == "Change exposure to 0.01 s"
    line = log_line(r"2024-11-18 11:33:37,207 | C:\lab\camera_merlin.py:242 | INFO | a | b")
    assert line is not None
    assert line.module == "camera_merlin"


@pytest.mark.parametrize(
    "text", ["", "Traceback", "2024-13-18 11:33:37,207 | a:1 | INFO | x", "2024-11-18 | a | b | c"]
)
def test_a_line_without_a_time_is_none(text: str) -> None:
    assert log_line(text) is None


def test_the_summary_alone_gives_counts_and_figures_and_no_times(tmp_path: Path, summary: Path) -> None:
    records = imported(tmp_path / "t.jsonl", summary)
    assert {record["t_ns"] for record in records} == {None}
    assert {record["source"] for record in records} == {"instamatic"}
    frames = of(records, "frame")
    assert Counter(frame["name"] for frame in frames) == {"diffraction": 10, "snapshot": 1}
    assert {frame["exposure_s"] for frame in frames} == {0.5, 0.01}
    known = {"seq", "kind", "name", "exposure_s", "source"}
    assert all(value is None for frame in frames for key, value in frame.items() if key not in known)
    header, (result, start, end) = records[0], of(records, "note")
    assert header["plan"] == {
        "sample": None, "exposure_s": 0.5, "snapshot_interval": 10, "snapshot_exposure_s": 0.01,
    }  # fmt: skip
    assert header["origin"]["program"] == "Instamatic v2.0.5"
    assert header["origin"]["log"]["Stretch amplitude"] == "83.37 %"  # as it stands there
    assert header["instrument"] is header["seed"] is header["digest"] is None
    assert (result["frames"], result["snapshots"], result["period_s"], result["oscillation_deg"]) == (
        10,
        1,
        0.535,
        0.2417,
    )
    assert (start["x_nm"], start["a_deg"], end["a_deg"]) == (-33299, -30.25, -27.15)


def test_the_log_of_the_day_gives_calls_and_arrivals_of_that_run(tmp_path: Path, summary: Path) -> None:
    records = imported(tmp_path / "t.jsonl", summary, day(tmp_path, merlin_log()))
    assert records[0]["t_ns"] == 0
    assert records[0]["origin"]["began"] == "2024-11-18 11:33:30,000"
    calls = of(records, "call")
    triggers = [call for call in calls if call["name"] == "detector.CMD.SOFTTRIGGER"]
    assert [(call["begin_ns"], call["end_ns"]) for call in triggers] == [
        (1020 * MS, 1022 * MS), (1560 * MS, 1563 * MS), (7300 * MS, 7301 * MS),
    ]  # fmt: skip
    received = [call for call in calls if call["name"] == "detector.receive"]
    assert received[0]["begin_ns"] == received[0]["end_ns"] - 517_000_000
    assert received[0]["args"] == [FRAME_BYTES + 14]
    (asked,) = [call for call in calls if call["name"] == "detector.GET.DETECTORSTATUS"]
    assert asked["result"] == "1"
    well, refused = [call for call in calls if call["name"] == "detector.SET.ACQUISITIONTIME"]
    assert (well["args"], well["result"]) == ([500.0], None)
    assert (refused["args"], refused["text"]) == ([10.0], "status 2")
    assert "error" not in well
    frames = [(frame["name"], frame["arrived_ns"], frame["exposure_s"]) for frame in of(records, "frame")]
    assert frames == [("diffraction", 1540 * MS, 0.5), ("diffraction", 2081 * MS, 0.5), ("snapshot", 7320 * MS, 0.01)]
    assert all(frame["start_ns"] is frame["slot"] is frame["angle_deg"] is None for frame in of(records, "frame"))
    assert [(state["name"], state["t_ns"]) for state in of(records, "state")] == [("recording", 0), ("finished", 8 * S)]
    assert [fault["reason"] for fault in of(records, "fault")] == ["something broke"]
    texts = [note["text"] for note in of(records, "note") if note["name"] == "log"]
    assert texts == ["Data collection exposure time: 0.5 s", "Finish cRED experiment"]


def test_what_was_not_understood_and_what_does_not_agree_is_said(tmp_path: Path, summary: Path) -> None:
    done = trace("import", summary, day(tmp_path, merlin_log()), "-o", tmp_path / "t.jsonl")
    assert "left out 1 lines without a time" in done.stderr
    assert "shows 2 diffraction frames, cRED_log.txt tells of 10" in done.stderr
    assert "3 frame" in done.stdout


def test_the_log_of_the_day_alone_is_taken_whole_and_its_frames_are_images(tmp_path: Path) -> None:
    records = imported(tmp_path / "t.jsonl", day(tmp_path, merlin_log()))
    assert [frame["name"] for frame in of(records, "frame")] == ["image"] * 4
    assert [frame["exposure_s"] for frame in of(records, "frame")] == [0.05, 0.5, 0.5, 0.01]
    assert records[0]["plan"]["snapshot_interval"] is None
    assert len([call for call in of(records, "call") if call["name"] == "detector.receive"]) == 4


def test_without_debug_lines_frames_are_known_by_their_size(tmp_path: Path, summary: Path) -> None:
    text = "".join(f"{line}\n" for line in merlin_log().splitlines() if "| DEBUG |" not in line)
    records = imported(tmp_path / "t.jsonl", summary, day(tmp_path, text))
    assert [frame["name"] for frame in of(records, "frame")] == ["diffraction", "diffraction", "snapshot"]
    assert {call["name"] for call in of(records, "call")} == {"detector.receive"}


def test_a_command_without_an_answer_has_no_end(tmp_path: Path) -> None:
    asked = [*command("11:33:31,001", "-", "CMD", "STOPACQUISITION")[:1], *command("11:33:31,005", "-", "CMD", "X")[:1]]
    calls = of(imported(tmp_path / "t.jsonl", day(tmp_path, "\n".join(asked))), "call")
    assert [(call["name"], call["begin_ns"], call["end_ns"]) for call in calls] == [
        ("detector.CMD.STOPACQUISITION", 0, None), ("detector.CMD.X", 4 * MS, None),
    ]  # fmt: skip
    assert not any("result" in call for call in calls)


def test_an_excerpt_without_the_begin_of_a_run_is_taken_whole_and_said(tmp_path: Path, summary: Path) -> None:
    lines = command("11:33:31,001", "11:33:31,002", "CMD", "SOFTTRIGGER")
    done = trace("import", summary, day(tmp_path, "\n".join(lines)), "-o", tmp_path / "t.jsonl")
    assert "no line says when a run began, so all lines were taken" in done.stderr


def test_a_log_of_other_runs_is_refused(tmp_path: Path, summary: Path) -> None:
    text = merlin_log().replace("started at: 2024-11-18 11:33:30", "started at: 2024-11-18 09:00:00")
    error = trace("import", summary, day(tmp_path, text), "-o", tmp_path / "t.jsonl").exception
    assert isinstance(error, DataError)
    assert "2024-11-18 09:00:00, and none at 2024-11-18 11:33:30" in str(error)
    assert not (tmp_path / "t.jsonl").exists()


def test_the_next_run_of_the_day_is_not_taken_for_this_one(tmp_path: Path, summary: Path) -> None:
    text = merlin_log().replace("Finish cRED experiment", "ended")
    later = text.replace("2024-11-18 11:", "2024-11-18 12:")
    records = imported(tmp_path / "t.jsonl", summary, day(tmp_path, text + later))
    assert len([frame for frame in of(records, "frame") if frame["name"] != "image"]) == 3
    assert len([state for state in of(records, "state") if state["name"] == "recording"]) == 1


@pytest.mark.parametrize("content", [b"", b"\xff\x00\x01" * 1000, b"Dear diary: nothing\n", b'{"seq": 0}\n'])
def test_a_file_that_is_no_log_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    error = trace("import", tmp_path / "file", "-o", tmp_path / "t.jsonl").exception
    assert isinstance(error, DataError)
    assert "neither a cRED_log.txt nor a log of Instamatic" in str(error)
    assert isinstance(trace("import", tmp_path / "nothing", "-o", tmp_path / "t.jsonl").exception, DataError)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_trace_that_is_there_is_not_overwritten(tmp_path: Path, summary: Path) -> None:
    (tmp_path / "t.jsonl").write_text("mine")
    assert isinstance(trace("import", summary, "-o", tmp_path / "t.jsonl").exception, Refused)
    assert (tmp_path / "t.jsonl").read_text() == "mine"


@pytest.mark.parametrize("with_day", [False, True])
def test_an_imported_trace_takes_part_in_everything_but_replay(tmp_path: Path, summary: Path, with_day: bool) -> None:
    path = tmp_path / "t.jsonl"
    imported(path, summary, *([day(tmp_path, merlin_log())] if with_day else []))
    assert trace("show", path).exit_code == 0
    stats = json.loads(trace("stats", path, "--json").stdout.splitlines()[-1])
    assert stats["origin"] == "Instamatic v2.0.5"
    assert (stats["elapsed_s"] is None) is not with_day
    if with_day:
        assert stats["calls_ms"]["detector.CMD.SOFTTRIGGER"] == {
            "n": 3, "p50": 2.0, "p99": pytest.approx(2.98), "max": 3.0, "unknown": 0, "errors": 0,
        }  # fmt: skip
    for words in (["plot"], ["export", "--format", "perfetto"], ["export", "--format", "bluesky"]):
        done = trace(words[0], path, *words[1:], "-o", tmp_path / f"{words[-1]}.png")
        assert done.exit_code == 0, done.exception
    with pytest.raises(DataError, match="imported from instamatic"):
        load_run(path)


def test_a_summary_with_numbers_that_are_none_leaves_them_unknown(tmp_path: Path) -> None:
    path = tmp_path / "cRED_log.txt"
    path.write_text("Exposure Time: nan s\nNumber of frames: 99999999999\nOscillation angle: None degrees\n")
    done = trace("import", path, "-o", tmp_path / "t.jsonl")
    assert "is not believed" in done.stderr
    records = list(read_trace(tmp_path / "t.jsonl"))
    assert of(records, "frame") == []
    assert records[0]["plan"]["exposure_s"] is None
    assert of(records, "note")[0]["oscillation_deg"] is None


@given(data=st.data())
def test_no_log_brings_a_traceback_or_an_unreadable_trace(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp()
    files = []
    for name, text in (("summary", CRED_LOG), ("day", merlin_log())):
        content = bytearray(text.encode())
        for _ in range(data.draw(st.integers(0, 4))):
            at = data.draw(st.integers(0, len(content) - 1))
            content[at : at + data.draw(st.integers(0, 40))] = data.draw(
                st.binary(max_size=4) | st.sampled_from([b"9" * 400, b"\n", b"e99"])
            )
        files.append(folder / name)
        files[-1].write_bytes(content)
    try:
        lines = list(import_instamatic(*files).lines())
    except CredlineError:
        return
    written = write_trace(folder / "t.jsonl", [json.loads(line, parse_constant=pytest.fail) for line in lines])
    assert sum(1 for _ in read_trace(written)) == len(lines)
