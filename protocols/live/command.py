"""The cell of a crystal from the first degrees of its rotation, how good it is, and how long to go on.

The command `credline live`; docs/live.md.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.commands.options import Jobs, Json, Scheduler
from engine.errors import Refused
from engine.interrupts import remember_interrupts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocols.live.several import Asked
    from protocols.live.structurefactors import Wanted

live_app = typer.Typer(context_settings={"help_option_names": ["-h", "--help"]})


@live_app.command(epilog="Example: credline live runs/mordenite_001 --until-deg 15")
def live(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...",
            help="A run folder, or a folder or file of pictures of another program; several runs, folders of runs, "
            "sessions.",
        ),
    ],
    geometry: Annotated[
        Path | None, typer.Option("--geometry", help="For pictures of another program: a TOML file; docs/live.md.")
    ] = None,
    until_deg: Annotated[
        float | None, typer.Option("--until-deg", min=0.0, help="No more than the first X deg.")
    ] = None,
    every_deg: Annotated[float, typer.Option("--every-deg", min=0.1, help="How often it is looked.")] = 5.0,
    cells: Annotated[
        Path | None, typer.Option("--cells", help="Known cells, CSV: name,a,b,c,alpha,beta,gamma,group.")
    ] = None,
    factors: Annotated[
        bool, typer.Option("--structure-factors", help="Then integrate, merge, and write files for SHELX and others.")
    ] = False,
    group: Annotated[
        str | None, typer.Option("--group", help="Space group or Laue class to merge in; else by the intensities.")
    ] = None,
    composition: Annotated[
        str | None, typer.Option("--composition", help="Formula, as 'C9 H8 O4': SHELX gets factors for electrons.")
    ] = None,
    d_min: Annotated[float, typer.Option("--d-min", min=0.3, help="Integrate down to so many A.")] = 0.8,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of these files; else structure-factors in RUN.")
    ] = None,
    flux: Annotated[
        float | None, typer.Option("--flux", min=0.0, help="Electrons per A^2 and s on the crystal, to tell the dose.")
    ] = None,
    jobs: Jobs = 0,
    scheduler: Scheduler = None,
    as_json: Json = False,
) -> None:
    """Look at a rotation as if it went on now: after every few degrees its cell, Bravais type, completeness and more.

    Of several runs each has one line, with what was found at its end. Exit status: 0 a cell is determined; 1 it is
    not, and the reason is said (then there are no structure factors), of several of one at least; 2 refused.
    """
    from protocols.live.phases import read_phases
    from protocols.live.several import Asked, is_one, rotations_in

    wanted = _wanted(factors, group, composition, d_min, out)
    remember_interrupts()
    asked = Asked(every_deg, until_deg, [] if cells is None else read_phases(cells), wanted)
    if is_one(runs) and scheduler is None:
        raise typer.Exit(_one(runs[0], geometry, asked, flux, as_json))
    for name, value in (("--geometry", geometry), ("--out", out), ("--flux", flux)):
        if value is not None:
            raise Refused(f"live: {name} goes with one run, and several are given; nothing was done. Leave it out.")
    found, passed_over = rotations_in(runs)
    if passed_over:
        typer.echo(f"{passed_over} runs passed over, which are none of cRED", err=True)
    raise typer.Exit(_several(found, asked, jobs, scheduler, as_json))


def _one(run: Path, geometry: Path | None, asked: "Asked", flux: float | None, as_json: bool) -> int:
    """Every look as a line, and what is known at the end; the exit status."""
    from protocols.live.dose import Dose
    from protocols.live.frames import open_frames
    from protocols.live.several import look_through
    from protocols.live.words import line_of, summary_of

    lines: list[str] = []
    with open_frames(run, geometry) as frames:
        through = look_through(run, frames, asked, lambda told: typer.echo(line_of(told), err=as_json))
        told = through.look.told
        dose = Dose(frames.s_per_deg, flux)
        if through.not_kept:
            typer.echo(f"not kept: {through.not_kept}", err=True)
        if asked.wanted is not None and told["determined"]:
            from protocols.live.structurefactors import measure, told_of

            files, lines = told_of(run, measure(frames, through.look, through.count, asked.wanted), asked.wanted)
            told |= {"structure_factors": [str(path) for path in files]}
    for line in (*summary_of(told, dose), *lines):
        typer.echo(line, err=as_json)
    if as_json:
        typer.echo(json.dumps(told | {"seconds": round(through.seconds, 3)}))
    return 0 if told["determined"] else 1


def _several(runs: "Sequence[Path]", asked: "Asked", jobs: int, scheduler: str | None, as_json: bool) -> int:
    """A line for each run, as they come; the exit status."""
    from engine.commands.bar import bar
    from engine.executor import executor_of
    from protocols.live.several import looked

    told: dict[Path, dict[str, Any]] = {}
    determined = 0
    executor = executor_of(jobs, scheduler, runs)
    with bar("looking") as advance:
        for count, one in enumerate(executor.each(looked, [(run, asked) for run in runs]), 1):
            advance(count, len(runs))
            found = bool(one.told.get("determined"))
            determined += found and not one.why_not
            told[one.run] = {"run_dir": str(one.run), **one.told, "why_not": one.why_not or None}
            if one.line:
                typer.echo(f"{one.run}: {one.line}", err=as_json)
            if one.why_not:
                typer.echo(f"FAILED: {one.run}: {one.why_not}", err=True)
    typer.echo(f"a cell is determined of {determined} of {len(runs)} runs", err=True)
    if as_json:
        typer.echo(json.dumps({"runs": [told[run] for run in runs]}))
    return 0 if determined == len(runs) else 1


def _wanted(
    factors: bool, group: str | None, composition: str | None, d_min: float, out: Path | None
) -> "Wanted | None":
    """What is asked of structure factors; None for none. Refused for options that go with them, and a wrong formula."""
    if not factors:
        if group is not None or composition is not None or out is not None:
            raise Refused("live: --group, --composition and --out go with --structure-factors; nothing was done.")
        return None
    from protocols.integration.electronfactors import read_composition
    from protocols.live.structurefactors import Wanted

    return Wanted(group, None if composition is None else read_composition(composition), d_min, out)
