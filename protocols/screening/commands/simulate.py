"""`credline screening simulate`: labelled diffraction patterns as frames of a camera."""

from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from engine.errors import Refused, shown
from protocols.zones.commands.options import Seed


class CameraName(StrEnum):
    """How the camera detects, as `protocols.screening.generation.CameraKind`, which needs numpy."""

    COUNTING = "counting"
    INTEGRATING = "integrating"


def simulate(
    out: Annotated[Path, typer.Option("--out", help="The file to write (.h5).")] = Path("patterns.h5"),
    count: Annotated[int, typer.Option("--patterns", min=1, max=100_000, help="How many.")] = 200,
    camera: Annotated[CameraName, typer.Option("--camera", help="A Timepix, or one that integrates.")] = (
        CameraName.COUNTING
    ),
    size_px: Annotated[int, typer.Option("--size", min=64, max=4096, help="Pixels along each side.")] = 516,
    seed: Seed = 0,
) -> None:
    """Labelled patterns, good and bad ones of all kinds, as frames of counts: to train with, to judge, to look at."""
    from protocols.products.atomic import make_folder
    from protocols.screening.generation import CameraKind, generate
    from protocols.screening.patternfile import write_patterns

    if out.suffix != ".h5" or out.exists():
        what = "exists and is kept" if out.exists() else "patterns are written as HDF5, .h5"
        raise Refused(f"--out {shown(out)}: {what}; give another name. Nothing was written.")
    make_folder(out.parent)
    patterns = generate(seed, 0, count, CameraKind(camera.value), (size_px, size_px))
    labels = write_patterns(out, patterns, count, (size_px, size_px), {"seed": seed, "camera": camera.value})
    for verdict, number in Counter(label.verdict for label in labels).most_common():
        typer.echo(f"{verdict.value}: {number} ({100 * number / count:.0f} %)")
    for kind, number in Counter(label.kind for label in labels).most_common():
        typer.echo(f"  {kind.value}: {number}")
    typer.echo(f"{out}: {count} patterns of {size_px} x {size_px} pixels")
