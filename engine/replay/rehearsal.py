"""Carry out an experiment without leaving anything on disk: for replays, what-ifs and tests of plans."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pydantic import BaseModel

from engine.clock.virtual import VirtualClock, VirtualLoop
from engine.errors import DataError, DeviceError, Refused, StorageError, error_again
from engine.record.endings import WORK_DONE
from engine.record.journal import Journal
from engine.record.jsonobject import JsonDict, JsonObject
from engine.record.trace import Record, Trace, ends_early
from engine.record.writer import Writer
from engine.replay.computations import RecordedComputations
from engine.run.children import ChildOrder, ChildReport, recorded_report
from engine.run.contract import AnyExperiment
from engine.run.data import RunData
from engine.run.gate import DISK, INSTRUMENT
from engine.run.header import carried_over_by
from engine.run.run import Run

if TYPE_CHECKING:
    from engine.run.microscope import Microscope

NEVER_NS = 2**62


class _DiscardingWriter(Writer):
    """Writes nothing: what a rehearsal makes is its trace. It is full when the disk of the records was."""

    def __init__(self, records: Sequence[Record]) -> None:
        super().__init__()
        loop = asyncio.get_running_loop()
        if not isinstance(loop, VirtualLoop):
            raise TypeError("a rehearsal needs virtual time")
        self.clock = VirtualClock(loop)  # punctual, whatever other waits were late
        calls = [r for r in records if r["kind"] == "call"]
        self._waits = {r["args"][0]: r for r in calls if r["name"] == "disk.room"}
        self._drain = next((r for r in calls if r["name"] == "disk.drain"), None)
        self._long = {r["name"]: r for r in calls if r["name"].startswith(f"{DISK}.")}
        # Where time passes by itself, a recording that ends early does so in the middle of that work.
        self._never_through = bool(records) and records[0].get("clock") == "real" and ends_early(records)

    def submit(self, job: Callable[[], object], size_bytes: int = 0) -> None:
        """Drop the job."""

    def submit_observation(self, job: Callable[[], object], size_bytes: int = 0) -> None:
        """Drop the job."""

    def _behind(self, asked: int) -> bool:
        return asked in self._waits

    async def _wait_for_room(self, asked: int) -> None:
        await self._again(self._waits[asked])

    async def drain(self) -> None:
        """Wait as long as was waited for the disk then, with the same outcome."""
        if self._drain is not None:
            call, self._drain = self._drain, None
            await self._again(call)
        if self.error is not None:
            raise self.error

    async def carry_out(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Wait as long as the work took then, with the same outcome; nothing is done."""
        call = self._long.get(f"{DISK}.{name}")
        if call is None:
            if self._never_through:
                await self.clock.sleep_until(NEVER_NS)
            return
        await self.clock.sleep_until(NEVER_NS if call.get("given_up") else call["end_ns"])
        if "error" in call:
            raise error_again(call["error"], call["text"], foreign=call["foreign"])

    async def _again(self, call: Record) -> None:
        await self.clock.sleep_until(NEVER_NS if call.get("given_up") else call["end_ns"])
        if call.get("error") == "StorageError":
            self.fail(StorageError(call["text"]))
            raise self.error or StorageError(call["text"])

    async def run(self, job: Callable[[], object]) -> None:
        """Drop the job."""


class _RecordedChildren:
    """Performs no child: says what came of each, as the parent's trace holds it, at the instant at which it ended."""

    def __init__(self, records: Sequence[Record]) -> None:
        loop = asyncio.get_running_loop()
        if not isinstance(loop, VirtualLoop):
            raise TypeError("a rehearsal needs virtual time")
        self._clock = VirtualClock(loop)
        self._ends = {r["name"]: r for r in records if r["kind"] == "child" and r["event"] == "end"}
        self._last_ns = max((r["t_ns"] for r in records), default=0)

    async def perform(self, order: ChildOrder) -> ChildReport:
        """Wait until the child ended then; until nothing more is recorded where the recording ends before."""
        record = self._ends.get(order.name)
        await self._clock.sleep_until(self._last_ns + 1 if record is None else record["end_ns"])
        if record is None:
            raise DataError(f"{order.name}: no child of that name ended in the recording.")
        return recorded_report(record)


class _RecordedConnections:
    """Connects nothing anew: each attempt ends when it did then, and as it did."""

    def __init__(self, records: Sequence[Record]) -> None:
        loop = asyncio.get_running_loop()
        if not isinstance(loop, VirtualLoop):
            raise TypeError("a rehearsal needs virtual time")
        self._clock = VirtualClock(loop)
        self._calls = deque(r for r in records if r["kind"] == "call" and r["name"] == f"{INSTRUMENT}.reconnect")

    async def reconnect(self, part: str) -> list[str]:
        """The next attempt of the recording: the parts that were new. Waits for ever where the recording ends.

        Raises DeviceError as it did then.
        """
        call = self._calls.popleft() if self._calls else None
        await self._clock.sleep_until(NEVER_NS if call is None or call.get("given_up") else call["end_ns"])
        if call is not None and "error" in call:
            raise {"Refused": Refused}.get(call["error"], DeviceError)(call["text"])
        return [] if call is None else list(call["result"])


async def rehearse(
    kind: AnyExperiment,
    plan: BaseModel,
    clock: VirtualClock,
    microscope: "Microscope",
    header: JsonObject,
    operator: Callable[[Run], Awaitable[None]] | None = None,
    records: Sequence[Record] = (),
) -> tuple[list[Record], JsonDict]:
    """Drive an experiment on this clock and instrument; its records, and what its run.json would say.

    operator: gives commands to the run. records: of a run whose disk was behind at times, to be so again. Raises
    Refused when the plan does not fit the instrument, DataError when that lacks a part which the experiment needs.
    """
    if missing := [part for part in kind.needs if getattr(microscope, part, None) is None]:
        raise DataError(
            f"trace: its header tells of no {missing[0]}, which a run of {kind.name} needs, so nothing can answer for "
            "it; nothing was changed. Take a copy of the trace from elsewhere if there is one."
        )
    prepared = kind.prepare(plan, microscope.facts)
    made: list[Record] = []
    trace = Trace(clock)
    trace.observe(made.append)
    trace.header(**header)
    writer = _DiscardingWriter(records)
    with TemporaryDirectory(prefix="credline-") as name:
        folder = Path(name)
        journal = Journal(folder / "journal.jsonl", writer, durable=False)
        run = Run(clock, trace, writer, journal, folder, durable=False)
        run.compute.computing = RecordedComputations(writer.clock, records)
        run.children.performer = _RecordedChildren(records).perform
        run.microscope = microscope
        run.connector = _RecordedConnections(records).reconnect
        run.carried_over = carried_over_by(header.get("continued"))
        run.safety.sound_alarm = lambda _alarm, _cause: None  # there is no instrument
        try:
            run.keep_data(RunData(run, kind, plan, header.get("watched") or ()))
            experiment = prepared.begin(run, microscope)
            commands = asyncio.ensure_future(operator(run)) if operator else None
            await run.drive(experiment)
            if commands is not None:
                commands.cancel()
            end = run.data.end()
        finally:
            writer.close()
            run.files.close()
            journal.close()
    ending = run.ending or WORK_DONE
    return made, {"status": ending.status.value, "reason": ending.reason, **end.sections, "result": end.result}
