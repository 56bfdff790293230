"""Where many things are computed at once: in processes of this machine, or on a cluster of Dask; docs/scale-out.md."""

import os
import signal
import sys
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children
from pathlib import Path
from typing import NoReturn, Protocol, TypeVar
from unittest.mock import patch

from engine.errors import ComputationError
from engine.worker import ONE_THREAD, WORKERS, begin_worker

Given = TypeVar("Given")
Got = TypeVar("Got")


class Executor(Protocol):
    """Computes a function of many things, in any order."""

    def each(self, work: Callable[[Given], Got], given: Sequence[Given]) -> Generator[Got]:
        """The results as they come in. work: of a module, so that another process finds it; it does not raise.

        Whatever ends this early (Ctrl-C, an error, nobody who asks for more) drops what has not begun. ComputationError
        where no more results can come.
        """
        ...


def executor_of(jobs: int, scheduler: str | None, sees: Sequence[Path] = ()) -> Executor:
    """So many processes of this machine (0: one for each processor), or the workers of a scheduler of Dask.

    For one use. sees: files and folders that whoever computes must find under the same path. Refused where no
    scheduler answers.
    """
    if scheduler is None:
        return LocalExecutor(jobs)
    from engine.daskexecutor import DaskExecutor

    return DaskExecutor(scheduler, sees)


class LocalExecutor:
    """So many processes of this machine; 0 = one for each processor."""

    def __init__(self, jobs: int = 0) -> None:
        self._jobs = jobs or os.cpu_count() or 1

    def each(self, work: Callable[[Given], Got], given: Sequence[Given]) -> Generator[Got]:
        """See `Executor.each`. What is under way is ended as well, in good order."""
        pool = ProcessPoolExecutor(min(self._jobs, len(given)) or 1, WORKERS, initializer=_begin)
        others = active_children()
        try:
            with patch.dict(os.environ, ONE_THREAD):  # the processes begin here, and take it over
                results = as_completed([pool.submit(_computed, work, each) for each in given])
            for future in results:
                yield future.result()
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in active_children():
                if process not in others:
                    process.terminate()
            if isinstance(error, BrokenProcessPool):
                raise ComputationError(
                    "a process died while it computed, perhaps for want of memory; the others were ended. What was "
                    "written until then is whole. Try again with fewer processes: --jobs"
                ) from error
            raise
        pool.shutdown()


def _begin() -> None:
    """The initializer of a process: a program that is interrupted ends it, and what it has open is closed."""
    begin_worker()
    signal.signal(signal.SIGTERM, _end)


def _end(*_: object) -> NoReturn:
    sys.exit(1)


def _computed(work: Callable[[Given], Got], given: Given) -> Got:
    """In a process."""
    try:
        return work(given)
    except SystemExit:
        os._exit(1)  # a pool's process would take it for a result, and begin what waits next
