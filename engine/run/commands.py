"""What is asked of a run while it goes: stop, abort, fail, pause, resume, and what its experiment is told; by whom.

Given by the operator, a signal, the disk, the watchdog, a task of the run's own, or the run's parent. The run takes
them one after the other, records each (`engine.run.run`), and hands them on to the child that is under way.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from enum import Enum

from engine.clock import Clock
from engine.record.endings import Ending, Status


class Source(Enum):
    """Who asks. A trace names all but the operator, and the run's own tasks, whose failures come again in a replay."""

    OPERATOR = "operator"
    """Also a signal."""
    TASK = "task"
    DISK = "disk"
    WATCHDOG = "watchdog"
    PARENT = "parent"


UNNAMED = (Source.OPERATOR, Source.TASK)


class Wish(Enum):
    """What is asked, by the name that it has in a trace."""

    STOP = "stopped"
    ABORT = "aborted"
    FAIL = "failed"
    PAUSE = "paused"
    RESUME = "resumed"
    TELL = "told"
    """The reason is the words (`engine.run.telling`)."""
    MARK = "marked"
    """The reason is what an operator notes at this instant; nothing comes of it."""


ENDINGS = {Wish.STOP: Status.STOPPED, Wish.ABORT: Status.ABORTED, Wish.FAIL: Status.FAILED}


@dataclass(frozen=True, slots=True)
class Command:
    """Somebody wants something of the run."""

    wish: Wish
    reason: str
    source: Source
    by: str = ""
    """Who among the operators, where the reason has no room for it: of words that are told."""

    @property
    def ending(self) -> Ending | None:
        """How the run is to end; None where it is not to end."""
        status = ENDINGS.get(self.wish)
        return None if status is None else Ending(status, self.reason)


class Commands:
    """What waits to be taken by one run, in order; safe to add to from a signal handler."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._asked: deque[Command] = deque()
        self._failed_ns = 0
        """When a task of the run's own last failed."""
        self._came = asyncio.Event()
        self._aborting = False

    def stop(self, reason: str, source: Source = Source.OPERATOR) -> None:
        """End now and keep everything: beam off at once, data finalized, status stopped."""
        self.give(Command(Wish.STOP, reason, source))

    def abort(self, reason: str, source: Source = Source.OPERATOR) -> None:
        """End now, data kept, products not made, status aborted."""
        self.give(Command(Wish.ABORT, reason, source))

    def fail(self, reason: str, source: Source = Source.TASK) -> None:
        """A background task, the disk or the watchdog's news: end as failed, data kept and finalized."""
        self.give(Command(Wish.FAIL, reason, source))

    def pause(self, reason: str, source: Source = Source.OPERATOR) -> None:
        """Wait at the next place that the protocol calls safe (`Run.checkpoint`) until told to go on, or to end."""
        self.give(Command(Wish.PAUSE, reason, source))

    def resume(self, reason: str, source: Source = Source.OPERATOR) -> None:
        """Go on; nothing where the run is not paused."""
        self.give(Command(Wish.RESUME, reason, source))

    def tell(self, words: str, source: Source = Source.OPERATOR, by: str = "") -> None:
        """Let the experiment that is under way take these words (`Experiment.heard`). by: who says them."""
        self.give(Command(Wish.TELL, words, source, by))

    def mark(self, words: str, source: Source = Source.OPERATOR, by: str = "") -> None:
        """Note something in the trace. by: who says it."""
        self.give(Command(Wish.MARK, words, source, by))

    def give(self, command: Command) -> None:
        """Add a command; returns at once."""
        self._aborting |= command.wish is Wish.ABORT
        if command.source is Source.TASK:
            self._failed_ns = self._clock.now_ns()
        self._asked.append(command)
        self._came.set()

    @property
    def aborting(self) -> bool:
        """Whether the run was told to abort: for long work in a thread, which no cancellation reaches."""
        return self._aborting

    async def next(self) -> Command:
        """The next request, in order; what comes from outside, when the run is at rest.

        Who is cancelled while waiting leaves it here.
        """
        while not self._asked:
            self._came.clear()
            await self._came.wait()
        if self._asked[0].source is not Source.TASK:
            await self._clock.at_rest()
            self._failures_first()
        return self._asked.popleft()

    def _failures_first(self) -> None:
        """A task that failed before what comes from outside enters did so by an event that entered before."""
        if self._failed_ns < self._clock.now_ns():
            self._asked = deque(sorted(self._asked, key=lambda asked: asked.source is not Source.TASK))
