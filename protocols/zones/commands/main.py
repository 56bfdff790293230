"""Zonal patterns among serial snapshots, and the unit cell from them.

The group of commands `credline zones`: simulate patterns, sort them, find the cell, train and judge the network.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.commands.bar import bar
from engine.errors import Refused, shown
from protocols.zones.commands.cell import cell as find_cell
from protocols.zones.commands.learning import evaluate, train, trusted
from protocols.zones.commands.options import (
    EXCITATION_ERROR_PER_A,
    NOTHING_ZONAL,
    TOLERANCE_PER_A,
    Beam,
    Excitation,
    Json,
    Missing,
    Model,
    PerPx,
    Sources,
    Thickness,
    Tolerance,
    Voltage,
    excitation_errors,
    opened,
)
from protocols.zones.commands.simulate import simulate
from protocols.zones.sorting.method import Method

if TYPE_CHECKING:
    from protocols.zones.sorting.sorting import Sorted

zones_app = typer.Typer(
    name="zones",
    help="Zonal patterns among serial snapshots, and the unit cell from them.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@zones_app.callback()
def _group() -> None:
    """Zonal patterns among serial snapshots, and the unit cell from them."""


@zones_app.command(epilog="Example: credline zones classify patterns.h5 --out sorted.csv")
def classify(
    sources: Sources,
    method: Annotated[
        Method, typer.Option("--method", help="The network checked by geometry, or one of them alone.")
    ] = Method.BOTH,
    model: Model = None,
    share: Annotated[
        float, typer.Option("--share", min=1e-4, max=0.9, help="Share of zonal patterns expected: sets confidences.")
    ] = 0.03,
    tolerance_per_A: Tolerance = TOLERANCE_PER_A,
    missing: Missing = 0.0,
    voltage_kV: Voltage = None,
    excitation_per_A: Excitation = EXCITATION_ERROR_PER_A,
    thickness: Thickness = "",
    per_px: PerPx = None,
    beam: Beam = "",
    out: Annotated[Path | None, typer.Option("--out", help="Write every pattern's label as CSV.")] = None,
    as_json: Json = False,
) -> None:
    """Sort patterns into 2DZone, hybrid, 3DLaueIntersections, severalCrystals and noHit, with confidences.

    A picture that is no diffraction pattern, or cannot be read, is called noPattern, with the reason.
    """
    from collections import Counter

    from engine.clock import NS_PER_S, RealClock
    from protocols.zones.sorting.labels import HYBRID, LABELS, ZONE
    from protocols.zones.sorting.network import shipped_several
    from protocols.zones.sorting.sorting import NO_PATTERN, check_with, sort_snapshots, weak_spots

    if out and out.exists():
        raise Refused(f"--out {shown(out)}: exists and is kept; give another name. Nothing was classified.")
    if model and method is Method.GEOMETRY:
        raise Refused("--model: is of no use with --method geometry; leave one out. Nothing was classified.")
    chosen = opened(sources, per_px, voltage_kV, beam)
    check = check_with(tolerance_per_A, missing, excitation_errors(excitation_per_A, thickness, chosen))
    judge = None if method is Method.GEOMETRY else trusted(model)
    several = None if method is Method.GEOMETRY else shipped_several()
    total = sum(len(source) for source in chosen)
    clock = RealClock()
    began_ns = clock.now_ns()
    patterns = []
    with bar("sorting") as advance:
        advance(0, total, "")
        for source in chosen:
            for one in sort_snapshots(source, method, judge, share, check, several):
                patterns.append(replace(one, zone=None, spots=None))  # of many thousands only what is told of them
                advance(len(patterns), total, "")
    took_s = (clock.now_ns() - began_ns) / NS_PER_S
    counts = Counter(one.label for one in patterns)
    for label in (*LABELS, NO_PATTERN):
        if counts[label] or label != NO_PATTERN:
            seen = (
                ", as far as the network let them through" if label == LABELS[HYBRID] and method is Method.BOTH else ""
            )
            typer.echo(f"{label}: {counts[label]} ({100 * counts[label] / total:.1f} %){seen}", err=as_json)
    if counts[LABELS[ZONE]]:
        typer.echo("the most confident zones:", err=as_json)
    for one in sorted((p for p in patterns if p.label == LABELS[ZONE]), key=lambda p: -p.confidence)[:10]:
        typer.echo(f"  {one.name}  {one.confidence:.4f}  {one.reason}", err=as_json)
    if damaged := [p for p in patterns if p.unread]:
        typer.echo(f"NOT READ: {len(damaged)} of {total} pictures, such as {damaged[0].reason}", err=True)
    for reason, count in Counter(p.reason for p in patterns if p.label == NO_PATTERN and not p.unread).most_common(5):
        typer.echo(f"  {count} x {reason}", err=as_json)
    if hint := weak_spots(patterns, missing):
        typer.echo(hint, err=True)
    elif not counts[LABELS[ZONE]]:
        typer.echo(NOTHING_ZONAL, err=True)
    for line in _against_truth(sources, patterns):
        typer.echo(line, err=as_json)
    typer.echo(f"{total} patterns in {took_s:.1f} s, {total / took_s:.0f} patterns/s", err=as_json)
    if out:
        _write_labels(out, patterns)
        typer.echo(f"written: {out}", err=as_json)
    if as_json:
        result = {"patterns": total, **{label: counts[label] for label in (*LABELS, NO_PATTERN)}}
        typer.echo(json.dumps({**result, "patterns_per_s": round(total / took_s, 1)}))


def _against_truth(sources: Sequence[Path], patterns: "Sequence[Sorted]") -> Iterator[str]:
    """How well they were sorted, where all come from one file that knows."""
    import numpy as np

    from protocols.zones.patterns.patternfile import read_truth
    from protocols.zones.sorting.labels import LABELS, NO_HIT, SEVERAL, ZONE
    from protocols.zones.sorting.metrics import Share, figures

    if len(sources) != 1 or sources[0].suffix != ".h5":
        return
    truth = read_truth(sources[0])
    if truth is not None and len(truth.label) == len(patterns):
        called = np.array([one.label == LABELS[ZONE] for one in patterns])
        found = figures(truth.label, called, np.array([one.confidence for one in patterns]))
        yield f"against the labels in {sources[0].name}: zones found {found.recall}"
        for kind in (SEVERAL, NO_HIT):
            true = truth.label == kind
            same = np.array([one.label == LABELS[kind] for one in patterns])
            if true.any():
                found_of, wrong_of = (Share(int((of & same).sum()), int(of.sum())) for of in (true, ~true))
                yield f"  {LABELS[kind]} found {found_of}; others called so {wrong_of}"
        yield f"  called zones rightly {found.precision}; hybrids called zones {found.hybrids}; AUC {found.auc:.5f}"


def _write_labels(path: Path, patterns: "Sequence[Sorted]") -> None:
    import csv
    import io

    from protocols.products.atomic import make_folder, write_text

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("name", "label", "confidence", "reason"))
    writer.writerows((one.name, one.label, f"{one.confidence:.6f}", one.reason) for one in patterns)
    make_folder(path.parent)
    write_text(path, text.getvalue())


zones_app.command(epilog='Example: credline zones simulate --cell "5.68 10.46 20.47 109.8 106.6 105.8" --out demo.h5')(
    simulate
)
zones_app.command("cell", epilog="Example: credline zones cell patterns.h5")(find_cell)
zones_app.command(epilog="Example: credline zones train --out mymodel")(train)
zones_app.command(epilog="Example: credline zones evaluate --seed 7")(evaluate)
