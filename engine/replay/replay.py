"""Replay: the same protocol and machine on a virtual clock, with recorded answers at their recorded instants.

Everything that differs from run to run entered through five gates (`engine.record.trace`); here the recorded events
enter again. What the program makes of them must then be the same, byte for byte; the first difference is the answer to
"what did my change do?".
"""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from engine.clock.virtual import VirtualClock, VirtualLoop
from engine.errors import DataError, StorageError, shown
from engine.record.jsonobject import JsonDict
from engine.record.schema import gap
from engine.record.trace import IS_LOG, Record, ends_early, read_trace
from engine.record.warned import LOOKED_AGAIN, TRUTH
from engine.replay.rehearsal import NEVER_NS, rehearse
from engine.run.commands import Source
from engine.run.planfile import build_plan_from
from engine.run.registry import experiment_type, recorded_microscope
from engine.run.run import Run

CONTEXT_RECORDS = 20
CUT_TAIL_RECORDS = 8
"""Of a recording that was cut off, so many last records at most may be due to an event that is not in it any more."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first record that differs: its number, both sides (None = there is none), the state, what came before."""

    seq: int
    recorded: Record | None
    replayed: Record | None
    state: str
    before: Sequence[Record]


class ReplayClock(VirtualClock):
    """Virtual time in which waits end as late as they were recorded to, and not at all where they were given up."""

    def __init__(self, loop: VirtualLoop, records: Sequence[Record]) -> None:
        super().__init__(loop)
        self._late: dict[int, deque[Record]] = {}
        for record in records:
            if record["kind"] == "wake":
                self._late.setdefault(record["deadline_ns"], deque()).append(record)

    async def sleep_until(self, deadline_ns: int, *, precise: bool = False, at_rest: bool = False) -> int:
        """Wait until the recorded wake of this deadline; until the deadline itself where none was late."""
        late = self._late.get(deadline_ns)
        if not late:
            return await super().sleep_until(deadline_ns, precise=precise, at_rest=at_rest)
        wake = late.popleft()
        if not wake.get("given_up"):
            return await super().sleep_until(wake["woke_ns"], precise=precise, at_rest=at_rest)
        try:
            return await super().sleep_until(NEVER_NS)
        except asyncio.CancelledError:
            # Who is cancelled goes no earlier than he was then: on a real clock time-outs come late.
            await super().sleep_until(wake["woke_ns"])
            raise


def load_run(run: Path) -> list[Record]:
    """The records of a run folder or trace file. Raises DataError with the remedy when it cannot be replayed."""
    records = without_injected(read_trace(run))
    if "source" in records[0]:
        raise DataError(
            f"{run}: was imported from {shown(records[0]['source'])}, so it does not hold all that entered the run; "
            "nothing was replayed. Look at it with credline trace show, stats or plot."
        )
    if log := next((r for r in records if r["kind"] == "note" and r["name"] == IS_LOG), None):
        raise DataError(
            f"{run}: {shown(str(log.get('text', '')))}; nothing was replayed. Look at it with credline trace show; "
            "runs that were performed within it have traces of their own."
        )
    for record in records:
        if missing := gap(record):
            raise DataError(
                f"{run}: record {record['seq']} ({record['kind']}) {missing}, so the run cannot be made "
                "again; nothing was replayed. Look at it with credline trace show."
            )
    return records


def without_injected(records: Iterable[Record]) -> list[Record]:
    """A trace without what came from outside the run: injected faults, what the watchdog had to say, what had changed
    at the end since the instrument was looked at before the run, and what only a simulation knows.

    A replay shows the run what they did to it.
    What is left is numbered as the run would have numbered it.
    """
    outside = ("watchdog", LOOKED_AGAIN, TRUTH)
    kept = [r for r in records if r["kind"] != "injected" and not (r["kind"] == "note" and r["name"] in outside)]
    return [{**record, "seq": seq} for seq, record in enumerate(kept)]


def replay(records: Sequence[Record], folder: Path | None = None) -> list[Record]:
    """Run the experiment of a trace again with its recorded answers; the records that this makes.

    folder: the run folder, for its pictures; without it placeholders stand for them.
    """
    return replay_with_result(records, folder)[0]


def replay_with_result(
    records: Sequence[Record], folder: Path | None = None, watch: Callable[[Run], None] | None = None
) -> tuple[list[Record], JsonDict]:
    """The same, with the result that stands in the run's run.json. watch: told of the run before it is driven."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(_replay(records, folder, watch))


async def _replay(
    records: Sequence[Record], folder: Path | None, watch: Callable[[Run], None] | None
) -> tuple[list[Record], JsonDict]:
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualLoop):
        raise TypeError("a replay needs virtual time")
    header = records[0]
    kind = experiment_type(header["protocol"])
    clock = ReplayClock(loop, records)
    punctual = VirtualClock(loop)  # recorded devices and commands come at their instants, whatever waits were late
    await punctual.sleep_until(header["t_ns"])
    microscope = recorded_microscope()(punctual, header["instrument"], records, folder)

    def operator(run: Run) -> Awaitable[None]:
        if watch is not None:
            watch(run)
        return _operator(run, punctual, records)

    own = ("seq", "t_ns", "kind", "name", "schema")
    made, document = await rehearse(
        kind,
        build_plan_from(kind, header["plan"]),
        clock,
        microscope,
        {key: value for key, value in header.items() if key not in own},
        operator,
        records,
    )
    # As a file would hold them: what was recorded was read from one.
    return json.loads(json.dumps(made)), document["result"]


def _operator(run: Run, clock: VirtualClock, records: Sequence[Record]) -> Awaitable[None]:
    """Give the recorded commands again, each at its instant.

    A virtual run may have been commanded at the very instant of the record before, by what saw that record made. Within
    one instant only the order tells, so such a command is given when that record is made again.
    """

    def give(command: Record) -> None:
        reason = command["reason"]
        source = Source(command.get("source", "operator"))
        if command["name"] == "stopped":
            run.commands.stop(reason, source)
        elif command["name"] == "aborted":
            run.commands.abort(reason, source)
        elif command["name"] == "paused":
            run.commands.pause(reason, source)
        elif command["name"] == "resumed":
            run.commands.resume(reason, source)
        elif command["name"] == "told":
            run.commands.tell(reason, source, command.get("by", ""))
        elif command["name"] == "marked":
            run.commands.mark(reason, source, command.get("by", ""))
        elif command.get("source") == "disk":
            run.writer.fail(StorageError(reason))
        else:
            run.commands.fail(reason, source)

    # A recording of an earlier schema may lack notes that are made today, so for it notes are not counted.
    counted = {"note"} if "recorded_schema" in records[0] else set()
    prompted: dict[int, Record] = {}
    timed: list[Record] = []
    place, made = -1, sum(record["kind"] not in counted for record in run.trace.recorded()) - 1
    for before, record in pairwise(records):
        place += before["kind"] not in counted
        # Failures of tasks in the background have no source, for they come about again by themselves.
        if record["kind"] == "command" and (record["name"] != "failed" or "source" in record):
            if before["t_ns"] == record["t_ns"]:
                prompted[place] = record
            else:
                timed.append(record)

    def prompt(record: Record) -> None:
        nonlocal made
        made += record["kind"] not in counted
        if record["kind"] not in counted and (command := prompted.get(made)):
            give(command)

    async def wait_and_give() -> None:
        for command in timed:
            await clock.sleep_until(command["t_ns"])
            give(command)

    run.trace.observe(prompt)
    return wait_and_give()


def first_divergence(recorded: Sequence[Record], replayed: Sequence[Record]) -> Divergence | None:
    """The first record in which two traces differ; None when they agree to the last."""
    state = ""
    for k in range(max(len(recorded), len(replayed))):
        old = recorded[k] if k < len(recorded) else None
        new = replayed[k] if k < len(replayed) else None
        if old != new:
            return Divergence(k, old, new, state, recorded[max(0, k - CONTEXT_RECORDS) : k])
        if old is not None and old["kind"] == "state":
            state = old["name"]
    return None


def only_cut_off(recorded: Sequence[Record], divergence: Divergence) -> bool:
    """Whether a replay differs only where its recording ends early: it waits for what is not in it any more.

    That may be a few records before the last one: a frame stands in a trace some records after it has arrived.
    """
    if not ends_early(recorded) or len(recorded) - divergence.seq > CUT_TAIL_RECORDS:
        return False
    replayed = divergence.replayed
    return divergence.recorded is None or (replayed is not None and replayed["t_ns"] > recorded[-1]["t_ns"])
