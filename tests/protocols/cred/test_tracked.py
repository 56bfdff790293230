"""A crystal that its goniometer carries out of the aperture stays in it: found in snapshots, brought back in the slack.

The simulated instrument draws a holder and a crystal from a seed; its camera makes snapshots, and frames without spots.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from drivers.simulated.deflectors import DeflectorSettings
from engine.errors import Refused
from engine.record.endings import Status
from engine.record.trace import Record
from engine.replay.replay import first_divergence, load_run, replay
from engine.run.perform import Request, execute
from engine.run.run import Run
from protocols.cred.experiment import CRED
from protocols.cred.plan import CredPlan
from tests.protocols.cred.conftest import Finished, Perform

DEVICES: dict[str, Any] = {
    "geometry": {"beam_fast_px": 64.0, "beam_slow_px": 66.0},
    "pictures": {"shape": [128, 128], "wide_cross": False, "disc_radius_px": 48.0, "rendered": "snapshots"},
    "motion": {"drawn_seed": 3},
}
PLAN: dict[str, Any] = {
    "driver": "simulated",
    "start_deg": -50.0,
    "range_deg": 60.0,
    "relax_cycles": 0,
    "formats": (),
    "truth": True,
}


def with_options(**more: Any) -> dict[str, Any]:
    return {**DEVICES, **{name: {**DEVICES.get(name, {}), **table} for name, table in more.items()}}


def away_nm(run: Finished) -> np.ndarray:
    """How far the crystal truly was from the middle of the aperture, in each frame."""
    with h5py.File(run.folder / "truth.h5") as file:
        return np.hypot(*file["frame_crystal_nm"][:].T)


def test_a_crystal_that_is_corrected_for_stays_in_the_aperture_and_one_that_is_shown_does_not(perform: Perform) -> None:
    shown = perform(DEVICES, tracking="show", **PLAN)
    corrected = perform(DEVICES, tracking="correct", **PLAN)
    assert np.percentile(away_nm(shown), 95) > 500  # a crystal of 500 nm begins to leave the aperture, of 750 nm
    assert np.median(away_nm(corrected)) < 60
    assert np.percentile(away_nm(corrected), 95) < 300
    assert corrected.document["result"]["tracking"]["snapshots_found"] >= 26
    assert not shown.calls("deflectors.set")
    assert shown.document["result"]["snapshots"] == corrected.document["result"]["snapshots"]


@pytest.mark.long
def test_it_costs_no_slot_and_no_frame_is_late(perform: Perform) -> None:
    even = {**DEVICES, "api_jitter": 0.0}
    runs = [perform(even, tracking=tracking, **PLAN) for tracking in ("show", "correct")]
    for run in runs:
        result = run.document["result"]
        assert (result["snapshot_slots"], result["lost_slots"]) == (1, 0)
        assert result["lateness_ms"]["max"] < 1.0


def test_the_first_slot_is_a_snapshot_and_the_crystal_is_brought_back_before_the_first_frame(perform: Perform) -> None:
    run = perform(
        with_options(motion={"drawn_seed": -1, "centred_off_nm": [240.0, -160.0]}), tracking="correct", **PLAN
    )
    frames = [record for record in run.of("frame") if record["name"] in ("diffraction", "snapshot")]
    assert [frame["name"] for frame in frames[:2]] == ["snapshot", "diffraction"]
    first_set = run.calls("deflectors.set")[0]
    assert first_set["end_ns"] < frames[1]["start_ns"]
    assert away_nm(run)[0] < 220  # from 288: further than 100 nm nobody goes who has not tried the image shift yet


def test_image_and_diffraction_shift_are_back_where_they_were(perform: Perform) -> None:
    run = perform(DEVICES, tracking="correct", **{**PLAN, "range_deg": 20.0})
    read = {call["args"][0]: call["result"] for call in run.calls("deflectors.read")}
    last = {call["args"][0]: call["args"][1:] for call in run.calls("deflectors.set")}
    assert last == read


@pytest.mark.long
def test_the_pattern_stays_where_it_is(perform: Perform) -> None:
    """The diffraction shift takes back what the image shift does to the pattern: all of it, but for whole numbers."""
    run = perform(DEVICES, tracking="correct", **PLAN)
    shifts: dict[str, list[float]] = {}
    for call in run.calls("deflectors.set")[:-2]:
        shifts[call["args"][0]] = call["args"][1:]
        if len(shifts) == 2:
            moved = np.array(shifts["image_shift"]) - 0x8000
            back = np.array(shifts["diffraction_shift"]) - 0x8000
            off_px = np.reshape((0.002, -0.0005, 0.0005, 0.002), (2, 2)) @ moved
            off_px = off_px + np.reshape((0.03, 0.01, -0.01, 0.03), (2, 2)) @ back
            if call["args"][0] == "diffraction_shift":
                assert np.hypot(*off_px) < 0.1


@pytest.mark.parametrize("share", [pytest.param(-1.0, marks=pytest.mark.long), 0.0])
def test_an_image_shift_that_acts_the_wrong_way_or_not_at_all_is_no_more_used_and_that_is_said(
    perform: Perform, share: float
) -> None:
    """What is known of it is the opposite of what it does, or it does nothing."""

    def made_wrong(record: Record, run: Run) -> None:
        if record["kind"] == "state" and record["name"] == "delay":
            coils: Any = getattr(run.microscope, "deflectors")  # noqa: B009  # the engine knows no deflectors
            a, b, c, d = (share * number for number in (0.5, 0.1, -0.1, 0.5))
            coils.hide(replace(DeflectorSettings(), image_shift_nm=(a, b, c, d)))

    at_rest = with_options(motion={"drawn_seed": -1, "centred_off_nm": [200.0, 50.0]})
    run = perform(at_rest, tracking="correct", on=made_wrong, **PLAN)
    notes = [record["text"] for record in run.of("note") if record["name"] == "operator"]
    assert any("No more corrections are made" in text for text in notes)
    assert away_nm(run).max() < 600  # its middle does not leave the aperture, of 750 nm


def test_a_replay_says_the_same_byte_for_byte(perform: Perform) -> None:
    run = perform(DEVICES, tracking="correct", **{**PLAN, "range_deg": 20.0})
    assert first_divergence(load_run(run.folder), replay(load_run(run.folder))) is None


@pytest.mark.long
def test_a_deflector_that_refuses_ends_the_corrections_and_not_the_run(tmp_path: Path) -> None:
    plan = CredPlan(**{key: value for key, value in PLAN.items() if key != "driver"}, tracking="correct")
    devices = tmp_path / "devices.toml"
    devices.write_text(
        '[microscope]\ndriver = "simulated"\nmotion.drawn_seed = 3\npictures.rendered = "snapshots"\n', "utf-8"
    )
    request = Request(CRED, plan, tmp_path, str(devices), virtual=True, draw=False, faults=("deflectors.set 3 error",))
    report = execute(request)
    assert report.ending.status is Status.DONE
    trace = [json.loads(line) for line in (report.folder / "trace.jsonl").read_text().splitlines()]
    notes = [record["text"] for record in trace if record["kind"] == "note" and record["name"] == "operator"]
    assert any("no more corrections are made" in text for text in notes)


@pytest.mark.long
def test_the_path_is_kept_for_people_and_for_another_run(perform: Perform) -> None:
    run = perform(DEVICES, tracking="show", **PLAN)
    lines = (run.folder / "snapshots" / "path.csv").read_text().splitlines()
    assert lines[0] == "angle_deg,x_nm,y_nm,z_nm,sigma_nm"
    found = [each for each in run.document["tracking"]["found"] if "x_nm" in each]
    assert len(lines) == 1 + len(found)


def test_a_crystal_that_is_lost_ends_the_run_where_the_plan_says_so(perform: Perform) -> None:
    empty = with_options(motion={"drawn_seed": -1, "centred_off_nm": [3000.0, 0.0]})
    run = perform(empty, tracking="correct", crystal_lost="stop", **PLAN)
    assert run.document["status"] == "stopped"
    assert "crystal_lost = stop: not found in 3 snapshots" in run.document["reason"]
    assert perform(empty, tracking="correct", **PLAN).document["status"] == "done"


@pytest.mark.parametrize(
    ("devices", "plan", "says"),
    [
        ({"hidden": True}, {}, "nobody knows what snapshots of this instrument show"),
        ({"pictures": {}}, {"driver": "simulated-timing"}, "this camera delivers no pictures to look at"),
        ({}, {"snapshot_interval": 0}, "snapshot_interval = 0 takes none"),
        ({}, {"tracking": "off", "crystal_lost": "stop"}, "without tracking nobody sees that"),
        ({}, {"tracking": "show", "crystal_lost": "search"}, "to search, the image shift has to be moved"),
    ],
)
def test_what_cannot_be_tracked_is_refused_before_anything_moves(
    perform: Perform, devices: dict[str, Any], plan: dict[str, Any], says: str
) -> None:
    with pytest.raises((Refused, ValueError), match=says):
        perform({**DEVICES, **devices}, **{"tracking": "correct", **PLAN, **plan})


@pytest.mark.long
def test_a_crystal_that_slipped_is_looked_for_farther_away_and_brought_back(perform: Perform) -> None:
    slips = {"drawn_seed": -1, "jumps_per_deg": 0.01, "jump_nm": 330.0, "seed": 36}
    run = perform(with_options(motion=slips), tracking="correct", **PLAN)
    looks = [record.get("seen") for record in run.of("tracking") if record["name"] != "corrected"]
    assert away_nm(run).max() > 350
    assert away_nm(run)[-20:].max() < 60
    assert [look for look in looks if look != "fits"] == ["doubted", "jumped"]  # elsewhere; and there again


@pytest.mark.long
def test_a_crystal_that_nobody_sees_in_the_snapshots_stays_in_the_aperture_with_its_film(perform: Perform) -> None:
    unseen = {"scene": "any", "orientation_seed": 462506979}
    devices = {"pictures": {"rendered": "snapshots"}, "motion": {"drawn_seed": 462506979}, "start_deg": 60.0}
    plan = {**PLAN, "start_deg": 60.0, "range_deg": -60.0, "rotation": "commanded", "snapshot_exposure_s": 0.05}
    run = perform({**devices, "crystal": unseen}, tracking="correct", **plan)
    looks = run.document["tracking"]["found"]
    assert "taken to be in the middle" in looks[0]["reason"]
    assert sum("x_nm" in look for look in looks) > 12
    assert all(look["by"] == "film" for look in looks if "x_nm" in look)
    assert away_nm(run).max() < 450  # of 750
    shown = perform({**devices, "crystal": unseen}, tracking="show", **plan)
    assert away_nm(shown)[-1] > 600
