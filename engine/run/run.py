"""One run of one experiment: its state machine driven to an end, and the safe state on every way out.

Four ways to end: *done* or *stopped* (success, data kept and finalized), *aborted* (operator) and *failed* (error),
both with the data kept. Each goes through the safe state: beam blanked first, then rotation stopped, detector
disarmed, lens in focus, and at last a look whether the beam is really off. Every action has its own time limit and is
tried again within it, whatever the others do.
"""

import asyncio
from asyncio import FIRST_COMPLETED
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from traceback import format_exception
from typing import Any

import structlog

from engine.clock import Clock, ns
from engine.errors import CredlineError, DeviceError, RunAborted
from engine.record.endings import Ending, Status
from engine.record.folder import write_json
from engine.record.journal import Journal
from engine.record.trace import Trace
from engine.record.writer import Writer
from engine.run.compute import ComputeGate
from engine.run.computeworkers import SPOOL_FILE, Workers
from engine.run.contract import FINISH, Experiment, SafeAction
from engine.run.gate import DISK, CallGate
from engine.run.timeline import Timeline

log = structlog.get_logger()

ERROR_FILE = "error.txt"
"""In the run folder, for developers: where an error came from that nobody foresaw."""

LET_GO_S = 2.0
"""How long cancelled work may take to let go of its devices before the run goes on to safety without it."""


RECORD_BYTES = 1000
"""About what a record of the trace takes in memory while it waits for the disk."""

RETRY_S = 0.1
"""How long an action of the safe state that failed waits before it is tried again."""


def _sound_alarm(alarm: str, cause: str) -> None:
    log.critical(alarm, cause=cause)


TASK = "task"


@dataclass(frozen=True, slots=True)
class Command:
    """Somebody wants the run to end. source: `operator` (or a signal), TASK (in the background) or `disk`."""

    ending: Ending
    source: str


class Commands:
    """What the operator, a signal or a background task asks of the run; safe to call from a signal handler."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._asked: deque[Command] = deque()
        self._came = asyncio.Event()
        self._aborting = False

    def stop(self, reason: str) -> None:
        """End now and keep everything: beam off at once, data finalized, status stopped."""
        self._put(Status.STOPPED, reason, "operator")

    def abort(self, reason: str) -> None:
        """End now, data kept, products not made, status aborted."""
        self._aborting = True
        self._put(Status.ABORTED, reason, "operator")

    def fail(self, reason: str, source: str = TASK) -> None:
        """A background task or the disk failed: end as failed, data kept and finalized."""
        self._put(Status.FAILED, reason, source)

    def _put(self, status: Status, reason: str, source: str) -> None:
        self._asked.append(Command(Ending(status, reason), source))
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
        if self._asked[0].source != TASK:
            await self._clock.at_rest()
        return self._asked.popleft()


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
        self.commands = Commands(clock)
        writer.wait_recorded = partial(self.gate.call, DISK)
        writer.on_error = lambda error: self.commands.fail(str(error), "disk")
        self.ending: Ending | None = None
        self.show_progress: Callable[[str, int, int], None] | None = None
        """Told what long work after the run is doing, how much of it is done and how much there is; from any thread."""
        self.sound_alarm: Callable[[str, str], None] = _sound_alarm
        """Told at once what is unsafe and why; a rehearsal, which has no instrument, keeps quiet."""
        self.alarms: list[str] = []
        self.document: dict[str, Any] = {}
        """What run.json says of the run before it began."""
        self.files = ExitStack()
        """Closed when the run is over, whatever happened: for files that the experiment keeps open."""
        self.compute = ComputeGate(clock, trace, Workers(clock, writer, folder, folder / SPOOL_FILE, durable=durable))
        self.files.callback(self.compute.close)
        self._safe: asyncio.Task[None] | None = None
        self._safe_begun = asyncio.Event()
        self._disk_told = False
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

        A journal that cannot write ends the run as failed, from whatever state it is in (`Writer.on_error`).
        """
        self.trace.record("state", str(state.value), trigger=trigger)
        self.write_trace()
        self.journal.note(t_ns=self.clock.now_ns(), state=state.value)

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
            (self.folder / ERROR_FILE).write_text(
                "".join(format_exception(error)), encoding="utf-8", errors="backslashreplace"
            )
        return f"internal error ({type(error).__name__}: {error}); please report it with the run's {ERROR_FILE}."

    async def drive(self, experiment: Experiment) -> Ending:
        """Take the experiment's machine from its initial state to a final one.

        Returns how it ended; whatever goes wrong on the way is status failed. If this task itself is cancelled, the
        safe state is still reached before the cancellation goes on.
        """
        machine, activities = experiment.machine, experiment.activities()
        try:
            await self.compute.ready()
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
                # Work that failed because the disk did is not asked why: the disk tells that itself, as a command.
                told_apart = self._disk_failed(work) and not self._disk_told
                try:
                    await asyncio.wait({command} if told_apart else {work, command}, return_when=FIRST_COMPLETED)
                finally:
                    if not command.done():
                        command.cancel()
                if not command.done() or command.cancelled():
                    if self._disk_failed(work):
                        if self._disk_told:
                            return FINISH
                        continue
                    return self._trigger_of(work)
                asked = command.result()
                self._disk_told |= asked.source == "disk"
                if asked.source != TASK:  # no event of its own, but part of the reaction to the one that made it fail
                    self.trace.tick()
                # What comes about again by itself in a replay has no source; the others it gives again.
                source = {} if asked.source in ("operator", TASK) else {"source": asked.source}
                self.trace.record("command", asked.ending.status.value, reason=asked.ending.reason, **source)
                self.finish(asked.ending.status, asked.ending.reason)
                if state is experiment.finalizing:
                    continue  # already ending; the data are kept, and who makes products asks whether to go on
                if work.done() and not self._disk_failed(work):
                    self._trigger_of(work)  # at the same instant it may have failed, and the reason is not to be lost
                return FINISH
        except Exception as error:
            self._failed(error)
            return FINISH
        finally:
            try:
                if not work.done():  # the beam does not wait until the work has let go
                    self._begin_safe(experiment)
                    await self._safe_begun.wait()
            finally:
                await self._let_go(work)

    @staticmethod
    def _trigger_of(work: asyncio.Task[str]) -> str:
        """What finished work answered. Raises its error, or DeviceError when it was cancelled by nobody of ours."""
        if work.cancelled():
            raise DeviceError("a device gave its call up by itself; whether it happened is unknown.")
        return work.result()

    def _disk_failed(self, work: asyncio.Task[str]) -> bool:
        return (
            work.done()
            and not work.cancelled()
            and self.writer.error is not None
            and work.exception() is self.writer.error
        )

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
        first, *others = experiment.safe_actions()
        urgent = asyncio.get_running_loop().create_task(self._make_safe(first), name="safe state, first action")
        # Whoever is cancelled may take an event with him: always after the call has begun, in a replay as well.
        await self._safe_begun.wait()
        background = sorted(self._background, key=lambda task: task.get_name())
        for task in background:
            task.cancel()
        await urgent
        await self._let_go(*background)
        for action in others:
            await self._make_safe(action)
        self.trace.record("note", "safe state", alarms=len(self.alarms))
        self.write_trace()  # whoever recovers this run is to know that it was safe

    async def _make_safe(self, action: SafeAction) -> None:
        """One action; if its device does not even let go of the call, the next is done without waiting for that."""
        task = asyncio.get_running_loop().create_task(self._act(action), name=action.name)
        await asyncio.wait({task}, timeout=action.limit_s + LET_GO_S)
        if not task.done():
            task.cancel()
            self._not_done(action, "its device does not let go of the call")
        elif not task.cancelled():
            task.result()

    async def _act(self, action: SafeAction) -> None:
        """One action, tried again until its limit; its failure is recorded and told."""
        limit_ns = self.clock.now_ns() + ns(action.limit_s)
        cause = "no answer"
        try:
            async with self.clock.timeout_at(limit_ns):
                while True:
                    try:
                        self._safe_begun.set()
                        await action.call()
                        return
                    except Exception as error:  # also a foreign one: nothing may keep the next try from being made
                        known = isinstance(error, CredlineError)
                        told = str(error) if known or cause.startswith("internal") else self._describe(error)
                        if cause != told:
                            cause = told
                            self.trace.record("fault", action.name, reason=cause)
                        if self.clock.now_ns() >= limit_ns:
                            break
                    await self.timeline.wait("again", self.timeline.now_ns + ns(RETRY_S))
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            if (this := asyncio.current_task()) is not None and this.cancelling():
                raise  # the program itself is being ended
            cause = "cancelled by its device"
        self._not_done(action, cause)

    def _not_done(self, action: SafeAction, cause: str) -> None:
        self.trace.record("fault", action.name, reason=cause, alarm=action.alarm)
        if action.alarm:
            self.alarms.append(f"{action.alarm} ({action.name} failed: {cause})")
            self.sound_alarm(action.alarm, cause)

    def write_trace(self, at_least: int = 1) -> None:
        """Queue what the trace holds for the disk, if it is `at_least` so many records; returns at once."""
        if (records := self.trace.pending) >= at_least:
            self.writer.submit_observation(self.trace.take_pending(), records * RECORD_BYTES)

    def save(self, experiment: Experiment, ending: Ending | None) -> dict[str, Any]:
        """Write run.json as things stand (status `running` without an ending), and return what it says."""
        self.document |= {
            "status": ending.status.value if ending else "running",
            "reason": ending.reason if ending else "",
            "alarms": self.alarms,
            **({"trace_cut_off": self.trace.cut_off} if self.trace.cut_off else {}),
            **({"disk_failed": str(self.writer.error)} if self.writer.error else {}),
            **experiment.document(),
        }
        write_json(self.folder / "run.json", self.document, durable=self.durable)
        return self.document

    async def drain(self) -> None:
        """Wait until everything queued is on disk. Raises StorageError; how long it took enters the run."""
        await self.gate.call(DISK, "drain", self.writer.drain)

    async def flush(self) -> None:
        """Bring everything recorded so far to the disk. Raises StorageError if frames or journal cannot be written."""
        self.write_trace()
        await self.writer.drain()
