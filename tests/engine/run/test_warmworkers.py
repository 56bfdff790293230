"""A worker process serves one run after the other, as long as it lives."""

import os
import signal
import sys
from collections.abc import Iterator
from multiprocessing import active_children
from pathlib import Path

import pytest

from engine.clock.virtual import VirtualClock
from engine.run import warmworkers
from engine.run.computeprocess import WorkerProcess
from engine.run.computeworker import Answer, Question
from engine.run.instrument import Instrument
from engine.run.warmworkers import WarmWorkers
from tests.engine.run.computations import spools_open
from tests.engine.run.computebench import computation
from tests.engine.run.toy_session import TOY, ToyPlan
from tests.engine.virtually import virtual

SURROUNDINGS = computation("surroundings")
ECHO = computation()
STUCK = computation("stuck")


@pytest.fixture
def warm() -> Iterator[WarmWorkers]:
    before = active_children()
    made = WarmWorkers()
    yield made
    made.close()
    assert [child for child in active_children() if child not in before] == []


def asked(warm: WarmWorkers | None, folder: Path, what: str = "", niceness: int = 0) -> int:
    """The process that answers in a run: one worker, made, asked once, closed."""
    worker = WorkerProcess(SURROUNDINGS, folder / "spool", 60.0, niceness=niceness, warm=warm)
    try:
        assert worker.warm().result() == ""
        answer = worker.ask(Question(SURROUNDINGS, {}, (), trouble=what)).result()
        if what:
            assert answer == Answer(died=True)
            answer = worker.ask(Question(SURROUNDINGS, {}, ())).result()
        assert isinstance(answer.result, dict)
        pid = answer.result["pid"]
        assert isinstance(pid, int)
        return pid
    finally:
        worker.close()


def test_a_process_serves_the_next_run_too(warm: WarmWorkers, tmp_path: Path) -> None:
    first = asked(warm, tmp_path / "one")
    assert asked(warm, tmp_path / "two") == first
    assert asked(None, tmp_path / "three") != first


def test_between_two_runs_it_holds_no_pictures_open(warm: WarmWorkers, tmp_path: Path) -> None:
    asked(warm, tmp_path)
    kept = warm.take(SURROUNDINGS.function, 0)
    assert kept is not None
    assert kept.pool.submit(spools_open).result() == 0
    warm.keep(kept)


@virtual
async def test_the_next_run_on_an_instrument_takes_over_the_process(clock: VirtualClock, tmp_path: Path) -> None:
    before = active_children()
    alive: list[list[int | None]] = []
    async with Instrument.open(
        "simulated-timing", clock, signals=False, watch=lambda run, _: run.compute.declare(SURROUNDINGS)
    ) as instrument:
        for _ in range(2):
            await instrument.perform(TOY, ToyPlan(light_s=0.05), out=tmp_path)
            alive.append([child.pid for child in active_children() if child not in before])
    assert len(alive[0]) == 1
    assert alive[1] == alive[0]
    assert [child for child in active_children() if child not in before] == []


def test_one_of_another_priority_is_another(warm: WarmWorkers, tmp_path: Path) -> None:
    first = asked(warm, tmp_path)
    assert asked(warm, tmp_path, niceness=1) != first
    assert asked(warm, tmp_path) == first


def test_after_one_that_died_in_its_run_the_new_one_goes_on(warm: WarmWorkers, tmp_path: Path) -> None:
    first = asked(warm, tmp_path)
    second = asked(warm, tmp_path, "dead")
    assert second != first
    assert asked(warm, tmp_path) == second


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_one_that_died_between_two_runs_is_replaced(warm: WarmWorkers, tmp_path: Path) -> None:
    first = asked(warm, tmp_path)
    (child,) = [child for child in active_children() if child.pid == first]
    os.kill(first, signal.SIGKILL)
    child.join()
    assert asked(warm, tmp_path) != first


def test_one_that_was_busy_to_the_end_is_not_kept(warm: WarmWorkers, tmp_path: Path) -> None:
    worker = WorkerProcess(STUCK, tmp_path / "spool", 60.0, warm=warm)
    assert worker.warm().result() == ""
    waiting = worker.ask(Question(STUCK, {}, ()))
    while not waiting.running():
        pass
    worker.close()
    assert waiting.result() == Answer(died=True)
    assert warm.take(STUCK.function, 10) is None


def test_so_many_are_kept_and_of_each_function_one(
    warm: WarmWorkers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warmworkers, "MOST", 1)
    workers = [WorkerProcess(each, tmp_path / "spool", 60.0, warm=warm) for each in (SURROUNDINGS, ECHO, ECHO)]
    assert [begun.result() for begun in [worker.warm() for worker in workers]] == ["", "", ""]
    for worker in workers:
        worker.close()
    assert warm.take(SURROUNDINGS.function, 10) is None
    kept = warm.take(ECHO.function, 10)
    assert kept is not None
    warm.keep(kept)  # for the fixture to end


def test_one_that_comes_after_the_end_ends_at_once(tmp_path: Path) -> None:
    before = active_children()
    warm = WarmWorkers()
    warm.close()
    asked(warm, tmp_path)
    assert [child for child in active_children() if child not in before] == []


def test_one_whose_function_could_not_be_loaded_does_not_serve_the_next_run(warm: WarmWorkers, tmp_path: Path) -> None:
    missing = computation("nowhere")
    for _ in range(2):
        worker = WorkerProcess(missing, tmp_path / "spool", 60.0, warm=warm)
        assert "AttributeError" in worker.warm().result()
        worker.close()
