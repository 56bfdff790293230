"""How the processes begin that make pictures, draw and export for this one: they leave Ctrl-C to it, and end with it.

A pool's process waits for work on a pipe that it holds open itself, so it would outlive a program that was killed, for
ever.
"""

import os
import signal
import sys
from multiprocessing import parent_process, resource_tracker
from multiprocessing.context import SpawnContext, SpawnProcess
from threading import Thread

from engine.interrupts import interrupts_held

ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""For processes that have a processor each: more threads for small matrices would only wait for each other."""


class Worker(SpawnProcess):
    """A process that begins anew. A Ctrl-C while it is started does not reach it."""

    def start(self) -> None:
        """See `multiprocessing.Process.start`."""
        if sys.platform != "win32":
            resource_tracker.ensure_running()  # which would let a Ctrl-C through again if it had to begin in there
        with interrupts_held():
            super().start()


class _Workers(SpawnContext):
    Process = Worker


WORKERS = _Workers()
"""How pools start their processes. Never by fork: that of a process with threads may hang, and Windows has none."""


def begin_worker() -> None:
    """The initializer of a pool's process: Ctrl-C is for the program, and the process ends when the program does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, name="parent", daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # nobody is left to whom it would matter; what it was writing has no name yet
