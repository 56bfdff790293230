"""A cRED run as a specification: slots, snapshots, gaps and every way through the machine, on a virtual clock."""

import itertools

import numpy as np
import pytest

from engine.clock import ns
from tests.protocols.cred.conftest import Perform

PERIOD_NS = ns(0.512)


def test_the_states_follow_one_another_as_the_paper_describes(perform: Perform) -> None:
    states = perform(range_deg=5.0).states()
    assert states[:6] == ["relax", "wait-for-rotation", "delay", "expose", "defocus-snapshot", "refocus"]
    assert states[-2:] == ["finalize", "done"]
    cycle = ["expose", "defocus-snapshot", "refocus"]
    assert states[3:-3] == cycle * (len(states[3:-3]) // 3)


def test_every_frame_starts_on_its_slot_boundary_to_the_nanosecond(perform: Perform) -> None:
    frames = perform().frames()
    t0 = frames["start_ns"][0]
    assert np.array_equal(frames["start_ns"], t0 + (frames["slot"].astype(np.int64) - 1) * PERIOD_NS)
    assert not frames["late_ns"].any()


@pytest.mark.parametrize(("interval", "seed"), [(2, 1), (5, 2), (10, 3), (20, 4)])
def test_every_nth_slot_is_a_snapshot_and_gaps_are_whole_periods(perform: Perform, interval: int, seed: int) -> None:
    run = perform(snapshot_interval=interval, seed=seed)
    shots = [record["slot"] for record in run.of("frame", "snapshot")]
    assert shots == [slot for slot in range(1, run.result["slots"] + 1) if slot % interval == 0]
    steps = np.diff(run.frames()["start_ns"])
    assert not (steps % PERIOD_NS).any()
    taken = sorted([*run.frames()["slot"], *shots, *run.result["lost_slot_numbers"]])
    assert taken == list(range(1, run.result["slots"] + 1))


def test_without_snapshots_no_slot_is_left_out_and_the_lens_is_never_touched(perform: Perform) -> None:
    run = perform(snapshot_interval=0)
    assert list(run.frames()["slot"]) == list(range(1, run.result["slots"] + 1))
    assert run.result["snapshots"] == 0
    # The safe state sets the focus it found, once.
    assert [call["args"] for call in run.calls("optics.set_focus")] == [[31000]]


def test_short_exposures_give_a_snapshot_as_many_whole_slots_as_it_needs(perform: Perform) -> None:
    run = perform(exposure_s=0.05, range_deg=3.0, snapshot_interval=20)
    slots = set(run.frames()["slot"])
    assert 20 not in slots
    assert not slots & set(range(20, 28))
    assert 28 in slots
    assert run.result["lost_slots"] == 0


def test_the_lens_rests_before_the_run_and_returns_to_focus_after_each_snapshot(perform: Perform) -> None:
    values = [call["args"][0] for call in perform(relax_cycles=5).calls("optics.set_focus")]
    assert values[:10] == [32500, 31000] * 5
    assert values[10:-1] == [32500, 31000] * ((len(values) - 11) // 2)
    assert values[-1] == 31000


def test_the_beam_goes_on_when_rotation_was_seen_and_off_first_of_all_at_the_end(perform: Perform) -> None:
    run = perform(range_deg=5.0)
    kinds = [(record["kind"], record["name"]) for record in run.trace]
    assert kinds.index(("state", "delay")) < kinds.index(("call", "beam.unblank"))
    after = kinds[kinds.index(("state", "finalize")) + 1 :]
    calls = [name for kind, name in after if kind == "call"]
    stopped = ["stage.angle", "stage.angle", "stage.stop", *4 * ["stage.angle"], "stage.stop"]
    focused = ["optics.set_focus", "optics.focus", "optics.focus"]
    sure = ["beam.blank", "beam.is_blanked", "beam.is_blanked", "disk.drain"]
    assert calls == ["beam.blank", *stopped, "detector.disarm", *focused, *sure]


def test_the_first_slot_begins_when_the_stage_was_read_a_delay_after_the_rotation_was_seen(perform: Perform) -> None:
    run = perform()
    seen_ns = next(r["t_ns"] for r in run.of("state") if r["name"] == "delay")
    read = next(call for call in run.calls("stage.angle") if call["begin_ns"] >= seen_ns)
    assert read["begin_ns"] == seen_ns + ns(0.2)
    assert run.frames()["start_ns"][0] == read["end_ns"] + ns(0.002)


def test_without_unblank_the_blanker_is_not_touched_before_the_end(perform: Perform) -> None:
    run = perform(unblank=False, range_deg=5.0)
    assert run.result["frames"] > 0
    assert not run.calls("beam.unblank")
    assert all(call["t_ns"] > run.of("state", "finalize")[0]["t_ns"] for call in run.calls("beam.blank"))


def test_a_commanded_rotation_goes_to_its_start_by_itself(perform: Perform) -> None:
    run = perform(rotation="commanded", start_deg=20.0, range_deg=-12.0, truth=True)
    assert run.document["status"] == "done"
    assert run.result["oscillation_deg"] < 0
    assert run.result["start_deg"] == pytest.approx(19.6, abs=0.3)
    assert (np.diff(run.truth_deg(), axis=1) < 0).all()


@pytest.mark.parametrize("sign", [1, -1])
def test_both_directions_cover_the_range_asked_for(perform: Perform, sign: int) -> None:
    result = perform(range_deg=sign * 12.0).result
    assert result["range_deg"] == pytest.approx(12.0, abs=0.25)
    assert np.sign(result["end_deg"] - result["start_deg"]) == sign


def test_frames_carry_the_detectors_own_count_without_a_jump(perform: Perform) -> None:
    numbers = [record["number"] for record in perform().of("frame")]
    assert sorted(numbers) == list(range(len(numbers)))


def test_a_slow_first_frame_costs_its_slots_and_does_not_move_the_grid(perform: Perform) -> None:
    run = perform(devices={"detector": {"slow_first_s": [1.2, 1.0]}})
    frames = run.frames()
    assert run.result["lost_slots"] > 0
    assert run.of("slot", "stretched") == []
    steps = np.diff(frames["start_ns"])
    assert not (steps % PERIOD_NS).any()
    lost = [record["slot"] for record in run.of("slot", "lost")]
    assert lost == run.result["lost_slot_numbers"]
    assert not set(lost) & set(frames["slot"])


def test_a_camera_slower_than_declared_lengthens_the_period_for_all_to_see(perform: Perform) -> None:
    run = perform(devices={"detector": {"slow_first_s": [0.01] * 1000}}, snapshot_interval=0)
    stretched = run.of("slot", "stretched")
    assert len(stretched) == 1
    after = run.frames()[run.frames()["slot"] >= stretched[0]["slot"]]
    assert set(np.diff(after["start_ns"])) == {stretched[0]["period_ns"]}


# A camera whose shutter waits half a second after each change of exposure: as it says beforehand, or as nobody knows.
@pytest.mark.parametrize("declared_s", [0.5, 0.0])
def test_frames_of_a_camera_that_is_set_anew_are_at_their_angles_or_not_kept(
    perform: Perform, declared_s: float
) -> None:
    shutter = {"change_s": 0.5, "declared_change_s": declared_s}
    run = perform(devices={"detector": shutter}, range_deg=20.0, truth=True)
    frames = run.frames()
    kept = frames[frames["kept"] == 1]
    spare = [record for record in run.of("refused") if "set the camera back" in record["reason"]]
    assert len(kept) > 20
    if declared_s:
        assert kept.size == frames.size
        assert len(spare) == run.result["snapshots"]
        assert run.result["lost_slots"] == 0
    else:
        assert kept.size < frames.size
        assert not spare
    off_deg = np.abs(kept["start_deg"] - run.truth_deg()[:, 0])
    assert (off_deg <= kept["uncertainty_deg"]).all()
    assert np.median(kept["uncertainty_deg"]) < 0.05
    after = frames[np.isin(frames["slot"] % 10, [1, 2, 3, 4]) & (frames["kept"] == 0)]
    assert (after["uncertainty_deg"] > 0.2).all()  # it has its own


def test_a_late_snapshot_cycle_loses_whole_slots_by_name(perform: Perform) -> None:
    # Calls of 90 ms instead of the 35 ms planned for: the cycle ends after its slot.
    run = perform(devices={"api_call_s": 0.035, "lens": {"slow_s": 0.168}}, seed=1)
    assert run.result["lost_slots"] == 0
    slow = perform(devices={"api_call_s": 0.09}, exposure_s=0.5)
    assert slow.result["lost_slots"] == 0  # planned for: two slots a snapshot
    gaps = [int(b - a) for a, b in itertools.pairwise(slow.frames()["slot"]) if b - a > 1]
    assert set(gaps) == {3}


def test_frames_after_the_stage_has_stopped_are_marked_and_not_kept(perform: Perform) -> None:
    run = perform(devices={"stage": {"stops_at_deg": -24.0}}, range_deg=30.0, truth=True)
    assert run.document["status"] == "stopped"
    assert "-24.0" in run.document["reason"]
    frames = run.frames()
    kept = frames[frames["kept"] == 1]
    assert 0 < len(kept) < len(frames)
    assert run.result["frames"] == len(kept)
    assert run.result["frames_not_kept"] == len(frames) - len(kept)
    # No kept frame saw the stage standing, and no more than one good frame was given up.
    truth = run.truth_deg()
    assert (np.diff(truth, axis=1) > 0.2).all()
    assert truth[-1, 1] > -24.0 - 2.5 * 0.23


def test_a_stage_that_stops_without_snapshots_is_noticed_too(perform: Perform) -> None:
    run = perform(devices={"stage": {"stops_at_deg": -24.0}}, range_deg=30.0, snapshot_interval=0)
    assert run.document["status"] == "stopped"


def test_no_rotation_ends_the_run_after_its_time_out(perform: Perform) -> None:
    run = perform(devices={"stage": {"pedal_wait_s": [500.0, 600.0]}}, rotation_timeout_s=10.0)
    assert run.document["status"] == "failed"
    assert "rotation_timeout_s" in run.document["reason"]
    assert run.states()[-3:] == ["wait-for-rotation", "finalize", "failed"]
    assert not run.calls("beam.unblank")


def test_the_wrong_pedal_is_noticed_before_anything_is_exposed(perform: Perform) -> None:
    # A start beyond the target makes the simulated operator rotate the other way.
    run = perform(devices={"start_deg": 20.0})
    assert run.document["status"] == "failed"
    assert "other pedal" in run.document["reason"]
    assert run.result["frames"] == 0


def test_a_blanked_beam_that_nobody_unblanks_fails_before_the_run(perform: Perform) -> None:
    run = perform(devices={"beam_on": False}, unblank=False)
    assert run.document["status"] == "failed"
    assert "unblank" in run.document["reason"]


def test_when_the_period_was_lengthened_the_longer_even_part_is_kept(perform: Perform) -> None:
    run = perform(devices={"detector": {"slow_first_s": [0.0] * 15 + [0.01] * 1000}}, snapshot_interval=0)
    frames, result = run.frames(), run.result
    assert result["period_changes"] == 1
    stretched = run.of("slot", "stretched")[0]["slot"]
    assert list(frames["kept"]) == [slot >= stretched for slot in frames["slot"]]
    kept = frames[frames["kept"] == 1]
    even_deg = result["start_deg"] + (kept["slot"] - 1) * result["oscillation_deg"]
    assert np.abs(kept["start_deg"] - even_deg).max() < 1e-6


def test_a_hiccup_before_a_snapshot_costs_slots_and_not_the_run(perform: Perform) -> None:
    run = perform(devices={"detector": {"slow_first_s": [0.0] * 8 + [1.3]}})
    assert run.document["status"] == "done"
    assert 10 in run.result["lost_slot_numbers"]
    assert run.of("frame", "snapshot")[0]["slot"] == 20
