"""A plan of cRED is prepared from facts alone, and from the same ones wherever it is prepared."""

from dataclasses import replace
from typing import Any

import pytest
from typer.testing import CliRunner

from drivers.facts import Facts, StageFacts
from engine.commands.main import app
from engine.errors import Refused
from engine.replay.replay import replay
from engine.replay.whatif import Question, ask
from engine.testing.plugin import RecordRun
from protocols.cred import CRED
from protocols.cred.experiment import Cred, PreparedCred
from protocols.cred.plan import CredPlan

PLAN: dict[str, Any] = {"rotation": "commanded", "start_deg": 0.0, "range_deg": 1.0, "relax_cycles": 0}


@pytest.fixture
def prepared_from(monkeypatch: pytest.MonkeyPatch) -> list[Facts]:
    """What plans were prepared from, in order."""
    seen: list[Facts] = []
    original = Cred.prepare

    def prepare(self: Cred, plan: CredPlan, facts: Facts) -> PreparedCred:
        seen.append(facts)
        return original(self, plan, facts)

    monkeypatch.setattr(Cred, "prepare", prepare)
    return seen


def test_plan_run_replay_and_what_if_prepare_from_the_same(prepared_from: list[Facts], record_run: RecordRun) -> None:
    run = record_run("cred", seed=1, **PLAN, formats=())
    records = list(run.trace)
    replay(records)
    ask(records, Question())
    words = [word for key, value in PLAN.items() for word in ("--set", f"{key}={value}")]
    shown = CliRunner().invoke(app, ["plan", "cred", "--devices", "simulated-timing", *words])
    assert shown.exit_code == 0
    assert len(prepared_from) == 4
    for facts in prepared_from:
        assert isinstance(facts, Facts)
        for name in ("geometry", "timing", "stage", "optics", "detector"):
            assert getattr(facts, name) == getattr(prepared_from[0], name)
    assert Facts.of(records[0]["instrument"]) == prepared_from[0]


def test_a_what_if_changes_the_facts_and_nothing_else(prepared_from: list[Facts], record_run: RecordRun) -> None:
    records = list(record_run("cred", seed=1, **PLAN, formats=()).trace)
    ask(records, Question(latencies={"api_latency": "60ms"}, settling_s=0.2, dead_time_s=0.05))
    before, asked = prepared_from
    assert asked.timing.api_call_s == 0.06
    assert asked.optics is not None
    assert asked.optics.settling_s(1500) == 0.2
    assert asked.detector is not None
    assert asked.detector.cycle_s(0.5) == 0.55
    assert (asked.stage, asked.geometry) == (before.stage, before.geometry)


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        (StageFacts((-70.0, 70.0), 0.1, speeds_deg_s=(0.5, 1.0)), "speed_deg_s = 0.45: the stage cannot rotate at"),
        (StageFacts((-70.0, 70.0), 0.1, can_rotate=False), "only the operator can start a rotation"),
    ],
)
def test_a_commanded_rotation_at_a_speed_that_there_is_not_is_refused(
    prepared_from: list[Facts], record_run: RecordRun, stage: StageFacts, words: str
) -> None:
    record_run("cred", seed=1, **PLAN, formats=())
    facts = replace(prepared_from[0], stage=stage)
    with pytest.raises(Refused, match=words):
        CRED.prepare(CredPlan(**PLAN), facts)
    CRED.prepare(CredPlan(**{**PLAN, "rotation": "pedal"}), facts)  # the operator's affair


@pytest.mark.parametrize("part", ["stage", "optics", "detector"])
def test_an_instrument_that_lacks_a_part_is_refused(
    prepared_from: list[Facts], record_run: RecordRun, part: str
) -> None:
    record_run("cred", seed=1, **PLAN, formats=())
    without: dict[str, Any] = {part: None}
    with pytest.raises(Refused, match="lacks one"):
        CRED.prepare(CredPlan(**PLAN), replace(prepared_from[0], **without))
