"""Which runs are taken, and their numbers."""

import json
from pathlib import Path

import pytest

from engine.errors import Refused
from engine.record.document import RunDocument
from protocols.session.judging.gathered import Gathered, data_set_of, gathered, looked_at


def run_in(folder: Path, protocol: str = "cred", status: str = "done", **own) -> Path:
    folder.mkdir(parents=True)
    header = {
        "seq": 0,
        "t_ns": 0,
        "kind": "header",
        "name": "credline",
        "schema": 2,
        "version": "0",
        "protocol": protocol,
    }
    header |= {"plan": {}, "digest": "", "clock": "virtual", "seed": 0, "devices": "", "instrument": {}}
    (folder / "trace.jsonl").write_text(json.dumps(header) + "\n")
    RunDocument(protocol=protocol, run_id=folder.name, status=status, own=own).write(folder)
    return folder


def test_a_session_says_its_data_sets(tmp_path: Path) -> None:
    rows = [{"number": n, "crystal": 10 * n, "run_dir": f"{2 * n + 1}_crystal"} for n in (1, 2)]
    session = run_in(tmp_path / "session_001", "session", session={"data_sets": rows})
    assert gathered([session]) == [Gathered(n, 10 * n, (session / f"{2 * n + 1}_crystal").resolve()) for n in (1, 2)]


def test_runs_and_folders_of_runs_are_numbered_as_they_come(tmp_path: Path) -> None:
    one, two = run_in(tmp_path / "a" / "one_001"), run_in(tmp_path / "a" / "two_001")
    run_in(tmp_path / "a" / "grid_001", "serialed")
    three = run_in(tmp_path / "three_001")
    found = gathered([three, tmp_path / "a"])
    assert [(each.number, each.crystal, each.folder) for each in found] == [(1, 1, three), (2, 2, one), (3, 3, two)]


def test_two_sessions_are_numbered_anew(tmp_path: Path) -> None:
    rows = [{"number": 1, "crystal": 5, "run_dir": "3_crystal"}]
    sessions = [run_in(tmp_path / name, "session", session={"data_sets": rows}) for name in ("s_001", "s_002")]
    assert [(each.number, each.crystal) for each in gathered(sessions)] == [(1, 5), (2, 5)]


def test_nothing_to_merge_is_refused(tmp_path: Path) -> None:
    run_in(tmp_path / "grid_001", "serialed")
    with pytest.raises(Refused, match="no run of cRED is there"):
        gathered([tmp_path])
    with pytest.raises(Refused, match="cannot be listed"):
        gathered([tmp_path / "nothing"])


def test_what_is_wrong_with_a_run_is_its_reason(tmp_path: Path) -> None:
    for folder in (run_in(tmp_path / "a_001"), run_in(tmp_path / "b_001", status="running"), tmp_path / "none"):
        run, result = looked_at(Gathered(3, 4, folder))
        told = data_set_of(run, result, tmp_path)
        assert told.cell is None
        assert told.reasons
        assert (told.number, told.crystal, told.run_dir) == (3, 4, folder.name)
