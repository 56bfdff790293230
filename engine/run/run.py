"""One run of one experiment: its state machine driven to an end, and the safe state on every way out.

Four ways to end: *done* or *stopped* (success, data kept and finalized), *aborted* (operator) and *failed* (error),
both with the data kept. Each goes through the safe state (`engine.run.safety`). A run may perform children
(`engine.run.children`) and be paused, both only where its protocol says so.
"""

import asyncio
from asyncio import FIRST_COMPLETED
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import ExitStack, suppress
from dataclasses import replace
from enum import Enum
from functools import partial
from pathlib import Path
from traceback import format_exception
from typing import TYPE_CHECKING

from engine.clock import Clock
from engine.errors import CredlineError, DeviceBusy, DeviceError, RunAborted, StorageError
from engine.record.document import RUNNING, RunDocument
from engine.record.endings import WORK_DONE, Ending, Status
from engine.record.journal import Journal
from engine.record.jsonobject import JsonObject
from engine.record.spool import SPOOL_FILE
from engine.record.trace import Trace
from engine.record.writer import Writer
from engine.run.children import Children, ChildReport
from engine.run.commands import UNNAMED, Command, Commands, Source, Wish
from engine.run.compute import ComputeGate
from engine.run.computeworkers import Workers
from engine.run.contract import AnyExperiment, Experiment, Work
from engine.run.gate import DISK, CallGate
from engine.run.machine import FINISH
from engine.run.safety import Safety, SomeParts, default_safe_actions, let_go
from engine.run.telling import pass_on
from engine.run.timeline import Timeline
from engine.run.warmworkers import WarmWorkers

if TYPE_CHECKING:
    from pydantic import BaseModel

    from engine.run.data import RunData
    from engine.run.microscope import Microscope

ERROR_FILE = "error.txt"
"""In the run folder, for developers: where an error came from that nobody foresaw."""

RECORD_BYTES = 1000
"""About what a record of the trace takes in memory while it waits for the disk."""


class Run:
    """The state of one run and what its protocol works with: clock, timeline, gate to the devices, trace, journal.

    commands: given before the run was made, by who performs it as a child. warm: worker processes of runs before.
    """

    def __init__(
        self,
        clock: Clock,
        trace: Trace,
        writer: Writer,
        journal: Journal,
        folder: Path,
        *,
        durable: bool,
        commands: Commands | None = None,
        warm: WarmWorkers | None = None,
    ) -> None:
        self.folder = folder
        self.durable = durable
        self.clock = clock
        self.trace = trace
        self.writer = writer
        self.journal = journal
        self.timeline = Timeline(clock, trace)
        self.gate = CallGate(clock, trace)
        self.commands = commands or Commands(clock)
        writer.wait_recorded = partial(self.gate.call, DISK)
        writer.on_error = lambda error: self.commands.fail(str(error), Source.DISK)
        self.ending: Ending | None = None
        self.show_progress: Callable[[str, int, int], None] | None = None
        """Told what long work after the run is doing, how much of it is done and how much there is; from any thread."""
        self.document = RunDocument(protocol="")
        """What run.json says of the run before it began."""
        self.files = ExitStack()
        """Closed when the run is over, whatever happened: for files that the experiment keeps open."""
        self.closing: list[Callable[[], Awaitable[None]]] = []
        """Called once the instrument is safe and the experiment has had its say (`Experiment.when_safe`)."""
        workers = Workers(clock, writer, folder, folder / SPOOL_FILE, durable=durable, warm=warm)
        self.compute = ComputeGate(clock, trace, workers)
        self.files.callback(self.compute.close)
        self.carried_over: JsonObject | None = None
        """What was done in an earlier run that this one goes on from (`ExperimentType.carried_over`); None for one that
        begins anew."""
        self._data: RunData | None = None
        self.connector: Callable[[str], Awaitable[list[str]]] | None = None
        """Connects a part anew: the opened instrument, or a recording."""
        self.microscope: Microscope | None = None
        """The instrument that it drives; None before it was given one."""
        self._disk_told = False
        self._told_to_end = False
        """A command ends the work of the present state; where a child is under way, when that has ended."""
        self._background: set[asyncio.Task[None]] = set()
        self._going = asyncio.Event()
        self._going.set()
        self.safety = Safety(
            clock,
            trace,
            self.timeline,
            self.describe,
            lambda: tuple(self._background),
            lambda: self.children.ended(),
            self.write_trace,
        )
        self.children = Children(clock, trace, self.gate, self.safety.alarms)

    @property
    def alarms(self) -> list[str]:
        """What is not known to be safe, for the operator; also of its children."""
        return self.safety.alarms

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

    def in_background(self, work: Coroutine[object, object, None], name: str) -> None:
        """Run something beside the present activity; its failure fails the run. Cancelled before the safe state."""

        async def guarded() -> None:
            try:
                await work
            except Exception as error:
                self.commands.fail(self.describe(error))

        task = asyncio.get_running_loop().create_task(guarded(), name=name)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def checkpoint(self) -> None:
        """A place where the run may be paused: wait here as long as it is; the watchdog watches on.

        The protocol calls this where nothing is under way and the instrument may stand as it is for hours.
        """
        if self._going.is_set() or self.safety.is_begun:
            return
        self.trace.record("note", "paused")
        self.write_trace()
        await self._going.wait()
        self.trace.record("note", "resumed")

    async def perform(self, kind: AnyExperiment, plan: "BaseModel") -> ChildReport:
        """Perform another experiment as a child of this run, on the instrument that this run has; what came of it.

        A child that fails, or is refused, is a report like any other; after an alarm none begins. Meanwhile this run
        may call no device, and what is asked of it (stop, abort, pause) is handed on. A run that is told to end does
        so when its child has; this does not return then. Pauses here as `checkpoint` does. Raises DeviceBusy.
        """
        await self.checkpoint()
        report = await self.children.perform(self, kind, plan)
        if self.safety.is_begun or self._told_to_end:
            await asyncio.get_running_loop().create_future()  # to be cancelled: nothing more is begun
        return report

    async def reconnect(self, part: str) -> None:
        """Connect a part of the instrument anew that was lost (`camera`, `stage`), and what else its driver connects.

        For a parent between its children, and wherever nothing is under way. From then on what was wrapped by
        `gate.wrap` under the part's name is the new one. Beam, stage and detector are made safe when they are new: the
        alarms of a child that could not do that keep no other child from beginning then (they stand in run.json all
        the same). Tried once; all calls are in the trace. Raises DeviceError when it cannot be connected: the
        instrument is as it was. Raises DeviceBusy, nothing done, while a call of this run has not returned or a child
        has the instrument.
        """
        if calls := self.gate.under_way:
            raise DeviceBusy(f"{part}: a call has not returned ({calls[0]}); nothing was connected anew. Wait for it.")
        if self.connector is None:
            raise DeviceError(f"{part}: there is no instrument to connect anew; nothing was done.")
        new = await self.gate.connect(part, self.connector)
        parts = {name: getattr(self.microscope, name) for name in ("beam", "stage", "detector") if name in new}
        for action in default_safe_actions(SomeParts(**parts), self.gate, self.timeline):
            await action.call()
            if action.alarm:
                self.children.settle(action.alarm)

    def describe(self, error: Exception) -> str:
        """An error in words for a person; of one that nobody foresaw, the whole is kept in the folder."""
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
        machine = experiment.machine

        async def finalize() -> str:
            await self.make_safe(experiment)
            await experiment.when_safe()
            await self._let_go()
            await self.data.write(experiment)
            return FINISH

        activities: dict[Enum, Work] = {machine.finalizing: finalize, **experiment.activities()}
        try:
            await self.compute.ready()
            self.entered(machine.state, "")
            while not machine.at_end:
                trigger = await self._work(machine.state, activities[machine.state], experiment)
                if machine.state is machine.finalizing:
                    ending = self.ending or WORK_DONE
                    trigger = f"end_{ending.status.value}"
                await machine.fire(trigger)
        except Exception as error:  # of the machine or the journal: the machine stays where it is
            self._failed(error)
        finally:
            await self.safety.make(experiment)
            await self._let_go()
        return self.ending or WORK_DONE

    async def _let_go(self) -> None:
        """Close what was opened, once."""
        closing, self.closing = self.closing, []
        for close in closing:
            await close()

    async def _work(self, state: Enum, activity: Work, experiment: Experiment) -> str:
        """Run one state's work until it returns its trigger, fails, or a command ends it."""
        finalizing = state is experiment.machine.finalizing
        if finalizing:
            self.children.closed = "the run is ending"
        loop = asyncio.get_running_loop()
        work = loop.create_task(activity(), name=f"state {state.value}")
        try:
            while True:
                command = loop.create_task(self.commands.next(), name="commands")
                # Work that failed because the disk did is not asked why: the disk tells that itself, as a command.
                told_apart = self._disk_failed(work) and not self._disk_told
                child = self.children.under_way if self._told_to_end else None
                waits: set[asyncio.Task[object]] = {command} if told_apart else {child or work, command}
                try:
                    await asyncio.wait(waits, return_when=FIRST_COMPLETED)
                finally:
                    if not command.done():
                        command.cancel()
                if command.done() and not command.cancelled():
                    told_to_end = self._take(command.result(), experiment) and not finalizing
                    if not told_to_end and not self._told_to_end:
                        continue  # already ending: the data are kept, and who makes products asks whether to go on
                    self._told_to_end = True
                    if self.children.under_way is not None:
                        continue  # it makes safe first, and has its data to finish
                elif not self._told_to_end:
                    if self._disk_failed(work):
                        if self._disk_told:
                            return FINISH
                        continue
                    return self._trigger_of(work)
                if work.done() and not self._disk_failed(work):
                    self._trigger_of(work)  # at the same instant it may have failed, and the reason is not to be lost
                return FINISH
        except Exception as error:
            self._failed(error)
            return FINISH
        finally:
            try:
                if not work.done():  # the beam does not wait until the work has let go
                    self.safety.begin(experiment)
                    await self.safety.first_begun.wait()
            finally:
                await let_go(self.trace, work)
                self._told_to_end = False

    def _take(self, asked: Command, experiment: Experiment) -> bool:
        """Take note of a command, and hand it on; whether it ends the run."""
        self._disk_told |= asked.source is Source.DISK
        if asked.source is not Source.TASK:  # no event of its own, but part of the reaction to what failed it
            self.trace.tick()
        # What comes about again by itself in a replay has no source; the others it gives again.
        source = {} if asked.source in UNNAMED else {"source": asked.source.value}
        by = {"by": asked.by} if asked.by else {}
        self.trace.record("command", asked.wish.value, reason=asked.reason, **source, **by)
        mine = asked.wish is Wish.TELL and experiment.is_mine(asked.reason)
        if not mine:
            self.children.tell(asked)
        if asked.wish is Wish.PAUSE:
            self._going.clear()
        elif asked.wish is Wish.RESUME:
            self._going.set()
        elif asked.wish is Wish.TELL and (mine or self.children.under_way is None):
            if experiment.machine.state is experiment.machine.finalizing or self.safety.is_begun:
                # Nothing is begun any more that the way into the safe state would have to end.
                self.trace.record("note", "operator", text=f"{asked.reason}: the run is ending; nothing was done.")
            else:
                pass_on(asked.reason, experiment, self.trace)
        if asked.ending is None:
            return False
        self.finish(asked.ending.status, asked.ending.reason)
        return True

    @staticmethod
    def _trigger_of(work: asyncio.Task[str]) -> str:
        """What finished work answered. Raises its error, or DeviceError when it was cancelled by nobody of ours."""
        if work.cancelled():
            raise DeviceError("a device gave its call up by itself; whether it happened is unknown.")
        return work.result()

    def _disk_failed(self, work: asyncio.Task[str]) -> bool:
        error = self.writer.error
        return work.done() and not work.cancelled() and error is not None and work.exception() is error

    def _failed(self, error: Exception) -> None:
        reason = self.describe(error)
        self.trace.record("fault", type(error).__name__, reason=reason)
        self.finish(Status.FAILED, reason)

    async def make_safe(self, experiment: Experiment) -> None:
        """Bring the instrument into the safe state, once; cannot be cancelled, and takes bounded time.

        What fails stands in `alarms`. Who calls meanwhile waits for the same end. A child makes safe first.
        """
        await self.safety.make(experiment)

    def write_trace(self, at_least: int = 1) -> None:
        """Queue what the trace holds for the disk, if it is `at_least` so many records; returns at once."""
        if (records := self.trace.pending) >= at_least:
            self.writer.submit_observation(self.trace.take_pending(), records * RECORD_BYTES)

    @property
    def data(self) -> "RunData":
        """Where the experiment gives its frames. Raises StorageError for a run that keeps none."""
        if self._data is None:
            raise StorageError("this run keeps no data: it was made without a place for them.")
        return self._data

    def keep_data(self, data: "RunData") -> None:
        """Give the run its place for frames; once, before it is driven."""
        self._data = data

    @property
    def products_wanted(self) -> bool:
        """Whether products are to be made: not of a run that was aborted, or whose end nobody has decided."""
        return self.ending is not None and self.ending.status is not Status.ABORTED

    def save(self, ending: Ending | None) -> RunDocument:
        """Write run.json as things stand (status `running` without an ending), and return what it says."""
        document = self.document_now(ending)
        document.write(self.folder, durable=self.durable)
        return document

    def document_now(self, ending: Ending | None) -> RunDocument:
        """What run.json says as things stand."""
        end = self.data.end()
        return replace(
            self.document,
            status=ending.status.value if ending else RUNNING,
            reason=ending.reason if ending else "",
            alarms=tuple(self.alarms),
            warnings=self.data.warnings,
            trace_cut_off=self.trace.cut_off or None,
            disk_failed=str(self.writer.error) if self.writer.error else None,
            result=end.result,
            own=end.sections,
        )

    async def drain(self) -> None:
        """Wait until everything queued is on disk. Raises StorageError; how long it took enters the run."""
        await self.gate.call(DISK, "drain", self.writer.drain)

    async def on_disk(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Wait for long work of the disk, the call `disk.<name>` of the trace; how long it took enters the run."""
        await self.gate.long_work(name, partial(self.writer.carry_out, name, work))

    async def flush(self) -> None:
        """Bring everything recorded so far to the disk. Raises StorageError if frames or journal cannot be written."""
        self.write_trace()
        await self.writer.drain()
