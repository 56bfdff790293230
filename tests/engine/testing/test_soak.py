"""The soak: repeatable, able to fail, and what it prints is enough to see the same failure again."""

import asyncio
import shlex
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import structlog
from typer.testing import CliRunner

from engine.commands import soakruns as soakcli
from engine.commands.main import app
from engine.errors import Refused
from engine.run.contract import ExperimentType
from engine.run.registry import experiment_type
from engine.run.trial import Case, SoakedRun
from engine.testing import soak
from engine.testing.soak import draw, minimised, quiet, try_case
from protocols.cred.sequence import CredSequence
from protocols.cred.soak.trial import CredTrial

PLAN: dict[str, Any] = {
    "exposure_s": 0.2,
    "speed_deg_s": 1.0,
    "start_deg": 0.0,
    "range_deg": 1.7,
    "rotation": "commanded",
    "snapshot_interval": 0,
    "relax_cycles": 0,
    "unblank": True,
    "formats": [],
}
EIGHT_SLOTS = Case(3, PLAN, ())
EIGHT_WORDS = [f"--set={key}={str(value).lower()}" for key, value in PLAN.items()]


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    quiet()
    yield
    structlog.reset_defaults()


@pytest.fixture
def cred() -> ExperimentType:
    return experiment_type("cred")


@pytest.mark.parametrize("seed", range(5))
def test_the_same_seed_is_the_same_case_with_the_same_verdict(cred: ExperimentType, seed: int) -> None:
    case = draw(cred, seed)
    assert draw(cred, seed) == case
    assert try_case(cred, case) == try_case(cred, case)


def test_seeds_differ(cred: ExperimentType) -> None:
    assert len({(tuple(case.plan.values())[1:4], case.troubles) for case in (draw(cred, s) for s in range(50))}) > 40


def test_a_good_run_breaks_nothing_and_is_counted(cred: ExperimentType) -> None:
    verdict = try_case(cred, EIGHT_SLOTS)
    assert (verdict.broken, verdict.status, verdict.faults) == ((), "done", 0)
    assert verdict.checks > 20


def test_troubles_reach_the_run(cred: ExperimentType) -> None:
    troubles = ("operator 2.0 abort", "beam.blank 1 ignored")
    verdict = try_case(cred, replace(EIGHT_SLOTS, troubles=troubles))
    assert (verdict.broken, verdict.status, verdict.faults) == ((), "aborted", 1)


@pytest.mark.parametrize("state", ["relax", "wait-for-rotation", "delay", "expose", "finalize"])
def test_the_operator_acts_so_long_after_a_state_was_entered(cred: ExperimentType, state: str) -> None:
    verdict = try_case(cred, replace(EIGHT_SLOTS, troubles=(f"operator {state}+0.01 abort",)))
    assert (verdict.broken, verdict.status) == ((), "aborted")


def test_the_operator_of_a_state_that_is_never_entered_does_nothing(cred: ExperimentType) -> None:
    verdict = try_case(cred, replace(EIGHT_SLOTS, troubles=("operator refocus+0 abort",)))
    assert (verdict.broken, verdict.status) == ((), "done")


@pytest.mark.parametrize(
    "words",
    [
        *("operator 3 pause", "operator soon stop", "operator +1 stop", "operator expose+ stop"),
        *("operator 3 tell", "operator 3 stop now", "operator 3"),
    ],
)
def test_an_operator_who_cannot_be_understood_is_refused(cred: ExperimentType, words: str) -> None:
    verdict = try_case(cred, replace(EIGHT_SLOTS, troubles=(words,)))
    assert verdict.status == "refused"
    assert "write operator SECONDS stop, or abort, or tell WORDS" in verdict.refusal


def test_a_seed_drawn_the_second_way_is_the_same_case_and_another_than_the_first(cred: ExperimentType) -> None:
    assert draw(cred, 8, hard=True) == draw(cred, 8, hard=True) != draw(cred, 8)


def test_a_plan_that_does_not_fit_is_refused_and_breaks_nothing(cred: ExperimentType) -> None:
    verdict = try_case(cred, replace(EIGHT_SLOTS, plan={**PLAN, "range_deg": 170.0}))
    assert (verdict.status, verdict.broken) == ("refused", ())


# --- what it finds

Plant = Callable[[pytest.MonkeyPatch], None]


def before_relaxing(patch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    unchanged = CredSequence.relax

    async def relax(self: CredSequence) -> str:
        act()
        return await unchanged(self)

    patch.setattr(CredSequence, "relax", relax)


KEPT: list[Any] = []
"""What a bug holds on to, until the test lets it go."""


def task(patch: pytest.MonkeyPatch) -> None:
    before_relaxing(patch, lambda: KEPT.append(asyncio.create_task(asyncio.Event().wait())))


def thread(patch: pytest.MonkeyPatch) -> None:
    def begin() -> None:
        over = threading.Event()
        KEPT.append(over)
        threading.Thread(target=over.wait, args=(60,)).start()

    before_relaxing(patch, begin)


def file(patch: pytest.MonkeyPatch) -> None:
    before_relaxing(patch, lambda: KEPT.append(open(__file__, "rb")))


def error(patch: pytest.MonkeyPatch) -> None:
    before_relaxing(patch, lambda: 1 // 0)


def failing_callback(patch: pytest.MonkeyPatch) -> None:
    before_relaxing(patch, lambda: asyncio.get_running_loop().call_soon(divmod, 1, 0))


def deadlock(patch: pytest.MonkeyPatch) -> None:
    async def stuck(self: CredSequence) -> str:
        return await asyncio.get_running_loop().create_future()

    patch.setattr(CredSequence, "relax", stuck)


FOUND: dict[str, tuple[Plant, str]] = {
    "a task": (task, "no task is left"),
    "a thread": (thread, "no thread, no file is left"),
    "a file": (file, "no thread, no file is left"),
    "an error nobody foresaw": (error, "no error is a surprise"),
    "an error in a callback": (failing_callback, "unhandled"),
    "a deadlock": (deadlock, "VirtualDeadlock"),
}


@pytest.mark.parametrize(("plant", "rule"), FOUND.values(), ids=FOUND)
def test_what_is_left_or_escapes_is_found(
    cred: ExperimentType, monkeypatch: pytest.MonkeyPatch, plant: Plant, rule: str
) -> None:
    if plant in (file,) and sys.platform != "linux":
        pytest.skip("open files are counted where the system tells of them")
    plant(monkeypatch)
    try:
        assert rule in "; ".join(try_case(cred, EIGHT_SLOTS).broken)
    finally:
        while KEPT:
            held = KEPT.pop()
            for let_go in ("set", "close"):
                getattr(held, let_go, lambda: None)()


async def turning_round(self: CredSequence) -> str:
    while True:  # noqa: ASYNC110 it is to spin
        await asyncio.sleep(0)


async def never_yielding(self: CredSequence) -> str:
    while True:
        pass


@pytest.mark.skipif(not hasattr(__import__("signal"), "setitimer"), reason="needs alarms")
@pytest.mark.skipif(not hasattr(soak, "Hang"), reason="an alarm that is an Exception is taken for the run's own error")
@pytest.mark.parametrize("spin", [turning_round, never_yielding])
def test_a_run_that_never_ends_is_caught(
    cred: ExperimentType, monkeypatch: pytest.MonkeyPatch, spin: Callable[[CredSequence], Any]
) -> None:
    monkeypatch.setattr(soak, "HANG_S", 1)
    monkeypatch.setattr(CredSequence, "relax", spin)
    verdict = try_case(cred, EIGHT_SLOTS)
    assert "hangs" in "; ".join(verdict.broken)
    monkeypatch.undo()
    assert try_case(cred, EIGHT_SLOTS).broken == ()  # the next run is none the worse for it


# --- what it prints


def no_frame_in_slot_three(patch: pytest.MonkeyPatch) -> None:
    """A rule that only very short runs keep."""
    judge = CredTrial.judge

    def stricter(self: CredTrial, soaked: SoakedRun) -> Iterator[tuple[str, bool, str]]:
        yield from judge(self, soaked)
        slots = [record["slot"] for record in soaked.of("frame")]
        yield "slot three stays empty", 3 not in slots, "it does not"

    patch.setattr(CredTrial, "judge", stricter)


@pytest.mark.long
def test_a_case_is_made_as_simple_as_still_breaks_the_rule(
    cred: ExperimentType, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_frame_in_slot_three(monkeypatch)
    plan = {**PLAN, "range_deg": -8.5, "relax_cycles": 2, "exposure_s": 0.1, "rotation": "pedal"}
    verdict = minimised(cred, Case(3, plan, ("detector.disarm 1 error", "stage.angle 30 slow 0.3")))
    assert verdict.broken == ("slot three stays empty: it does not",)
    assert verdict.case.troubles == ()
    assert verdict.case.plan["rotation"] == "commanded"
    assert verdict.case.plan["relax_cycles"] == 0
    assert 0 < verdict.case.plan["range_deg"] < 2.0


def test_minimising_keeps_the_trouble_that_is_needed(cred: ExperimentType, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = CredTrial.judge

    def stricter(self: CredTrial, soaked: SoakedRun) -> Iterator[tuple[str, bool, str]]:
        yield from judge(self, soaked)
        yield "nothing is lost", not soaked.of("slot", "lost"), ""

    monkeypatch.setattr(CredTrial, "judge", stricter)
    troubles = ("detector.disarm 1 error", "detector.frames 4 late 0.5", "beam.blank 1 ignored")
    assert minimised(cred, replace(EIGHT_SLOTS, troubles=troubles)).case.troubles == ("detector.frames 4 late 0.5",)


class Inline:
    """An executor that does at once, in this process, what it is given: what was patched holds there too."""

    def __init__(self, *_: object) -> None: ...

    def each(self, work: Callable[[Any], Any], given: Sequence[Any]) -> Iterator[Any]:
        yield from map(work, given)


def credline(*words: str) -> tuple[int, list[str]]:
    done = CliRunner().invoke(app, list(words))
    return done.exit_code, done.stdout.splitlines()


@pytest.mark.long
@pytest.mark.parametrize("way", [(), ("--hard",)])
def test_a_broken_rule_is_status_1_and_its_command_breaks_it_again(
    monkeypatch: pytest.MonkeyPatch, way: tuple[str, ...]
) -> None:
    no_frame_in_slot_three(monkeypatch)
    monkeypatch.setattr("engine.executor.executor_of", Inline)
    status, lines = credline("soak", "cred", "--seeds", "4", "--first", "3", *way)
    assert status == 1
    assert [line for line in lines if line.startswith("seed ") and "slot three stays empty: it does not" in line]
    assert lines[-1].startswith("4 runs (")
    again = next(line for line in lines if line.startswith("again with: ")).removeprefix("again with: ")
    assert again.startswith("credline soak cred --first ")
    status, lines = credline(*shlex.split(again)[1:])
    assert status == 1
    assert lines[0] == "broken: slot three stays empty: it does not"
    monkeypatch.undo()
    status, lines = credline(*shlex.split(again)[1:])
    assert (status, lines[-1].split(",")[0]) == (0, "1 run (done)")


def test_without_a_broken_rule_it_is_status_0_and_the_last_line_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.executor.executor_of", Inline)
    monkeypatch.setattr(soakcli, "BATCH", 2)
    status, lines = credline("soak", "cred", "--seeds", "5", "--first", "40")
    assert status == 0, lines
    assert lines[-1].startswith("5 runs (")
    assert "faults injected" in lines[-1]
    assert "invariants checked, 0 broken" in lines[-1]


def test_what_is_given_replaces_what_was_drawn(cred: ExperimentType) -> None:
    drawn = draw(cred, 8)
    changed = replace(drawn, plan={**drawn.plan, "range_deg": 1.0, "unblank": True}, troubles=("beam.blank 1 hang",))
    words = shlex.split(soakcli.command("cred", changed, drawn))
    assert words[:5] == ["credline", "soak", "cred", "--first", "8"]
    assert "range_deg=1.0" in words
    assert words[-2:] == ["--fault", "beam.blank 1 hang"]
    assert shlex.split(soakcli.command("cred", replace(drawn, troubles=()), drawn))[-2:] == ["--fault", "none"]


def test_no_fault_beside_others_is_refused() -> None:
    done = CliRunner().invoke(app, ["soak", "cred", "--fault", "none", "--fault", "beam.blank 1 hang"])
    assert isinstance(done.exception, Refused)
    assert "nothing was run" in str(done.exception)
    status, lines = credline("soak", "cred", "--fault", "none", *EIGHT_WORDS)
    assert (status, lines[-1].split(",")[:2]) == (0, ["1 run (done)", " 0 faults injected"])


def test_a_fault_that_was_asked_for_and_never_came_is_named() -> None:
    faults = ("--fault", "beam.blank 1 ignored", "--fault", "beam.blank 99 hang")
    done = CliRunner().invoke(app, ["soak", "cred", *faults, *EIGHT_WORDS])
    assert "1 faults injected" in done.stdout
    assert done.stderr.splitlines() == ["1 of 2 faults came about; not: beam.blank 99 hang"]
