"""`credline zones cell`: from patterns to the unit cell, with a picture of how it was found."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from engine.errors import Refused, shown
from protocols.zones.commands.learning import trusted
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
    Tolerance,
    Voltage,
    bar,
    labels_of,
    numbers,
    opened,
)
from protocols.zones.sorting.method import Method

if TYPE_CHECKING:
    from protocols.zones.cell.search import Answer
    from protocols.zones.patterns.snapshots import Snapshots
    from protocols.zones.sorting.sorting import Check, Sorted


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
    tolerance_per_A: Tolerance = TOLERANCE_PER_A,
    missing: Missing = 0.0,
    most: Annotated[int, typer.Option("--most", min=5, max=200, help="Zonal patterns used, the most confident.")] = 60,
    voltage_kV: Voltage = None,
    excitation_per_A: Excitation = EXCITATION_ERROR_PER_A,
    per_px: PerPx = None,
    beam: Beam = "",
    out: Annotated[
        Path, typer.Option("--out", help="Where the next folder cell_NNN is made, with picture and JSON.")
    ] = Path("cells"),
    as_json: Json = False,
) -> None:
    """Find the unit cell from zonal patterns: a ranked list of cells, with a picture.

    Exit status 1 when the cell is not determined; the reason is said.
    """
    from engine.record.folder import create_run_folder
    from protocols.products.atomic import write_text
    from protocols.zones.cell.search import find_cell
    from protocols.zones.commands.cellpicture import draw_cell, report
    from protocols.zones.sorting.labels import LABELS, ZONE
    from protocols.zones.sorting.sorting import check_with, weak_spots

    chosen = opened(sources, per_px, voltage_kV, beam)
    wanted = _called_zonal(sorted_file, hybrids) if sorted_file else None
    how = _distortion(distortion, chosen)
    if out.exists() and not out.is_dir():
        raise Refused(f"--out {shown(out)}: is a file; give a folder. No cell was searched for.")
    seen = _sorted(chosen, wanted, method, model, check_with(tolerance_per_A, missing, excitation_per_A))
    found = [one for one in seen if one.zone is not None and (one.label == LABELS[ZONE] or _hybrid(one, hybrids))]
    typer.echo(f"{len(found)} zonal patterns among {len(seen)}", err=True)
    if hint := weak_spots(seen, missing):
        typer.echo(hint, err=True)
    patterns = sorted(found, key=lambda one: -one.confidence)[:most]
    answer = find_cell([one.zone for one in patterns if one.zone is not None], distortion=how)
    document = _document(answer, patterns)
    if patterns:
        folder = create_run_folder(out, "cell")
        draw_cell(folder / "cell.png", answer, patterns)
        write_text(folder / "cell.json", json.dumps(document, indent=1) + "\n")
        document = {"folder": str(folder), **document}
    for line in (*report(answer), *_against_truth(sources, answer)):
        typer.echo(line, err=as_json)
    if not answer.determined:
        typer.echo(_advice(seen, found, hybrids), err=True)
    if patterns:
        typer.echo(f"written: {folder / 'cell.png'}, cell.json", err=as_json)
    if as_json:
        typer.echo(json.dumps(document))
    if not answer.determined:
        raise typer.Exit(1)


def _against_truth(sources: "Sequence[Path]", answer: "Answer") -> list[str]:
    """How far the best candidate is from the truth, where all patterns come from one file that knows."""
    from protocols.lattice.cell import lattice_difference
    from protocols.zones.patterns.patternfile import read_truth

    truth = read_truth(sources[0]) if len(sources) == 1 and sources[0].suffix == ".h5" else None
    if truth is None or truth.lattice is None or not answer.candidates:
        return []
    length, angle_deg = lattice_difference(answer.candidates[0].cell, truth.lattice)
    if not length < 1:
        return [f"against the cell in {sources[0].name}: another lattice"]
    return [
        f"against the cell in {sources[0].name}: lengths within {100 * length:.2g} %, angles within {angle_deg:.2g} deg"
    ]


def _hybrid(one: "Sorted", wanted: bool) -> bool:
    from protocols.zones.sorting.labels import HYBRID, LABELS

    return wanted and one.label == LABELS[HYBRID]


def _advice(seen: "Sequence[Sorted]", found: "Sequence[Sorted]", hybrids: bool) -> str:
    """What may help where no cell was determined."""
    from collections import Counter

    left = sum(_hybrid(one, True) for one in seen)
    others = Counter(one.reason for one in seen if one.zone is None).most_common(1)
    words = [f"most of the others: {others[0][0]} ({others[0][1]} patterns)"] if others and not found else []
    words.append("more patterns may help")
    if left and not hybrids:
        words.append(f"so may the {left} hybrids (--hybrids)")
    words.append(NOTHING_ZONAL)
    return "; ".join(words)


def _sorted(
    opened: "Sequence[Snapshots]", wanted: set[str] | None, method: Method, model: Path | None, check: "Check"
) -> "list[Sorted]":
    """All patterns, or those wanted, with the nets of the zonal ones."""
    from protocols.zones.sorting.sorting import sort_snapshots

    chosen = [source if wanted is None else source.only(wanted) for source in opened]
    total = sum(len(source) for source in chosen)
    if not total:
        raise Refused(
            "--sorted: none of its 2DZone patterns is in the sources, which must be named as they were for `zones "
            "classify`. No cell was searched for."
        )
    if method is Method.NETWORK:
        raise Refused("--method network: finds no nets, and a cell needs them; take both or geometry.")
    if wanted is not None:
        method = Method.GEOMETRY
    if model and method is Method.GEOMETRY:
        raise Refused("--model: is of no use here, as no network is asked; add --method both, or leave it out.")
    judge = None if method is Method.GEOMETRY else trusted(model)
    seen: list[Sorted] = []
    with bar("finding zones") as advance:
        advance(0, total, "")
        for source in chosen:
            for one in sort_snapshots(source, method, judge, check=check):
                seen.append(one if one.zone is not None else replace(one, spots=None))
                advance(len(seen), total, "")
    return seen


def _called_zonal(path: Path, hybrids: bool) -> set[str]:
    from protocols.zones.sorting.labels import HYBRID, LABELS, ZONE

    wanted = (LABELS[ZONE], LABELS[HYBRID]) if hybrids else (LABELS[ZONE],)
    called = {name for name, label in labels_of(path, "--sorted").items() if label in wanted}
    if not called:
        raise Refused(f"--sorted {shown(path)}: calls no pattern {' or '.join(wanted)}. No cell was searched for.")
    return called


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
                "conventional_sigma": dict(zip(names, one.lattice_sigma, strict=True)),
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
