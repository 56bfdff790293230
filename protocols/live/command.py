"""The cell of a crystal from the first degrees of its rotation, how good it is, and how long to go on.

The command `credline live`; docs/live.md.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.clock import NS_PER_S, RealClock
from engine.commands.options import Json
from engine.errors import Refused
from engine.interrupts import remember_interrupts

if TYPE_CHECKING:
    from protocols.live.structurefactors import Wanted

live_app = typer.Typer(context_settings={"help_option_names": ["-h", "--help"]})


@live_app.command(epilog="Example: credline live runs/mordenite_001 --until-deg 15")
def live(
    run: Annotated[Path, typer.Argument(help="A run folder, or a folder or file of pictures of another program.")],
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
    as_json: Json = False,
) -> None:
    """Look at a rotation as if it went on now: after every few degrees its cell, Bravais type, completeness and more.

    Exit status: 0 a cell is determined; 1 it is not, and the reason is said (then there are no structure factors);
    2 refused.
    """
    from engine.errors import CredlineError
    from engine.record.lock import alone_in
    from protocols.live.dose import Dose
    from protocols.live.frames import is_run, open_frames
    from protocols.live.growing import ends
    from protocols.live.keeping import keep_crystal
    from protocols.live.lookedframes import LookedFrames
    from protocols.live.phases import read_phases
    from protocols.live.words import line_of, summary_of

    wanted = _wanted(factors, group, composition, d_min, out)
    remember_interrupts()
    phases = [] if cells is None else read_phases(cells)
    clock = RealClock()
    told: dict[str, Any] = {}
    lines: list[str] = []
    seconds = 0.0
    with open_frames(run, geometry) as frames:
        looked = LookedFrames(frames, phases)
        for index, due in ends(frames, every_deg, until_deg):
            counts = frames.counts(index)
            begin_ns = clock.now_ns()
            looked.add(index, counts)
            if due:
                look = looked.look()
                told = look.told
                typer.echo(line_of(told), err=as_json)
            seconds += (clock.now_ns() - begin_ns) / NS_PER_S
        dose = Dose(frames.s_per_deg, flux)
        if until_deg is None and is_run(run):
            try:
                with alone_in(run):
                    keep_crystal(run, frames, looked.reflections, look)
            except CredlineError as error:  # a folder that is not to be written to is looked at all the same
                typer.echo(f"not kept: {error}", err=True)
        if wanted is not None and told["determined"]:
            from protocols.live.structurefactors import measure, told_of

            files, lines = told_of(run, measure(frames, look, index + 1, wanted), wanted)
            told |= {"structure_factors": [str(path) for path in files]}
    for line in (*summary_of(told, dose), *lines):
        typer.echo(line, err=as_json)
    if as_json:
        typer.echo(json.dumps(told | {"seconds": round(seconds, 3)}))
    raise typer.Exit(0 if told["determined"] else 1)


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
