"""`credline zones simulate`: diffraction patterns of a crystal in many orientations, with their labels."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.errors import Refused, shown
from protocols.zones.commands.options import (
    EXCITATION_ERROR_PER_A,
    Excitation,
    NoHits,
    Seed,
    Several,
    Thickness,
    Voltage,
    numbers,
    thickness_nm,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from protocols.lattice.cell import Cell
    from protocols.zones.patterns.simulation import Array, Patterns


BLOCK = 1000
"""Patterns drawn at one time."""


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
    second: Annotated[
        str,
        typer.Option("--with", metavar="CELL|CIF|random", help="A second phase, mixed in: its cell, CIF, or random."),
    ] = "",
    second_share: Annotated[
        float, typer.Option("--with-share", min=0.001, max=0.999, help="Of the crystals, those of the second phase.")
    ] = 0.5,
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
    crystals: Annotated[
        int, typer.Option("--crystals", min=1, max=10, help="Crystals in every pattern, or in those of --several.")
    ] = 1,
    several: Several = 0.0,
    no_hits: NoHits = 0.0,
    distortion: Annotated[
        str, typer.Option("--distortion", metavar="'PERCENT DEG'", help="Elliptical distortion: amplitude, azimuth.")
    ] = "",
    pictures: Annotated[
        Path | None, typer.Option("--png", help="Also write every pattern as a PNG, in a folder for each label.")
    ] = None,
    voltage_kV: Voltage = None,
    excitation_per_A: Excitation = EXCITATION_ERROR_PER_A,
    thickness: Thickness = "",
    seed: Seed = 0,
) -> None:
    """Diffraction patterns of one crystal in many orientations, or of two kinds mixed, with their labels.

    Wavelength 0.0251 A without --voltage, resolution 1 1/A, 254 x 254 pixels of 2.1/254 1/A.
    """
    import numpy as np

    from protocols.products.atomic import make_folder
    from protocols.zones.patterns import noise
    from protocols.zones.patterns.mixture import Phase, mix, phase_of_cell, phase_of_cif
    from protocols.zones.patterns.patternfile import write_patterns
    from protocols.zones.patterns.randomcells import random_cell
    from protocols.zones.patterns.render import ImageGeometry, render
    from protocols.zones.patterns.simulation import experiment, simulate_cif
    from protocols.zones.patterns.simulation import simulate as simulate_cell
    from protocols.zones.sorting.labels import LABELS

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
    geometry = experiment(voltage_kV, excitation_per_A)
    plates = thickness_nm(thickness)
    if cif and space_group != "P 1":
        raise Refused("--space-group: a CIF has its own; leave the option out. Nothing was written.")

    def cell_of(words: str) -> "Cell":
        try:
            return _cell(words) if words else random_cell(rng, system, volume_A3, anisotropy)
        except ValueError as error:
            raise Refused(f"{error}. Nothing was written.") from error

    mixed = None
    phases: list[Phase] = []
    if second or plates:
        share = 1 - second_share if second else 1.0
        phases.append(
            phase_of_cif(cif, share, geometry) if cif else phase_of_cell(cell_of(cell), share, geometry, space_group)
        )
        if second.lower().endswith(".cif"):
            phases.append(phase_of_cif(Path(second), second_share, geometry))
        elif second:
            phases.append(phase_of_cell(cell_of("" if second == "random" else second), second_share, geometry))
        mixed = mix(phases, count, rng, geometry, plates, half_sphere)
        sample, patterns = phases[0].cell, mixed.patterns
    elif cif:
        sample, patterns = simulate_cif(cif, count, rng, geometry, half_sphere)
    else:
        sample = cell_of(cell)
        patterns = simulate_cell(sample, count, rng, geometry, space_group, half_sphere)
    if not len(patterns.xy):
        raise Refused(
            f"no pattern of {sample} has a spot up to {geometry.d_star_max_per_A:g} 1/A. Nothing was written. Is its "
            "cell in A?"
        )
    if intensities and not cif:
        patterns = noise.with_random_intensities(patterns, rng)
    if crystals > 1 or several:
        patterns = noise.overlaid(patterns, rng, max(2, crystals), several or 1.0)
    if no_hits:
        patterns = noise.emptied(patterns, rng, no_hits, geometry.d_star_max_per_A)
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
        "several": several,
        "no_hits": no_hits,
        "intensities": intensities,
    }
    made_by |= {"distortion": distortion, "voltage_kV": voltage_kV, "excitation_per_A": excitation_per_A}
    if mixed is not None:
        made_by |= {"with": second, "with_share": second_share, "thickness_nm": plates}
    make_folder(out.parent)
    lattices = [phase.lattice for phase in phases]
    write_patterns(out, patterns, drawn(), image, sample, geometry.wavelength_A, made_by, mixed, lattices)
    typer.echo(f"cell: {sample}, V {sample.volume_A3:.1f} A^3")
    for phase in phases[1:]:
        typer.echo(f"mixed with: {phase.cell}, V {phase.cell.volume_A3:.1f} A^3")
    if not cif:
        typer.echo(f"reduced: {sample.reduced(space_group)}")
    for number, label in enumerate(LABELS):
        share = (patterns.label == number).mean()
        typer.echo(f"{label}: {(patterns.label == number).sum()} ({100 * share:.1f} %)")
    typer.echo(f"{out}: {count} patterns, {np.diff(patterns.start).mean():.0f} spots each")


def _cell(text: str) -> "Cell":
    """Six numbers as a cell that can exist."""
    from drivers.judged import impossible
    from drivers.plausible import CELL_LENGTH
    from protocols.lattice.cell import Cell

    cell = Cell(*numbers(text, 6, "--cell", "a, b, c in A and alpha, beta, gamma in deg"))
    for axis, length_A in zip("abc", cell.parameters, strict=False):
        if why := impossible(axis, length_A, CELL_LENGTH):
            raise Refused(f"--cell {shown(repr(text))}: {why} Nothing was written.")
    if not (min(cell.parameters) > 0 and max(cell.parameters[3:]) < 180 and cell.volume_A3 > 0):
        raise Refused(f"--cell {shown(repr(text))}: no crystal has that cell. Nothing was written.")
    if not 1 < cell.volume_A3 < 100_000:
        raise Refused(
            f"--cell {shown(repr(text))}: has {cell.volume_A3:.3g} A^3; patterns of 1 to 100 000 A^3 can be simulated. "
            "Nothing was written."
        )
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
    from protocols.zones.sorting.labels import LABELS

    for label in LABELS:
        make_folder(folder / label)
    width = len(str(len(patterns)))
    for number, picture in zip(which, drawn, strict=True):
        Image.fromarray(picture).save(folder / LABELS[patterns.label[number]] / f"{number:0{width}}.png")
