"""An experiment of three working states on a run of its own, whose every part a test can replace."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Any

from engine.clock.virtual import VirtualClock
from engine.record.endings import Ending, Status
from engine.record.journal import Journal
from engine.record.trace import Record, Trace
from engine.record.writer import Writer
from engine.run.contract import Experiment, SafeAction
from engine.run.machine import FINISH, StrictMachine, Transition
from engine.run.run import Run


class State(Enum):
    PREPARE = "prepare"
    MEASURE = "measure"
    FINALIZE = "finalize"
    DONE = "done"
    STOPPED = "stopped"
    ABORTED = "aborted"
    FAILED = "failed"


ENDS = (State.DONE, State.STOPPED, State.ABORTED, State.FAILED)
TRANSITIONS = (
    Transition("prepared", (State.PREPARE,), State.MEASURE),
    Transition(FINISH, (State.PREPARE, State.MEASURE), State.FINALIZE),
    *(Transition(f"end_{end.value}", (State.FINALIZE,), end) for end in ENDS),
)
SAFE = ("blank", "stop rotation", "disarm", "refocus")
WORKING = ("prepare", "measure", "finalize")
# Left to itself a rehearsal takes 1 s to prepare, 10 s to measure, 4 x 0.1 s to make safe and 2 s for its products.
WHOLE_S = 13.4

Work = Callable[[], Coroutine[Any, Any, str]]


class Rehearsal(Experiment):
    """A tiny experiment on a run of its own; `works` and `actions` replace what a state or a safe action does."""

    def __init__(self, clock: VirtualClock, folder: Path, *, writer: Writer | None = None) -> None:
        self.clock = clock
        self.records: list[Record] = []
        self.writer = writer or Writer()
        trace = Trace(clock, folder / "trace.jsonl")
        trace.observe(self.records.append)
        journal = Journal(folder / "journal.jsonl", self.writer, durable=False)
        run = Run(clock, trace, self.writer, journal, folder, durable=False)
        super().__init__(run, None, StrictMachine(State, TRANSITIONS, State.PREPARE, ENDS, run.entered))
        self.works: dict[Enum, Work] = {
            State.PREPARE: self.prepare,
            State.MEASURE: self.measure,
            State.FINALIZE: self.finalize,
        }
        self.actions: dict[str, Callable[[], Awaitable[object]]] = {}
        self.safe_log: list[tuple[str, float]] = []
        self.products = False

    async def prepare(self) -> str:
        await self.clock.sleep_s(1)
        return "prepared"

    async def measure(self) -> str:
        await self.clock.sleep_s(10)
        return FINISH

    async def finalize(self) -> str:
        await self.run.make_safe(self)
        for _ in range(20):  # as one that makes products: it asks in between whether they are still wanted
            if self.run.ending is not None and self.run.ending.status is Status.ABORTED:
                return ""
            await self.clock.sleep_s(0.1)
        self.products = True
        return ""

    def activities(self) -> Mapping[Enum, Work]:
        return self.works

    def safe_actions(self) -> Sequence[SafeAction]:
        return [
            SafeAction(name, self._action(name), 1.0, "THE BEAM MAY BE ON" if name == "blank" else "") for name in SAFE
        ]

    def _action(self, name: str) -> Callable[[], Awaitable[object]]:
        async def act() -> None:
            self.safe_log.append((name, self.now_s))
            if name in self.actions:
                await self.actions[name]()
            else:
                await self.clock.sleep_s(0.1)

        return act

    @property
    def now_s(self) -> float:
        return self.clock.now_ns() / 1e9

    @property
    def states(self) -> list[str]:
        return [record["name"] for record in self.records if record["kind"] == "state"]

    @property
    def made_safe(self) -> list[str]:
        return [name for name, _ in self.safe_log]

    async def drive(self, at_s: float | None = None, command: Callable[[], object] | None = None) -> Ending:
        """Drive to the end; carry out `command` at `at_s`."""
        if at_s is not None and command is not None:
            asyncio.get_running_loop().call_at(at_s, command)
        return await self.run.drive(self)

    def close(self) -> None:
        self.writer.close()
        self.run.trace.close(sync=False)
        self.run.journal.close()


@contextmanager
def rehearsal(clock: VirtualClock, writer: Writer | None = None) -> Iterator[Rehearsal]:
    with tempfile.TemporaryDirectory() as folder:
        experiment = Rehearsal(clock, Path(folder), writer=writer)
        try:
            yield experiment
        finally:
            experiment.close()


async def hang() -> None:
    await asyncio.Event().wait()


def raising(error: BaseException) -> Callable[[], Coroutine[Any, Any, Any]]:
    async def work() -> None:
        raise error

    return work
