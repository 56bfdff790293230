"""The gate through which what is computed from data enters a run: in worker processes, timed, bounded, recorded.

An experiment declares its computations before the run's first state (`ComputeGate.declare`) and awaits
`run.compute.compute(...)` where a decision needs one. The outcome is an event of the run, a record of kind
`computation`; a replay takes it from there. Who answers is a `Computing`: the workers (`engine.run.computeworkers`) or
a recorded run (`engine.replay.computations`).
"""

import asyncio
import json
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Literal, Protocol, TypeAlias

from engine.clock import Clock
from engine.errors import ComputationError, Refused
from engine.record.jsonobject import JsonDict
from engine.record.trace import Trace

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

LIMIT_BYTES = 64 * 1024
"""The most that arguments or a result may take as JSON: they stand in the trace."""

NAME = re.compile(r"[a-z][a-z0-9_]*")
FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


class Verdict(StrEnum):
    """How a computation ended for who asked for it."""

    IN_TIME = "in time"
    LATE = "late"
    """No answer within its limit; what comes later is dropped."""
    DEAD = "dead"
    """Its worker process died; another one is made."""
    REPLACED = "replaced"
    """It waited for its turn, and a newer one took its place."""
    GIVEN_UP = "given up"
    """Who asked for it was cancelled. It has no outcome, only a record."""


@dataclass(frozen=True, slots=True)
class Computation:
    """A pure function of JSON arguments and pictures, and how long it may take. Declared once.

    The process that computes it may serve other runs before and after.

    function: `module:function`, called in the worker as `function(arguments, picture)`; `picture(index)` is a picture
        that was named, by its index in the run's spool. It returns JSON, or a tuple of JSON and bytes: these go to a
        file of the run folder, their digest into the event.
    builds_on: a computation that was declared before; then it is called as `function(arguments, picture, earlier)`,
        `earlier` being the bytes of all outcomes that this one had when the new one was asked for
        (`engine.run.computeworker.Earlier`), in their order.
    latency_s: what it takes on a virtual clock. limit_s: after this it is late, on every clock; both count from when it
        begins to be computed, which is when its turn has come and its pictures are on the disk.
    queue: `every` = each is computed, in order; `newest` = one that waits for its turn is replaced by a newer one.
    resolution: to which the floats of a result are rounded: one for all, or by key (for all that lies under that key).
    quick: takes some milliseconds, so that on a virtual clock it is computed in this process, and no worker is made.

    Raises Refused for what cannot be.
    """

    name: str
    function: str
    latency_s: float
    limit_s: float
    queue: Literal["every", "newest"] = "every"
    resolution: float | Mapping[str, float] = field(default_factory=dict)
    quick: bool = False
    builds_on: str = ""

    def __post_init__(self) -> None:
        steps = self.resolution.values() if isinstance(self.resolution, Mapping) else [self.resolution]
        if not NAME.fullmatch(self.name) or not FUNCTION.fullmatch(self.function):
            raise Refused(
                f"computation {self.name!r}: a name is lower-case letters, digits and _, a function is written "
                f"module:function (not {self.function!r}). Nothing was started."
            )
        if not 0 < self.latency_s <= self.limit_s or self.queue not in ("every", "newest"):
            raise Refused(
                f"computation {self.name}: its latency ({self.latency_s:g} s) must be above 0 and at most its limit "
                f"({self.limit_s:g} s), and its queue 'every' or 'newest'. Nothing was started."
            )
        if not all(step > 0 for step in steps):
            raise Refused(f"computation {self.name}: a resolution must be above 0. Nothing was started.")


@dataclass(frozen=True, slots=True)
class Bulk:
    """What a computation returned beside its result: `size_bytes` bytes from byte `offset` of a file on.

    file: relative to the run folder, forward slashes; it holds the bytes of all outcomes of one computation.
    """

    file: str
    sha256: str
    size_bytes: int
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a computation ended: a value, for lateness is nothing that a protocol may overlook.

    result: JSON, floats rounded; None unless `good`. error: one line saying why there is none; empty when there is.
    """

    verdict: Verdict
    result: Json = None
    error: str = ""
    bulk: Bulk | None = None

    @property
    def good(self) -> bool:
        """Whether there is a result: it came in time, and the function did not fail."""
        return self.verdict is Verdict.IN_TIME and not self.error

    def get(self) -> Json:
        """The result. Raises ComputationError with the reason where there is none."""
        if not self.good:
            raise ComputationError(self.error)
        return self.result

    @property
    def fields(self) -> JsonDict:
        """The result of a function that returns an object. Raises ComputationError, as `get`, and for another one."""
        result = self.get()
        if not isinstance(result, dict):
            raise ComputationError(f"a result that is no object: {type(result).__name__}")
        return result


@dataclass(slots=True, eq=False)
class Job:
    """A computation that was asked for. number: the how manieth of its name, from 1. begin_ns: when it began to be
    computed; None while it has not. earlier: the bytes that it builds on.
    """

    number: int
    arguments: Mapping[str, Json]
    pictures: tuple[int, ...]
    asked_ns: int
    outcome: asyncio.Future[Outcome]
    earlier: tuple[Bulk, ...] = ()
    begin_ns: int | None = None


class Computing(Protocol):
    """Who answers the gate."""

    async def ready(self, computations: Sequence[Computation], *, inline: bool, trouble: "Trouble | None") -> None:
        """Be ready before the run's first state. Raises ComputationError when a function cannot be loaded."""
        ...

    def asked(self, computation: Computation, job: Job) -> None:
        """Told of every job before it waits for its turn. Raises ComputationError when it cannot be answered."""
        ...

    async def carry_out(self, computation: Computation, job: Job) -> Outcome:
        """Its turn has come: return the outcome at the instant at which it is known; sets `Job.begin_ns`."""
        ...

    async def let_go(self, computation: Computation, job: Job) -> None:
        """Who asked was cancelled: wait until this may enter the run."""
        ...

    def close(self) -> None:
        """End what was started; blocks for as long as that takes."""
        ...


Trouble = Callable[[str, int], str | None]
"""What befalls the n-th computation of a name, n from 1: `late`, `dead`, `never`, or None."""


@dataclass(slots=True)
class _Lane:
    """One computation's queue: at most one job is under way."""

    computation: Computation
    asked: int = 0
    waiting: deque[Job] = field(default_factory=deque)
    job: Job | None = None
    work: asyncio.Task[None] | None = None
    kept: list[Bulk] = field(default_factory=list)
    """The bytes of its outcomes so far."""


class ComputeGate:
    """Lets the outcomes of computations into one run.

    inline: they are computed in this process, for virtual runs by the thousand. trouble: what befalls them. Both are
    set before the run is driven.
    """

    def __init__(self, clock: Clock, trace: Trace, computing: Computing) -> None:
        self.computing = computing
        self.inline = False
        self.trouble: Trouble | None = None
        self._clock = clock
        self._trace = trace
        self._lanes: dict[str, _Lane] = {}

    @property
    def declared(self) -> Sequence[Computation]:
        """What the experiment may compute, in the order of declaration."""
        return [lane.computation for lane in self._lanes.values()]

    def declare(self, *computations: Computation) -> None:
        """Say what the run may compute, before it is driven: each gets a worker of its own. Raises Refused for a name
        that is taken, and for one that builds on what is not declared.
        """
        for computation in computations:
            if computation.name in self._lanes:
                raise Refused(f"computation {computation.name}: is declared twice. Nothing was started.")
            if computation.builds_on and computation.builds_on not in self._lanes:
                raise Refused(
                    f"computation {computation.name}: builds on {computation.builds_on}, which is not declared before "
                    "it. Nothing was started."
                )
            self._lanes[computation.name] = _Lane(computation)

    async def ready(self) -> None:
        """Start and warm the workers: 1-3 s on the real clock, longer on a busy machine or where a network's library is
        imported, 300 s at most; nothing where nothing is declared.

        Raises ComputationError when a function cannot be loaded.
        """
        if self._lanes:
            await self.computing.ready(self.declared, inline=self.inline, trouble=self.trouble)

    async def compute(
        self, computation: Computation, arguments: Mapping[str, Json], pictures: Sequence[int] = ()
    ) -> Outcome:
        """Ask for a computation, wait for its outcome, record it.

        pictures: indices in the run's spool, of frames that were appended before. The outcome comes within `limit_s`
        of its turn (and as long again, at most, if the disk is behind with its pictures). Who is cancelled meanwhile
        frees the queue. Raises ComputationError for arguments that are no JSON or too large, and for what was not
        declared.
        """
        lane = self._lanes.get(computation.name)
        if lane is None or lane.computation != computation:
            raise ComputationError(
                f"computation {computation.name}: was not declared before the run, so no worker is there; nothing was "
                "computed. Declare it where the experiment begins (run.compute.declare)."
            )
        copied = _copied(computation, arguments)
        lane.asked += 1
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        earlier = tuple(self._lanes[computation.builds_on].kept) if computation.builds_on else ()
        job = Job(lane.asked, copied, tuple(pictures), self._trace.now_ns, outcome, earlier)
        self.computing.asked(computation, job)
        if computation.queue == "newest":
            while lane.waiting:
                self._conclude(lane, lane.waiting.popleft(), _replaced(computation, job), self._trace.now_ns)
        lane.waiting.append(job)
        if lane.job is None:
            self._next(lane)
        try:
            return await outcome
        except asyncio.CancelledError:
            if outcome.cancelled():  # else it had ended, and this is another matter
                try:
                    await self.computing.let_go(computation, job)
                finally:
                    self._record(lane, job, Outcome(Verdict.GIVEN_UP), self._trace.tick())
                    self._free(lane, job)
            raise

    def close(self) -> None:
        """End the workers, when the run is over; blocks for some 10 ms a worker."""
        for lane in self._lanes.values():
            if lane.work is not None:
                lane.work.cancel()
        self.computing.close()

    def _next(self, lane: _Lane) -> None:
        lane.job = lane.work = None
        if lane.waiting:
            lane.job = job = lane.waiting.popleft()
            name = f"computation {lane.computation.name} {job.number}"
            lane.work = asyncio.get_running_loop().create_task(self._work(lane, job), name=name)

    def _free(self, lane: _Lane, job: Job) -> None:
        """Nobody waits for this job any more."""
        if job in lane.waiting:
            lane.waiting.remove(job)
        elif lane.job is job:
            if lane.work is not None:
                lane.work.cancel()
            self._next(lane)

    async def _work(self, lane: _Lane, job: Job) -> None:
        """One job, from its turn to its outcome."""
        try:
            outcome = await self.computing.carry_out(lane.computation, job)
            await self._clock.at_rest()
        except Exception as error:
            if not job.outcome.cancelled():
                job.outcome.set_exception(error)
                self._next(lane)
            return
        if not job.outcome.cancelled():  # else who gave it up goes on with the queue
            self._conclude(lane, job, outcome, self._trace.tick())
            self._next(lane)

    def _conclude(self, lane: _Lane, job: Job, outcome: Outcome, end_ns: int) -> None:
        if not job.outcome.cancelled():
            self._record(lane, job, outcome, end_ns)
            job.outcome.set_result(outcome)

    def _record(self, lane: _Lane, job: Job, outcome: Outcome, end_ns: int) -> None:
        bulk = outcome.bulk
        if bulk is not None:
            lane.kept.append(bulk)
        self._trace.record(
            "computation",
            lane.computation.name,
            number=job.number,
            arguments=job.arguments,
            pictures=list(job.pictures),
            **({"earlier": len(job.earlier)} if lane.computation.builds_on else {}),
            asked_ns=job.asked_ns,
            begin_ns=job.begin_ns,
            end_ns=end_ns,
            verdict=outcome.verdict.value,
            **({"result": outcome.result} if outcome.good else {}),
            **({"error": outcome.error} if outcome.error else {}),
            **({} if bulk is None else {"bulk": asdict(bulk)}),
        )


def _copied(computation: Computation, arguments: Mapping[str, Json]) -> Mapping[str, Json]:
    """The arguments as a file would hold them, which nobody changes any more."""
    try:
        text = json.dumps(arguments, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ComputationError(
            f"computation {computation.name}: its arguments are no JSON ({error}); nothing was computed. Give numbers, "
            "text, lists and dictionaries; pictures by their index."
        ) from error
    if len(text) > LIMIT_BYTES:
        raise ComputationError(
            f"computation {computation.name}: its arguments take {len(text)} bytes as JSON, {LIMIT_BYTES} are the "
            "most; nothing was computed. Name pictures by their index, or compute from less."
        )
    copied: dict[str, Json] = json.loads(text)
    return copied


def _replaced(computation: Computation, newer: Job) -> Outcome:
    return Outcome(
        Verdict.REPLACED,
        error=f"computation {computation.name}: number {newer.number} took its place before its turn came; it was not "
        "computed. Use the newer outcome.",
    )
