"""The run's writer: one thread through which frames, journal and trace reach the disk, in order.

Because there is one queue, a journal line is written after the frames it speaks of. Writing never holds up the
loop; when the disk falls behind by more than `limit_bytes`, `room` makes the run wait (slots are then lost by
name, memory stays bounded). After a write error nothing more is written: whoever asked to be told (`on_error`)
ends the run in the safe state.
"""

import asyncio
import errno
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import structlog

from engine.errors import StorageError
from engine.record.disk import Disk

log = structlog.get_logger()

PENDING_LIMIT_BYTES = 256 * 1024 * 1024


STUCK_S = 10.0
"""A disk that writes nothing for so long while a run waits for it has failed."""


class Writer:
    """Runs writing jobs in one thread, in the order of submission.

    disk: where the jobs write. wait_recorded: how a run waits for room, so that its trace tells of it; set by the run,
    as is on_error, which is called on the loop with the first error, once.
    """

    def __init__(self, limit_bytes: int = PENDING_LIMIT_BYTES, disk: Disk | None = None) -> None:
        self.disk = disk or Disk()
        self.wait_recorded: Callable[[str, Callable[[int], Awaitable[None]], int], Awaitable[None]] | None = None
        self.on_error: Callable[[StorageError], None] | None = None
        self.error: StorageError | None = None
        self.most_pending_bytes = 0
        self.waits = 0
        """How often the run waited for room."""
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self.limit_bytes = limit_bytes
        self._pending: deque[tuple[asyncio.Future[object], int]] = deque()
        self._pending_bytes = 0
        self._broken = False  # in the writer's thread: what follows a failed job is not written
        self._asked = 0

    def submit(self, job: Callable[[], object], size_bytes: int = 0) -> None:
        """Queue a job; returns at once. After a failed job nothing is written any more, and this does nothing."""

        def unless_broken() -> None:
            if self._broken:
                return
            try:
                job()
            except BaseException:
                self._broken = True
                raise

        self._queue(unless_broken, size_bytes)

    def submit_observation(self, job: Callable[[], object], size_bytes: int = 0) -> None:
        """Queue a job that may fail without hurting the run: a failure is logged, earlier errors do not matter."""

        def watched() -> None:
            try:
                job()
            except OSError as error:
                log.warning("records of the trace could not be written", cause=str(error))

        self._queue(watched, size_bytes)

    def _queue(self, job: Callable[[], object], size_bytes: int) -> None:
        future = asyncio.get_running_loop().run_in_executor(self._executor, job)
        self._pending.append((future, size_bytes))
        self._pending_bytes += size_bytes
        self.most_pending_bytes = max(self.most_pending_bytes, self._pending_bytes)
        future.add_done_callback(self._done)

    def _done(self, _: asyncio.Future[object]) -> None:
        while self._pending and self._pending[0][0].done():  # one thread: they are done in order
            future, size = self._pending.popleft()
            self._pending_bytes -= size
            if not future.cancelled() and (error := future.exception()) is not None:
                self.fail(_explained(error))

    def fail(self, error: StorageError) -> None:
        """Take note that the disk failed; the first time, tell who asked for it."""
        if self.error is None:
            self.error = error
            if self.on_error is not None:
                self.on_error(error)

    async def room(self) -> None:
        """Wait until less than the limit is pending. Raises StorageError if a job failed."""
        self._asked += 1
        if self.error is None and self._behind(self._asked):
            self.waits += 1
            if self.wait_recorded is None:
                await self._wait_for_room(self._asked)
            else:
                await self.wait_recorded("room", self._wait_for_room, self._asked)
        if self.error is not None:
            raise self.error

    def _behind(self, asked: int) -> bool:
        return self._pending_bytes > self.limit_bytes

    async def _wait_for_room(self, asked: int) -> None:
        while self._pending_bytes > self.limit_bytes and self.error is None:
            done, _ = await asyncio.wait([self._pending[0][0]], timeout=STUCK_S)
            if not done:  # the beam does not stay on for a disk that hangs
                self.fail(
                    StorageError(
                        f"the disk has taken nothing for {STUCK_S:g} s; frames written before stay valid. Check the "
                        "disk, then run 'credline recover' on the run folder."
                    )
                )
        if self.error is not None:
            raise self.error

    async def drain(self) -> None:
        """Wait until everything queued is written. Raises StorageError if a job failed."""
        while self._pending:
            await asyncio.wait([future for future, _ in self._pending])
        if self.error is not None:
            raise self.error

    async def carry_out(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do long work at the end of a run, of several jobs; `name` is what a trace calls it (`Run.on_disk`)."""
        await work()

    async def run(self, job: Callable[[], object]) -> None:
        """Run a job in the writer's thread after everything queued, and wait for it; its errors are raised here."""
        await asyncio.get_running_loop().run_in_executor(self._executor, job)

    def close(self) -> None:
        """End the thread after the last job. Errors not seen by then are dropped: call `drain` first."""
        self._executor.shutdown(wait=True)
        for future, _ in self._pending:
            if future.done() and not future.cancelled():
                future.exception()
        self._pending.clear()


def _explained(error: BaseException) -> StorageError:
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    remedy = "Free some space" if full else "Check the disk"
    return StorageError(
        f"data could not be written ({error}); frames written before stay valid. {remedy}, then run "
        "'credline recover' on the run folder."
    )
