"""`credline soak`: thousands of virtual runs on bad days, in all processors, and the simplest one that broke a rule."""

from typing import Annotated

import typer

from engine.commands.options import Jobs, Scheduler

LARGEST_SEED = 2**62


def soak(
    protocol: Annotated[str, typer.Argument(help="Which experiment, by its name, as in the example.")],
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How many runs.")] = 200,
    first: Annotated[
        int, typer.Option("--first", min=0, max=LARGEST_SEED, help="The first seed; each run has its own.")
    ] = 0,
    hard: Annotated[
        bool,
        typer.Option(
            "--hard", help="Draw the second way: troubles in pairs, in the safe state and while a state is being left."
        ),
    ] = False,
    jobs: Jobs = 0,
    scheduler: Scheduler = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="One run only: a key of the plan instead of the drawn one.")
    ] = None,
    faults: Annotated[
        list[str] | None,
        typer.Option("--fault", help="One run only: these troubles instead of the drawn ones, 'none' for none."),
    ] = None,
) -> None:
    """Try an experiment in a simulated world where everything fails, and check that every run keeps its rules.

    The same seed is the same run. A run that breaks a rule is made as simple as it still breaks it, and printed as
    a command.
    """
    from engine.commands.soakruns import soak_runs
    from engine.executor import executor_of

    soak_runs(protocol, seeds, first, lambda: executor_of(jobs, scheduler), settings or [], faults or [], hard=hard)
