"""`credline zones cell`: from patterns to the unit cell, with a picture of how it was found."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from engine.errors import DataError, Refused, shown
from protocols.zones.method import Method
from protocols.zones.options import Json, Model, PerPx, Sources, bar, numbers

if TYPE_CHECKING:
    from protocols.zones.cellsearch import Answer
    from protocols.zones.snapshots import Snapshots
    from protocols.zones.sorting import Sorted


def cell(
    sources: Sources,
    sorted_file: Annotated[
        Path | None,
        typer.Option("--sorted", help="Take the patterns that this file of `zones classify` calls 2DZone."),
    ] = None,
    method: Annotated[
        Method, typer.Option("--method", help="How zonal patterns are found, without --sorted.")
    ] = Method.GEOMETRY,
    model: Model = None,
    hybrids: Annotated[
        bool, typer.Option("--hybrids", help="Use hybrids as well: their nets without the odd spots.")
    ] = False,
    distortion: Annotated[
        str,
        typer.Option(
            "--distortion",
            metavar="WHAT",
            help="Elliptical distortion: estimate, none, or 'PERCENT DEG'; a run that knows its own is believed.",
        ),
    ] = "",
    tolerance_per_A: Annotated[
        float | None, typer.Option("--tolerance", min=1e-4, max=0.05, help="How far a spot may be off the net, 1/A.")
    ] = None,
    most: Annotated[int, typer.Option("--most", min=2, help="Zonal patterns used, the most confident.")] = 60,
    per_px: PerPx = None,
    out: Annotated[Path, typer.Option("--out", help="Where the folder with picture and JSON is made.")] = Path("cells"),
    as_json: Json = False,
) -> None:
    """Find the unit cell from zonal patterns: a ranked list of cells, with a picture.

    Exit status 1 when the cell is not determined; the reason is said.
    """
    from protocols.zones.cellpicture import draw_cell, report
    from protocols.zones.cellsearch import find_cell
    from protocols.zones.snapshots import open_snapshots

    opened = open_snapshots(sources, per_px)
    wanted = _called_zonal(sorted_file) if sorted_file else None
    how = _distortion(distortion, opened)
    found = _zonal(opened, wanted, method, model, hybrids, tolerance_per_A)
    patterns = sorted(found, key=lambda one: -one.confidence)[:most]
    answer = find_cell([one.zone for one in patterns if one.zone is not None], distortion=how)
    folder = _next_folder(out)
    draw_cell(folder / "cell.png", answer, patterns)
    document = _document(answer, patterns)
    (folder / "cell.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    for line in report(answer):
        typer.echo(line, err=as_json)
    typer.echo(f"written: {folder / 'cell.png'}, cell.json", err=as_json)
    if as_json:
        typer.echo(json.dumps({"folder": str(folder), **document}))
    if not answer.determined:
        raise typer.Exit(1)


def _zonal(
    opened: "Sequence[Snapshots]",
    wanted: set[str] | None,
    method: Method,
    model: Path | None,
    hybrids: bool,
    tolerance_per_A: float | None,
) -> "list[Sorted]":
    """The patterns with a net to use, and a word on the others where there are none."""
    from collections import Counter

    from protocols.zones.labels import HYBRID, LABELS, ZONE
    from protocols.zones.network import load
    from protocols.zones.sorting import sort_snapshots, with_tolerance

    labels = {LABELS[ZONE], LABELS[HYBRID]} if hybrids else {LABELS[ZONE]}
    chosen = [source if wanted is None else source.only(wanted) for source in opened]
    total = sum(len(source) for source in chosen)
    if not total:
        raise Refused("--sorted: none of its 2DZone patterns is in the sources. No cell was searched for.")
    method = Method.GEOMETRY if wanted is not None else method
    judge = None if method is Method.GEOMETRY else load(model)
    if method is Method.NETWORK:
        method = Method.BOTH  # a cell needs nets, which only the geometry finds
    seen = []
    with bar("finding zones") as advance:
        for source in chosen:
            for one in sort_snapshots(source, method, judge, check=with_tolerance(tolerance_per_A)):
                seen.append(one)
                advance(len(seen), total, "")
    found = [one for one in seen if one.label in labels and one.zone is not None]
    typer.echo(f"{len(found)} zonal patterns among {total}", err=True)
    if not found:
        reason, count = Counter(one.reason for one in seen).most_common(1)[0]
        typer.echo(f"most often: {reason} ({count} patterns)", err=True)
    return found


def _called_zonal(path: Path) -> set[str]:
    import csv

    from protocols.zones.labels import LABELS, ZONE

    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
        return {row["name"] for row in rows if row["label"] == LABELS[ZONE]}
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"{shown(path)}: not a file of `credline zones classify --out` ({type(error).__name__}: {shown(error)}); "
            "classify the patterns again"
        ) from error


def _distortion(text: str, opened: "Sequence[Snapshots]") -> tuple[float, float] | Literal["estimate"] | None:
    if not text:
        known = [source.distortion for source in opened]
        return known[0] if known[0] is not None and len(set(known)) == 1 else "estimate"
    if text == "none":
        return None
    if text == "estimate":
        return "estimate"
    amplitude_percent, azimuth_deg = numbers(
        text, 2, "--distortion", "estimate, none, or amplitude in % and azimuth in deg"
    )
    return amplitude_percent, azimuth_deg


def _next_folder(out: Path) -> Path:
    """The next free `cell_NNN`, made."""
    from protocols.products.atomic import make_folder

    make_folder(out)
    number = 1
    while True:
        folder = out / f"cell_{number:03}"
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return folder


def _document(answer: "Answer", patterns: "Sequence[Sorted]") -> dict[str, Any]:
    """The answer for programs."""
    names = ("a_A", "b_A", "c_A", "alpha_deg", "beta_deg", "gamma_deg")
    return {
        "determined": answer.determined,
        "reason": answer.reason,
        "distinct_zones": answer.nets,
        "distortion": answer.distortion
        and {
            "amplitude_percent": answer.distortion.amplitude_percent,
            "azimuth_deg": answer.distortion.azimuth_deg,
        },
        "candidates": [
            {
                "cell": dict(zip(names, one.cell.parameters, strict=True)),
                "sigma": dict(zip(names, one.sigma, strict=True)),
                "volume_A3": one.cell.volume_A3,
                "bravais": one.lattice.symbol,
                "conventional": dict(zip(names, one.lattice.cell.parameters, strict=True)),
                "figure_of_merit": one.figure_of_merit,
                "zones_explained": one.zones_explained,
                "distinct_explained": one.nets_explained,
                "residual_percent": one.residual_percent,
            }
            for one in answer.candidates
        ],
        "patterns": [
            {
                "name": pattern.name,
                "hkl": None if hkl is None else hkl.tolist(),
                "basis_per_A": None if pattern.zone is None else pattern.zone.basis.tolist(),
                "tilt": None if pattern.zone is None else pattern.zone.tilt.tolist(),
            }
            for pattern, hkl in zip(
                patterns, answer.candidates[0].assigned if answer.candidates else [None] * len(patterns), strict=True
            )
        ],
    }
