"""The runs in a folder: one line each, whatever is wrong with another one."""

import json
from pathlib import Path
from typing import Any

import pytest

from engine.errors import DataError, Refused
from engine.record.document import RunDocument
from engine.record.lock import alone_in
from engine.run.runlist import ListedRun, read_runs, runs_in

RESULT: dict[str, Any] = {"frames": 39, "range_deg": 9.9, "lost_slots": 1}
HOUR = "2026-01-01T{:02d}:00:00+00:00"


def run(folder: Path, status: str = "done", hour: int = 1, **told: Any) -> Path:
    """A run folder with a run.json."""
    folder.mkdir(parents=True)
    fields: dict[str, Any] = {"protocol": "cred", "label": "zeolite", "created_at": HOUR.format(hour)}
    RunDocument(**{**fields, "status": status, "result": RESULT, **told}).write(folder, durable=False)
    return folder


def listed(folder: Path) -> list[ListedRun]:
    return read_runs(folder)[0]


def test_a_run_is_told_with_the_columns_of_its_protocol_and_its_report(tmp_path: Path) -> None:
    folder = run(tmp_path / "zeolite_001")
    (one,) = listed(tmp_path)
    assert one.row() == {
        "status": "done",
        "label": "zeolite",
        "range deg": "9.90",
        "frames": "39",
        "lost": "1",
        "report, or folder": str(folder),
    }
    report = folder / "report" / "index.html"
    report.parent.mkdir()
    report.touch()
    assert listed(tmp_path)[0].row()["report, or folder"] == str(report)


def test_runs_come_in_the_order_of_their_begin_each_before_those_within_it(tmp_path: Path) -> None:
    run(tmp_path / "a_002", hour=3)
    parent = run(tmp_path / "b_001", hour=1)
    run(parent / "2_zeolite", hour=5)
    run(parent / "1_zeolite", hour=4)
    names = [one.folder.relative_to(tmp_path).as_posix() for one in listed(tmp_path)]
    assert names == ["b_001", "b_001/1_zeolite", "b_001/2_zeolite", "a_002"]
    assert [one.folder.name for one in listed(parent)] == ["b_001", "1_zeolite", "2_zeolite"]


@pytest.mark.parametrize(
    ("told", "status", "says"),
    [
        ({"status": "running"}, "cut off", "its program was cut off; `credline recover"),
        ({"protocol": "alien"}, "done", "protocol 'alien' is not known"),
        ({"result": {"frames": 1}}, "done", "what its result says could not be understood"),
        ({"alarms": ("THE BEAM MAY BE ON",)}, "done, ALARM", "THE BEAM MAY BE ON"),
        ({"status": "failed", "result": {}}, "failed", ""),
    ],
)
def test_what_is_wrong_with_a_run_stands_in_its_own_line(
    tmp_path: Path, told: dict[str, Any], status: str, says: str
) -> None:
    run(tmp_path / "odd_001", **{"status": "done", **told})
    run(tmp_path / "good_001")
    by_name = {one.folder.name: one for one in listed(tmp_path)}
    assert by_name["odd_001"].status == status
    assert says in by_name["odd_001"].problem
    assert by_name["odd_001"].problem.startswith(str(tmp_path / "odd_001") if says else "")
    assert (by_name["good_001"].status, by_name["good_001"].problem) == ("done", "")


@pytest.mark.parametrize("text", ["{", "[]", '{"protocol": "cred", "schema": 99}', '{"protocol": 3}'])
def test_a_damaged_folder_does_not_end_the_list(tmp_path: Path, text: str) -> None:
    run(tmp_path / "good_001")
    (tmp_path / "bad_001").mkdir()
    (tmp_path / "bad_001" / "run.json").write_text(text)
    bad, good = listed(tmp_path)
    assert (bad.status, good.status) == ("damaged", "done")
    assert bad.problem.startswith(str(tmp_path / "bad_001" / "run.json"))


def test_folders_of_others_are_counted_and_passed_over(tmp_path: Path) -> None:
    run(tmp_path / "good_001")
    for name in ("photos", "1_notes"):
        (tmp_path / name).mkdir()
    (tmp_path / ".cache").mkdir()
    (tmp_path / "notes.txt").touch()
    assert (len(listed(tmp_path)), read_runs(tmp_path)[1]) == (1, 2)


def test_a_run_that_goes_on_is_not_cut_off(tmp_path: Path) -> None:
    folder = run(tmp_path / "now_001", status="running", result={})
    with alone_in(folder):
        assert listed(tmp_path)[0].status == "running"
    (folder / "run.lock").touch()  # as a program that was killed leaves it
    assert listed(tmp_path)[0].status == "cut off"


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="cannot be listed"):
        read_runs(tmp_path / "nowhere")


def test_a_list_for_programs_has_the_same_figures(tmp_path: Path) -> None:
    run(tmp_path / "zeolite_001")
    (one,) = listed(tmp_path)
    document = json.loads(json.dumps(one.as_json()))
    assert (document["run_dir"], document["frames"], document["report"]) == (str(tmp_path / "zeolite_001"), "39", None)


def test_runs_are_named_themselves_or_by_their_folder_and_each_is_taken_once(tmp_path: Path) -> None:
    first, session = run(tmp_path / "zeolite_001", hour=1), run(tmp_path / "night_001", hour=2)
    child = run(session / "1_crystal", hour=3)
    (tmp_path / "notes").mkdir()
    assert runs_in([tmp_path]) == [first, session]
    assert runs_in([session, tmp_path]) == [session, first]
    assert runs_in([session], children=True) == [session, child]
    assert runs_in([tmp_path], children=True) == [first, session, child]
    with pytest.raises(DataError, match=r"notes/run\.json: no such file"):
        runs_in([first, tmp_path / "notes"])
