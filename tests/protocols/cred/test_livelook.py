"""The cell is told while the crystal turns; a replay tells the same; without pictures or wish nothing is computed."""

import csv
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from engine.record.trace import Record
from engine.replay.computations import recompute_run
from engine.replay.replay import first_divergence, load_run, replay
from engine.run.perform import Request, execute
from protocols.cred import livelook
from protocols.cred.experiment import CRED
from protocols.cred.livetable import LIVE_FILE, live_rows
from protocols.cred.plan import CredPlan
from tests.protocols.cred.conftest import Perform

pytestmark = pytest.mark.long

PLAN: dict[str, Any] = {"range_deg": 11.0, "snapshot_interval": 0, "relax_cycles": 0, "formats": ()}
SMALL: dict[str, Any] = {
    "geometry": {"beam_fast_px": 16.0, "beam_slow_px": 16.0},
    "pictures": {"shape": [32, 32], "wide_cross": False},
}
DEVICES = """
[microscope]
driver = "simulated"
geometry = { beam_fast_px = 16.0, beam_slow_px = 16.0 }
pictures = { shape = [32, 32], wide_cross = false }
"""


def computed(records: list[Record], name: str) -> list[Record]:
    return [record for record in records if record["kind"] == "computation" and record["name"] == name]


def told(records: list[Record]) -> list[str]:
    return [record["text"] for record in records if record["kind"] == "note" and record["name"] == "operator"]


def searched_slots(records: list[Record]) -> list[Any]:
    return [values["slot"] for values in live_rows(records)]


def slots(records: list[Record]) -> list[int]:
    return [record["slot"] for record in records if record["kind"] == "frame" and record["name"] == "diffraction"]


def test_the_cell_is_told_while_the_crystal_turns_and_a_replay_tells_it_again(perform: Perform) -> None:
    run = perform(driver="simulated", live=True, start_deg=-20.0, **PLAN)
    assert run.document["status"] == "done"
    looks = computed(run.trace, "live")
    assert len(looks) >= 2
    last = looks[-1]["result"]
    assert last["determined"], last["reasons"]
    assert last["bravais"] in ("oC", None)
    volume_A3 = 18.11 * 20.53 * 7.528 / (1 if last["bravais"] else 2)
    a, b, c = last["cell"][:3]
    assert abs(a * b * c / volume_A3 - 1) < 0.1
    assert any(" deg: " in text and "reflections" in text for text in told(run.trace))
    # Each frame is searched once, as soon as it is there, and tells what it shows by itself.
    taken = slots(run.trace)
    assert searched_slots(run.trace) == taken[: len(searched_slots(run.trace))]
    assert len(searched_slots(run.trace)) >= len(taken) - 1  # when the last one comes the run is over
    told_of: list[Any] = live_rows(run.trace)
    assert all(0 < v["spots"] < 60 and v["scattered"] > v["spot_counts"] > 0 and not v["rings_A"] for v in told_of)
    assert all(v["width_px"] is None or 0.7 < v["width_px"] < 1.1 for v in told_of)  # 0.9
    assert 0.8 < sorted(v["resolution_A"] or 9.0 for v in told_of)[len(told_of) // 2] < 1.5
    with (run.folder / LIVE_FILE).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["slot"]) for row in rows] == searched_slots(run.trace)
    assert float(rows[0]["background"]) == told_of[0]["background"]
    records = load_run(run.folder)
    assert first_divergence(records, replay(records)) is None
    # What a worker remembered made no difference: from the folder alone all comes out again.
    done, differences = recompute_run(records, run.folder)
    assert (done, differences) == (len([r for r in records if r["kind"] == "computation" and "result" in r]), [])


def live_run(out: Path, *faults: str, **plan: Any) -> list[Record]:
    """Of small pictures, with faults; its records. It ends as planned, loses no slot, and a replay is the same."""
    devices = out / "devices.toml"
    devices.write_text(DEVICES, encoding="utf-8")
    whole = CredPlan(live=True, **{**PLAN, **plan})
    report = execute(Request(CRED, whole, out, str(devices), virtual=True, seed=1, draw=False, faults=faults))
    assert report.ending.status.value == "done"
    records = load_run(report.folder)
    assert first_divergence(records, replay(records)) is None
    assert not [record for record in records if record["kind"] == "slot" and record["name"] == "lost"]
    return records


def test_frames_whose_worker_died_are_searched_by_the_next_one(tmp_path: Path) -> None:
    records = live_run(tmp_path, "compute.live_frames 3 dead", range_deg=3.0)
    assert [r["verdict"] for r in computed(records, "live_frames")][:5] == ["in time"] * 2 + ["dead"] + ["in time"] * 2
    assert searched_slots(records) == slots(records)[: len(searched_slots(records))]
    assert not [text for text in told(records) if "left out" in text]


def test_frames_whose_worker_dies_again_or_is_late_are_left_out_and_that_is_said(tmp_path: Path) -> None:
    faults = ("compute.live_frames 3 dead", "compute.live_frames 4 dead", "compute.live_frames 6 never")
    records = live_run(tmp_path, *faults, range_deg=9.0)
    # While it was late eleven frames came: searched then, for they are few.
    assert sorted(set(slots(records)[:-1]) - set(searched_slots(records))) == [3, 5]
    said = [text for text in told(records) if "left out" in text]
    assert [text.split(" (")[0] for text in said] == ["look at the crystal: 1 frames are left out of it"] * 2
    assert any(text.endswith("; without 2 frames") for text in told(records))


def test_a_look_whose_worker_died_is_said_and_the_next_one_is_made(tmp_path: Path) -> None:
    records = live_run(tmp_path, "compute.live 1 dead")
    assert [r["verdict"] for r in computed(records, "live")] == ["dead", "in time", "in time"]
    assert any(text.startswith("no look at the crystal: computation live, number 1") for text in told(records))


def test_frames_that_come_too_fast_are_left_out_in_stretches_and_the_run_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(livelook, "AT_ONCE", 2)
    monkeypatch.setattr(livelook, "MOST_WAITING", 16)
    records = live_run(tmp_path, exposure_s=0.005, speed_deg_s=5.0, range_deg=12.0)  # 60 a second, 40 are searched
    found, taken = searched_slots(records), slots(records)
    assert found == sorted(set(found))
    assert 0.5 * len(taken) < len(found) < 0.8 * len(taken)
    gaps = [after - before - 1 for before, after in pairwise(found) if after > before + 1]
    assert gaps
    assert min(gaps) >= 14
    assert len([text for text in told(records) if "they come faster than they are searched" in text]) == 1
    # It turns by 3 deg in 0.6 s, and a look takes 1.5 s.
    assert any("looks were left out before it" in text for text in told(records))


def test_a_camera_without_pictures_and_a_plan_without_the_wish_compute_nothing(perform: Perform) -> None:
    for driver, live in (("simulated-timing", True), ("simulated", False)):
        run = perform(driver=driver, live=live, **{**PLAN, "range_deg": 3.0})
        assert run.document["status"] == "done"
        assert not [record for record in run.of("computation") if record["name"] == "live"]


def test_a_look_that_finds_nothing_or_fails_harms_no_run(perform: Perform) -> None:
    run = perform(SMALL, driver="simulated", live=True, **{**PLAN, "range_deg": 5.0})
    assert run.document["status"] == "done"
    looks = [record for record in run.of("computation") if record["name"] == "live"]
    assert looks
    assert not any(record["result"]["determined"] for record in looks if "result" in record)
    assert first_divergence(load_run(run.folder), replay(load_run(run.folder))) is None
