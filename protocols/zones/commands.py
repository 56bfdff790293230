"""`credline zones ...`: simulate patterns, sort them, find the cell, train and judge the network."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.errors import Refused, shown
from protocols.zones.cellcommand import cell as find_cell
from protocols.zones.learningcommands import evaluate, train, trusted
from protocols.zones.method import Method
from protocols.zones.options import (
    TOLERANCE_PER_A,
    Json,
    Missing,
    Model,
    PerPx,
    Seed,
    Sources,
    Tolerance,
    bar,
    numbers,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from protocols.zones.cell import Cell
    from protocols.zones.simulation import Array, Patterns
    from protocols.zones.sorting import Sorted

zones_app = typer.Typer(
    name="zones",
    help="Zonal patterns among serial snapshots, and the unit cell from them.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


BLOCK = 1000
"""Patterns drawn at one time."""


@zones_app.callback()
def _group() -> None:
    """Zonal patterns among serial snapshots, and the unit cell from them."""


@zones_app.command(epilog='Example: credline zones simulate --cell "5.68 10.46 20.47 109.8 106.6 105.8" --out demo.h5')
def simulate(
    out: Annotated[Path, typer.Option("--out", help="The file of patterns to write (.h5).")] = Path("patterns.h5"),
    cell: Annotated[
        str, typer.Option("--cell", metavar="'A B C AL BE GA'", help="Cell in A and deg; else --cif, else random.")
    ] = "",
    cif: Annotated[
        Path | None, typer.Option("--cif", help="The cell and the reflections of a crystal structure.")
    ] = None,
    intensities: Annotated[
        bool,
        typer.Option(
            "--intensities", help="Disks as bright as the amplitudes, of the CIF or random; weak ones are lost."
        ),
    ] = False,
    system: Annotated[str, typer.Option("--system", help="Crystal system of a random cell.")] = "triclinic",
    volume_A3: Annotated[float, typer.Option("--volume", help="Volume of a random cell, A^3.")] = 1000.0,
    anisotropy: Annotated[float, typer.Option("--anisotropy", help="Most that its axes may differ: c/a.")] = 1.5,
    space_group: Annotated[str, typer.Option("--space-group", help="Its absences are left out.")] = "P 1",
    count: Annotated[int, typer.Option("--patterns", min=1, max=100_000, help="How many orientations.")] = 1000,
    half_sphere: Annotated[
        bool, typer.Option("--half-sphere", help="Beam directions over half a sphere: no twins at n and -n.")
    ] = False,
    position: Annotated[
        float, typer.Option("--position", min=0, max=0.1, help="Spots misplaced by this sd, 1/A.")
    ] = 0.0,
    missing: Annotated[float, typer.Option("--missing", min=0, max=0.95, help="Share of spots left out.")] = 0.0,
    extra: Annotated[float, typer.Option("--extra", min=0, max=1, help="Spots that are none, per spot.")] = 0.0,
    crystals: Annotated[int, typer.Option("--crystals", min=1, max=10, help="Crystals in every pattern.")] = 1,
    distortion: Annotated[
        str, typer.Option("--distortion", metavar="'PERCENT DEG'", help="Elliptical distortion: amplitude, azimuth.")
    ] = "",
    pictures: Annotated[
        Path | None, typer.Option("--png", help="Also write every pattern as a PNG, in a folder for each label.")
    ] = None,
    seed: Seed = 0,
) -> None:
    """Diffraction patterns of one crystal in many orientations, with their labels.

    Wavelength 0.0251 A, resolution 1 1/A, excitation error 0.01 1/A, 254 x 254 pixels of 2.1/254 1/A.
    """
    import numpy as np

    from protocols.products.atomic import make_folder
    from protocols.zones import noise
    from protocols.zones.labels import LABELS
    from protocols.zones.patternfile import write_patterns
    from protocols.zones.randomcells import random_cell
    from protocols.zones.render import ImageGeometry, render
    from protocols.zones.simulation import simulate as simulate_cell
    from protocols.zones.simulation import simulate_cif

    if cell and cif:
        raise Refused("--cell and --cif are both given; a pattern has one cell. Nothing was written.")
    if out.suffix != ".h5":
        raise Refused(
            f"--out {shown(out)}: patterns are written as HDF5; give a name that ends in .h5. Nothing was written."
        )
    for option, place in (("--out", out), ("--png", pictures)):
        if place and place.exists():
            raise Refused(f"{option} {shown(place)}: exists and is kept; give another name. Nothing was written.")
    rng = np.random.default_rng(seed)
    if cif:
        if space_group != "P 1":
            raise Refused("--space-group: a CIF has its own; leave the option out. Nothing was written.")
        sample, patterns = simulate_cif(cif, count, rng, half_sphere=half_sphere)
    else:
        try:
            sample = _cell(cell) if cell else random_cell(rng, system, volume_A3, anisotropy)
        except ValueError as error:
            raise Refused(f"{error}. Nothing was written.") from error
        patterns = simulate_cell(sample, count, rng, space_group=space_group, half_sphere=half_sphere)
    if intensities and not cif:
        patterns = noise.with_random_intensities(patterns, rng)
    if crystals > 1:
        patterns = noise.overlaid(patterns, rng, crystals)
    if missing:
        patterns = noise.thinned(patterns, rng, missing)
    if extra:
        patterns = noise.speckled(patterns, rng, extra)
    if position:
        patterns = noise.displaced(patterns, rng, position)
    if distortion:
        patterns = noise.distorted(patterns, _distortion(distortion))
    image = ImageGeometry()

    def drawn() -> "Iterator[NDArray[np.uint8]]":
        """In blocks that fit into memory, kept as PNG on the way where that is asked."""
        for begin in range(0, count, BLOCK):
            numbers = np.arange(begin, min(begin + BLOCK, count))
            block = render(patterns.take(numbers), image, intensities)
            if pictures:
                _write_pngs(pictures, patterns, numbers, block)
            yield block

    made_by = {"seed": seed, "space_group": space_group, "cif": str(cif) if cif else None, "half_sphere": half_sphere}
    made_by |= {
        "position_per_A": position,
        "missing": missing,
        "extra": extra,
        "crystals": crystals,
        "intensities": intensities,
    }
    made_by |= {"distortion": distortion}
    make_folder(out.parent)
    write_patterns(out, patterns, drawn(), image, sample, made_by)
    typer.echo(f"cell: {sample}, V {sample.volume_A3:.1f} A^3")
    for number, label in enumerate(LABELS):
        share = (patterns.label == number).mean()
        typer.echo(f"{label}: {(patterns.label == number).sum()} ({100 * share:.1f} %)")
    typer.echo(f"{out}: {count} patterns, {np.diff(patterns.start).mean():.0f} spots each")


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
    per_px: PerPx = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write every pattern's label as CSV.")] = None,
    as_json: Json = False,
) -> None:
    """Sort patterns into 2DZone, hybrid and 3DLaueIntersections, with confidences.

    A picture that is no diffraction pattern is called noPattern, with the reason.
    """
    from collections import Counter

    from engine.clock import NS_PER_S, RealClock
    from protocols.zones.labels import LABELS, ZONE
    from protocols.zones.snapshots import open_snapshots
    from protocols.zones.sorting import NO_PATTERN, check_with, sort_snapshots

    if out and out.exists():
        raise Refused(f"--out {shown(out)}: exists and is kept; give another name. Nothing was classified.")
    if model and method is Method.GEOMETRY:
        raise Refused("--model: is of no use with --method geometry; leave one out. Nothing was classified.")
    opened = open_snapshots(sources, per_px)
    for source in opened:
        if source.note:
            typer.echo(source.note, err=True)
    check = check_with(tolerance_per_A, missing)
    judge = None if method is Method.GEOMETRY else trusted(model)
    total = sum(len(source) for source in opened)
    clock = RealClock()
    began_ns = clock.now_ns()
    patterns = []
    with bar("sorting") as advance:
        for source in opened:
            for one in sort_snapshots(source, method, judge, share, check):
                patterns.append(one)
                advance(len(patterns), total, "")
    took_s = (clock.now_ns() - began_ns) / NS_PER_S
    counts = Counter(one.label for one in patterns)
    for label in (*LABELS, NO_PATTERN):
        if counts[label] or label != NO_PATTERN:
            typer.echo(f"{label}: {counts[label]} ({100 * counts[label] / total:.1f} %)", err=as_json)
    if counts[LABELS[ZONE]]:
        typer.echo("the most confident zones:", err=as_json)
    for one in sorted((p for p in patterns if p.label == LABELS[ZONE]), key=lambda p: -p.confidence)[:10]:
        typer.echo(f"  {one.name}  {one.confidence:.4f}  {one.reason}", err=as_json)
    for reason, count in Counter(p.reason for p in patterns if p.label == NO_PATTERN).most_common(5):
        typer.echo(f"  {count} x {reason}", err=as_json)
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

    from protocols.zones.labels import LABELS, ZONE
    from protocols.zones.metrics import figures
    from protocols.zones.patternfile import read_truth

    if len(sources) != 1 or sources[0].suffix != ".h5":
        return
    truth = read_truth(sources[0])
    if truth is not None and len(truth.label) == len(patterns):
        called = np.array([one.label == LABELS[ZONE] for one in patterns])
        found = figures(truth.label, called, np.array([one.confidence for one in patterns]))
        yield f"against the labels in {sources[0].name}: zones found {found.recall}"
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


def _cell(text: str) -> "Cell":
    """Six numbers as a cell that can exist."""
    from protocols.zones.cell import Cell

    cell = Cell(*numbers(text, 6, "--cell", "a, b, c in A and alpha, beta, gamma in deg"))
    if not (min(cell.parameters) > 0 and max(cell.parameters[3:]) < 180 and 1 < cell.volume_A3 < 100_000):
        raise Refused(f"--cell {shown(repr(text))}: no crystal has that cell (1 to 100 000 A^3). Nothing was written.")
    return cell


def _distortion(text: str) -> "Array":
    from protocols.products.distortion import distortion_matrix

    amplitude_percent, azimuth_deg = numbers(text, 2, "--distortion", "amplitude in percent and azimuth in deg")
    if abs(amplitude_percent) > 20:
        raise Refused(f"--distortion {shown(text)}: no lens distorts by more than 20 %. Nothing was written.")
    return distortion_matrix(amplitude_percent, azimuth_deg)


def _write_pngs(folder: Path, patterns: "Patterns", which: "NDArray[np.int64]", drawn: "NDArray[np.uint8]") -> None:
    from PIL import Image

    from protocols.products.atomic import make_folder
    from protocols.zones.labels import LABELS

    for label in LABELS:
        make_folder(folder / label)
    width = len(str(len(patterns)))
    for number, picture in zip(which, drawn, strict=True):
        Image.fromarray(picture).save(folder / LABELS[patterns.label[number]] / f"{number:0{width}}.png")


zones_app.command("cell", epilog="Example: credline zones cell patterns.h5")(find_cell)
zones_app.command(epilog="Example: credline zones train --out mymodel")(train)
zones_app.command(epilog="Example: credline zones evaluate --seed 7")(evaluate)
