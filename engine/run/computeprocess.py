"""Where a computation is computed: in a warmed process of its own, or at once in this program.

Made by `engine.run.computeworkers` for each computation that a run declares. A process that dies, or does not answer,
is replaced by a new one; whoever waited is told.
"""

import os
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import active_children
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Lock
from typing import Protocol, TypeVar

from engine.run.compute import Computation
from engine.run.computeworker import NICENESS, Answer, Question, answer, begin_computing, warm_up
from engine.run.warmworkers import Warm, WarmWorkers
from engine.worker import ONE_THREAD, WORKERS

T = TypeVar("T")

BEGIN_S = 300.0
"""A worker that is not ready by then will not be. Importing a network's library takes 8 s of processor, and took more
than a minute beside other programs; nothing is exposed meanwhile."""

_environment = Lock()


class Computer(Protocol):
    """Computes one question after the other."""

    def warm(self) -> Future[str]:
        """Be ready; why it cannot be, or nothing."""
        ...

    def ask(self, question: Question) -> Future[Answer]:
        """Begin to compute. A future that is cancelled before its turn is not computed."""
        ...

    def close(self) -> None:
        """End, whatever is under way."""
        ...


class InProcess:
    """Computes at once, in the calling thread: for virtual time."""

    def __init__(self, spool: Path) -> None:
        self._spool = spool

    def warm(self) -> Future[str]:
        """See `Computer.warm`."""
        return _done("")

    def ask(self, question: Question) -> Future[Answer]:
        """See `Computer.ask`."""
        return _done(Answer(died=True) if question.trouble == "dead" else answer(question, self._spool))

    def close(self) -> None:
        """Nothing to do."""


class WorkerProcess:
    """A process with one thread for linear algebra, and a thread of this program that talks to it.

    patience_s: one that has not answered by then is ended. After that, or when it died, a new one is made at once.
    niceness: its priority is so much lower than that of this program. warm: from where a process is taken, and to where
    it is given back; without it the process begins anew, and ends.
    """

    def __init__(
        self,
        computation: Computation,
        spool: Path,
        patience_s: float,
        niceness: int = NICENESS,
        warm: WarmWorkers | None = None,
    ) -> None:
        self._computation = computation
        self._spool = spool
        self._patience_s = patience_s
        self._niceness = niceness
        self._warm_workers = warm
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"computation {computation.name}")
        self._pool: ProcessPoolExecutor | None = None
        self._process: BaseProcess | None = None
        self._busy = False
        self._killed = False
        self._closing = False

    def warm(self) -> Future[str]:
        """See `Computer.warm`."""
        return self._thread.submit(self._warm)

    def ask(self, question: Question) -> Future[Answer]:
        """See `Computer.ask`."""
        return self._thread.submit(self._exchange, question)

    def close(self) -> None:
        """See `Computer.close`."""
        self._closing = True
        if self._busy:
            self._kill()
        self._thread.shutdown(wait=True, cancel_futures=True)
        if self._pool is not None and self._warm_workers is not None and not self._killed:
            self._warm_workers.keep(Warm(self._computation.function, self._niceness, self._pool, self._process))
            self._pool = self._process = None
        self._drop()

    def _warm(self) -> str:
        if self._closing or self._taken():
            return ""
        self._killed = False
        self._pool = ProcessPoolExecutor(1, mp_context=WORKERS, initializer=begin_computing, initargs=(self._niceness,))
        try:
            with _one_thread():  # the process begins here, and takes over the environment
                others = active_children()
                loaded = self._pool.submit(warm_up, self._computation.function)
                self._process = next((child for child in active_children() if child not in others), None)
            failed = loaded.result(BEGIN_S)
        except TimeoutError:
            self._kill()
            self._drop()
            return f"its worker process was not ready after {BEGIN_S:g} s and was ended"
        except (BrokenProcessPool, OSError) as error:
            self._drop()
            return f"its worker process ended while it began ({type(error).__name__})"
        return failed

    def _taken(self) -> bool:
        """Whether one was there that has loaded the function, and lives."""
        warm = self._warm_workers.take(self._computation.function, self._niceness) if self._warm_workers else None
        if warm is None:
            return False
        self._pool, self._process, self._killed = warm.pool, warm.process, False
        try:
            if not self._pool.submit(warm_up, self._computation.function).result(BEGIN_S):
                return True
        except TimeoutError:
            self._kill()
        except BrokenProcessPool:
            pass
        self._drop()
        return False

    def _exchange(self, question: Question) -> Answer:
        self._busy = True  # before it looks whether it is to close: else `close` would wait for one that never answers
        try:
            return self._answer_to(question)
        finally:
            self._busy = False

    def _answer_to(self, question: Question) -> Answer:
        failed = "it was closed"
        for _ in range(2):  # one that died while it had nothing to do is replaced first
            if self._pool is None:
                failed = self._warm() or failed
            if self._pool is None or self._closing:
                return Answer(failed=failed, died=True)
            try:
                asked = self._pool.submit(answer, question, self._spool)
                break
            except BrokenProcessPool:
                self._drop()
        else:
            return Answer(died=True)
        try:
            return asked.result(self._patience_s)
        except BrokenProcessPool:
            failed = ""
        except TimeoutError:
            failed = f"it had not answered after {self._patience_s:g} s and was ended"
            self._kill()
        self._drop()
        if not self._closing:
            with suppress(RuntimeError):  # closed meanwhile
                self._thread.submit(self._warm)
        return Answer(failed=failed, died=True)

    def _kill(self) -> None:
        self._killed = True
        if (process := self._process) is not None:
            process.kill()

    def _drop(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._pool, self._process = None, None


@contextmanager
def _one_thread() -> Iterator[None]:
    """What begins meanwhile finds an environment in which libraries of linear algebra use one thread."""
    with _environment:
        before = {name: os.environ.get(name) for name in ONE_THREAD}
        os.environ.update(ONE_THREAD)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def _done(value: T) -> Future[T]:
    future: Future[T] = Future()
    future.set_result(value)
    return future
