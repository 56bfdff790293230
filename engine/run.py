"""One run of one experiment: its state machine driven to an end, and the safe state on every way out.

Four ways to end: *done* or *stopped* (success, data kept and finalized), *aborted* (operator) and *failed* (error),
both with the data kept. Each goes through the safe state: beam blanked first, then rotation stopped, detector
disarmed, lens in focus, every action with its own time limit, whatever the others do.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import ExitStack, suppress
from enum import Enum
from pathlib import Path
from traceback import format_exception
from typing import Any

import structlog

from engine.calls import CallGate
from engine.clock import Clock, ns
from engine.errors import CredlineError, RunAborted, StorageError
from engine.experiment import FINISH, Ending, Experiment, SafeAction, Status
from engine.storage import Journal, Writer, write_json
from engine.timeline import Timeline
from engine.trace import Trace

log = structlog.get_logger()

ERROR_FILE = "error.txt"
"""In the run folder, for developers: where an error came from that nobody foresaw."""

LET_GO_S = 2.0
"""How long cancelled work may take to let go of its devices before the run goes on to safety without it."""


class Commands:
    """What the operator, a signal or a background task asks of the run; safe to call from a signal handler."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Ending] = asyncio.Queue()
        self._aborting = False

    def stop(self, reason: str) -> None:
        """End now and keep everything: beam off at once, data finalized, status stopped."""
        self._queue.put_nowait(Ending(Status.STOPPED, reason))

    def abort(self, reason: str) -> None:
        """End now, data kept, products not made, status aborted."""
        self._aborting = True
        self._queue.put_nowait(Ending(Status.ABORTED, reason))

    def fail(self, reason: str) -> None:
        """A background task failed: end as failed, data kept and finalized."""
        self._queue.put_nowait(Ending(Status.FAILED, reason))

    @property
    def aborting(self) -> bool:
        """Whether the run was told to abort: for long work in a thread, which no cancellation reaches."""
        return self._aborting

    async def next(self) -> Ending:
        """The next request, in order."""
        return await self._queue.get()


class Run:
    """The state of one run and what its protocol works with: clock, timeline, gate to the devices, trace, journal."""

    def __init__(
        self, clock: Clock, trace: Trace, writer: Writer, journal: Journal, folder: Path, *, durable: bool
    ) -> None:
        self.folder = folder
        self.durable = durable
        self.clock = clock
        self.trace = trace
        self.writer = writer
        self.journal = journal
        self.timeline = Timeline(clock, trace)
        self.gate = CallGate(clock, trace)
        self.commands = Commands()
        self.ending: Ending | None = None
        self.show_progress: Callable[[str, int, int], None] | None = None
        """Told what long work after the run is doing, how much of it is done and how much there is; from any thread."""
        self.alarms: list[str] = []
        self.document: dict[str, Any] = {}
        """What run.json says of the run before it began."""
        self.files = ExitStack()
        """Closed when the run is over, whatever happened: for files that the experiment keeps open."""
        self._safe: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[None]] = set()

    def finish(self, status: Status, reason: str) -> str:
        """Decide how the run ends; the first decision stands, save that a failure or abort overrides success.

        Returns the trigger FINISH, for activities to return.
        """
        graver = self.ending is None or (
            self.ending.status in (Status.DONE, Status.STOPPED) and status in (Status.ABORTED, Status.FAILED)
        )
        if graver:
            self.ending = Ending(status, reason)
        return FINISH

    def entered(self, state: Enum, trigger: str) -> None:
        """Record a state boundary in trace and journal. Called by the machine at every transition.

        A journal that cannot write ends the run as failed, from whatever state it is in.
        """
        self.trace.record("state", str(state.value), trigger=trigger)
        self.write_trace()
        try:
            self.journal.note(t_ns=self.clock.now_ns(), state=state.value)
        except StorageError as error:
            if self.ending is None or self.ending.status is not Status.FAILED:
                self.commands.fail(str(error))

    def progress(self, what: str, done: int, total: int) -> None:
        """Report long work, from any thread. Raises RunAborted when the operator does not want it any more."""
        if self.commands.aborting:
            raise RunAborted(f"{what} given up after {done} of {total}; the data are kept, nothing is half written.")
        if self.show_progress is not None:
            self.show_progress(what, done, total)

    def in_background(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run something beside the present activity; its failure fails the run. Cancelled before the safe state."""

        async def guarded() -> None:
            try:
                await work
            except Exception as error:
                self.commands.fail(self._describe(error))

        task = asyncio.get_running_loop().create_task(guarded(), name=name)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _describe(self, error: Exception) -> str:
        if isinstance(error, CredlineError):
            return str(error)
        with suppress(OSError):
            (self.folder / ERROR_FILE).write_text("".join(format_exception(error)), encoding="utf-8")
        return f"internal error ({type(error).__name__}: {error}); please report it with the run's {ERROR_FILE}."

    async def drive(self, experiment: Experiment) -> Ending:
        """Take the experiment's machine from its initial state to a final one.

        Returns how it ended; whatever goes wrong on the way is status failed. If this task itself is cancelled, the
        safe state is still reached before the cancellation goes on.
        """
        machine, activities = experiment.machine, experiment.activities()
        try:
            self.entered(machine.state, "")
            while not machine.at_end:
                trigger = await self._work(machine.state, activities[machine.state], experiment)
                if machine.state is experiment.finalizing:
                    ending = self.ending or Ending(Status.DONE, "")
                    trigger = f"end_{ending.status.value}"
                await machine.fire(trigger)
        except Exception as error:  # of the machine or the journal: the machine stays where it is
            self._failed(error)
        finally:
            await self.make_safe(experiment)
        return self.ending or Ending(Status.DONE, "")

    async def _work(self, state: Enum, activity: Callable[[], Coroutine[Any, Any, str]], experiment: Experiment) -> str:
        """Run one state's work until it returns its trigger, fails, or a command ends it."""
        loop = asyncio.get_running_loop()
        work = loop.create_task(activity(), name=f"state {state.value}")
        try:
            while True:
                command = loop.create_task(self.commands.next(), name="commands")
                try:
                    await asyncio.wait({work, command}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    if not command.done():
                        command.cancel()
                if not command.done() or command.cancelled():
                    return work.result()
                ending = command.result()
                self.trace.tick()
                self.trace.record("command", ending.status.value, reason=ending.reason)
                self.finish(ending.status, ending.reason)
                if state is experiment.finalizing and ending.status is not Status.ABORTED:
                    continue  # already ending; a stop or a late failure does not cost the products
                return FINISH
        except Exception as error:
            self._failed(error)
            return FINISH
        finally:
            if not work.done():  # the beam does not wait until the work has let go
                self._begin_safe(experiment)
            await self._let_go(work)

    def _failed(self, error: Exception) -> None:
        reason = self._describe(error)
        self.trace.record("fault", type(error).__name__, reason=reason)
        self.finish(Status.FAILED, reason)

    async def _let_go(self, *tasks: asyncio.Task[Any]) -> None:
        """Cancel work and wait, but not for ever, until it has let go; its own errors while doing so do not matter."""
        under_way = [task for task in tasks if not task.done()]
        for task in under_way:
            if not task.cancelling():  # a second cancellation would break into its cleaning up
                task.cancel()
        if under_way:
            _, clinging = await asyncio.wait(under_way, timeout=LET_GO_S)
            for name in sorted(task.get_name() for task in clinging):
                self.trace.record("fault", name, reason=f"did not let go within {LET_GO_S:g} s; not waited for")
        for task in tasks:
            if task.done() and not task.cancelled():
                task.exception()

    async def make_safe(self, experiment: Experiment) -> None:
        """Bring the instrument into the safe state, once; cannot be cancelled, and takes bounded time.

        Every action is tried even when others fail. What fails is recorded and stands in `alarms`. Whoever else
        calls meanwhile waits for the same end.
        """
        sequence = self._begin_safe(experiment)
        cancelled: asyncio.CancelledError | None = None
        while not sequence.done():
            try:
                await asyncio.shield(sequence)
            except asyncio.CancelledError as error:
                cancelled = error  # told again once the instrument is safe
        sequence.result()
        if cancelled is not None:
            raise cancelled

    def _begin_safe(self, experiment: Experiment) -> asyncio.Task[None]:
        if self._safe is None:
            self._safe = asyncio.get_running_loop().create_task(self._safe_sequence(experiment), name="safe state")
        return self._safe

    async def _safe_sequence(self, experiment: Experiment) -> None:
        """The most urgent action at once, the others when everything in the background has let go."""
        background = sorted(self._background, key=lambda task: task.get_name())
        for task in background:
            task.cancel()
        first, *others = experiment.safe_actions()
        await self._make_safe(first)
        await self._let_go(*background)
        for action in others:
            await self._make_safe(action)
        self.trace.record("note", "safe state", alarms=len(self.alarms))

    async def _make_safe(self, action: SafeAction) -> None:
        """One action within its time limit; its failure is recorded and told, and keeps no other from being done."""
        try:
            async with self.clock.timeout_at(self.clock.now_ns() + ns(action.limit_s)):
                await action.call()
        except (Exception, asyncio.CancelledError) as error:
            if (this := asyncio.current_task()) is not None and this.cancelling():
                raise  # the program itself is being ended
            cause = "no answer" if isinstance(error, TimeoutError) else str(error)
            self.trace.record("fault", action.name, reason=cause, alarm=action.alarm)
            if action.alarm:
                self.alarms.append(f"{action.alarm} ({action.name} failed: {cause})")
                log.critical(action.alarm, cause=cause)

    def write_trace(self, at_least: int = 1) -> None:
        """Queue what the trace holds for the disk, if it is `at_least` so many records; returns at once."""
        if self.trace.pending >= at_least:
            self.writer.submit_observation(self.trace.take_pending())

    def save(self, experiment: Experiment, ending: Ending | None) -> dict[str, Any]:
        """Write run.json as things stand (status `running` without an ending), and return what it says."""
        self.document |= {
            "status": ending.status.value if ending else "running",
            "reason": ending.reason if ending else "",
            "alarms": self.alarms,
            **experiment.document(),
        }
        write_json(self.folder / "run.json", self.document, durable=self.durable)
        return self.document

    async def flush(self) -> None:
        """Bring everything recorded so far to the disk. Raises StorageError if frames or journal cannot be written."""
        self.write_trace()
        await self.writer.drain()
