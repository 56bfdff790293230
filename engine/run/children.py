"""Runs within a run: a session performs one experiment after the other on the instrument that it has.

One child at a time. It has a folder of its own inside its parent's, and its own trace; the parent's trace holds when
it began and ended, and what came of it (`child`), which is all that a replay of the parent needs. Who really carries it
out is the performer: the opened instrument, or a recording.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.clock import Clock
from engine.errors import CredlineError, DataError, DeviceBusy
from engine.record.endings import Ending, Status
from engine.record.jsonobject import JsonDict, JsonObject
from engine.record.trace import Trace
from engine.run.commands import Command, Commands, Source, Wish
from engine.run.gate import CallGate
from engine.run.header import digest_of, plan_in_trace

if TYPE_CHECKING:
    from pydantic import BaseModel

    from engine.run.contract import AnyExperiment
    from engine.run.run import Run

NOT_WAITED_FOR = "its parent does not wait for it any more"
NOT_KNOWN_SAFE = "IT IS NOT KNOWN WHETHER THE CHILD MADE EVERYTHING SAFE"
"""The alarm of a child that was given up before it was safe: its parent makes safe in its place, and ends."""


@dataclass(frozen=True, slots=True)
class ChildReport:
    """What came of a child. A child that failed, or was not even begun, is a report as well, never an error.

    result: what its run.json says under `result`, as JSON holds it; empty where there is none. folder: the name of its
    folder in its parent's, there or not. warnings: as its run.json has them; its parent's has them, too, with its name.
    """

    ending: Ending
    alarms: tuple[str, ...]
    result: JsonObject
    folder: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ChildOrder:
    """A child to be performed. commands: what the parent hands on to it, also before its run has begun."""

    parent: "Run"
    name: str
    kind: "AnyExperiment"
    plan: "BaseModel"
    commands: Commands


Performer = Callable[[ChildOrder], Awaitable[ChildReport]]
"""Carries out a child and returns when it has ended, however: in bounded time once it was told to end.

Raises CredlineError for a child that could not be begun.
"""


class Children:
    """The children of one run: numbered, one at a time, their begins and ends recorded in the run's trace."""

    def __init__(self, clock: Clock, trace: Trace, gate: CallGate, alarms: list[str]) -> None:
        self._clock, self._trace, self._gate, self._alarms = clock, trace, gate, alarms
        self.performer: Performer | None = None
        self.closed = ""
        """Why no child may begin any more; empty while one may."""
        self._settled: set[int] = set()
        """Of the alarms, by their places: what was not safe then has been made safe since."""
        self._number = 0
        self._commands = Commands(clock)
        self._task: asyncio.Task[ChildReport] | None = None

    @property
    def under_way(self) -> "asyncio.Task[ChildReport] | None":
        """The child that has the instrument; None while the run has it itself."""
        return self._task

    async def perform(self, run: "Run", kind: "AnyExperiment", plan: "BaseModel") -> ChildReport:
        """Perform a child and wait for its end. Raises DeviceBusy, nothing begun, where the instrument is not free.

        Who is cancelled meanwhile has told the child to stop, and goes when it has ended.
        """
        if self._task is not None:
            raise DeviceBusy(f"{kind.name}: another child is under way; this one was not begun. Wait for its end.")
        if calls := self._gate.under_way:
            raise DeviceBusy(
                f"{kind.name}: a call of the run's own has not returned ({calls[0]}); the child was not begun. Wait "
                "for its end."
            )
        self._number += 1
        name = f"{self._number}_{kind.label(plan)}"
        said = {"protocol": kind.name, "digest": digest_of(plan_in_trace(plan, kind.path_keys))}
        standing = [alarm for k, alarm in enumerate(self._alarms) if k not in self._settled]
        unfit = self.closed or (f"an alarm stands: {standing[0]}" if standing else "")
        if unfit or self.performer is None:
            report = failed(name, f"not begun: {unfit or 'there is no instrument for it'}")
            self._trace.record("child", name, event="refused", **said, **_told(report))
            return report
        self._trace.record("child", name, event="begin", **said)
        run.write_trace()
        self._gate.lent_to = f"the child {name}"
        self._commands = Commands(self._clock)
        order = ChildOrder(run, name, kind, plan, self._commands)
        task = asyncio.get_running_loop().create_task(self._one(self.performer, order, said), name=f"child {name}")
        self._task = task
        cancelled: asyncio.CancelledError | None = None
        while not task.done():
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError as error:
                if cancelled is None:
                    self._commands.stop(NOT_WAITED_FOR, Source.PARENT)
                cancelled = error
        if cancelled is not None:
            raise cancelled
        return task.result()

    async def _one(self, perform: Performer, order: ChildOrder, said: Mapping[str, str]) -> ChildReport:
        """A child from begin to end; its end is an event that enters the run."""
        begin_ns = self._trace.now_ns
        try:
            try:
                report = await perform(order)
            except CredlineError as error:
                report = failed(order.name, f"not begun: {error}")
            except Exception as error:  # a bug is no reason for the parent to end without its data
                report = failed(order.name, order.parent.describe(error))
            await self._clock.at_rest()
            end_ns = self._trace.tick()
            self._trace.record(
                "child", order.name, event="end", **said, begin_ns=begin_ns, end_ns=end_ns, **_told(report)
            )
            self._alarms += [f"{order.name}: {alarm}" for alarm in report.alarms]
            if NOT_KNOWN_SAFE in report.alarms:
                order.parent.commands.fail(f"{order.name} did not make safe in time; its parent does so now")
            order.parent.write_trace()
        finally:
            self._gate.lent_to = ""
            self._task = None
        return report

    def settle(self, text: str) -> None:
        """The alarms of this text stand no longer: a part that was lost was connected anew and made safe."""
        self._settled |= {k for k, alarm in enumerate(self._alarms) if text in alarm}

    def tell(self, command: Command) -> None:
        """Hand a command of the run on to the child that is under way; a run that failed has its child stopped."""
        if self._task is None:
            return
        if command.wish is Wish.FAIL:
            self._commands.stop(f"its parent failed: {command.reason}", Source.PARENT)
        else:
            self._commands.give(Command(command.wish, command.reason, Source.PARENT, command.by))

    def ended(self) -> Awaitable[None] | None:
        """Where a child is under way: tell it to stop, and something to await until it has ended; else None."""
        return None if self._task is None else self._end(self._task)

    async def _end(self, task: "asyncio.Task[ChildReport]") -> None:
        self._commands.stop(NOT_WAITED_FOR, Source.PARENT)
        await asyncio.wait({task})


def failed(name: str, reason: str, alarms: tuple[str, ...] = ()) -> ChildReport:
    """The report of a child that failed without a result."""
    return ChildReport(Ending(Status.FAILED, reason), alarms, {}, name)


def report_of(name: str, ending: Ending, alarms: tuple[str, ...], document: JsonObject) -> ChildReport:
    """The report of a child that ended with this run.json, its result as a trace would hold it: in a replay it is read
    from one.
    """
    held = json.loads(json.dumps(document.get("result")))
    warnings = tuple(map(str, document.get("warnings") or ()))
    return ChildReport(ending, alarms, held if isinstance(held, dict) else {}, name, warnings)


def _told(report: ChildReport) -> JsonDict:
    return {
        "status": report.ending.status.value,
        "reason": report.ending.reason,
        "alarms": list(report.alarms),
        **({"warnings": list(report.warnings)} if report.warnings else {}),  # earlier versions told none
        "result": dict(report.result),
    }


def recorded_report(record: JsonObject) -> ChildReport:
    """The report that a parent's trace holds of a child that ended."""
    if record["status"] not in {status.value for status in Status}:
        raise DataError(f"trace: {record['name']} ended as nothing that there is; the file was damaged or edited.")
    ending = Ending(Status(record["status"]), record["reason"])
    alarms, warnings = (tuple(map(str, record.get(key) or ())) for key in ("alarms", "warnings"))
    return ChildReport(ending, alarms, record["result"], record["name"], warnings)
