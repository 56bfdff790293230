"""The cell is told while the crystal turns; a replay tells the same; without pictures or wish nothing is computed."""

from typing import Any

from engine.replay.replay import first_divergence, load_run, replay
from tests.protocols.cred.conftest import Perform

PLAN: dict[str, Any] = {"range_deg": 11.0, "snapshot_interval": 0, "relax_cycles": 0, "formats": ()}


def test_the_cell_is_told_while_the_crystal_turns_and_a_replay_tells_it_again(perform: Perform) -> None:
    run = perform(driver="simulated", live=True, start_deg=-20.0, **PLAN)
    assert run.document["status"] == "done"
    looks = [record for record in run.of("computation") if record["name"] == "live"]
    assert len(looks) >= 2
    last = looks[-1]["result"]
    assert last["determined"], last["reasons"]
    assert last["bravais"] in ("oC", None)
    volume_A3 = 18.11 * 20.53 * 7.528 / (1 if last["bravais"] else 2)
    a, b, c = last["cell"][:3]
    assert abs(a * b * c / volume_A3 - 1) < 0.1
    told = [record["text"] for record in run.of("note") if record["name"] == "operator"]
    assert any(" deg: " in text and "reflections" in text for text in told)
    assert first_divergence(load_run(run.folder), replay(load_run(run.folder))) is None


def test_a_camera_without_pictures_and_a_plan_without_the_wish_compute_nothing(perform: Perform) -> None:
    for driver, live in (("simulated-timing", True), ("simulated", False)):
        run = perform(driver=driver, live=live, **{**PLAN, "range_deg": 3.0})
        assert run.document["status"] == "done"
        assert not [record for record in run.of("computation") if record["name"] == "live"]


def test_a_look_that_finds_nothing_or_fails_harms_no_run(perform: Perform) -> None:
    small = {
        "geometry": {"beam_fast_px": 16.0, "beam_slow_px": 16.0},
        "pictures": {"shape": [32, 32], "wide_cross": False},
    }
    run = perform(small, driver="simulated", live=True, **{**PLAN, "range_deg": 5.0})
    assert run.document["status"] == "done"
    looks = [record for record in run.of("computation") if record["name"] == "live"]
    assert looks
    assert not any(record["result"]["determined"] for record in looks if "result" in record)
    assert first_divergence(load_run(run.folder), replay(load_run(run.folder))) is None
