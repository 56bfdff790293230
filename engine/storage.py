"""The run's writer: one thread through which frames, journal and trace reach the disk, in order.

Because there is one queue, a journal line is written after the frames it speaks of. Writing never holds up the
loop; when the disk falls behind by more than `limit_bytes`, `room` makes the run wait (slots are then lost by
name, memory stays bounded). A write error is kept and raised at the next use: the run then ends in the safe state.
"""

import asyncio
import errno
import json
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import structlog

from engine.errors import Refused, StorageError

log = structlog.get_logger()

PENDING_LIMIT_BYTES = 256 * 1024 * 1024


class Writer:
    """Runs writing jobs in one thread, in the order of submission."""

    def __init__(self, limit_bytes: int = PENDING_LIMIT_BYTES) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._limit_bytes = limit_bytes
        self._pending: deque[tuple[asyncio.Future[Any], int]] = deque()
        self._pending_bytes = 0
        self._error: StorageError | None = None

    def submit(self, job: Callable[[], object], size_bytes: int = 0) -> None:
        """Queue a job; returns at once. Raises StorageError if an earlier job failed (this one is NOT queued)."""
        self._reap()
        future = asyncio.get_running_loop().run_in_executor(self._executor, job)
        self._pending.append((future, size_bytes))
        self._pending_bytes += size_bytes

    def submit_observation(self, job: Callable[[], object]) -> None:
        """Queue a job that may fail without hurting the run: a failure is logged, earlier errors do not matter."""

        def watched() -> None:
            try:
                job()
            except OSError as error:
                log.warning("records of the trace could not be written", cause=str(error))

        self._pending.append((asyncio.get_running_loop().run_in_executor(self._executor, watched), 0))

    def _reap(self) -> None:
        while self._pending and self._pending[0][0].done():
            future, size = self._pending.popleft()
            self._pending_bytes -= size
            self._keep(future.exception())
        if self._error is not None:
            raise self._error

    def _keep(self, error: BaseException | None) -> None:
        if error is not None and self._error is None:
            full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
            remedy = "Free some space" if full else "Check the disk"
            self._error = StorageError(
                f"data could not be written ({error}); frames written before stay valid. {remedy}, then run "
                "'credline recover' on the run folder."
            )

    async def room(self) -> None:
        """Wait until less than the limit is pending. Raises StorageError if a job failed."""
        self._reap()
        while self._pending_bytes > self._limit_bytes:
            await asyncio.wait([self._pending[0][0]])
            self._reap()

    async def drain(self) -> None:
        """Wait until everything queued is written. Raises StorageError if a job failed."""
        while self._pending:
            await asyncio.wait([future for future, _ in self._pending])
            self._reap()
        self._reap()

    async def run(self, job: Callable[[], object]) -> None:
        """Run a job in the writer's thread after everything queued, and wait for it; its errors are raised here."""
        await asyncio.get_running_loop().run_in_executor(self._executor, job)

    def close(self) -> None:
        """End the thread after the last job. Errors not seen by then are dropped: call `drain` first."""
        self._executor.shutdown(wait=True)
        for future, _ in self._pending:
            if future.done():
                future.exception()
        self._pending.clear()


class Journal:
    """journal.jsonl: what is safely on disk, one line per state boundary.

    Unlike the trace's observers it must not fail: if it cannot write, the run stops. `durable` forces every line
    to the disk itself (4-20 ms, in the writer's thread); a virtual run does without, its seed recreates it.
    """

    def __init__(self, path: Path, writer: Writer, *, durable: bool) -> None:
        self._file = path.open("x", encoding="utf-8", newline="\n")
        self._writer = writer
        self._durable = durable

    def note(self, **fields: Any) -> None:
        """Queue a line; it is on disk after everything queued before it. Raises StorageError as `Writer.submit`."""
        self._writer.submit(lambda: self._write(json.dumps(fields, separators=(",", ":")) + "\n"))

    def _write(self, line: str) -> None:
        self._file.write(line)
        self._file.flush()
        if self._durable:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file; the writer must be drained."""
        self._file.close()


def create_run_folder(out: Path, sample: str) -> Path:
    """Make `<out>/<sample>_<number>` with the next free number, atomically; nothing is ever overwritten.

    Raises Refused when `out` cannot be made or written to.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        taken = [entry.name[len(sample) + 1 :] for entry in out.iterdir() if entry.name.startswith(f"{sample}_")]
        number = max((int(name) for name in taken if name.isdecimal()), default=0) + 1
        while True:
            folder = out / f"{sample}_{number:03d}"
            try:
                folder.mkdir()
            except FileExistsError:
                number += 1
            else:
                return folder
    except OSError as error:
        raise Refused(
            f"--out {out}: no run folder can be made there ({error.strerror or error}); nothing was started. "
            "Choose a folder you may write to."
        ) from error


def write_atomically(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Replace `path` by `content` so that a reader, or a crash, sees the old or the new and never a half."""
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        if durable:
            os.fsync(file.fileno())
    temporary.replace(path)


def write_json(path: Path, document: object, *, durable: bool = True) -> None:
    """Write a JSON document atomically, indented for people."""
    write_atomically(path, (json.dumps(document, indent=2) + "\n").encode(), durable=durable)
