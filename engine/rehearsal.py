"""Carry out an experiment without leaving anything on disk: for replays, what-ifs and tests of plans."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from engine.experiment import Ending, ExperimentType, Status
from engine.run import Run
from engine.storage import Journal, Writer
from engine.trace import Record, Trace
from engine.virtual import VirtualClock


class _DiscardingWriter(Writer):
    """Writes nothing: what a rehearsal makes is its trace."""

    def submit(self, job: Callable[[], object], size_bytes: int = 0) -> None:
        """Drop the job."""

    def submit_observation(self, job: Callable[[], object]) -> None:
        """Drop the job."""

    async def run(self, job: Callable[[], object]) -> None:
        """Drop the job."""


async def rehearse(
    kind: ExperimentType,
    plan: Any,
    clock: VirtualClock,
    microscope: Any,
    header: Mapping[str, Any],
    operator: Callable[[Run], Awaitable[None]] | None = None,
) -> tuple[list[Record], dict[str, Any]]:
    """Drive an experiment on this clock and instrument; its records, and what its run.json would say.

    operator: gives commands to the run. Raises Refused when the plan does not fit the instrument.
    """
    prepared = kind.prepare(plan, microscope)
    made: list[Record] = []
    trace = Trace(clock)
    trace.observe(made.append)
    trace.header(**header)
    writer = _DiscardingWriter()
    with TemporaryDirectory(prefix="credline-") as name:
        folder = Path(name)
        journal = Journal(folder / "journal.jsonl", writer, durable=False)
        run = Run(clock, trace, writer, journal, folder, durable=False)
        try:
            experiment = prepared.begin(run)
            commands = asyncio.ensure_future(operator(run)) if operator else None
            await run.drive(experiment)
            if commands is not None:
                commands.cancel()
        finally:
            writer.close()
            run.files.close()
            journal.close()
    ending = run.ending or Ending(Status.DONE, "")
    return made, {"status": ending.status.value, "reason": ending.reason, **experiment.document()}
