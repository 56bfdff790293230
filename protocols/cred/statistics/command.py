"""How far the runs of a laboratory came: the command `credline statistics`; docs/cred.md."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from engine.commands.options import Json
from engine.errors import Refused

statistics_app = typer.Typer(context_settings={"help_option_names": ["-h", "--help"]})


@statistics_app.command(epilog="Example: credline statistics runs --out ranges.png")
def statistics(
    runs: Annotated[Path, typer.Argument(metavar="DIR", help="Where the run folders lie, or a runs.csv.")] = Path(
        "runs"
    ),
    out: Annotated[Path | None, typer.Option("--out", help="Draw the histogram as .png, .svg or .pdf.")] = None,
    scales: Annotated[
        Path | None,
        typer.Option("--scales", help="Draw what the spots of each frame hold, run by run, as .png, .svg or .pdf."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show how far cRED runs came: the histogram of their rotation ranges, and how many ended early. Reads only.

    With --scales also whether their crystals stayed in the aperture, by the frames; some seconds for each run.

    Exit status: 0 shown; 1 no cRED run with frames is there; 2 refused.
    """
    from protocols.cred.statistics.histogram import histogram_lines, ranges_of, summary_lines
    from protocols.cred.statistics.reading import read_all

    if scales is not None and runs.is_file():
        raise Refused(
            f"--scales: frames are read from run folders, and {runs} is a table; nothing was drawn. Name the "
            "folder in which the runs lie."
        )
    found = read_all(runs)
    if found.runs and out is not None:
        from protocols.cred.statistics.drawing import draw_ranges

        draw_ranges(found.runs, out)
    lines: list[str] = []
    if found.runs and scales is not None:
        from protocols.cred.statistics.drawing import draw_scales
        from protocols.cred.statistics.scales import scale_line, scales_of

        told = list(scales_of(found.runs, found.problems))
        if told:
            draw_scales(told, scales)
        lines = ["", *map(scale_line, told)]
    for line in found.problems:
        typer.echo(line, err=True)
    if not found.runs:
        typer.echo(f"{runs}: no cRED run with frames in it.", err=as_json)
    elif not as_json:
        for line in (*histogram_lines(found.runs), "", *summary_lines(found.runs)):
            typer.echo(line)
        for line in lines:
            typer.echo(line)
        if found.without_frames:
            typer.echo(f"{found.without_frames} more have no frames; they are not counted.")
    if as_json:
        typer.echo(json.dumps(asdict(ranges_of(found.runs)) | {"without_frames": found.without_frames}))
    raise typer.Exit(0 if found.runs else 1)
