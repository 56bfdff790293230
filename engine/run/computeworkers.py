"""Who computes while a run is under way: a worker for each computation, and when their answers enter the run.

`Workers` answers the gate (`engine.run.compute`). On the real clock an answer counts when it comes. On a virtual clock
it comes at begin + declared latency: until then the loop goes on, and at that instant time stands still for the worker.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from engine.clock import Clock, ns
from engine.errors import ComputationError
from engine.record.writer import Writer
from engine.run.compute import Bulk, Computation, Job, Outcome, Trouble, Verdict
from engine.run.computeprocess import Computer, InProcess, WorkerProcess
from engine.run.computeworker import Answer, Question
from engine.run.warmworkers import WarmWorkers

T = TypeVar("T")


BULK_FOLDER = "computations"

VIRTUAL_PATIENCE_S = 300.0
"""On the wall: under virtual time a worker that has not answered by then has died."""


class Holder:
    """Holds virtual time while something blocks; what comes back comes after all else at that instant.

    A replay goes through it as well, where nothing blocks, so that events of one instant keep their order.
    """

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None

    async def hold(self, blocking: Callable[[], T]) -> T:
        """Wait for this in a thread, on a `VirtualLoop`."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="computations")
        return await asyncio.get_running_loop().run_in_executor(self._thread, blocking)

    def close(self) -> None:
        """End the thread."""
        if self._thread is not None:
            self._thread.shutdown(wait=True, cancel_futures=True)


def nothing() -> None:
    """What is waited for where only the order counts."""


class Workers:
    """Implements `engine.run.compute.Computing` for a run that is under way; one worker for each computation.

    warm: processes of runs before, for this one, and of this one for those after it.
    """

    def __init__(
        self,
        clock: Clock,
        writer: Writer,
        folder: Path,
        spool: Path,
        *,
        durable: bool,
        warm: WarmWorkers | None = None,
    ) -> None:
        self._clock = clock
        self._writer = writer
        self._folder = folder
        self._spool = spool
        self._durable = durable
        self._warm = warm
        self._computers: dict[str, Computer] = {}
        self._trouble: Trouble | None = None
        self._holder = Holder()
        self._kept_bytes: dict[str, int] = {}

    async def ready(self, computations: Sequence[Computation], *, inline: bool, trouble: Trouble | None) -> None:
        """See `Computing.ready`; all are started before the first is waited for."""
        self._trouble = trouble
        for computation in computations:
            in_process = inline or (computation.quick and self._clock.is_virtual)
            self._computers[computation.name] = InProcess(self._spool) if in_process else self._worker(computation)
        begun = [computer.warm() for computer in self._computers.values()]
        for computation, loaded in zip(computations, begun, strict=True):
            if self._clock.is_virtual:
                failed = await self._holder.hold(loaded.result)
            else:
                failed = await asyncio.wrap_future(loaded)
            if failed:
                raise ComputationError(
                    f"computation {computation.name}: {computation.function} cannot be used ({failed}); the run ends "
                    "before anything was exposed. Check its name and what it imports."
                )

    def _worker(self, computation: Computation) -> WorkerProcess:
        # One that is a little late keeps its worker, which took seconds to warm.
        if self._clock.is_virtual:
            return WorkerProcess(computation, self._spool, VIRTUAL_PATIENCE_S, niceness=0, warm=self._warm)
        return WorkerProcess(computation, self._spool, 2 * computation.limit_s, warm=self._warm)

    def asked(self, computation: Computation, job: Job) -> None:
        """See `Computing.asked`: all can be answered."""

    async def carry_out(self, computation: Computation, job: Job) -> Outcome:
        """See `Computing.carry_out`."""
        if (job.pictures or job.earlier) and not await self._on_disk(computation):
            return late(computation, job, "what it reads was not on the disk by then; ")
        job.begin_ns = self._clock.now_ns()
        trouble = (self._trouble(computation.name, job.number) if self._trouble is not None else None) or ""
        question = Question(computation, job.arguments, job.pictures, job.earlier, trouble)
        virtual = self._clock.is_virtual
        answered = await (self._virtually(question, job.begin_ns) if virtual else self._really(question, job.begin_ns))
        if answered is None:
            return late(computation, job)
        if answered.died:
            return dead(computation, job, answered.failed)
        if answered.failed:
            return Outcome(
                Verdict.IN_TIME,
                error=f"computation {computation.name}, number {job.number}: its function failed ({answered.failed}); "
                "there is no result, the next can be computed. Report it to who wrote the function.",
            )
        return Outcome(Verdict.IN_TIME, answered.result, bulk=self._kept(computation, answered.bulk))

    async def let_go(self, computation: Computation, job: Job) -> None:
        """See `Computing.let_go`."""
        await self._clock.at_rest()

    def close(self) -> None:
        """See `Computing.close`."""
        for computer in self._computers.values():
            computer.close()
        self._holder.close()

    async def _on_disk(self, computation: Computation) -> bool:
        """Wait until all pictures and bytes so far are written, but no longer than the computation itself may take."""
        limit = self._clock.timeout_at(self._clock.now_ns() + ns(computation.limit_s))
        with suppress(TimeoutError):
            async with limit:
                await self._writer.run(nothing)
        return not limit.expired()

    async def _really(self, question: Question, begin_ns: int) -> Answer | None:
        computation = question.computation
        asked = self._computers[computation.name].ask(question)
        with suppress(TimeoutError):
            async with self._clock.timeout_at(begin_ns + ns(computation.limit_s)):
                return await asyncio.wrap_future(asked)
        return None

    async def _virtually(self, question: Question, begin_ns: int) -> Answer | None:
        computation = question.computation
        if question.trouble in ("late", "never"):
            await self._clock.sleep_until(begin_ns + ns(computation.limit_s))
            await self._holder.hold(nothing)
            return None
        asked = self._computers[computation.name].ask(question)
        await self._clock.sleep_until(begin_ns + ns(computation.latency_s))
        return await self._holder.hold(asked.result)

    def _kept(self, computation: Computation, data: bytes | None) -> Bulk | None:
        """Queue what goes to the computation's file, and say where it will be."""
        if data is None:
            return None
        file, offset = f"{BULK_FOLDER}/{computation.name}.bin", self._kept_bytes.get(computation.name, 0)
        self._kept_bytes[computation.name] = offset + len(data)
        path, disk = self._folder / file, self._writer.disk

        def write() -> None:
            path.parent.mkdir(exist_ok=True)
            with path.open("ab", buffering=0) as opened:
                disk.write(opened, data)
                if self._durable:
                    disk.sync(opened)

        self._writer.submit(write, len(data))
        return Bulk(file, sha256(data).hexdigest(), len(data), offset)


def late(computation: Computation, job: Job, cause: str = "") -> Outcome:
    """The outcome at the limit."""
    return Outcome(
        Verdict.LATE,
        error=f"computation {computation.name}, number {job.number}: no answer within its limit of "
        f"{computation.limit_s:g} s; {cause}what comes later is dropped. Raise its limit, or let it compute less.",
    )


def dead(computation: Computation, job: Job, cause: str = "") -> Outcome:
    """The outcome when a worker is gone."""
    return Outcome(
        Verdict.DEAD,
        error=f"computation {computation.name}, number {job.number}: its worker process died"
        f"{f' ({cause})' if cause else ''}; there is no result, a new worker is being made. If it happens again, look "
        "whether the memory suffices.",
    )
