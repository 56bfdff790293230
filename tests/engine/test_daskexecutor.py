"""What a worker of Dask does with a task, without Dask; with a real cluster it is in `tests/engine/test_cluster.py`."""

import os
import signal
import sys
from pathlib import Path

import pytest

from engine import daskexecutor
from engine.daskexecutor import Task, Unfit, code
from engine.errors import ComputationError


def where(name: str) -> tuple[str, int, str | None]:
    return str(Path(name).resolve()), os.getpid(), os.environ.get("OMP_NUM_THREADS")


def die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daskexecutor, "ONE_THREAD", {})  # of this process nothing is changed for good
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def test_a_task_is_done_in_a_process_of_its_own_where_relative_paths_are_those_of_the_program(tmp_path: Path) -> None:
    task = Task(where, code(), str(tmp_path), (str(tmp_path),))
    first, again = task("runs"), task("other")
    assert first == (str(tmp_path / "runs"), again[1], "1")
    assert again[1] != os.getpid()


def test_another_credline_or_a_folder_that_is_not_there_is_told_with_both_sides(tmp_path: Path) -> None:
    with pytest.raises(Unfit, match=r"has another credline \(.*\) than this program \(0\.0, abc\)"):
        Task(where, "0.0, abc", str(tmp_path), ())("runs")
    with pytest.raises(Unfit, match=r"does not find .*nowhere"):
        Task(where, code(), str(tmp_path), (str(tmp_path / "nowhere"),))("runs")


@pytest.mark.skipif(sys.platform == "win32", reason="processes are ended by signals as on Unix")
def test_a_task_of_which_its_process_dies_twice_is_an_error_and_the_next_is_done(tmp_path: Path) -> None:
    with pytest.raises(ComputationError, match="died 2 times of the same task"):
        Task(die, code(), str(tmp_path), ())(1)
    assert Task(where, code(), str(tmp_path), ())("runs")[0] == str(tmp_path / "runs")


def test_the_code_is_another_when_a_line_of_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "engine" / "clock.py"
    module.parent.mkdir()
    monkeypatch.setattr(daskexecutor, "__file__", str(tmp_path / "engine" / "daskexecutor.py"))

    def of(text: bytes) -> str:
        module.write_bytes(text)
        return code.__wrapped__()

    assert of(b"a = 1\nb = 2\n") == of(b"a = 1\r\nb = 2\r\n") != of(b"a = 1\nb = 3\n")
