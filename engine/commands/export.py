"""`credline export`: files for other programs from one run, or from many, through an executor; docs/scale-out.md."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.commands.mistyped import ONE_WORD
from engine.commands.options import Jobs, Scheduler
from engine.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence


def export(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="A finished run folder, several, or folders of runs.")
    ],
    formats: Annotated[str, typer.Option("--formats", help="Which, with commas between; default the usual ones.")] = "",
    corrected: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Correct a value of the instrument, or of the plan's on files, key=value; it is kept."
        ),
    ] = None,
    children: Annotated[
        bool, typer.Option("--children", help="Also the runs within a run, as those of a session.")
    ] = False,
    jobs: Jobs = 0,
    scheduler: Scheduler = None,
) -> None:
    """Make files for other programs from a run: pictures, instruction files, a report. May be repeated at will.

    With --set the run's own values are corrected first (run.json keeps what they were), and all files are made anew.
    Of several runs each has a line, and one that fails does not stop the others. Exit status: 0 done; 1 a run of
    several failed; 2 refused.
    """
    from engine.interrupts import remember_interrupts
    from engine.run.runlist import runs_in

    found = runs if corrected and len(runs) > 1 else runs_in(runs, children=children)
    wanted = [name.strip() for name in formats.split(",") if name.strip()]
    if len(found) == 1 and scheduler is None:
        _one(found[0], wanted, corrected or [])
        return
    if corrected:
        raise Refused(
            f"export: --set corrects one run at a time, and {len(found)} are given; nothing was written. {ONE_WORD}"
        )
    remember_interrupts()
    raise typer.Exit(_several(found, wanted, jobs, scheduler))


def _one(run: Path, wanted: "Sequence[str]", corrected: "Sequence[str]") -> None:
    from engine.commands.bar import bar
    from engine.record.lock import alone_in
    from engine.run.correcting import correct
    from engine.run.exporting import export_of, kind_of

    kind = kind_of(run)
    unknown = sorted(set(wanted) - set(kind.formats))
    if unknown and kind.formats:  # a protocol without formats says so itself
        raise Refused(f"--formats: {unknown[0]!r} is not one of {', '.join(kind.formats)}; nothing was written.")
    if corrected and wanted:
        raise Refused("export: --set changes what all files say, so they are all made anew: leave --formats out.")
    with alone_in(run), bar("exporting") as advance:
        told = correct(kind, run, corrected) if corrected else ()
        made = export_of(kind, run, wanted, advance)
    for line in (*told, *made):
        typer.echo(line)


def _several(runs: "Sequence[Path]", wanted: "Sequence[str]", jobs: int, scheduler: str | None) -> int:
    """A line for each run; the exit status."""
    from engine.commands.bar import bar
    from engine.executor import executor_of
    from engine.run.exporting import exported, jobs_of

    work, passed_over, unread = jobs_of(runs, wanted)
    executor = executor_of(jobs, scheduler, runs)
    failed = len(unread)
    for run, why in unread.items():
        typer.echo(f"FAILED: {run}: {why}", err=True)
    with bar("exporting") as advance:
        for count, (job, made, why) in enumerate(executor.each(exported, work), 1):
            advance(count, len(work))
            failed += bool(why)
            if why:
                typer.echo(f"FAILED: {job.run}: {why}", err=True)
            else:
                typer.echo(f"{job.run}: {'; '.join(made)}")
    if passed_over:
        typer.echo(f"{len(passed_over)} passed over, whose protocols make no such files", err=True)
    typer.echo(f"{len(work) + len(unread) - failed} of {len(runs)} runs exported, {failed} failed", err=True)
    return 1 if failed else 0
