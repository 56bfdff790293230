"""Many things computed on the workers of a scheduler of Dask; docs/scale-out.md.

A worker computes in a process of its own, begun as those of `LocalExecutor` are: one task at a time in its main thread,
one thread for linear algebra. So the results are the same, and a worker with several threads is as good as several
workers. Before each task that process looks whether it is the same credline, and sees the same files.
"""

import logging
import os
import socket
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import current_process
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import local
from typing import Any, Generic, TypeVar

from engine.errors import ComputationError, CredlineError, Refused, shown
from engine.worker import ONE_THREAD, WORKERS, begin_worker

Given = TypeVar("Given")
Got = TypeVar("Got")

CONNECT_S = "10s"
LOOK_S = 5.0
"""So often it is looked whether there are workers at all, while no result comes."""
LEAVE_S = 2.0
TRIES = 2
PACKAGES = ("engine", "drivers", "protocols")
REMEDY = "docs/scale-out.md says what a worker needs."


class Unfit(CredlineError):
    """A worker that cannot give the same results as this program."""


class DaskExecutor:
    """For one use. address: as tcp://HOST:PORT. sees: files and folders that, where they are here, workers must find
    as well.
    """

    def __init__(self, address: str, sees: Sequence[Path] = ()) -> None:
        try:
            from distributed import Client
        except ImportError as error:
            raise Refused(
                f"--scheduler: Dask cannot be used ({error}); nothing was computed. Install it: pip install -e "
                "'.[dask]', or leave out --scheduler to compute on this machine."
            ) from error
        for name in ("distributed", "distributed.client"):  # what goes wrong is told by the errors below
            logging.getLogger(name).setLevel(logging.CRITICAL)
        try:
            self._client: Any = Client(address, timeout=CONNECT_S)
        except (OSError, ValueError) as error:
            raise Refused(
                f"--scheduler {shown(address)}: no scheduler of Dask answers there ({shown(error)}); nothing was "
                "computed. Start one (dask scheduler) and workers (dask worker ADDRESS)."
            ) from error
        self._name = f"--scheduler {shown(address)}"
        answers: dict[str, Any] = {
            f"the worker {who}": told for who, told in self._client.run(version, "credline", on_error="return").items()
        }
        try:
            self._client.run_on_scheduler(version, "credline")
        except PackageNotFoundError as error:
            answers["the scheduler"] = error
        for who, answer in answers.items():
            if isinstance(answer, Exception):  # it would break at the first message that names a part of credline
                self._client.close(LEAVE_S)
                raise Refused(f"{self._name}: {who} has no credline ({shown(answer)}); nothing was computed. {REMEDY}")
        self._sees = tuple(str(path.absolute()) for path in sees if path.exists())

    def each(self, work: Callable[[Given], Got], given: Sequence[Given]) -> Generator[Got]:
        """See `engine.executor.Executor.each`. What a worker has begun it ends, and its result is dropped."""
        task = Task(work, code(), str(Path.cwd()), self._sees)
        ready: SimpleQueue[Any] = SimpleQueue()
        under_way: set[Any] = set()
        try:
            under_way.update(self._client.map(task, given, pure=False))
            for future in under_way:
                future.add_done_callback(ready.put)
            while under_way:
                future = self._next(ready)
                under_way.remove(future)
                yield self._result(future, len(given) - len(under_way) - 1, len(given))
        finally:
            with suppress(Exception):  # of a scheduler that went away: there is nothing left to cancel
                if under_way and self._client.status == "running":
                    self._client.cancel(list(under_way), force=True)
                self._client.close(LEAVE_S)

    def _next(self, ready: "SimpleQueue[Any]") -> Any:
        """The next that is done, however long it takes. It is said when nobody is there to do it."""
        told = False
        while True:
            try:
                return ready.get(timeout=LOOK_S)
            except Empty:
                if not told and self._client.status == "running" and not self._client.scheduler_info()["workers"]:
                    import structlog

                    told = True
                    structlog.get_logger().warning(f"{self._name}: it has no worker now; waiting for one")

    def _result(self, future: Any, done: int, of: int) -> Any:
        from distributed import CancelledError, KilledWorker

        whole = f"{done} of {of} were computed, and what was written until then is whole"
        unfit = ComputationError if done else Refused
        try:
            return future.result()
        except Unfit as error:
            raise unfit(f"{self._name}: {error}; {whole}. {REMEDY}") from error
        except CancelledError as error:
            raise ComputationError(
                f"{self._name}: the scheduler of Dask went away; {whole}. Start it and its workers, and this again."
            ) from error
        except KilledWorker as error:
            raise ComputationError(
                f"{self._name}: {error.allowed_failures + 1} workers of Dask died of the same task, perhaps for want "
                f"of memory (the last was {error.last_worker.address}); {whole}. Their logs say more."
            ) from error
        except (ImportError, AttributeError) as error:
            raise unfit(
                f"{self._name}: scheduler or worker cannot load what is to be computed ({shown(error, 200)}): there is "
                f"no credline, or another version; {whole}. {REMEDY}"
            ) from error


@dataclass(frozen=True, slots=True)
class Task(Generic[Given, Got]):
    """work, for a worker. code: of the program that asks. folder: in which it was started, for relative paths."""

    work: Callable[[Given], Got]
    code: str
    folder: str
    sees: tuple[str, ...]

    def __call__(self, given: Given) -> Got:
        """In a thread of the worker."""
        for _ in range(TRIES):
            try:
                return _process().submit(_computed, self, given).result()
            except BrokenProcessPool:
                del _of_thread.pool
        raise ComputationError(
            f"{socket.gethostname()}: the process of a worker died {TRIES} times of the same task, perhaps for want of "
            "memory; what was written until then is whole. Give the workers more, or start fewer on each machine."
        )


_of_thread = local()


def _process() -> ProcessPoolExecutor:
    """That of this thread of the worker."""
    if not hasattr(_of_thread, "pool"):
        # Dask's own start of a worker forbids it to start processes, which would be left behind; ours end with it.
        current_process().daemon = False
        os.environ.update(ONE_THREAD)
        _of_thread.pool = ProcessPoolExecutor(1, WORKERS, initializer=begin_worker)
    pool: ProcessPoolExecutor = _of_thread.pool
    return pool


def _computed(task: Task[Given, Got], given: Given) -> Got:
    """In the process of a worker. Raises Unfit."""
    here = socket.gethostname()
    if task.code != code():
        raise Unfit(f"the worker on {here} has another credline ({code()}) than this program ({task.code})")
    for path in task.sees:
        if not os.path.exists(path):
            raise Unfit(f"the worker on {here} does not find {path}")
    if os.path.isdir(task.folder):
        os.chdir(task.folder)
    return task.work(given)


@lru_cache(maxsize=1)
def code() -> str:
    """Version and digest of all of this program's source, whatever its line ends: the same numbers come of the same.

    30 ms, then kept: a worker that is older than a change of its files is found out.
    """
    root = Path(__file__).parents[1]
    digest = sha256()
    for path in sorted(path for package in PACKAGES for path in (root / package).rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(path.read_bytes().replace(b"\r\n", b"\n"))
    return f"{version('credline')}, {digest.hexdigest()[:8]}"
