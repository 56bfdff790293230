"""The processes among which an export shares its frames: this one, and workers where they are worth their start.

This process works as well, so that nothing waits until the workers have begun; between its tasks it takes what they
have done.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

from engine.errors import ComputationError, StorageError
from engine.worker import WORKERS, begin_worker

MOST_PROCESSES = 8
PIXELS_A_PROCESS = 1 << 25
"""128 pictures of 512 x 512: half a second of work, and to start a process takes as long."""
PIXELS_A_TASK = 1 << 22
"""16 pictures of 512 x 512: enough to keep a process busy, few enough to stop soon."""

Result = TypeVar("Result")


def processes_for(frames: int, shape: tuple[int, int]) -> int:
    """How many processes, this one included, are worth it for so many frames of (rows, columns)."""
    return max(1, min(os.cpu_count() or 1, MOST_PROCESSES, frames * shape[0] * shape[1] // PIXELS_A_PROCESS))


def stretches(frames: int, shape: tuple[int, int]) -> Iterator[range]:
    """The frames of (rows, columns) in order, as many at a time as make a task."""
    step = max(1, PIXELS_A_TASK // (shape[0] * shape[1]))
    for begin in range(0, frames, step):
        yield range(begin, min(begin + step, frames))


class Processes:
    """The one that exports and its workers, each with few tasks waiting."""

    def __init__(self, executor: ProcessPoolExecutor | None, workers: int) -> None:
        self._executor, self._workers = executor, workers

    def map(
        self, here: Callable[..., Result], there: Callable[..., Result], tasks: Iterable[tuple[object, ...]]
    ) -> Iterator[Result]:
        """The results as they come. here, there: does a task in this process, and in a worker.

        Raises what they raise, and ComputationError for a worker that died.
        """
        waiting: set[Future[Result]] = set()
        try:
            for task in tasks:
                if self._executor is not None and len(waiting) < 2 * self._workers:
                    waiting.add(self._executor.submit(there, *task))
                    continue
                yield here(*task)
                yield from _done(waiting, timeout_s=0)
            while waiting:
                yield from _done(waiting, timeout_s=None)
        except BrokenProcessPool as error:
            raise ComputationError(
                "a worker process of the export died, perhaps for want of memory; pictures that have their names are "
                "whole, the others were not made. Export again"
            ) from error


def _done(waiting: set[Future[Result]], timeout_s: float | None) -> Iterator[Result]:
    done, _ = wait(waiting, timeout_s, return_when=FIRST_COMPLETED)
    for future in done:
        waiting.remove(future)
        yield future.result()


@contextmanager
def processes(number: int) -> Iterator[Processes]:
    """The one that exports and `number` - 1 workers, which leave Ctrl-C to it.

    On an error, what has not begun is dropped.
    """
    if number == 1:
        yield Processes(None, 0)
        return
    try:
        executor = ProcessPoolExecutor(number - 1, mp_context=WORKERS, initializer=begin_worker)
    except OSError as error:
        raise StorageError(f"worker processes could not be started ({error}); nothing was exported") from error
    try:
        yield Processes(executor, number - 1)
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
