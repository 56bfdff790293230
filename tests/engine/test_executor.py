"""Computing in several processes: every result, an early end that leaves no process, and one that dies."""

import os
import signal
import sys
from contextlib import closing
from multiprocessing import active_children
from multiprocessing.connection import wait
from pathlib import Path
from threading import Event

import pytest

from engine.errors import ComputationError, Refused
from engine.executor import LocalExecutor, executor_of

unix = pytest.mark.skipif(sys.platform == "win32", reason="processes are ended by signals as on Unix")


def squared(number: int) -> int:
    return number * number


def threads(_: int) -> tuple[str | None, bool]:
    return os.environ.get("OPENBLAS_NUM_THREADS"), signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def wait_for_ever(told: Path) -> str:
    """But for the first: then a file says in the end whether this was left in good order."""
    if told.name == "first":
        return "first"
    begun = told.with_suffix(".begun")
    try:
        begun.touch()
        Event().wait()
    finally:
        told.touch()
    return "never"


def test_all_results_come_and_the_processes_are_like_those_of_the_program() -> None:
    assert sorted(LocalExecutor(2).each(squared, range(5))) == [0, 1, 4, 9, 16]
    assert list(LocalExecutor(1).each(threads, [1])) == [("1", True)]
    assert list(LocalExecutor(1).each(squared, [])) == []
    assert isinstance(executor_of(1, None), LocalExecutor)


@unix
def test_an_early_end_ends_what_is_under_way_in_good_order_and_begins_nothing_more(tmp_path: Path) -> None:
    others = active_children()
    given = [tmp_path / name for name in ("first", "second", "third", "fourth")]
    with closing(LocalExecutor(1).each(wait_for_ever, given)) as results:
        assert next(results) == "first"
        (process,) = (each for each in active_children() if each not in others)
        while not (tmp_path / "second.begun").exists():
            process.join(0.05)
    while process.exitcode is None:  # not `join`: the pool waits for it as well, and only one of two is told its status
        wait([process.sentinel], 0.05)
    assert process.exitcode == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["second", "second.begun"]


@unix
def test_a_process_that_dies_is_an_error_in_one_line() -> None:
    with pytest.raises(ComputationError, match=r"died while it computed.* --jobs") as died:
        list(LocalExecutor(1).each(die, [1, 2]))
    assert len(str(died.value).splitlines()) == 1


def test_without_dask_a_scheduler_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(Refused, match=r"Dask cannot be used .*nothing was computed"):
        executor_of(1, "tcp://127.0.0.1:1")
