"""Bugs where the disk fails."""

from collections.abc import Callable
from typing import Any

from benchmarks.plantedbugs.registry import Swap, bug
from engine.errors import CredlineError
from engine.record.journal import Journal
from engine.record.writer import Writer
from engine.run.data import RunData


@bug("a disk error ignored")
def _() -> list[Swap]:
    return [(Writer, "fail", lambda self, error: None)]


@bug("a failed write is followed by others")
def _() -> list[Swap]:
    def submit(self: Writer, job: Callable[[], object], size_bytes: int = 0) -> None:
        def careless() -> None:
            try:
                job()
            except OSError:
                pass

        self._queue(careless, size_bytes)

    return [(Writer, "submit", submit)]


@bug("the journal misses the last state")
def _() -> list[Swap]:
    unchanged = Journal.note

    def note(self: Journal, **fields: Any) -> None:
        if fields.get("state") not in ("failed", "aborted"):
            unchanged(self, **fields)

    return [(Journal, "note", note)]


@bug("the spool goes although the disk failed")
def _() -> list[Swap]:
    unchanged = RunData.write

    async def write(self: RunData, experiment: Any) -> None:
        try:
            await unchanged(self, experiment)
        except CredlineError:
            (self._run.folder / "frames.spool").unlink(missing_ok=True)
            raise

    return [(RunData, "write", write)]
