"""What a look decides where the plan asks for it; the run then ends as any other, and a replay ends it again."""

from typing import Any

import pytest

from engine.errors import Refused
from engine.replay.replay import first_divergence, load_run, replay
from engine.replay.whatif import Question, ask
from engine.run.planfile import build_plan
from protocols.cred import CRED
from protocols.cred.likely import unusual
from protocols.cred.livedecision import decide
from protocols.cred.plan import CredPlan
from tests.protocols.cred.conftest import Finished, Perform

UNKNOWN: dict[str, Any] = {"deg": 12.0, "determined": False, "reasons": ["no lattice is found in 9 reflections"]}
KNOWN: dict[str, Any] = {
    "deg": 27.3,
    "determined": True,
    "reasons": [],
    "lattices": 1,
    "completeness": 0.91,
    "resolution_A": 0.8512,
}
DAMAGED = {"damage": {"verdict": "damage", "lost": 0.52}}
LEAVING = {"damage": {"verdict": "leaves the beam", "lost": 0.0}}
SMALL: dict[str, Any] = {
    "geometry": {"beam_fast_px": 16.0, "beam_slow_px": 16.0},
    "pictures": {"shape": [32, 32], "wide_cross": False},
}
PLAN: dict[str, Any] = {"range_deg": 20.0, "snapshot_interval": 0, "relax_cycles": 0, "formats": (), "live": True}


def plan(*settings: str) -> CredPlan:
    return build_plan(CRED, None, ["live=true", *settings])


@pytest.mark.parametrize("told", [UNKNOWN, KNOWN, KNOWN | DAMAGED, KNOWN | {"lattices": 2}])
def test_by_default_nothing_is_decided(told: dict[str, Any]) -> None:
    assert decide(told, plan()) is None


@pytest.mark.parametrize(
    ("setting", "told", "reason"),
    [
        (
            "stop_at.completeness=0.9",
            KNOWN,
            "stop_at.completeness = 0.9: 91.0% complete to 0.85 A after 27.3 deg",
        ),
        ("stop_at.completeness=0.92", KNOWN, None),
        (
            "stop_if.shadow_deg=8",
            KNOWN | {"in_shadow_deg": 8.4},
            "stop_if.shadow_deg = 8: something has stood in the beam for the last 8.4 deg, after 27.3 deg",
        ),
        ("stop_if.shadow_deg=8", KNOWN | {"in_shadow_deg": 7.9}, None),
        ("stop_if.shadow_deg=8", UNKNOWN, None),
        ("stop_at.completeness=0.9", UNKNOWN, None),
        ("stop_at.completeness=0.9", KNOWN | {"completeness": None}, None),
        (
            "stop_at.damage=0.5",
            KNOWN | DAMAGED,
            "stop_at.damage = 0.5: the outer shell has lost 52% of its intensity after 27.3 deg",
        ),
        ("stop_at.damage=0.6", KNOWN | DAMAGED, None),
        ("stop_at.damage=0.5", KNOWN | LEAVING, None),
        ("stop_at.damage=0.5", KNOWN | {"damage": None}, None),
        ("stop_at.damage=0.5", KNOWN, None),
        (
            "stop_if.no_lattice_after_deg=12",
            UNKNOWN,
            "stop_if.no_lattice_after_deg = 12: no lattice is found in 9 reflections, after 12.0 deg",
        ),
        ("stop_if.no_lattice_after_deg=12.1", UNKNOWN, None),
        ("stop_if.no_lattice_after_deg=12", KNOWN, None),
        (
            "stop_if.several_lattices=true",
            KNOWN | {"lattices": 2},
            "stop_if.several_lattices = true: 2 lattices after 27.3 deg",
        ),
        ("stop_if.several_lattices=true", KNOWN, None),
        ("stop_if.several_lattices=false", KNOWN | {"lattices": 2}, None),
    ],
)
def test_a_look_decides_what_the_plan_asks_for(setting: str, told: dict[str, Any], reason: str | None) -> None:
    decision = decide(told, plan(setting))
    assert (decision.reason if decision else None) == reason
    assert decision is None or setting.startswith(decision.key)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["stop_at.completeness=0.9"], "only a look at the crystal can tell; set live = true as well"),
        (["stop_if.several_lattices=true"], "stop_if.several_lattices: only a look"),
        (["live=true", "stop_at.completeness=90"], "if 90 % was meant, write 0.9"),
        (["live=true", "stop_at.damage=50"], "if 50 % was meant, write 0.5"),
        (["live=true", "stop_at.damage=1"], "should be less than 1"),
        (["live=true", "stop_at.completeness=0"], "should be greater than 0"),
        (["live=true", "stop_if.no_lattice_after_deg=0"], "should be greater than 0"),
        (["live=true", "stop_if.no_lattice_after_deg=15000"], "should be less than or equal to 360"),
        (["live=true", "stop_at.complete=0.9"], "stop_at.completeness"),
    ],
)
def test_what_cannot_be_decided_is_refused_with_what_was_likely_meant(settings: list[str], words: str) -> None:
    with pytest.raises(Refused, match=words):
        build_plan(CRED, None, settings)


def test_an_angle_beyond_the_range_is_asked_about() -> None:
    (note,) = unusual(plan("range_deg=20", "stop_if.no_lattice_after_deg=25"))
    assert "never ends this run" in note
    assert not unusual(plan("range_deg=-30", "stop_if.no_lattice_after_deg=25"))


def test_a_camera_without_pictures_cannot_decide_and_is_refused(perform: Perform) -> None:
    with pytest.raises(Refused, match="this camera makes no pictures"):
        perform(driver="simulated-timing", **PLAN, stop_at={"completeness": 0.5})


def ended_by(run: Finished, key: str) -> None:
    """What holds of every run that a look has ended."""
    assert run.document["status"] == "done"
    (decided,) = [record for record in run.of("note") if record["name"] == "decision"]
    assert decided["key"] == key
    assert run.document["reason"] == decided["text"]
    exposed = [record for record in run.of("frame") if record["start_ns"] > decided["t_ns"]]
    assert len(exposed) <= 1
    (finalizing,) = [record for record in run.of("state") if record["name"] == "finalize"]
    assert finalizing["t_ns"] - decided["t_ns"] < 0.6e9
    assert run.calls("beam.blank")
    assert run.calls("stage.stop")
    assert not run.document["alarms"]
    frames = run.frames()
    assert run.document["result"]["lost_slots"] == 0
    assert len(frames) == run.document["result"]["frames"] == run.document["result"]["slots"]
    assert any("let the pedal go" in record["text"] for record in run.of("note") if record["name"] == "operator")
    records = load_run(run.folder)
    assert first_divergence(records, replay(records)) is None
    for name in ("frames.h5", "run.json"):  # a replay needs no picture
        (run.folder / name).unlink()
    assert first_divergence(records, replay(records)) is None
    with pytest.raises(Refused, match="feeds back from data"):
        ask(records, Question(latencies={"api_latency": "60ms"}))


def test_a_what_if_answers_for_a_run_that_was_only_watched(perform: Perform) -> None:
    asked = Question(latencies={"api_latency": "60ms"})
    watched, unwatched = (
        perform(SMALL, driver="simulated", **{**PLAN, "range_deg": 6.0, "live": live}) for live in (True, False)
    )
    assert watched.of("computation")
    assert ask(load_run(watched.folder), asked) == ask(load_run(unwatched.folder), asked)
    with pytest.raises(Refused, match="the plan has no such key"):
        ask(load_run(watched.folder), Question(plan={"foo": 3}))


def test_a_run_without_a_lattice_ends_when_the_plan_gives_it_up(perform: Perform) -> None:
    run = perform(SMALL, driver="simulated", **PLAN, stop_if={"no_lattice_after_deg": 5.0})
    ended_by(run, "stop_if.no_lattice_after_deg")
    assert 5.0 < abs(run.document["result"]["range_deg"]) < 9.0


@pytest.mark.long
def test_a_run_that_is_complete_enough_ends(perform: Perform) -> None:
    run = perform(driver="simulated", **PLAN, start_deg=-20.0, stop_at={"completeness": 0.15})
    ended_by(run, "stop_at.completeness")
    assert abs(run.document["result"]["range_deg"]) < 16.0


@pytest.mark.long
def test_a_look_that_decides_nothing_changes_nothing(perform: Perform) -> None:
    short = {**PLAN, "range_deg": 6.0}
    plain = perform(SMALL, driver="simulated", **short)
    asked = perform(SMALL, driver="simulated", **short, stop_at={"completeness": 0.99, "damage": 0.9})
    strip = [[r for r in run.trace if r["kind"] != "header"] for run in (plain, asked)]
    assert strip[0] == strip[1]


def test_what_if_cannot_ask_for_other_looks(perform: Perform) -> None:
    records = load_run(perform(**{**PLAN, "live": False, "range_deg": 3.0}).folder)
    for key, value in (("live", True), ("stop_at", {"completeness": 0.9}), ("stop_if", {"several_lattices": True})):
        with pytest.raises(Refused, match=f"--what-if {key}"):
            ask(records, Question(plan={key: value}))
