"""Run folders of schema 1 (written before frames of any kind) are read: replayed, exported, recovered.

tests/data/schema1 holds five: done, aborted, killed with its spool left over, ended by a full disk, and one on the real
clock. The code that wrote them took no note of the readings that it used, nor of the type of counts, and had other
words for the operator. The first thing that it did otherwise: it did not read the stage before the first frame.
"""

import json
import shutil
from pathlib import Path

import pytest

from engine.record.agreement import check_folder
from engine.record.trace import Record
from engine.replay.replay import first_divergence, load_run, replay
from engine.run.recovery import recover_run
from protocols.cred import CRED

OLD = Path(__file__).parents[2] / "data" / "schema1"
RUNS = ("done", "aborted", "killed", "full", "real")
NEW_NOTES = ("stage reading", "stage not read", "type of counts", "operator")


def copy_of(name: str, folder: Path) -> Path:
    return Path(shutil.copytree(OLD / name, folder / name))


def without_new_notes(records: list[Record]) -> list[Record]:
    kept = [r for r in records if r["kind"] != "note" or r["name"] not in NEW_NOTES]
    return [{k: v for k, v in r.items() if k != "steady_from_ns"} | {"seq": seq} for seq, r in enumerate(kept)]


@pytest.mark.parametrize("name", RUNS)
def test_an_old_run_replays_until_the_stage_is_read_before_its_first_frame(name: str) -> None:
    recorded = load_run(OLD / name)
    replayed = without_new_notes(replay(recorded, OLD / name))
    divergence = first_divergence(without_new_notes(recorded), replayed)
    assert divergence is not None
    assert divergence.state == "delay"


@pytest.mark.parametrize("name", ["done", "aborted", "real"])
def test_an_old_run_has_nothing_to_recover_and_is_exported(name: str, tmp_path: Path) -> None:
    folder = copy_of(name, tmp_path)
    assert "nothing to recover" in recover_run(folder)[0]
    assert check_folder(folder) == []
    lines = CRED.export(folder, ["smv", "xds"], lambda done, total: None)
    frames = json.loads((folder / "run.json").read_text())["result"]["frames"]
    assert f"from {frames} frames" in lines[0]
    assert len(list((folder / "SMV" / "data").glob("*.img"))) >= frames > 3


@pytest.mark.parametrize(("name", "status"), [("killed", "failed"), ("full", "failed")])
def test_what_an_old_run_left_in_its_spool_is_recovered(name: str, status: str, tmp_path: Path) -> None:
    folder = copy_of(name, tmp_path)
    told = "\n".join(recover_run(folder))
    assert "damaged" not in told
    document = json.loads((folder / "run.json").read_text())
    assert document["status"] == status
    assert document["schema"] == 2
    assert document["result"]["frames"] > 3
    assert document["result"]["oscillation_deg"] is not None
    assert not (folder / "frames.spool").exists()
    assert CRED.export(folder, ["smv"], lambda done, total: None)
