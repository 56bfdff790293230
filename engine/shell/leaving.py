"""A shell that is told to end by a signal: the program is to end, or its terminal is gone."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Leaving:
    """Ends a shell at a signal as `exit` does, whatever is under way.

    IPython shows a SystemExit of a cell and reads on: so the instrument is let go by its own thread at once, and
    IPython is told not to read on, before what is under way is interrupted. Before the instrument is open, and while
    it is let go, a signal waits until that is done.
    """

    def __init__(self) -> None:
        self._number = 0
        self._ways_out: tuple[Callable[[], object], ...] = ()
        for number in (signal.SIGTERM, *([signal.SIGHUP] if sys.platform != "win32" else [])):
            signal.signal(number, self._told)

    @contextmanager
    def watching(self, *ways_out: Callable[[], object]) -> Iterator[None]:
        """In here a signal calls these, and then interrupts the main thread."""
        self._ways_out = ways_out
        try:
            self.leave_if_told()
            yield
        finally:
            self._ways_out = ()

    def leave_if_told(self) -> None:
        """Raises SystemExit with the signal's status."""
        if self._number:
            raise SystemExit(128 + self._number)

    def _told(self, number: int, _: FrameType | None) -> None:
        self._number = self._number or number
        for way_out in self._ways_out:
            way_out()
        if self._ways_out:
            self.leave_if_told()
