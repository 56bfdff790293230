"""How an export shares its frames among processes: results are those of one process, whoever did what."""

import os
from collections.abc import Callable

import pytest

from engine.errors import ComputationError
from protocols.products.processes import processes, processes_for, stretches

# (kept frames, rows and columns, processors, processes)
WORTH = [
    (1, 512, 8, 1),
    (200, 512, 8, 1),
    (260, 512, 8, 2),
    (1000, 512, 8, 7),
    (2000, 512, 16, 8),
    (1000, 512, 2, 2),
    (1000, 512, 1, 1),
    (8, 2048, 8, 1),
    (40, 2048, 8, 5),
]


@pytest.mark.parametrize(("frames", "size", "processors", "processes"), WORTH)
def test_processes_are_started_where_they_are_worth_it(
    monkeypatch: pytest.MonkeyPatch, frames: int, size: int, processors: int, processes: int
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: processors)
    assert processes_for(frames, (size, size)) == processes


@pytest.mark.parametrize("number", [1, 2, 3])
def test_every_task_is_done_once(number: int) -> None:
    with processes(number) as several:
        assert sorted(several.map(abs, abs, ((-k,) for k in range(50)))) == list(range(50))


def test_this_process_works_too() -> None:
    with processes(2) as several:
        done_by = set(several.map(os.getpid, os.getpid, (() for _ in range(50))))
    assert os.getpid() in done_by
    assert len(done_by) == 2


def test_the_error_of_a_worker_is_told_here() -> None:
    with processes(2) as several, pytest.raises(ValueError, match="invalid literal"):
        list(several.map(str, int, [("no number",)]))


def test_a_worker_that_dies_is_one_line() -> None:
    die: Callable[..., object] = os._exit
    with processes(2) as several, pytest.raises(ComputationError, match=r"died.*Export again") as caught:
        list(several.map(str, die, [(1,)]))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("shape", "longest"), [((516, 516), 15), ((2048, 2048), 1), ((4096, 4096), 1)])
def test_a_task_is_short_whatever_the_size_of_the_pictures(shape: tuple[int, int], longest: int) -> None:
    tasks = list(stretches(100, shape))
    assert [k for task in tasks for k in task] == list(range(100))
    assert max(map(len, tasks)) == longest
