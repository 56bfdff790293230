"""Options that commands of `credline screening` have in common."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from engine.executor import Executor


class Method(StrEnum):
    """By what is scored."""

    NETWORK = "network"
    GEOMETRY = "geometry"


Model = Annotated[Path | None, typer.Option("--model", help="A network of your own (`credline screening train`).")]
Jobs = Annotated[int, typer.Option("--jobs", min=0, help="Processes; 0 = one for each processor.")]
Scheduler = Annotated[str | None, typer.Option("--scheduler", help="Compute on a cluster of Dask: tcp://HOST:PORT.")]


def executor_of(jobs: int, scheduler: str | None) -> "Executor":
    """Processes of this machine, or a cluster. Refused where no scheduler answers."""
    from engine.executor import DaskExecutor, LocalExecutor

    return LocalExecutor(jobs) if scheduler is None else DaskExecutor(scheduler)
