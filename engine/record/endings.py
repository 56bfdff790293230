"""How a run ended, as it stands in run.json, in the trace and in the exit status."""

from dataclasses import dataclass
from enum import Enum


class Status(Enum):
    """How a run ended."""

    DONE = "done"
    STOPPED = "stopped"
    ABORTED = "aborted"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Ending:
    """Status and reason, as they stand in run.json."""

    status: Status
    reason: str


WORK_DONE = Ending(Status.DONE, "the work is done")
"""How a run ends whose experiment left it to the engine to say so."""
