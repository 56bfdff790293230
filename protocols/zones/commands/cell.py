"""`credline zones cell`: from patterns to the unit cell, with a picture of how it was found."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from engine.commands.bar import bar
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
    Thickness,
    Tolerance,
    Voltage,
    excitation_errors,
    labels_of,
    numbers,
    opened,
)
from protocols.zones.sorting.method import Method

if TYPE_CHECKING:
    from protocols.zones.cell.phases import Parted
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
    most: Annotated[
        int, typer.Option("--most", min=5, max=200, help="Zonal patterns that a search uses, the best ones.")
    ] = 60,
    most_phases: Annotated[
        int, typer.Option("--phases", min=1, max=5, help="Kinds of crystals looked for at most; 1: not a mixture.")
    ] = 3,
    members: Annotated[
        bool, typer.Option("--members/--no-members", help="Ask all patterns which cell they fit.")
    ] = True,
    voltage_kV: Voltage = None,
    excitation_per_A: Excitation = EXCITATION_ERROR_PER_A,
    thickness: Thickness = "",
    per_px: PerPx = None,
    beam: Beam = "",
    out: Annotated[
        Path, typer.Option("--out", help="Where the next folder cell_NNN is made, with picture and JSON.")
    ] = Path("cells"),
    as_json: Json = False,
) -> None:
    """Find the unit cell from zonal patterns, or the cells where crystals of several kinds are mixed.

    Of each a ranked list, a picture, and the patterns that belong to it. Exit status 1 when no cell is determined; the
    reason is said.
    """
    from protocols.zones.cell.phases import find_phases
    from protocols.zones.commands.phasefiles import memberships, phase_lines, reported, written
    from protocols.zones.sorting.labels import LABELS, ZONE
    from protocols.zones.sorting.sorting import check_with, weak_spots

    chosen = opened(sources, per_px, voltage_kV, beam)
    wanted = _called_zonal(sorted_file, hybrids) if sorted_file else None
    how = _distortion(distortion, chosen)
    errors = excitation_errors(excitation_per_A, thickness, chosen)
    if out.exists() and not out.is_dir():
        raise Refused(f"--out {shown(out)}: is a file; give a folder. No cell was searched for.")
    seen = _sorted(chosen, wanted, method, model, check_with(tolerance_per_A, missing, errors), members)
    found = [one for one in seen if one.zone is not None and (one.label == LABELS[ZONE] or _hybrid(one, hybrids))]
    typer.echo(f"{len(found)} zonal patterns among {len(seen)}", err=True)
    if hint := weak_spots(seen, missing):
        typer.echo(hint, err=True)
    patterns = _best_first(found, isinstance(errors, tuple))
    zones = [one.zone for one in patterns if one.zone is not None]
    parted = find_phases(zones, distortion=how, most=most_phases, at_most=most)
    belong = None
    if members and parted.determined:
        wavelengths = {source.wavelength_A for source in chosen}
        belong = memberships(parted, seen, wavelengths, max(errors) if isinstance(errors, tuple) else errors)
    folders, document = written(out, parted, patterns, belong) if patterns else ([], reported(parted, patterns, belong))
    for line in (*phase_lines(parted, belong), *_against_truth(sources, parted)):
        typer.echo(line, err=as_json)
    if not parted.determined:
        typer.echo(_advice(seen, found, hybrids), err=True)
    for folder in folders:
        typer.echo(f"written: {folder / 'cell.png'}, cell.json", err=as_json)
    if as_json:
        typer.echo(json.dumps(document))
    if not parted.determined:
        raise typer.Exit(1)


def _best_first(found: "Sequence[Sorted]", any_thickness: bool) -> "list[Sorted]":
    """Zonal patterns, those first that say most: the most confident, and of these those with most spots.

    Where crystals are of any thickness the spots come first: in a pattern of six all agrees easily.
    """

    def spots(one: "Sorted") -> int:
        return 0 if one.spots is None else len(one.spots)

    if any_thickness:
        return sorted(found, key=lambda one: (-spots(one), -one.confidence))
    return sorted(found, key=lambda one: (-one.confidence, -spots(one)))


def _against_truth(sources: "Sequence[Path]", parted: "Parted") -> list[str]:
    """How far the best candidate of each phase is from the truth, where all patterns come from one file that knows."""
    from protocols.lattice.cell import lattice_difference
    from protocols.zones.patterns.patternfile import read_truth

    truth = read_truth(sources[0]) if len(sources) == 1 and sources[0].suffix == ".h5" else None
    best = [one.answer.candidates[0].cell for one in parted.phases if one.answer.candidates]
    if truth is None or not truth.lattices:
        return []
    lines = []
    for number, found in enumerate(best, 1):
        of = f"phase {number} against" if len(best) > 1 else "against"
        off = [lattice_difference(found, lattice) for lattice in truth.lattices]
        which = min(range(len(off)), key=lambda n: off[n])
        name = f"cell {which + 1}" if len(off) > 1 else "the cell"
        length, angle_deg = off[which]
        words = f"lengths within {100 * length:.2g} %, angles within {angle_deg:.2g} deg"
        lines.append(f"{of} {name} in {sources[0].name}: {words if length < 1 else 'another lattice'}")
    return lines


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
    opened: "Sequence[Snapshots]",
    wanted: set[str] | None,
    method: Method,
    model: Path | None,
    check: "Check",
    with_spots: bool,
) -> "list[Sorted]":
    """All patterns, or those wanted, with the nets of the zonal ones; the spots of the others only when wanted."""
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
                seen.append(one if with_spots or one.zone is not None else replace(one, spots=None))
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
