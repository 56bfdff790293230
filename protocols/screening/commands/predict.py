"""`credline screening predict`: frames, files of them, folders and runs, each with its score."""

import json
from pathlib import Path
from typing import Annotated

import typer

from engine.commands.bar import bar
from engine.commands.options import Jobs, Scheduler
from engine.errors import Refused, shown
from protocols.screening.commands.options import Method, Model
from protocols.zones.commands.options import Json, PerPx, Sources

GOOD = 0.5


def predict(
    sources: Sources,
    method: Annotated[Method, typer.Option("--method", help="The network, or the geometry of the spots.")] = (
        Method.NETWORK
    ),
    model: Model = None,
    per_px: PerPx = None,
    jobs: Jobs = 0,
    scheduler: Scheduler = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for scores.csv, instamatic.csv and contact.png.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Score frames: how likely their crystal is worth a cRED run, how far it diffracts, one lattice or several.

    Exit status: 0 done; 1 no frame could be read; 2 refused.
    """
    from engine.clock import NS_PER_S, RealClock
    from engine.executor import executor_of
    from protocols.screening.contactsheet import contact_sheet
    from protocols.screening.scoredfiles import pieces, scored
    from protocols.screening.tables import write_instamatic, write_scores

    if out is not None and out.exists():
        raise Refused(f"--out {shown(out)}: exists and is kept; give another name. Nothing was scored.")
    if model is not None and method is Method.GEOMETRY:
        raise Refused("--model: is of no use with --method geometry; leave one out. Nothing was scored.")
    work = pieces(sources, per_px, model, method.value)
    total = sum(piece.count for piece in work)
    clock = RealClock()
    sees = [*sources] if model is None else [*sources, model]
    with bar("screening") as advance:
        rows, notes = scored(executor_of(jobs, scheduler, sees), work, lambda done: advance(done, total, ""))
    took_s = clock.now_ns() / NS_PER_S
    for note in notes:
        typer.echo(f"Note: {note}", err=True)
    scores = [(row, row.score) for row in rows if row.score is not None]
    best = sorted(scores, key=lambda pair: -pair[1].good)
    good = sum(score.good > GOOD for _, score in scores)
    typer.echo(f"{good} of {len(scores)} frames are good (above {GOOD}); the best:", err=as_json)
    for row, score in best[:10]:
        typer.echo(f"  {row.name}  {score.good:.3f}  {score.why}", err=as_json)
    if unread := [row for row in rows if row.score is None]:
        typer.echo(f"NOT READ: {len(unread)} of {total} frames, such as {unread[0].error}", err=True)
    typer.echo(f"{total} frames in {took_s:.1f} s, processes and their start included", err=as_json)
    if out is not None:
        write_scores(out / "scores.csv", rows)
        write_instamatic(out / "instamatic.csv", rows)
        contact_sheet(out / "contact.png", [(row.name, score) for row, score in best], sources, per_px)
        typer.echo(f"written: {out}/scores.csv, instamatic.csv, contact.png", err=as_json)
    if as_json:
        typer.echo(json.dumps({"frames": total, "good": good, "unread": len(unread), "seconds": round(took_s, 2)}))
    if not scores:
        raise typer.Exit(1)
