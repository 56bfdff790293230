"""`credline zones train` and `credline zones evaluate`: the network made anew, and everything judged on fresh cells."""

import json
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.commands.bar import bar
from engine.commands.tables import print_whole
from engine.errors import Refused, shown
from protocols.zones.commands.options import (
    EXCITATION_ERROR_PER_A,
    Beam,
    Excitation,
    Json,
    Model,
    NoHits,
    PerPx,
    Several,
    Voltage,
    labels_of,
    opened,
)
from protocols.zones.sorting.method import Method

if TYPE_CHECKING:
    from rich.table import Table

    from protocols.zones.evaluation import Outcome
    from protocols.zones.sorting.network import Model as NetworkModel


class TrainingProtocol(StrEnum):
    """Which patterns the network learns from."""

    CREDLINE = "credline"
    PAPER = "paper"
    SEVERAL = "several"


def train(
    out: Annotated[Path, typer.Option("--out", help="The folder that the network is written into.")],
    protocol: Annotated[
        TrainingProtocol,
        typer.Option(
            "--protocol",
            help="Many cells and scales; paper: four cells of 1000 A^3, 80:20; several: tells several crystals.",
        ),
    ] = TrainingProtocol.CREDLINE,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Batches to learn from.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**31 - 1, help="Seed of everything random.")] = 1,
    frames: Annotated[
        list[Path] | None,
        typer.Option("--frames", help="Also learn from the peaks of these real frames; may be given several times."),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", help="What they are: a file of `zones classify --out`, looked through.")
    ] = None,
    per_px: PerPx = None,
    voltage_kV: Voltage = None,
    beam: Beam = "",
    as_json: Json = False,
) -> None:
    """Train the network that sorts patterns, on simulated ones and, if given, real ones: some minutes on two cores.

    The network that comes with credline was made so, with seed 1.
    """
    from protocols.zones.sorting.network import warning
    from protocols.zones.sorting.training import train as train_network

    if out.exists():
        raise Refused(f"--out {shown(out)}: exists and is kept; give another name. Nothing was trained.")
    if bool(frames) != bool(labels) or (frames and protocol is not TrainingProtocol.CREDLINE):
        raise Refused(
            "--frames and --labels: belong together, and to --protocol credline; give both or none. Nothing was "
            "trained."
        )
    real = None
    if frames and labels:
        from protocols.zones.sorting.semisynthetic import redrawn

        real = redrawn(opened(frames, per_px, voltage_kV, beam), labels_of(labels, "--labels"))
    with bar("training") as advance:
        model, record = train_network(
            seed,
            steps=steps,
            protocol=protocol.value,
            progress=lambda step, total, loss: advance(step, total, f"loss {loss:.4f}"),
            real=real,
        )
    model.save(out)
    figures = record["held_out_figures"]
    for name in ("recall", "precision", "balanced_accuracy"):
        typer.echo(f"{name.replace('_', ' ')} on held-out patterns: {figures[name]['value']}", err=as_json)
    typer.echo(f"AUC on held-out patterns: {figures['auc']}", err=as_json)
    if real:
        told = record["frames"]
        typer.echo(
            f"learned from {told['trained']['zones']} zones and {told['trained']['others']} others of real frames; of "
            f"those held out, zones called zones: {told['held_out_zones_called_zones']['value']}, others called zones: "
            f"{told['held_out_others_called_zones']['value']}",
            err=as_json,
        )
    if words := warning(model):
        typer.echo(words, err=True)
    typer.echo(f"written: {out}", err=as_json)
    if as_json:
        typer.echo(json.dumps(record))


def evaluate(
    cells: Annotated[int, typer.Option("--cells", min=1, max=1000, help="Fresh cells in each of eight groups.")] = 2,
    patterns: Annotated[int, typer.Option("--patterns", min=50, max=100_000, help="Orientations of each.")] = 1000,
    method: Annotated[
        Method, typer.Option("--method", help="The network checked by geometry, or one of them alone.")
    ] = Method.BOTH,
    model: Model = None,
    voltage_kV: Voltage = None,
    excitation_per_A: Excitation = EXCITATION_ERROR_PER_A,
    several: Several = 0.0,
    no_hits: NoHits = 0.0,
    mixture: Annotated[
        bool,
        typer.Option("--mixture", help="Judge --cells mixtures instead: two phases each, plates of 10 to 50 nm."),
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**62, help="Seed of the cells and orientations.")] = 0,
    as_json: Json = False,
) -> None:
    """Judge sorting and cell finding on fresh cells: simulate, draw, sort, and find the cell from what was sorted out.

    Zonal patterns come in their natural share. Hybrids stand apart in recall, precision, balanced accuracy and AUC.
    """
    if mixture:
        _evaluate_mixtures(seed, cells, patterns, several, as_json)
        return
    from protocols.zones.evaluation import GROUPS, Mixture, summary
    from protocols.zones.evaluation import evaluate as evaluate_cells
    from protocols.zones.patterns.simulation import experiment

    judge = None if method is Method.GEOMETRY else trusted(model)
    done = 0

    def one_more() -> None:
        nonlocal done
        done += 1
        advance(done, cells * len(GROUPS), "")

    with bar("evaluating") as advance:
        outcomes = evaluate_cells(
            seed,
            judge,
            cells,
            patterns,
            method=method,
            progress=one_more,
            geometry=experiment(voltage_kV, excitation_per_A),
            shares=Mixture(several, no_hits),
        )
    print_whole(_table(outcomes), to_stderr=as_json)
    result = summary(outcomes)
    for name, value in result.items():
        typer.echo(f"{name.replace('_', ' ')}: {value if value is None else round(value, 5)}", err=as_json)
    if as_json:
        typer.echo(json.dumps(result))


def _evaluate_mixtures(seed: int, count: int, patterns: int, several: float, as_json: bool) -> None:
    """Mixtures of two, seed by seed: each phase right, or not determined; and cells that are wrong."""
    from protocols.zones.mixtureevaluation import MixtureCase, mixture_summary, try_mixture

    outcomes = []
    with bar("evaluating") as advance:
        for number in range(count):
            outcomes.append(one := try_mixture(seed + number, MixtureCase(patterns, several=several), True))
            advance(number + 1, count, "")
            own, other, none = one.members_right()
            typer.echo(
                f"seed {one.seed}: {', '.join(one.verdicts)}; {one.wrong} wrong cells; {one.zones} zones; of the "
                f"patterns {own} in their own cell, {other} in another, {none} in none",
                err=as_json,
            )
    result = mixture_summary(outcomes)
    for name, value in result.items():
        typer.echo(f"{name.replace('_', ' ')}: {value if value is None else round(value, 5)}", err=as_json)
    if as_json:
        typer.echo(json.dumps(result))


def trusted(folder: Path | None) -> "NetworkModel":
    """The network of a folder, or the one that comes along, with a word on standard error where it is a bad one."""
    from protocols.zones.sorting.labels import LABELS, ZONE
    from protocols.zones.sorting.network import load, warning

    model = load(folder)
    if (target := model.record.get("target", LABELS[ZONE])) != LABELS[ZONE]:
        raise Refused(f"--model {shown(folder)}: tells {shown(target)}, not {LABELS[ZONE]}. Nothing was classified.")
    if words := warning(model):
        typer.echo(words, err=True)
    return model


def _table(outcomes: "Sequence[Outcome]") -> "Table":
    from rich.table import Table

    from protocols.zones.evaluation import figures_of

    table = Table(
        title="on fresh cells, by group; hybrids called zonal are wrong", title_justify="left", box=None, pad_edge=False
    )
    for heading in ("cells", "zonal", "recall", "prec.", "bal.", "AUC", "right", "worst %", "deg"):
        table.add_column(heading, justify="left" if heading == "cells" else "right", no_wrap=True)
    for group in dict.fromkeys(outcome.group for outcome in outcomes):
        own = [outcome for outcome in outcomes if outcome.group == group]
        found = figures_of(own)
        length, angle = (max(errors) for errors in zip(*(outcome.errors for outcome in own), strict=True))
        table.add_row(
            group,
            str(found.recall.of),
            f"{found.recall.value:.4f}",
            f"{found.precision_with_hybrids.value:.4f}",
            f"{found.balanced_accuracy:.4f}",
            f"{found.auc:.4f}",
            f"{sum(outcome.right for outcome in own)}/{len(own)}",
            f"{100 * length:.3f}",
            f"{angle:.3f}",
        )
    return table
