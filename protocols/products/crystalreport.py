"""The crystal of a run in its report: cell and all else that its reflections told, and reciprocal space to look at."""

import base64
import html
from collections.abc import Iterator

from protocols.products.foundcrystal import FoundCrystal
from protocols.products.metadata import RunHeader
from protocols.products.reciprocalplot import reciprocal_plot
from protocols.products.reciprocalview import fragment
from protocols.products.refinedgeometry import refined
from protocols.products.source import RunInfo

SYSTEMS = {"a": "triclinic", "m": "monoclinic", "o": "orthorhombic", "t": "tetragonal", "h": "hexagonal", "c": "cubic"}
CENTRINGS = {"P": "primitive", "I": "body-centred", "F": "face-centred", "R": "rhombohedral"}
SHOWN = (
    "White: reflections of the lattice, the brighter the more counts. Orange: not of it. Each is turned back by the "
    "stage's angle; lines: the lattice."
)
SHOWN_WITHOUT = (
    "All reflections, the brighter the more counts, turned back by the stage's angle; x is fast, y up, z towards the "
    "source."
)


def crystal_section(info: RunInfo, run: RunHeader, crystal: FoundCrystal) -> Iterator[str]:
    """HTML, in parts. No heading."""
    yield f"<p>{html.escape(_headline(crystal))}</p>"
    if crystal.determined:
        yield f"<ul>{''.join(f'<li>{html.escape(line)}</li>' for line in _words(run, crystal))}</ul>"
        yield "<p>The geometry that the reflections ask for. It replaces nothing in the files.</p>"
        yield _table(info, run, crystal)
    if len(crystal.points):
        data = base64.b64encode(reciprocal_plot(crystal)).decode("ascii")
        yield f"<p>{html.escape(SHOWN if crystal.determined else SHOWN_WITHOUT)}</p>"
        yield f'<img alt="Reciprocal space" src="data:image/png;base64,{data}">'
        yield f"<details open><summary>Turn it</summary>{fragment(crystal)}</details>"


def with_sigma(value: float, sigma: float) -> str:
    """18.163(27): a number with its standard deviation in units of the last digit, of which it has one or two."""
    if sigma <= 0:
        return f"{value:g}"
    digits = 0
    while digits < 5 and sigma * 10**digits < 2.95:
        digits += 1
    return f"{value:.{digits}f}({round(sigma * 10**digits)})"


def cell_words(crystal: FoundCrystal) -> str:
    """The cell in one line, uncertainties in brackets."""
    a, b, c, alpha, beta, gamma = (
        with_sigma(value, sigma) for value, sigma in zip(crystal.cell, crystal.cell_sigma, strict=True)
    )
    return f"a {a}, b {b}, c {c} A, alpha {alpha}, beta {beta}, gamma {gamma} deg"


def bravais_words(symbol: str | None) -> str:
    """Orthorhombic, C-centred (oC)."""
    if symbol is None or len(symbol) != 2 or symbol[0] not in SYSTEMS:
        return "type not known yet"
    system = "rhombohedral" if symbol == "hR" else SYSTEMS[symbol[0]]
    centring = CENTRINGS.get(symbol[1], f"{symbol[1]}-centred")
    return f"{system} ({symbol})" if symbol == "hR" else f"{system}, {centring} ({symbol})"


def _headline(crystal: FoundCrystal) -> str:
    if not crystal.determined:
        return f"No cell is determined after {crystal.deg:.1f} deg: {'; '.join(crystal.reasons)}."
    kind = bravais_words(crystal.bravais)
    return (
        f"{kind[0].upper()}{kind[1:]}: {cell_words(crystal)}. Found without knowing anything before, "
        f"in {crystal.deg:.1f} deg; {crystal.indexed:.1%} of {crystal.reflections} reflections lie on it."
    )


def _words(run: RunHeader, crystal: FoundCrystal) -> Iterator[str]:
    """What the headline has no room for; of most the words of `credline live`."""
    length = crystal.fitted["camera_length_mm"].value
    cell = " ".join(f"{x:.3f}" for x in crystal.scaled_to(run.camera_length_mm, crystal.cell)[:3])
    in_files = f"with {run.camera_length_mm:g} mm, as in the files, they are {cell} A"
    yield f"these lengths go with a camera length of {length:.2f} mm; {in_files}"
    if crystal.resolution_A is not None:
        yield f"reflections are seen to {crystal.resolution_A:.2f} A"
    yield from (line for line in crystal.words if not line.startswith("cell: "))


def _table(info: RunInfo, run: RunHeader, crystal: FoundCrystal) -> str:
    rows = [
        f"<tr><td>{html.escape(each.name)}</td><td>{html.escape(each.fitted)}</td>"
        f"<td>{'<b>' if each.off else ''}files: {html.escape(each.in_files)}{'</b>' if each.off else ''}</td></tr>"
        for each in refined(info, run, crystal)
    ]
    return f"<table>{''.join(rows)}</table>"
