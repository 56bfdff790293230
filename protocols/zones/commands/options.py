"""What the commands of `credline zones` have in common: options, numbers in words, the progress bar."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.errors import DataError, Refused, shown

if TYPE_CHECKING:
    from protocols.zones.patterns.snapshots import Snapshots

Json = Annotated[bool, typer.Option("--json", help="Result as JSON in the last line of output.")]
Model = Annotated[Path | None, typer.Option("--model", help="A network of your own (`credline zones train`).")]


def _judged(option: str, value: float | None, figure: str) -> float | None:
    """The value of an option. Raises Refused for one that no microscope has, asks about an unusual one; both name the
    unit that was likely meant. figure: its name in `drivers.plausible`.
    """
    if value is not None:
        from drivers import plausible
        from drivers.judged import impossible, question

        known = getattr(plausible, figure)
        if why := impossible(option, value, known):
            raise Refused(f"{why} Nothing was done.".replace(f"{option} = ", f"{option} "))
        if asked := question(option, value, known):
            typer.echo(f"Note: {asked}".replace(f"{option} = ", f"{option} "), err=True)
    return value


PerPx = Annotated[
    float | None,
    typer.Option(
        "--per-px",
        callback=lambda value: _judged("--per-px", value, "PER_PX"),
        help="1/A a pixel, where the pictures do not say, or say wrong.",
    ),
]
Tolerance = Annotated[
    float, typer.Option("--tolerance", min=1e-3, max=0.05, help="How far a spot may be off the net, 1/A.")
]
Missing = Annotated[
    float, typer.Option("--missing", min=0.0, max=0.9, help="Share of the excited spots too weak to be seen.")
]
Voltage = Annotated[
    float | None,
    typer.Option(
        "--voltage",
        callback=lambda value: _judged("--voltage", value, "VOLTAGE"),
        help="Acceleration voltage in kV, where the source does not say: 200.",
    ),
]
Beam = Annotated[
    str,
    typer.Option("--beam", metavar="'[X, Y]'", help="Primary beam in px (column, row), where a beam stop hides it."),
]
Excitation = Annotated[
    float,
    typer.Option("--excitation", min=0.001, max=0.1, help="How far from the Ewald sphere reflections are seen, 1/A."),
]
Thickness = Annotated[
    str,
    typer.Option(
        "--thickness",
        metavar="'NM NM'",
        help="Crystals between so many nm thick: each pattern's --excitation, 1 / thickness, is found from itself.",
    ),
]
EXCITATION_ERROR_PER_A = 0.01
"""That of `simulation.Geometry`, written again so that the command line need not load numpy, as the next."""
SERIAL_THICKNESS_NM = (10.0, 50.0)
"""Of the crystals of a serial run, as they come."""
TOLERANCE_PER_A = 0.006
"""The default of `geometric.classify_geometry`."""
Seed = Annotated[int, typer.Option("--seed", min=0, max=2**62, help="Seed of everything random.")]
Several = Annotated[
    float, typer.Option("--several", min=0, max=1, help="Share of patterns with several crystals (two).")
]
NoHits = Annotated[float, typer.Option("--no-hits", min=0, max=1, help="Share of patterns without a crystal.")]
Sources = Annotated[
    list[Path],
    typer.Argument(metavar="SOURCE...", help="Pictures, stacks of them, folders of both, run folders, peak lists."),
]


NOTHING_ZONAL = (
    "zones are hidden by a wrong scale (--per-px), --voltage or --excitation, by a beam that is not seen (--beam), by "
    "badly placed spots (--tolerance) and by weak ones that are not seen (--missing)"
)


def opened(sources: Sequence[Path], per_px: float | None, voltage_kV: float | None, beam: str) -> "list[Snapshots]":
    """The sources with what a person said of them, once it is told what is taken for granted of each."""
    from protocols.zones.patterns.simulation import electron_wavelength_A
    from protocols.zones.patterns.snapshots import described, looked_over, open_snapshots

    beam_px = None
    if beam:
        column, row = numbers(beam, 2, "--beam", "column and row of the primary beam in pixels")
        beam_px = column, row
    wavelength_A = electron_wavelength_A(voltage_kV) if voltage_kV else None
    found = [looked_over(source) for source in open_snapshots(sources, per_px, wavelength_A, beam_px)]
    for path, source in zip(sources, found, strict=True):
        typer.echo(described(path, source), err=True)
    return found


def excitation_errors(
    excitation_per_A: float, thickness: str, sources: "Sequence[Snapshots]"
) -> float | tuple[float, ...]:
    """The excitation error in 1/A, or those that every pattern is tried with, largest first.

    Crystals of a serial run are taken as they come where nothing was said, and that is told.
    """
    from protocols.zones.patterns.mixture import excitation_ladder

    between = thickness_nm(thickness)
    if between is not None and excitation_per_A != EXCITATION_ERROR_PER_A:
        raise Refused("--thickness and --excitation: say the same in two ways; give one of them. Nothing was done.")
    if between is None and excitation_per_A == EXCITATION_ERROR_PER_A and any(one.any_thickness for one in sources):
        between = SERIAL_THICKNESS_NM
        low, high = between
        typer.echo(f"crystals of {low:g} to {high:g} nm taken; else --thickness", err=True)
    return excitation_per_A if between is None else excitation_ladder(*between)


def thickness_nm(text: str) -> tuple[float, float] | None:
    """The thinnest and the thickest crystal in nm, None where nothing was said. Refused for what no crystal has."""
    if not text:
        return None
    low, high = numbers(text, 2, "--thickness", "the thinnest and the thickest crystal in nm")
    if not 1 <= low <= high <= 100:
        raise Refused(
            f"--thickness {shown(repr(text))}: 1 to 100 nm, the thinner one first; the rods of thicker crystals are "
            "shorter than the Ewald sphere is curved within a spot. Nothing was done."
        )
    return low, high


def labels_of(path: Path, option: str) -> dict[str, str]:
    """The label of each pattern by name, from a file of `zones classify --out`. Refused for a file that cannot be read,
    DataError for another one.
    """
    import csv

    try:
        rows = csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines())
        return {row["name"]: row["label"] for row in rows}
    except OSError as error:
        raise Refused(f"{option} {shown(path)}: cannot be read ({error.strerror}). Nothing was done.") from error
    except (ValueError, KeyError) as error:
        raise DataError(
            f"{shown(path)}: not a file of `credline zones classify --out` ({type(error).__name__}: {shown(error)}); "
            "classify the patterns again"
        ) from error


def numbers(text: str, count: int, option: str, what: str) -> list[float]:
    """So many finite numbers out of a word of the command line, as a plan writes a list or with spaces between. Refused
    where they are not.
    """
    bare = text.strip()
    if bare.startswith("[") and bare.endswith("]"):
        bare = bare[1:-1]
    try:
        found = [float(word) for word in bare.replace(",", " ").split()]
    except ValueError:
        found = []
    if len(found) != count or not all(abs(x) < 1e6 for x in found):
        raise Refused(f"{option} {shown(repr(text))}: {what} are needed. Nothing was done.")
    return found
