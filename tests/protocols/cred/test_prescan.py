"""The crystal is looked at before it rotates: at a few angles, each for a moment, with the beam off in between."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.facts import Facts
from drivers.simulated.deflectors import DeflectorSettings
from engine.errors import Refused
from engine.record.endings import Status
from engine.record.trace import Record
from engine.replay.replay import first_divergence, load_run, replay
from engine.run.perform import Request, execute
from engine.run.planbasis import declared_basis
from engine.run.recovery import recover_run
from engine.run.run import Run
from protocols.cred.experiment import CRED
from protocols.cred.machine import PRESCAN, State
from protocols.cred.plan import CredPlan
from protocols.cred.prescanplan import MOST_FURTHER
from tests.protocols.cred.conftest import Finished, Perform
from tests.protocols.cred.test_endings import assert_safe
from tests.protocols.cred.test_tracked import DEVICES, PLAN, away_nm, with_options

pytestmark = pytest.mark.long

SCANNED: dict[str, Any] = {**PLAN, "tracking": "correct", "prescan_images": 4}
SHORT: dict[str, Any] = {**SCANNED, "range_deg": 20.0, "prescan_images": 3}
LOST: dict[str, Any] = with_options(motion={"drawn_seed": -1, "centred_off_nm": [3000.0, 0.0]})


FAR: dict[str, Any] = {**SCANNED, "range_deg": 100.0, "rotation": "commanded", "speed_deg_s": 1.0}
"""Begins 50 deg from where the stage stands, and where the crystal was centred."""


def high_by(height_nm: float, **more: Any) -> dict[str, Any]:
    """A crystal that has left the aperture, of 750 nm, where such a rotation begins."""
    return with_options(motion={"drawn_seed": -1, "height_nm": height_nm, **more})


def in_prescan(run: Finished) -> list[Record]:
    """All records from the first look on until the rotation is waited for."""
    begins = [k for k, record in enumerate(run.trace) if record["kind"] == "state"]
    names = [run.trace[k]["name"] for k in begins]
    return run.trace[begins[names.index("prescan-goto")] : begins[names.index("wait-for-rotation")]]


def called(records: Sequence[Record]) -> list[tuple[str, Any]]:
    return [(record["name"], record["args"]) for record in records if record["kind"] == "call"]


def said(run: Finished) -> str:
    return " ".join(record["text"] for record in run.of("note") if record["name"] == "operator")


def test_a_crystal_that_was_looked_at_is_held_from_the_first_frame_on(perform: Perform) -> None:
    alone = perform(DEVICES, **{**PLAN, "tracking": "correct"})
    run = perform(DEVICES, **SCANNED)
    thirty_deg = slice(0, 115)
    assert np.percentile(away_nm(alone)[thirty_deg], 95) > 200
    assert np.percentile(away_nm(run)[thirty_deg], 95) < 100
    tracking = run.document["result"]["tracking"]
    assert (tracking["looks"], tracking["looks_found"]) == (6, 6)
    assert "Pre-scan: the crystal was found in 6 of 6 looks." in said(run)


@pytest.mark.parametrize("range_deg", [60.0, -60.0])
def test_the_stage_comes_to_each_angle_from_the_side_from_which_the_rotation_comes(
    perform: Perform, range_deg: float
) -> None:
    start_deg = -50.0 if range_deg > 0 else 50.0
    run = perform(DEVICES, **{**SCANNED, "start_deg": start_deg, "range_deg": range_deg})
    sign = 1 if range_deg > 0 else -1
    went_deg = [sign * args[0] for name, args in called(in_prescan(run)) if name == "stage.rotate"]
    assert went_deg == pytest.approx([-53.0, -50.0, -50 + 60 / 9, -50 + 240 / 9, 10.0, -53.0, -50.0])
    states = [name for name in run.states() if name.startswith("prescan")]
    assert states == [*["prescan-goto", "prescan-snapshot"] * 6, "prescan-return"]


def test_nothing_is_exposed_while_the_stage_moves(perform: Perform) -> None:
    lit, moved_lit = False, []

    def look(record: Record, run: Run) -> None:
        nonlocal lit
        if record["kind"] == "call" and record["name"] == "beam.unblank":
            lit = True
        if record["kind"] == "call" and record["name"] == "beam.is_blanked" and record["result"]:
            lit = False
        if record["kind"] == "call" and record["name"] == "stage.rotate":
            moved_lit.append(lit)

    run = perform(DEVICES, on=look, **SHORT)
    assert moved_lit == [False] * 6
    calls = [name for name, _ in called(in_prescan(run)) if name.startswith("beam.") or name == "detector.start"]
    off = ["beam.blank", "beam.is_blanked", "beam.is_blanked"]  # one answer may be wrong
    assert calls == [*off, *["beam.unblank", "detector.start", *off] * 5]


def test_a_look_keeps_its_budget_and_the_plan_tells_its_dose(perform: Perform) -> None:
    run = perform(DEVICES, **SHORT)
    steps = [step for step in run.of("step") if step["name"] == "pre-scan image"]
    assert [step["verdict"] for step in steps] == ["ok"] * 5
    plan = CredPlan(**{key: value for key, value in SHORT.items() if key != "driver"})
    facts = declared_basis("simulated", CRED.device_options(plan)).facts
    assert isinstance(facts, Facts)
    prepared = CRED.prepare(plan, facts)
    assert [step.name for step in prepared.budgets[0].steps] == ["unblank", "exposure", "readout", "blank"]
    assert prepared.words["pre-scan"].startswith("5 looks from -50 to -30 deg (2 of them to try the image shift")
    assert prepared.words["dose of the pre-scan"].endswith("as much as 1.4 frames")


def test_a_camera_that_takes_long_to_be_set_is_set_in_the_dark(perform: Perform) -> None:
    slow = with_options(detector={"change_s": 0.5, "declared_change_s": 0.5})
    records = in_prescan(perform(slow, **SHORT))
    order = [name for name, _ in called(records) if name in ("detector.start", "beam.unblank", "beam.blank")]
    look = ["beam.unblank", "detector.start", "beam.blank"]
    assert order == ["beam.blank", "detector.start", *look * 5, "detector.start"]
    refused = [record["reason"] for record in records if record["kind"] == "refused"]
    assert refused == [
        "it set the camera to the looks of the pre-scan",
        "it set the camera back from snapshots to frames",
    ]
    lit = [step for step in records if step["kind"] == "step"]
    assert max(step["end_ns"] - step["start_ns"] for step in lit) < 200_000_000


def test_a_rotation_that_begins_at_the_end_of_the_holders_range_is_asked_about() -> None:
    for start_deg, asked in ((-79.5, 1), (-70.0, 0)):
        plan = CredPlan(start_deg=start_deg, range_deg=20.0, tracking="correct", prescan_images=2)
        facts = declared_basis("simulated", CRED.device_options(plan)).facts
        assert isinstance(facts, Facts)
        assert len(CRED.prepare(plan, facts).remarks) == asked


def test_the_images_and_what_was_learned_are_kept(perform: Perform) -> None:
    run = perform(DEVICES, **SHORT)
    assert len(list((run.folder / "snapshots").glob("prescan_*.tiff"))) == 5
    lines = (run.folder / "snapshots" / "prescan.csv").read_text().splitlines()
    assert [float(line.split(",")[0]) for line in lines[1:]] == pytest.approx(np.arange(-50, -29), abs=0.02)
    looks = [each for each in run.document["tracking"]["found"] if "look" in each]
    assert [each["look"] for each in looks] == [1, 2, 3, 4, 5]
    assert run.document["result"]["snapshots"] == len(run.document["snapshots"])


def test_a_crystal_that_is_only_shown_is_looked_at_without_trying_anything(perform: Perform) -> None:
    run = perform(DEVICES, **{**SHORT, "tracking": "show"})
    assert run.document["result"]["tracking"]["looks"] == 3
    assert not run.calls("deflectors.set")


def test_an_image_shift_that_acts_the_wrong_way_is_noticed_before_the_rotation(perform: Perform) -> None:
    def made_wrong(record: Record, run: Run) -> None:
        if record["kind"] == "state" and record["name"] == "prescan-goto":
            coils: Any = getattr(run.microscope, "deflectors")  # noqa: B009  # the engine knows no deflectors
            coils.hide(replace(DeflectorSettings(), image_shift_nm=(-0.5, -0.1, 0.1, -0.5)))

    still = with_options(motion={"drawn_seed": -1, "centred_off_nm": [20.0, 5.0]})
    run = perform(still, on=made_wrong, **{**SHORT, "prescan_images": 2})
    waiting_ns = next(r["t_ns"] for r in run.of("state") if r["name"] == "wait-for-rotation")
    told_ns = [r["t_ns"] for r in run.of("note") if "No more corrections are made" in r.get("text", "")]
    assert told_ns
    assert told_ns[0] < waiting_ns


def test_a_crystal_that_is_in_no_image_is_said_and_ends_the_run_where_the_plan_says_so(perform: Perform) -> None:
    run = perform(LOST, **{**SHORT, "crystal_lost": "stop"})
    assert run.document["status"] == "stopped"
    assert "crystal_lost = stop: not found in the pre-scan, not at -50.0 deg: " in run.document["reason"]
    assert run.states()[-3:] == ["prescan-snapshot", "finalize", "stopped"]
    assert_safe(run)
    assert len(run.of("frame")) == 3  # the image shift is not tried on what is not seen
    run = perform(LOST, **SHORT)
    assert run.document["status"] == "done"
    assert "found in 0 of 3 looks; not at -50.0 deg" in said(run)


@pytest.mark.parametrize(("sign", "height_nm"), [(1.0, 1300.0), (-1.0, 1300.0), (1.0, -1300.0)])
def test_a_crystal_that_was_missed_at_the_start_is_gone_after_from_where_it_was_found(
    perform: Perform, sign: float, height_nm: float
) -> None:
    plan = {**FAR, "start_deg": sign * FAR["start_deg"], "range_deg": sign * FAR["range_deg"]}
    run = perform(high_by(height_nm), **plan)
    assert "; gone after from " in said(run)
    assert said(run).split("Rotation seen")[0].rstrip().endswith(f"found at {sign * -50:.1f} deg.")
    assert " not found at " not in said(run)
    fifteen_deg = slice(0, 26)
    assert np.max(away_nm(run)[fifteen_deg]) < 200
    looks = [record["look"] for record in run.of("frame") if record["name"] == "prescan"]
    assert looks == sorted(set(looks))
    further = run.document["result"]["tracking"]["looks"] - 4
    assert 4 <= further <= MOST_FURTHER
    went_deg = [sign * args[0] for name, args in called(in_prescan(run)) if name == "stage.rotate"]
    for before_deg, at_deg, next_deg in zip(went_deg, went_deg[1:], went_deg[2:], strict=False):
        assert at_deg > before_deg or next_deg == pytest.approx(at_deg + 3.0)  # play is taken up on the way back, too
    assert first_divergence(load_run(run.folder), replay(load_run(run.folder))) is None


def test_found_in_no_look_it_is_looked_for_where_the_stage_stood(perform: Perform) -> None:
    run = perform(high_by(1300.0), **{**FAR, "prescan_images": 1})
    assert "gone after from 0.0 deg" in said(run)
    assert "not at -50.0 deg: nothing stands out" in said(run)
    assert ": found at -50.0 deg." in said(run)
    assert [record["slot"] for record in run.of("tracking", "forgotten")] == [0]  # it was not in the middle at -50
    assert np.max(away_nm(run)[:26]) < 200
    lines = (run.folder / "snapshots" / "prescan.csv").read_text().splitlines()
    angle_deg, _, y_nm = (float(number) for number in lines[1].split(",")[:3])
    assert angle_deg == pytest.approx(-50.0, abs=0.02)
    assert y_nm == pytest.approx(1300.0 * np.sin(np.radians(50.0)), abs=60.0)


def test_what_cannot_be_brought_back_is_not_gone_after(perform: Perform) -> None:
    run = perform(high_by(1300.0), **{**FAR, "tracking": "show"})
    assert run.document["result"]["tracking"]["looks"] == 4
    assert "gone after" not in said(run)


@pytest.mark.parametrize("tracking", ["correct", "show"])
def test_the_plan_tells_of_further_looks(tracking: str) -> None:
    plan = CredPlan.model_validate(
        {"start_deg": -50.0, "range_deg": 100.0, "tracking": tracking, "prescan_images": 4, "snapshot_exposure_s": 0.01}
    )
    facts = declared_basis("simulated", CRED.device_options(plan)).facts
    assert isinstance(facts, Facts)
    words = CRED.prepare(plan, facts).words
    assert ("further looks" in words) is (tracking == "correct")
    if tracking == "correct":
        assert words["further looks"].startswith(
            f"at most {MOST_FURTHER}, only where the crystal is missed or it is dark at -50 deg: "
        )
        assert words["further looks"].endswith("as much as 3.5 frames all together")


def test_a_blanker_that_does_not_close_ends_the_run_before_the_stage_moves(tmp_path: Path) -> None:
    plan = CredPlan(**{key: value for key, value in SHORT.items() if key != "driver"})
    devices = tmp_path / "devices.toml"
    devices.write_text(
        '[microscope]\ndriver = "simulated"\nmotion.drawn_seed = 3\npictures.rendered = "snapshots"\n', "utf-8"
    )
    faults = ("beam.is_blanked 4 wrong 1",)
    report = execute(Request(CRED, plan, tmp_path, str(devices), virtual=True, draw=False, faults=faults))
    assert report.ending.status is Status.FAILED
    assert "told to blank before the stage moves, the blanker does not close" in report.ending.reason
    trace = [json.loads(line) for line in (report.folder / "trace.jsonl").read_text().splitlines()]
    assert [record["name"] for record in trace if record["kind"] == "state"][:4] == [
        "relax", "prescan-goto", "prescan-snapshot", "finalize",
    ]  # fmt: skip


@pytest.mark.parametrize("state", PRESCAN, ids=lambda state: state.value)
@pytest.mark.parametrize(("command", "status"), [("stop", "stopped"), ("abort", "aborted")])
def test_a_command_in_any_state_of_it_ends_in_the_safe_state(
    perform: Perform, state: State, command: str, status: str
) -> None:
    def at_state(record: Record, run: Run) -> None:
        if record["kind"] == "state" and record["name"] == state.value:
            getattr(run.commands, command)("test")

    run = perform(DEVICES, on=at_state, **SHORT)
    assert run.document["status"] == status
    assert run.states()[-2:] == ["finalize", status]
    assert_safe(run)


def test_a_replay_says_the_same_byte_for_byte(perform: Perform) -> None:
    run = perform(DEVICES, **SHORT)
    assert first_divergence(load_run(run.folder), replay(load_run(run.folder))) is None


@pytest.mark.parametrize("state", ["prescan-snapshot", "prescan-return", "expose"])
def test_a_run_that_was_cut_off_is_recovered_with_its_looks(perform: Perform, tmp_path: Path, state: str) -> None:
    cut = tmp_path / "cut_off"
    seen = 0

    def copy(record: Record, run: Run) -> None:
        nonlocal seen
        seen += record["kind"] == "state" and record["name"] == state
        if seen == (3 if state == "prescan-snapshot" else 1) and not cut.exists() and record["kind"] == "state":
            run.write_trace()
            run.writer.submit_observation(lambda: shutil.copytree(run.folder, cut, dirs_exist_ok=True))
            cut.mkdir()

    perform(DEVICES, on=copy, **SHORT)
    (cut / "run.lock").unlink(missing_ok=True)
    recover_run(cut)
    looks = 2 if state == "prescan-snapshot" else 5
    assert len(list((cut / "snapshots").glob("prescan_*.tiff"))) == looks


@pytest.mark.parametrize(
    ("plan", "devices", "says"),
    [
        ({"tracking": "off"}, {}, "prescan_images: without tracking nobody uses it"),
        ({"unblank": False}, {}, "which unblank = false does not allow"),
        ({"prescan_images": 51}, {}, "less than or equal to 50"),
        ({"prescan_images": -1}, {}, "greater than or equal to 0"),
    ],
)
def test_what_cannot_be_scanned_is_refused_before_anything_moves(
    perform: Perform, plan: dict[str, Any], devices: dict[str, Any], says: str
) -> None:
    with pytest.raises((Refused, ValueError), match=says):
        perform({**DEVICES, **devices}, **{**SHORT, **plan})
