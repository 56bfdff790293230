"""A crystal is brought back by what the plan names: by the beam shift where a probe selects, by a stage that moves
while it tilts. A plan whose instrument cannot is refused before anything moves.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from drivers.facts import Facts
from drivers.simulated.deflectors import DeflectorSettings
from engine.errors import Refused
from engine.replay.replay import first_divergence, load_run, replay
from engine.run.planbasis import declared_basis
from protocols.cred.experiment import CRED
from protocols.cred.plan import CredPlan
from tests.protocols.cred.conftest import Finished, Perform
from tests.protocols.cred.test_tracked import DEVICES, PLAN, away_nm, with_options

pytestmark = pytest.mark.long

PIVOT = (0.0008, 0.0002, -0.0001, 0.0009)
PROBE: dict[str, Any] = {
    "geometry": {"beam_fast_px": 128.0, "beam_slow_px": 130.0},
    "pictures": {
        **{"shape": [256, 256], "wide_cross": False, "disc_radius_px": 40.0, "rendered": "snapshots"},
        "probe_selects": True,
    },
    "deflectors": {"beam_shift_pattern_px": list(PIVOT)},
    "motion": {"drawn_seed": 3},
}
STAGE = {**DEVICES, "stagexyz": {"backlash_nm": 0.0}}


@pytest.mark.parametrize(
    ("devices", "by", "calls"),
    [(PROBE, "beam shift", "deflectors.set"), (STAGE, "stage", "stagexyz.move_xy")],
    ids=["beam shift", "stage"],
)
def test_the_crystal_stays_where_it_would_have_left(
    perform: Perform, devices: dict[str, Any], by: str, calls: str
) -> None:
    shown = perform(devices, tracking="show", **PLAN)
    corrected = perform(devices, tracking="correct", track_by=by, **PLAN)
    assert np.percentile(away_nm(shown), 95) > 500
    assert np.median(away_nm(corrected)) < 80
    assert np.percentile(away_nm(corrected), 95) < 300
    assert corrected.calls(calls)
    assert {record["by"] for record in corrected.of("tracking") if record["name"] == "corrected"} == {by}
    assert corrected.document["result"]["tracking"]["snapshots_found"] >= 26
    assert corrected.document["result"]["lost_slots"] <= 1  # one call in a hundred is slower than plans allow for
    assert first_divergence(load_run(corrected.folder), replay(load_run(corrected.folder))) is None


def test_what_a_beam_shift_does_to_the_pattern_is_taken_back(perform: Perform) -> None:
    run = perform(PROBE, tracking="correct", track_by="beam shift", **{**PLAN, "range_deg": 30.0})
    diffraction = np.reshape(DeflectorSettings().diffraction_shift_px, (2, 2))
    shifts: dict[str, list[float]] = {}
    moved_px = []
    for call in run.calls("deflectors.set")[:-2]:
        shifts[call["args"][0]] = call["args"][1:]
        if call["args"][0] == "diffraction_shift":
            by_beam_px = np.reshape(PIVOT, (2, 2)) @ (np.array(shifts["beam_shift"]) - 0x8000)
            left_px = by_beam_px + diffraction @ (np.array(shifts["diffraction_shift"]) - 0x8000)
            moved_px.append(np.hypot(*by_beam_px))
            assert np.hypot(*left_px) < 0.1
    assert max(moved_px) > 0.2


@pytest.mark.parametrize(("devices", "by"), [(PROBE, "beam shift"), (STAGE, "stage")], ids=["beam shift", "stage"])
def test_all_is_back_where_it_was(perform: Perform, devices: dict[str, Any], by: str) -> None:
    run = perform(devices, tracking="correct", track_by=by, **{**PLAN, "range_deg": 20.0})
    if by == "stage":
        begin = run.calls("stagexyz.position")[0]["result"]
        assert run.calls("stagexyz.move_xy")[-1]["args"] == [begin["x_nm"], begin["y_nm"]]
        return
    read = {call["args"][0]: call["result"] for call in run.calls("deflectors.read")}
    assert {call["args"][0]: call["args"][1:] for call in run.calls("deflectors.set")} == read


def test_a_stage_with_play_arrives_from_below_each_time(perform: Perform) -> None:
    run = perform(DEVICES, tracking="correct", track_by="stage", **{**PLAN, "range_deg": 20.0})
    places = [call["args"] for call in run.calls("stagexyz.move_xy")]
    for before, there in zip(places[::2], places[1::2], strict=True):
        assert there == pytest.approx([before[0] + 400.0, before[1] + 400.0])


@pytest.mark.parametrize("share", [-1.0, 0.0])
def test_a_beam_shift_that_acts_the_wrong_way_or_not_at_all_does_not_drive_the_crystal_out(
    perform: Perform, share: float
) -> None:
    def made_wrong(record: Any, run: Any) -> None:
        if record["kind"] == "state" and record["name"] == "delay":
            a, b, c, d = (share * number for number in DeflectorSettings().beam_shift_nm)
            run.microscope.deflectors.hide(DeflectorSettings(beam_shift_nm=(a, b, c, d)))

    at_rest = {**PROBE, "motion": {"centred_off_nm": [200.0, 50.0]}}
    run = perform(at_rest, tracking="correct", track_by="beam shift", on=made_wrong, **PLAN)
    notes = [record["text"] for record in run.of("note") if record["name"] == "operator"]
    assert any("beam shift" in text and "No more corrections are made" in text for text in notes)
    assert away_nm(run).max() < 600


NARROW = with_options(
    pictures={"lit_nm": 2600.0},
    motion={"drawn_seed": -1, "height_nm": 2500.0},
    deflectors={"beam_shift_pattern_px": list(PIVOT)},
)


def lit(run: Finished) -> np.ndarray:
    """Which share of the crystal was truly lit, in each frame."""
    with h5py.File(run.folder / "truth.h5") as file:
        return file["frame_crystal_share"][:]


def test_a_beam_that_follows_keeps_a_crystal_lit_that_goes_far(perform: Perform) -> None:
    stays = perform(NARROW, tracking="correct", **PLAN)
    follows = perform(NARROW, tracking="correct", beam_follows=True, **PLAN)
    assert lit(stays).min() < 0.5
    assert lit(follows).min() > 0.95
    assert np.median(away_nm(follows)) < 100
    shifts = {call["args"][0]: np.array(call["args"][1:]) - 0x8000 for call in follows.calls("deflectors.set")[:-3]}
    moved_px = np.reshape(DeflectorSettings().image_shift_pattern_px, (2, 2)) @ shifts["image_shift"]
    moved_px = moved_px + np.reshape(PIVOT, (2, 2)) @ shifts["beam_shift"]
    moved_px = moved_px + np.reshape(DeflectorSettings().diffraction_shift_px, (2, 2)) @ shifts["diffraction_shift"]
    assert np.hypot(*moved_px) < 0.1
    read = {call["args"][0]: call["result"] for call in follows.calls("deflectors.read")}
    assert {call["args"][0]: call["args"][1:] for call in follows.calls("deflectors.set")} == read


CANNOT = {
    "an aperture and the beam shift": (DEVICES, "beam shift", "an aperture selects here, and no probe"),
    "a probe and the image shift": (PROBE, "image shift", "a probe selects here, and no aperture"),
    "a stage that stands while it tilts": (
        with_options(stagexyz={"xy_while_tilting": False}),
        "stage",
        "moves x and y only while it does not tilt",
    ),
    "a stage that lands anywhere": (
        with_options(stagexyz={"reproducibility_nm": 70.0}),
        "stage",
        "scatter of 70 nm .* 3 times that has to be less than 0.25 of the 750 nm",
    ),
    "a disc that fills the camera": (
        {**PROBE, "pictures": {**PROBE["pictures"], "disc_radius_px": 120.0}},
        "beam shift",
        "after 38 nm it comes to the border of the camera",
    ),
}


@pytest.mark.parametrize(("devices", "by", "says"), CANNOT.values(), ids=CANNOT)
def test_a_plan_that_cannot_is_refused(perform: Perform, devices: dict[str, Any], by: str, says: str) -> None:
    with pytest.raises(Refused, match=says):
        perform(devices, tracking="correct", track_by=by, **PLAN)


def facts_of_a_probe(folder: Path) -> Facts:
    devices = folder / "probe.toml"
    devices.write_text('[microscope]\ndriver = "simulated"\npictures.probe_selects = true\n', encoding="utf-8")
    return Facts.of(declared_basis(str(devices), {}).facts.as_dict())


@pytest.mark.parametrize(("pattern_px", "remarks"), [(None, 1), (PIVOT, 0)])
def test_what_nobody_knows_of_the_beam_shift_is_said(tmp_path: Path, pattern_px: Any, remarks: int) -> None:
    facts = facts_of_a_probe(tmp_path)
    assert facts.tracking is not None
    facts = replace(facts, tracking=replace(facts.tracking, beam_shift_px=pattern_px))
    prepared = CRED.prepare(CredPlan(tracking="correct", track_by="beam shift"), facts)
    assert sum("what the beam shift does to the pattern" in remark for remark in prepared.remarks) == remarks


def test_the_budget_shows_each_call_and_none_costs_a_slot(tmp_path: Path) -> None:
    facts = facts_of_a_probe(tmp_path)
    plans = [CredPlan(), CredPlan(tracking="correct", track_by="beam shift")]
    off, corrected = (CRED.prepare(plan, facts) for plan in plans)
    assert [budget.name for budget in off.budgets] == ["diffraction frame", "snapshot cycle"]
    tracking = corrected.budgets[-1]
    assert [step.name for step in tracking.steps][2:] == ["beam shift", "at rest"]
    assert tracking.slack_s > 0.05
    assert (off.slot_plan.snapshot_slots, corrected.slot_plan.snapshot_slots) == (1, 1)


def test_a_stage_of_one_flag_for_all_axes_is_waited_for_if_one_move_is_enough(tmp_path: Path) -> None:
    facts, plan = facts_of_a_probe(tmp_path), CredPlan(tracking="correct", track_by="stage")
    assert facts.stagexyz is not None
    one_flag = replace(facts.stagexyz, tilt_counts_as_moving=True)
    with pytest.raises(Refused, match="nobody sees the end of a move, and two are needed for its backlash"):
        CRED.prepare(plan, replace(facts, stagexyz=one_flag))
    prepared = CRED.prepare(plan, replace(facts, stagexyz=replace(one_flag, backlash_nm=0.0)))
    assert [step.name for step in prepared.budgets[-1].steps][2:] == ["stage, move 1", "until it stands"]


def test_a_plan_that_brings_nothing_back_names_nothing_to_do_it_by() -> None:
    with pytest.raises(ValueError, match="only tracking = correct brings a crystal back"):
        CredPlan(tracking="show", track_by="stage")
