"""Hundreds of virtual experiments, to see what tracking is worth: the command `credline campaign`; docs/tracking.md."""

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from engine.clock import NS_PER_S, RealClock
from engine.commands.options import Jobs, Json, Scheduler, Seed

campaign_app = typer.Typer(context_settings={"help_option_names": ["-h", "--help"]})

SHARES = ("runs", "below_20", "above_80", "above_120")
WORST = 10


class Which(StrEnum):
    """The campaigns that there are."""

    FIG4 = "fig4"


@campaign_app.command(epilog="Example: credline campaign fig4 --experiments 100 --seed 1 --out fig4.png")
def campaign(
    which: Annotated[Which, typer.Argument(help="fig4: the rotation ranges of Cichocka et al. (2018).")],
    experiments: Annotated[int, typer.Option("--experiments", min=1, max=100_000, help="How many.")] = 818,
    seed: Seed = 0,
    worse: Annotated[float, typer.Option("--worse", min=0.1, max=10.0, help="Mechanics so many times as bad.")] = 1.0,
    jobs: Jobs = 0,
    scheduler: Scheduler = None,
    out: Annotated[Path | None, typer.Option("--out", help="Draw both histograms as .png, .svg or .pdf.")] = None,
    table: Annotated[Path | None, typer.Option("--table", help="Write a row for each experiment, as .csv.")] = None,
    as_json: Json = False,
) -> None:
    """Make the same experiments by hand (a model of the operators) and with automatic tracking, and compare.

    Exit status: 0 done; 2 refused.
    """
    from engine.commands.bar import bar
    from engine.executor import executor_of
    from protocols.cred.campaign.campaign import both, write_table
    from protocols.cred.campaign.campaign import campaign as carried_out
    from protocols.cred.statistics.histogram import histogram_lines, summary_lines

    executor = executor_of(jobs, scheduler)
    clock = RealClock()
    with bar("experiments") as advance:
        outcomes = carried_out(executor, experiments, seed, worse, lambda done: advance(done, experiments))
    took_s = clock.now_ns() / NS_PER_S
    if out is not None:
        from protocols.cred.campaign.drawing import draw_both

        draw_both(outcomes, out)
    if table is not None:
        write_table(outcomes, table)
    rows = {"by hand": [each.hand_row for each in outcomes], "automatic": [each.automatic_row for each in outcomes]}
    for words, runs in rows.items():
        typer.echo(f"{words}:", err=as_json)
        for line in (*histogram_lines(runs), "", *summary_lines(runs), ""):
            typer.echo(line, err=as_json)
    short = sorted((each for each in outcomes if each.is_short), key=lambda each: each.automatic.range_deg)
    for each in short[:WORST]:
        run, of = each.automatic, each.experiment
        typer.echo(
            f"experiment {of.number}: {run.range_deg:.0f} of {of.allowed_deg:.0f} deg: {run.reason}", err=as_json
        )
    typer.echo(
        f"{len(short)} automatic runs ended before holder or grid ended them; {took_s:.0f} s, "
        f"{took_s / experiments:.2f} s each",
        err=as_json,
    )
    if as_json:
        hand, automatic = (asdict(ranges) for ranges in both(outcomes))
        told = {name: {key: each[key] for key in SHARES} for name, each in (("hand", hand), ("auto", automatic))}
        typer.echo(json.dumps({"experiments": experiments, "seed": seed, "worse": worse, **told}))
