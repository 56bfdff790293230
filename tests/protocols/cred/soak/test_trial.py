"""cRED on hundreds of bad days: every run keeps every rule. `credline soak cred --seeds 10000` tries more."""

import json
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from hashlib import sha256
from multiprocessing import get_context
from random import Random
from typing import Any

import pytest

from drivers.faultwords import Fault
from drivers.parts import OpticalMode
from engine.record.trace import Record
from engine.run.planfile import build_plan_from
from engine.run.trial import Case, command_of
from engine.testing.soak import try_seeds
from protocols.cred import CRED
from protocols.cred.machine import WORKING
from protocols.cred.soak.hard import CALLS_OF, SAFE_CALLS
from protocols.cred.soak.rules import STUCK
from protocols.cred.soak.trial import SMALL, CredTrial

BATCH = 25


@pytest.fixture(scope="module", params=[50, pytest.param(500, marks=pytest.mark.long)])
def bad_days(request: pytest.FixtureRequest) -> list[Any]:
    batches = [range(first, first + BATCH) for first in range(0, request.param, BATCH)]
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        return list(pool.map(try_seeds, ["cred"] * len(batches), batches))


def test_hundreds_of_bad_days_break_no_rule(bad_days: list[Any]) -> None:
    broken = [verdict for *_, batch in bad_days for verdict in batch]
    assert [f"credline soak cred --first {v.case.seed} --seeds 1: {v.broken[0]}" for v in broken] == []


def test_they_are_bad_days_that_end_in_every_way(bad_days: list[Any]) -> None:
    statuses: Counter[str] = Counter()
    for _, _, some, _ in bad_days:
        statuses.update(some)
    assert set(statuses) >= {"done", "failed", "stopped", "aborted"}
    assert sum(faults for faults, *_ in bad_days) >= statuses.total() // 2
    assert sum(checks for _, checks, *_ in bad_days) >= 50 * statuses.total()


@pytest.mark.parametrize("seed", range(0, 1000, 10))
def test_what_is_drawn_is_a_plan_and_troubles(seed: int) -> None:
    plan, troubles = CredTrial().draw(Random(seed))
    build_plan_from(CRED, plan)
    for words in troubles:
        if words.startswith("operator"):
            _, when, command = words.split()
            assert float(when) >= 0
            assert command in ("stop", "abort")
        else:
            Fault.parse(words)


def digest(seeds: range) -> str:
    """Of the cases of these seeds."""
    drawn = [CredTrial().draw(Random(seed)) for seed in seeds]
    return sha256(json.dumps(drawn).encode()).hexdigest()[:16]


def test_the_first_way_draws_the_cases_that_it_always_drew() -> None:
    # What runs did with ten thousand of them is compared from release to release.
    assert digest(range(10_000)) == "f45cf70c88b35754"


@pytest.mark.parametrize("seed", range(0, 1000, 10))
def test_what_is_drawn_the_second_way_is_a_plan_and_troubles(seed: int) -> None:
    plan, troubles = CredTrial().draw_hard(Random(seed))
    build_plan_from(CRED, plan)
    assert all(command_of(words) if words.startswith("operator") else Fault.parse(words) for words in troubles)


def test_the_second_way_draws_troubles_in_the_safe_state_and_while_every_state_is_left() -> None:
    drawn = [CredTrial().draw_hard(Random(seed))[1] for seed in range(2000)]
    words = {word for troubles in drawn for word in troubles}
    left = {word.split()[1].split("+")[0] for word in words if word.startswith("operator")}
    assert left >= {state.value for state in WORKING}
    failing = {" ".join(word.split()[:2]).split("+")[0] for word in words if not word.startswith("operator")}
    assert failing >= {f"{call} {state.value}" for state, calls in CALLS_OF.items() for call in calls}
    befallen = {" ".join(word.split()[:2]) for word in words}
    assert befallen >= set(SAFE_CALLS)
    pairs = [t for t in drawn if any("stop" in w and "ignored" in w for w in t) and any("operator" in w for w in t)]
    assert len(pairs) > 20


def test_the_second_way_draws_slow_shutters_wrong_types_blind_cameras_and_changed_modes() -> None:
    drawn = [CredTrial().draw_hard(Random(seed)) for seed in range(1000)]
    assert drawn == [CredTrial().draw_hard(Random(seed)) for seed in range(1000)]
    kinds = [{" ".join(words.split()[0::2][:2]) for words in troubles} for _, troubles in drawn]
    for wanted, at_least in (
        ("detector.start shutter", 100),
        ("detector.frames type", 20),
        *((f"detector.frames {how}", 10) for how in STUCK),
        *((f"mode.changed {mode}", 10) for mode in OpticalMode),
    ):
        assert sum(wanted in some for some in kinds) >= at_least, wanted
    assert {plan.get("bad_frames") for plan, _ in drawn} == {None, "go on", "stop"}


def test_the_second_way_looks_at_some_crystals_and_lets_looks_decide() -> None:
    drawn = [CredTrial().draw_hard(Random(seed)) for seed in range(2000)]
    looked_at = [(plan, troubles) for plan, troubles in drawn if plan.get("live")]
    assert 150 < len(looked_at) < 250
    decide = [plan for plan, _ in looked_at if plan.get("stop_at") or plan.get("stop_if")]
    assert len(looked_at) / 2 < len(decide) < len(looked_at)
    keys = {key for plan, _ in looked_at for part in ("stop_at", "stop_if") for key in plan.get(part, ())}
    assert keys == {"completeness", "damage", "no_lattice_after_deg", "several_lattices"}
    kinds = {words.split()[2] for _, troubles in looked_at for words in troubles if words.startswith("compute.live")}
    assert kinds == {"late", "dead", "never"}


def test_a_plan_that_looks_is_made_simpler_by_deciding_nothing_and_by_not_looking() -> None:
    plan = next(plan for seed in range(2000) if (plan := CredTrial().draw_hard(Random(seed))[0]).get("stop_if"))
    simpler = [build_plan_from(CRED, each) for each in CredTrial().simpler(plan)]
    assert any(not each.live for each in simpler)
    assert any(each.live and not each.ends_early for each in simpler)


@pytest.mark.parametrize(
    ("troubles", "options"),
    [
        ((), {}),
        (("operator 3 stop", "beam.blank 1 hang", "detector.start 3 error"), {}),
        (("operator 3 stop", "detector.start 3 shutter 0.1"), {"detector": {"tells_instants": False}}),
        (("detector.frames 3 dark",), SMALL),
        (
            ("detector.frames 3 same", "detector.start 3 shutter 0.1"),
            {**SMALL, "detector": {"tells_instants": False}},
        ),
    ],
)
def test_a_case_is_for_a_camera_that_can_have_its_troubles(troubles: tuple[str, ...], options: dict[str, Any]) -> None:
    assert CredTrial().instrument(Case(1, {}, troubles)) == options


def test_a_crystal_is_looked_at_on_a_camera_that_makes_pictures() -> None:
    assert CredTrial().instrument(Case(1, {"live": True}, ())) == SMALL


def test_every_sort_of_trouble_is_drawn() -> None:
    drawn = {" ".join(words.split()[0::2]) for seed in range(3000) for words in CredTrial().draw(Random(seed))[1]}
    kinds = {words.split()[-1] for words in drawn}
    assert kinds >= {"slow", "hang", "error", "wrong", "ignored", "away", "drop", "double", "torn", "late"} - {"slow"}
    wanted = {"beam.blank hang", "stage.motion stop", "stage.motion reverse", "detector.frames drop", "disk.write full"}
    assert drawn >= wanted | {"beam.blank ignored", "disk.sync error", "operator stop", "operator abort"}


def test_simpler_plans_are_simpler_in_one_respect_each() -> None:
    for seed in range(50):
        plan, _ = CredTrial().draw(Random(seed))
        for simpler in CredTrial().simpler(plan):
            assert len({key for key in plan if plan[key] != simpler[key]}) == 1
            assert plan.keys() == simpler.keys()


def state(name: str, trigger: str) -> Record:
    return {"kind": "state", "name": name, "trigger": trigger}


def frame(slot: int, name: str = "diffraction") -> Record:
    return {"kind": "frame", "name": name, "slot": slot}


def call(name: str, **fields: Any) -> Record:
    return {"kind": "call", "name": name, **fields}


EXPOSING = [state("relax", ""), state("wait-for-rotation", "relaxed"), state("expose", "delay_over")]


@pytest.mark.parametrize(
    ("before", "record", "wrong"),
    [
        ([state("relax", "")], state("wait-for-rotation", "relaxed"), None),
        ([state("relax", "")], state("expose", "relaxed"), "states follow the machine"),
        ([state("relax", "")], state("wait-for-rotation", "rotating"), "states follow the machine"),
        ([*EXPOSING, frame(3)], frame(4), None),
        ([*EXPOSING, frame(3)], frame(3), "slots of frames rise"),
        ([*EXPOSING, frame(3)], frame(2), "slots of frames rise"),
        ([*EXPOSING, frame(3)], frame(3, "snapshot"), None),
        (EXPOSING, call("detector.start"), None),
        (EXPOSING[:2], call("detector.start"), "exposures are made while exposing"),
        ([*EXPOSING, state("finalize", "finish")], call("detector.start"), "exposures are made while exposing"),
        ([state("delay", "rotating")], call("beam.unblank"), None),
        (EXPOSING[:2], call("beam.unblank"), "the beam is unblanked when rotation was seen"),
        (EXPOSING[:2], call("beam.blank"), None),
    ],
)
def test_every_step_is_watched(before: list[Record], record: Record, wrong: str | None) -> None:
    found = CredTrial().watch(record, before)
    assert (found is None) == (wrong is None)
    assert found is None or wrong is None or found.startswith(wrong)
