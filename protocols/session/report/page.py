"""The report of a session: one self-contained page, `report/index.html`, in the form of those of cRED and SerialED.

What went wrong stands first, then what came of the night, the grid, the phases, every data set, histograms, where
time and dose went, the crystals that came to nothing, plan and devices.
"""

import html
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from engine.errors import shown
from engine.record.jsonobject import JsonObject
from protocols.products.atomic import make_folder, write_text
from protocols.products.report import ENDINGS, NOT_SHOWN, PAGE, flat_rows, html_image, html_section, html_table
from protocols.session.finish import told_rows
from protocols.session.judging.dataset import DataSet
from protocols.session.night import COLLECTED
from protocols.session.report.gridmap import colour_of, grid_map
from protocols.session.report.plots import BEAM_KINDS, growth_plot, histograms, shells_plot, time_plot
from protocols.session.report.source import SessionSource
from protocols.session.report.troubles import session_troubles

FILE = "report/index.html"
LETTERS = 200
S_PER_H = 3600.0
MAP = "Every crystal where the stage stood with it in the middle, x to the right and y upwards. Numbers are data sets."
PHASES = (
    "Data sets told apart by their cells. Complete: share of the unique reflections that all data sets together "
    "passed, in the highest Laue class of the lattice; attainable: what as many crystals as one likes would show that "
    "lie as these do."
)
MERGED = "The intensities of each phase merged, all data sets on one scale."
MERGED_SO_FAR = "The intensities of each phase as they were merged while the session ran."
NOT_MERGED = "Files of merged intensities: credline session merge {folder} writes them; then make the report again."
SETS = "Cells are those of the primitive lattices; complete: by itself, in the highest Laue class of its lattice."
GROWTH = "Data sets as they came, and what all of a phase together had measured."
TIME = "How long the session was in each of its states; what the beam was on for."
ASIDE = "Crystals that were tried and gave no data set."


def write_report(source: SessionSource) -> Path:
    """Write the page, whole or not at all. StorageError where that fails."""
    body = "\n".join(_body(source))
    path = source.folder / FILE
    make_folder(path.parent)
    title = html.escape(f"{source.document.label or source.document.protocol}: session {source.name}")
    write_text(path, PAGE.format(title=title, body=STYLE + body))
    return path


STYLE = """<style>
table.wide td { padding-right: .8rem; white-space: nowrap }
table.wide td.text { white-space: normal; overflow-wrap: anywhere; min-width: 10rem }
table.wide { font-size: 13px } table.wide td.number { text-align: right; font-variant-numeric: tabular-nums }
table.wide td:first-child { color: inherit } table.wide tr.head td { color: #666; border-bottom: 1px solid #ccc }
.dot { display: inline-block; width: .7em; height: .7em; border-radius: 50%; margin-right: .4em }
.scroll { overflow-x: auto }
</style>"""


def _body(source: SessionSource) -> Iterator[str]:
    document, night = source.document, source.night
    ended = f"{document.status}: {document.reason}" if document.reason else document.status
    yield f'<p class="ended{ENDINGS.get(document.status, " badly")}">{html.escape(ended)}</p>'
    if wrong := list(session_troubles(source)):
        yield f'<ul class="warnings">{"".join(f"<li>{html.escape(line)}</li>" for line in wrong)}</ul>'
    yield f"<h2>The session</h2>{html_table([*_told(source), *_pace(source)])}"
    yield html_section("The grid", MAP)
    yield html_image("The grid", grid_map(source), "png")
    yield html_section("Phases", PHASES)
    yield _phases(source.phases) if source.phases else "<p>None: no data set has a cell.</p>"
    if source.is_merged:
        yield html_section("Merged", MERGED)
        yield _merged(source.phases)
        if any(phase.get("shells") for phase in source.phases):
            yield html_image("Merged statistics", shells_plot(source.phases), "png")
    elif source.phases:
        if rows := night.merged.get("phases"):
            yield html_section("Merged", MERGED_SO_FAR)
            yield _merged_so_far(rows, night.dials.get("phases", ()))
        yield f"<p>{html.escape(NOT_MERGED.format(folder=source.folder))}</p>"
    if source.growth:
        yield html_section("Growth", GROWTH)
        yield html_image("Growth", growth_plot(source), "png")
    if source.sets:
        yield html_section("Data sets", SETS)
        yield _sets(source)
    if source.sets or night.crystals:
        yield html_section("Histograms", "Of the data sets, in the colours of their phases; of all crystals, by score.")
        yield html_image("Histograms", histograms(source), "png")
    yield html_section("Time and dose", TIME)
    yield html_image("Time", time_plot(source), "png")
    yield _work(source)
    if aside := [over for over in night.over.values() if over.how != COLLECTED]:
        yield html_section("Set aside", ASIDE)
        rows = [(str(each.crystal), _score(source, each.crystal), each.stage, each.reason) for each in aside]
        yield _table(("crystal", "score", "at", "why"), rows)
    instrument = source.header.get("instrument")
    parts = instrument if isinstance(instrument, Mapping) else document.instrument
    devices = [("devices", document.devices or "not known"), ("clock", document.clock or "not known")]
    devices += flat_rows({name: part for name, part in parts.items() if name not in NOT_SHOWN})
    yield '<div class="tables">'
    yield f"<div><h2>Plan</h2>{html_table(flat_rows(document.plan))}</div>"
    yield f"<div><h2>Devices</h2>{html_table(devices)}</div></div>"


def _told(source: SessionSource) -> Sequence[tuple[str, str]]:
    """The table that the session showed at its end."""
    try:
        return told_rows(source.document.result)
    except (KeyError, TypeError, ValueError):  # cut off, or of another version
        night = source.night
        return [("time", f"{night.elapsed_s() / S_PER_H:.2f} h"), ("data sets", str(len(night.data_sets)))]


def _pace(source: SessionSource) -> Iterator[tuple[str, str]]:
    night = source.night
    minutes = sorted(source.minutes[each.crystal] for each in source.sets if each.crystal in source.minutes)
    if minutes:
        yield "a data set", f"{minutes[len(minutes) // 2]:.1f} min (median; {minutes[0]:.1f} to {minutes[-1]:.1f})"
    if (flux := source.flux_e_A2_s) is not None:
        doses = sorted(_beam_s(each) * flux for each in night.data_sets)
        if doses:
            yield "dose of a crystal", f"{doses[len(doses) // 2]:.3g} electrons per A^2 by its rotation (median)"


def _beam_s(row: JsonObject) -> float:
    value = row["result"].get("beam_on_s")
    return float(value) if isinstance(value, int | float) else 0.0


def _phases(phases: Sequence[JsonObject]) -> str:
    rows = [
        (
            _dot(phase["number"]) + str(phase["number"]),
            str(phase.get("lattice", "")),
            _cell(phase.get("cell")) or html.escape(str(phase.get("words", ""))),
            str(len(phase["data_sets"])),
            _share(phase.get("passed", phase.get("completeness"))),
            _share(phase.get("attainable")),
            html.escape(str(phase.get("attainable_words", ""))),
        )
        for phase in phases
    ]
    heads = ("phase", "lattice", "cell (A, deg)", "data sets", "complete", "attainable", "how they lie")
    return _table(heads, rows, escaped=True)


def _merged(phases: Sequence[JsonObject]) -> str:
    heads: Sequence[str] = (
        *("phase", "group", "d_min (A)", "merged", "observations", "unique", "complete", "times", "I/sigma", "R_meas"),
        *("CC1/2", "DIALS: complete", "R_meas", "CC1/2"),
    )
    rows: list[Sequence[str]] = []
    for phase in phases:
        dials = phase.get("dials") or {}
        rows.append(
            (
                str(phase["number"]),
                str(phase.get("group", "")),
                f"{phase.get('d_min_A', 0):.2f}",
                f"{len(phase.get('merged', []))} of {len(phase['data_sets'])}",
                str(phase.get("observations", "")),
                str(phase.get("unique", "")),
                _share(phase.get("completeness")),
                _figure(phase.get("multiplicity"), 1),
                _figure(phase.get("i_over_sigma"), 1),
                _figure(phase.get("r_meas"), 3),
                _figure(phase.get("cc_half"), 4),
                _share(dials.get("completeness")),
                _figure(dials.get("r_meas"), 3),
                _figure(dials.get("cc_half"), 3),
            )
        )
    if not any(phase.get("dials") for phase in phases):
        heads, rows = heads[:-3], [row[:-3] for row in rows]
    return _table(heads, rows)


def _merged_so_far(rows: Sequence[JsonObject], dials: Sequence[JsonObject]) -> str:
    heads: Sequence[str] = ("phase", "group", "merged", "left out", "complete", "times", "R_meas", "CC1/2")
    heads = (*heads, "DIALS: data sets", "complete", "R_meas", "CC1/2") if dials else heads
    by_dials = {each["number"]: each for each in dials}
    told: list[Sequence[str]] = []
    for each in rows:
        row: tuple[str, ...] = (
            *(_dot(each["number"]) + str(each["number"]), html.escape(str(each["group"]))),
            *(str(len(each["data_sets"])), str(len(each["left_out"])), _share(each["completeness"])),
            *(_figure(each["multiplicity"], 1), _figure(each["r_meas"], 3), _figure(each["cc_half"], 4)),
        )
        other = by_dials.get(each["number"], {})
        if dials:
            row = (
                *(*row, str(len(other.get("data_sets", ()))), _share(other.get("completeness"))),
                *(_figure(other.get("r_meas"), 3), _figure(other.get("cc_half"), 3)),
            )
        told.append(row)
    return _table(heads, told, escaped=True)


def _sets(source: SessionSource) -> str:
    heads = (
        *("data set", "crystal", "phase", "lattice", "primitive cell (A, deg)", "range (deg)", "complete", "d_min (A)"),
        *("indexed", "score", "minutes", "damage", "why it ended"),
    )
    phase_of = source.phase_of
    rows = [_set_row(source, each, phase_of.get(each.number)) for each in source.sets]
    return _table(heads, rows, escaped=True)


def _set_row(source: SessionSource, each: DataSet, phase: int | None) -> tuple[str, ...]:
    page = f"../{each.run_dir}/report/index.html"
    number = str(each.number)
    if not each.run_dir.startswith("/") and (source.folder / each.run_dir / "report/index.html").is_file():
        number = f'<a href="{html.escape(page)}">{number}</a>'
    minutes = source.minutes.get(each.crystal)
    why = source.unplaced.get(each.number)
    ended = f"{each.ended}; {why}" if why and phase is None else each.ended
    return (
        number,
        str(each.crystal),
        f"{_dot(phase)}{phase if phase is not None else 'none'}",
        html.escape(each.lattice),
        _cell(each.cell.parameters if each.cell else None),
        ",<br>".join(f"{begin:.1f} to {end:.1f}" for begin, end in each.parts),
        _share(each.completeness),
        _figure(each.d_min_A, 2),
        _share(each.indexed_share, 0),
        _score(source, each.crystal),
        _figure(minutes, 1),
        html.escape(each.damage),
        html.escape(shown(ended, LETTERS)),
    )


def _work(source: SessionSource) -> str:
    """Of each kind of children: how many, how long, beam."""
    whole_s = max(sum(each.seconds for each in source.tallies.values()), 1e-9)
    rows = []
    for name, each in source.tallies.items():
        row = (
            BEAM_KINDS.get(name, name),
            str(each.count),
            str(each.badly),
            f"{each.seconds / 60:.1f} min, {each.seconds / whole_s:.0%}",
            f"{each.seconds / max(each.count, 1):.0f} s",
            f"{each.beam_on_s / 60:.1f} min",
            f"{each.beam_on_s / max(each.seconds, 1e-9):.0%}",
        )
        rows.append(row)
    heads = ("work", "times", "ended badly", "took", "each", "beam on", "of its time")
    return _table(heads, rows)


def _score(source: SessionSource, number: int) -> str:
    crystals = source.night.crystals
    return _figure(crystals[number - 1].score_good, 2) if 1 <= number <= len(crystals) else ""


def _cell(values: object) -> str:
    if not isinstance(values, list | tuple) or len(values) != 6:
        return ""
    lengths, angles = values[:3], values[3:]
    return f"{' '.join(f'{value:.2f}' for value in lengths)}&ensp;{' '.join(f'{value:.1f}' for value in angles)}"


def _dot(phase: int | None) -> str:
    return f'<span class="dot" style="background:{colour_of(phase)}"></span>'


def _share(value: object, digits: int = 1) -> str:
    return f"{value:.{digits}%}" if isinstance(value, int | float) else ""


def _figure(value: object, digits: int) -> str:
    return f"{value:.{digits}f}" if isinstance(value, int | float) else ""


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, escaped: bool = False) -> str:
    """A table with a head; the last column is folded. escaped: whether texts are HTML already."""
    lines = ['<tr class="head">' + "".join(f"<td>{html.escape(head)}</td>" for head in heads) + "</tr>"]
    for row in rows:
        cells = "".join(f"<td{_kind(text)}>{text if escaped else html.escape(text)}</td>" for text in row[:-1])
        cells += f'<td class="text">{row[-1] if escaped else html.escape(row[-1])}</td>'
        lines.append(f"<tr>{cells}</tr>")
    return f'<div class="scroll"><table class="wide">{"".join(lines)}</table></div>'


def _kind(text: str) -> str:
    return ' class="number"' if text.rstrip("%").replace(".", "", 1).isdigit() else ""
