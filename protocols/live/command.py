"""The cell of a crystal from the first degrees of its rotation, how good it is, and how long to go on.

The command `credline live`; docs/live.md.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from engine.clock import NS_PER_S, RealClock
from engine.commands.options import Json
from engine.interrupts import remember_interrupts

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
    flux: Annotated[
        float | None, typer.Option("--flux", min=0.0, help="Electrons per A^2 and s on the crystal, to tell the dose.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Look at a rotation as if it went on now: after every few degrees its cell, Bravais type, completeness and more.

    Exit status: 0 a cell is determined; 1 it is not, and the reason is said; 2 refused.
    """
    from protocols.live.dose import Dose
    from protocols.live.frames import open_frames
    from protocols.live.growing import Growing, ends
    from protocols.live.phases import read_phases
    from protocols.live.words import line_of, summary_of

    remember_interrupts()
    phases = [] if cells is None else read_phases(cells)
    clock = RealClock()
    told: dict[str, Any] = {}
    seconds = 0.0
    with open_frames(run, geometry) as frames:
        growing = Growing(frames, phases)
        for index, due in ends(frames, every_deg, until_deg):
            counts = frames.counts(index)
            begin_ns = clock.now_ns()
            growing.add(counts, int(frames.slot[index]), float(frames.start_deg[index]), float(frames.end_deg[index]))
            if due:
                told = growing.look().told
                typer.echo(line_of(told), err=as_json)
            seconds += (clock.now_ns() - begin_ns) / NS_PER_S
    for line in summary_of(told, Dose(frames.s_per_deg, flux)):
        typer.echo(line, err=as_json)
    if as_json:
        typer.echo(json.dumps(told | {"seconds": round(seconds, 3)}))
    raise typer.Exit(0 if told["determined"] else 1)
