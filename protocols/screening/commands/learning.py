"""`credline screening train` and `evaluate`: a network made anew, and everything judged on fresh crystals."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.commands.bar import bar
from engine.commands.options import Jobs, Scheduler
from engine.commands.tables import print_whole
from engine.errors import Refused, shown
from protocols.screening.commands.options import Model
from protocols.zones.commands.options import Json, PerPx, Seed

if TYPE_CHECKING:
    from rich.table import Table

    from protocols.screening.evaluation import Judged

from enum import StrEnum


class NetworkName(StrEnum):
    """As `protocols.screening.networks.Which`, which needs numpy."""

    SMALL = "small"
    PAPER = "paper"


def train(
    out: Annotated[Path, typer.Option("--out", help="The folder that the network is written into.")],
    network: Annotated[
        NetworkName, typer.Option("--network", help="The small one, or that of Cichocka and co-workers (2018).")
    ] = NetworkName.SMALL,
    patterns: Annotated[int | None, typer.Option("--patterns", min=100, help="How many to learn from.")] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs", min=0, help="How often each is looked at; 0 with --begin: only the judge is made anew."
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**31 - 1, help="Seed of everything random.")] = 1,
    begin: Annotated[
        Path | None, typer.Option("--begin", help="Begin with this network; 'credline' is the one that comes along.")
    ] = None,
    labelled: Annotated[
        Path | None,
        typer.Option("--labelled", help="Pictures of your own: a folder with good/ and bad/, or a CSV of file,label."),
    ] = None,
    per_px: PerPx = None,
    jobs: Jobs = 0,
    scheduler: Scheduler = None,
    quick: Annotated[bool, typer.Option("--quick", help="Seconds, to see that it works; good for nothing else.")] = (
        False
    ),
    as_json: Json = False,
) -> None:
    """Train a network on labelled patterns that are made for it; the small one takes some ten minutes on two cores.

    The network that comes with credline was made so, with seed 1. Patterns are made in several processes or on a
    cluster, the network is trained here.
    """
    from dataclasses import replace

    from engine.executor import executor_of
    from protocols.screening.labelled import read_labelled
    from protocols.screening.model import load
    from protocols.screening.networks import Which
    from protocols.screening.ownexamples import own_examples
    from protocols.screening.training import QUICK, RECIPES
    from protocols.screening.training import train as train_network

    if out.exists():
        raise Refused(f"--out {shown(out)}: exists and is kept; give another name. Nothing was trained.")
    which = Which(network.value)
    recipe = (QUICK if quick else RECIPES)[which]
    recipe = replace(recipe, patterns=patterns or recipe.patterns, epochs=recipe.epochs if epochs is None else epochs)
    first = None
    if begin is not None:
        first = load(None if str(begin) == "credline" else begin)
        if first.which is not which:
            raise Refused(f"--begin {shown(begin)}: is the {first.which.value} network; say --network "
                          f"{first.which.value}. Nothing was trained.")  # fmt: skip
    own = None if labelled is None else own_examples(read_labelled(labelled, per_px))
    with bar("training") as advance:
        model = train_network(
            seed,
            which,
            executor=executor_of(jobs, scheduler),
            recipe=recipe,
            begin=first,
            own=own,
            progress=lambda what, done, total, note: advance(done, total, f"{what} {note}"),
        )
    model.record["command"] = shown(" ".join(["credline", *sys.argv[1:]]))
    model.save(out)
    told = model.record["validation_figures"]
    typer.echo(
        f"on other crystals: accuracy {told['accuracy']}, AUC {told['auc']}, calibration error {told['ece']}",
        err=as_json,
    )
    typer.echo(f"written: {out}", err=as_json)
    if as_json:
        typer.echo(json.dumps(model.record))


def evaluate(
    patterns: Annotated[int, typer.Option("--patterns", min=50, max=100_000, help="How many.")] = 2000,
    seed: Seed = 0,
    model: Model = None,
    paper: Annotated[
        Path | None, typer.Option("--paper", help="A network of `train --network paper`, to have it beside.")
    ] = None,
    geometry: Annotated[bool, typer.Option("--geometry/--no-geometry", help="The geometric score beside it.")] = True,
    jobs: Jobs = 0,
    scheduler: Scheduler = None,
    as_json: Json = False,
) -> None:
    """Judge networks and the geometric score on fresh crystals, which no network was trained on.

    57 % of the patterns are good; borderline ones are left out. False good: of a kind of bad patterns, the share called
    good where each method calls 95 % of the good ones good.
    """
    from engine.executor import executor_of
    from protocols.screening.evaluation import evaluate as judge

    with bar("judging") as advance:
        judged = judge(
            seed,
            patterns,
            executor_of(jobs, scheduler),
            model,
            paper,
            geometry=geometry,
            progress=lambda done: advance(done, patterns, ""),
        )
    print_whole(_table(judged), to_stderr=as_json)
    typer.echo("Cichocka and co-workers (2018): accuracy 0.933 on their test set of measured patterns", err=as_json)
    if as_json:
        typer.echo(json.dumps(judged[0].figures.record()))


def _table(judged: "list[Judged]") -> "Table":
    from rich.table import Table

    table = Table(title="on fresh crystals", title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    for one in judged:
        table.add_column(one.name, justify="right")
    figures = [one.figures for one in judged]
    for heading, name in (
        ("accuracy", "accuracy"),
        ("AUC", "auc"),
        ("calibration error", "ece"),
        ("recall", "recall"),
        ("d_min error, median", "d_min_error"),
        ("several lattices, AUC", "several_auc"),
    ):
        table.add_row(heading, *(_number(getattr(each, name)) for each in figures))
    table.add_row("false good at recall 0.95:")
    for kind, count in figures[0].count.items():
        table.add_row(f"  {kind.value} ({count})", *(_number(each.false_good[kind], 3) for each in figures))
    return table


def _number(value: float, digits: int = 4) -> str:
    return f"{value:.{digits}f}" if value == value else "-"
