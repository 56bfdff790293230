"""The report of a serial run: one self-contained page, `report/index.html`, in the form of that of cRED.

What went wrong stands first, then what came of the run, the grid, scores and sizes, the best patterns, and where the
time went.
"""

import html
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import CredlineError, DataError
from engine.views.strip import draw_strip
from protocols.products.atomic import make_folder, write_text
from protocols.products.report import ENDINGS, NOT_SHOWN, PAGE, Rows, flat_rows, html_image, html_section, html_table
from protocols.screening.contactsheet import COLUMNS, ROWS, sheet
from protocols.screening.preprocessing import input_of
from protocols.screening.scoring import Score
from protocols.serialed.results.crystaltable import CrystalRow
from protocols.serialed.results.plots import crystals_plot, time_plot
from protocols.serialed.results.selection import best, selected, selection
from protocols.serialed.results.source import SerialSource
from protocols.serialed.results.timeuse import time_use
from protocols.serialed.results.troubles import serial_troubles

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FILE = "report/index.html"
LISTED = 20
STRIP_RECORDS = 60_000
"""A longer trace makes a strip in which nothing is seen."""

GRID = (
    "Images where the stage stood, x to the right and y upwards; every crystal in the colour of its score. Numbers are "
    "those of crystals.csv, of the best isolated ones."
)
CRYSTALS = "Scores of all patterns, and lengths of the crystals."
BEST = "As the network sees them: the middle of the pattern, root of the counts. Score, resolution, crystal."
TIME = "Patterns as they came, and how long the run was in each of its states."
SELECTED = (
    "Isolated (1.5 um and more from the next crystal, 0.5 um and more from the edge, where the plan does not say "
    "otherwise) with a score above 0.5, the best first; all of them in serialed.csv. Bring one back: "
    "credline serialed recall {csv} NUMBER"
)


def write_report(
    source: SerialSource, told: Rows, overview: bytes, inverse_A_per_px: float | None, warnings: Sequence[str] = ()
) -> Path:
    """Write the page, whole or not at all. told: the table that the run showed at its end. overview: as PNG."""
    body = "\n".join(_body(source, told, overview, inverse_A_per_px, warnings))
    path = source.folder / FILE
    make_folder(path.parent)
    title = html.escape(f"{source.document.label or source.document.protocol}: run {source.name}")
    write_text(path, PAGE.format(title=title, body=body))
    return path


def _body(
    source: SerialSource, told: Rows, overview: bytes, inverse_A_per_px: float | None, warnings: Sequence[str]
) -> Iterator[str]:
    document, rows = source.document, source.tables.crystals
    ended = f"{document.status}: {document.reason}" if document.reason else document.status
    yield f'<p class="ended{ENDINGS.get(document.status, " badly")}">{html.escape(ended)}</p>'
    if wrong := [*serial_troubles(source), *warnings]:
        yield f'<ul class="warnings">{"".join(f"<li>{html.escape(line)}</li>" for line in wrong)}</ul>'
    use = time_use(source.records, source.frames)
    yield f"<h2>The run</h2>{html_table([*told, ('crystals', selection(rows).words()), *_pace(source)])}"
    yield html_section("The grid", GRID)
    yield html_image("The grid", overview, "png")
    if chosen := selected(rows):
        csv = source.folder / "crystals.csv"
        yield html_section("Crystals for a data collection", SELECTED.format(csv=csv))
        yield _listed(chosen[:LISTED])
    yield html_section("Crystals", CRYSTALS)
    yield html_image("Crystals", crystals_plot(rows), "png")
    if shown := _shown(source, inverse_A_per_px):
        buffer = BytesIO()
        sheet(shown).save(buffer, "PNG")
        yield html_section("The best patterns", BEST)
        yield html_image("The best patterns", buffer.getvalue(), "png")
    yield html_section("Time", TIME)
    yield html_image("Time", time_plot(use), "png")
    yield _strip(source)
    instrument = source.header.get("instrument")
    parts = instrument if isinstance(instrument, Mapping) else document.instrument
    devices = [("devices", document.devices or "not known"), ("clock", document.clock or "not known")]
    devices += flat_rows({name: part for name, part in parts.items() if name not in NOT_SHOWN})
    yield '<div class="tables">'
    yield f"<div><h2>Plan</h2>{html_table(flat_rows(document.plan))}</div>"
    yield f"<div><h2>Devices</h2>{html_table(devices)}</div></div>"


def _pace(source: SerialSource) -> Iterator[tuple[str, str]]:
    use, tables = time_use(source.records, source.frames), source.tables
    yield "fields with an image", f"{len(tables.fields)}; {len(tables.left_out)} more were left out"
    yield "time", f"{use.elapsed_s / 60:.1f} min, {use.patterns_per_hour:.0f} patterns per hour"
    yield "places on the specimen", tables.placing.how


def _listed(rows: Sequence[CrystalRow]) -> str:
    heads = ("number", "field, crystal", "score", "reaches", "length", "stage x, y")
    cells = "".join(f"<td>{head}</td>" for head in heads)
    lines = [f"<tr>{cells}</tr>"]
    for row in rows:
        reach = "" if row.d_min_A is None else f"{row.d_min_A:.2f} A"
        words = (
            str(row.number), f"{row.field}, {row.crystal}", f"{row.score_good or 0:.3f}", reach,
            f"{row.length_nm:.0f} nm", f"{row.x_nm / 1000:.2f}, {row.y_nm / 1000:.2f} um",
        )  # fmt: skip
        lines.append(f"<tr>{''.join(f'<td>{html.escape(word)}</td>' for word in words)}</tr>")
    return f"<table>{''.join(lines)}</table>"


def _shown(source: SerialSource, inverse_A_per_px: float | None) -> "list[tuple[str, Score, NDArray[np.floating]]]":
    """The best patterns that can be read, for a contact sheet."""
    if inverse_A_per_px is None:
        return []
    found: list[tuple[str, Score, NDArray[np.floating]]] = []
    correct = source.correction()
    for row in best(source.tables.crystals):
        if len(found) == COLUMNS * ROWS:
            break
        try:
            counts = correct.apply(source.pattern(row.pattern))[0]
        except DataError:
            continue
        score = Score(row.score_good or 0.0, row.d_min_A, row.score_several or 0.0, row.said)
        found.append((f"crystal {row.number}", score, input_of(counts[None], inverse_A_per_px)[0]))
    return found


def _strip(source: SerialSource) -> str:
    if len(source.records) > STRIP_RECORDS:
        return ""
    drawn = BytesIO()
    try:
        draw_strip(source.folder, drawn)
    except CredlineError as error:
        return f"<p>No timing strip: {html.escape(str(error))}</p>"
    return html_section("Timing strip", "What every part of the instrument did when, in seconds.") + html_image(
        "Timing strip", drawn.getvalue(), "png"
    )
