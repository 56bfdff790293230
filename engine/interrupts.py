"""Ctrl-C while the program starts: none gets lost, and no process that is being started dies of it.

As light as the command line itself. Once a run is under way Ctrl-C is its command: `engine.run.signals`.
"""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_asked = False


def remember_interrupts() -> None:
    """From now on remember a Ctrl-C as well as raising it: whoever loads a library may swallow the exception."""
    global _asked
    _asked = False
    signal.signal(signal.SIGINT, _remember)


def _remember(number: int, frame: FrameType | None) -> None:
    global _asked
    _asked = True
    signal.default_int_handler(number, frame)


def heed_interrupts() -> None:
    """The system's own way again, before a loop begins. Raises KeyboardInterrupt where one was swallowed."""
    if signal.getsignal(signal.SIGINT) is _remember:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if _asked:
            raise KeyboardInterrupt


@contextmanager
def interrupts_held() -> Iterator[None]:
    """For the start of a process from this thread: a Ctrl-C does not reach it, for it inherits what is held back here.

    A process that a terminal interrupts before it has got so far as to ignore that would print a traceback. This
    program hears it, by another thread at once or in this one afterwards.
    """
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
