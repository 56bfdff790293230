"""The report of a run: one self-contained page, `report/index.html`, with all its pictures inside.

For the operator, minutes after the run, and for whoever gets the data: what went wrong stands first, then the figures
of the run, its timing, its snapshots, how stage, beam, crystal and frames behaved, and what plan and instrument it had.
"""

import base64
import html
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO

from engine.errors import CredlineError, shown
from engine.record.document import TRACE_FILE, RunDocument
from engine.views.strip import draw_strip
from engine.views.zoom import fragment
from protocols.products.atomic import make_folder, write_text
from protocols.products.cred_log import parameters
from protocols.products.crystalreport import crystal_section
from protocols.products.foundcrystal import FoundCrystal
from protocols.products.metadata import RunHeader
from protocols.products.plots import beam_plot, rotation_plot, scale_plot, timing_plot
from protocols.products.scale import SMOOTHED_FRAMES
from protocols.products.source import RunInfo, RunSource
from protocols.products.survey import FrameSurvey, clipped_in
from protocols.products.thumbnails import SNAPSHOTS_SHOWN, Thumbnail, frame_thumbnails, snapshot_thumbnails
from protocols.products.trackingplot import TEXT as TRACKING
from protocols.products.trackingplot import tracking_plot
from protocols.products.troubles import header_of, troubles

VALUE_LETTERS = 300
NOT_SHOWN = ("geometry",)
"""Parts of the instrument that stand among the parameters."""

ENDINGS = {"done": "", "stopped": " early"}
"""Classes of how a run may end that is no failure."""

Rows = Sequence[tuple[str, str]]

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #1b1b1b; max-width: 76rem; margin: 2rem auto; padding: 0 1rem }}
img {{ max-width: 100% }} h2 {{ font-size: 1.1rem; margin: 2rem 0 .3rem }} p {{ margin: .3rem 0 }}
table {{ border-collapse: collapse }} td {{ padding: .15rem 1rem .15rem 0; vertical-align: top }}
td:first-child {{ color: #666 }} .tables {{ display: flex; flex-wrap: wrap; gap: 0 4rem }}
.ended {{ display: inline-block; padding: .1rem .6rem; border-radius: .3rem; background: #d9efdc }}
.badly {{ background: #f6c9c4 }} .early {{ background: #fff3c4 }}
.warnings {{ border-left: 4px solid #cc0000; background: #fdf0ee; padding: .4rem 1rem .4rem 2rem; margin: .8rem 0 }}
.gallery {{ display: flex; flex-wrap: wrap; gap: .6rem }} figure {{ margin: 0; font-size: .8rem; line-height: 1.3 }}
</style></head><body><h1>{title}</h1>
{body}
</body></html>
"""


def write_report(
    source: RunSource,
    run: RunHeader,
    surveys: list[FrameSurvey],
    warnings: Sequence[str] = (),
    told: Rows = (),
    crystal: FoundCrystal | None = None,
) -> int:
    """Write report/index.html, an atomic file. Returns the number of files.

    warnings: of the export; they stand at the top, with what the run recorded. told: the table that the run showed at
    its end, word for word. crystal: what was found of it, where somebody has looked.
    """
    info = source.info
    document = RunDocument.read(info.folder)
    header = header_of(info)
    body = "\n".join(_body(source, run, surveys, document, header.get("t_ns") or 0, warnings, told, header, crystal))
    folder = info.folder / "report"
    make_folder(folder)
    title = html.escape(f"{info.sample}: run {info.run_id}")
    write_text(folder / "index.html", PAGE.format(title=title, body=body))
    return 1


def _body(
    source: RunSource,
    run: RunHeader,
    surveys: list[FrameSurvey],
    document: RunDocument,
    origin_ns: int,
    warnings: Sequence[str],
    told: Rows,
    header: Mapping[str, object],
    crystal: FoundCrystal | None,
) -> Iterator[str]:
    info = source.info
    ended = f"{info.status}: {info.reason}" if info.reason else info.status
    yield f'<p class="ended{ENDINGS.get(info.status, " badly")}">{html.escape(ended)}</p>'
    wrong = [*troubles(info, document), *warnings]
    if wrong:
        yield f'<ul class="warnings">{"".join(f"<li>{html.escape(line)}</li>" for line in wrong)}</ul>'
    if told:
        yield f"<h2>The run</h2>{html_table(told)}"
    if crystal is not None:
        yield "<h2>The crystal</h2>"
        yield from crystal_section(info, run, crystal)
    yield html_section("Timing strip", STRIP)
    yield _strip(info)
    if info.snapshots:
        yield html_section("Snapshots", _count(len(info.snapshots)))
        yield _gallery(snapshot_thumbnails(source), origin_ns)
    if (tracking := tracking_plot(info, document.own.get("tracking"))) is not None:
        yield html_section("Tracking", TRACKING)
        yield html_image("Tracking", tracking, "png")
    for title, text, picture in (
        ("Rotation", ROTATION, rotation_plot(info)),
        ("Timing", TIMING, timing_plot(info)),
        ("Primary beam", BEAM, beam_plot(info, surveys, run)),
        ("Scale", SCALE, scale_plot(info, surveys)),
    ):
        yield html_section(title, text)
        yield html_image(title, picture, "png")
    yield html_section("Frames", "Square root of the counts, after correction.")
    yield _gallery(frame_thumbnails(source), origin_ns)
    clipped = ("In 16 bits", str(clipped_in(surveys)))
    instrument = header.get("instrument")
    devices = [("devices", document.devices or "not known"), ("clock", document.clock or "not known")]
    devices += [("watchdog", document.watchdog)] if document.watchdog else []
    parts = instrument if isinstance(instrument, Mapping) else document.instrument
    devices += flat_rows({name: part for name, part in parts.items() if name not in NOT_SHOWN})
    yield '<div class="tables">'
    yield f"<div><h2>Parameters</h2>{html_table([*parameters(info, run), clipped])}</div>"
    yield f"<div><h2>Plan</h2>{html_table(flat_rows(document.plan))}</div>"
    yield f"<div><h2>Devices</h2>{html_table(devices)}</div></div>"


STRIP = (
    "What every part of the instrument did when, in seconds since the run began. Pale: left of a budget; red: over it, "
    "lost, failed."
)
ROTATION = "Stage angle of each frame; distance of frames and stage readings from an even rotation."
TIMING = "Lateness of each frame's start, and the time from one frame to the next."
BEAM = (
    "Position in each frame against the place that stands in all files; crosses: what is brightest, but not surely the "
    "beam."
)
SCALE = (
    f"Counts in the spots of each frame over the run's median, and their running median of {SMOOTHED_FRAMES} frames. A "
    "crystal that leaves the beam pulls the black line down to a twentieth, where only noise is left; all counts, in "
    "grey, stay as they are unless the beam goes."
)


def _count(snapshots: int) -> str:
    shown_here = f", {SNAPSHOTS_SHOWN} of them here" if snapshots > SNAPSHOTS_SHOWN else ""
    pictures = "1 picture" if snapshots == 1 else f"{snapshots} pictures"
    return f"{pictures} of the crystal{shown_here}; slot, time on the strip, stage angle."


def _strip(info: RunInfo) -> str:
    drawn = BytesIO()
    # One of several crystals has no trace of its own: that of the run is beside its folder.
    traced = info.folder if (info.folder / TRACE_FILE).exists() else info.folder.parent
    try:
        draw_strip(traced, drawn)
    except CredlineError as error:
        return f"<p>Not drawn: {html.escape(str(error))}</p>"
    zoomed = f"<details><summary>Zoom into it</summary>{fragment(traced)}</details>"
    return html_image("Timing strip", drawn.getvalue(), "png") + zoomed


def _gallery(pictures: Sequence[Thumbnail], origin_ns: int) -> str:
    return f'<div class="gallery">{"".join(_figure(picture, origin_ns) for picture in pictures)}</div>'


def _figure(picture: Thumbnail, origin_ns: int) -> str:
    when = "? s" if picture.start_ns is None else f"{(picture.start_ns - origin_ns) / 1e9:.2f} s"
    where = "angle unknown" if picture.start_deg is None else f"{picture.start_deg:.2f} deg"
    name = f"slot {picture.slot}"
    seen = "<p>not readable</p>" if picture.jpeg is None else html_image(name, picture.jpeg, "jpeg")
    return f"<figure>{seen}<figcaption>{name}<br>{when}, {where}</figcaption></figure>"


def html_section(title: str, text: str) -> str:
    """A heading with a sentence under it."""
    return f"<h2>{html.escape(title)}</h2><p>{html.escape(text)}</p>"


def html_image(name: str, content: bytes, kind: str) -> str:
    """A picture inside the page. kind: of the file, as `png`."""
    data = base64.b64encode(content).decode("ascii")
    return f'<img alt="{html.escape(name)}" src="data:image/{kind};base64,{data}">'


def html_table(rows: Rows) -> str:
    """Names and texts."""
    cells = "\n".join(f"<tr><td>{html.escape(k)}</td><td>{html.escape(v or 'none')}</td></tr>" for k, v in rows)
    return f"<table>{cells}</table>"


def flat_rows(told: Mapping[str, object], above: str = "") -> list[tuple[str, str]]:
    """Keys with dots and their values as text, what is nested unfolded."""
    rows: list[tuple[str, str]] = []
    for key, value in told.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping):
            rows += flat_rows(value, f"{name}.")
        else:
            text = ", ".join(map(_text, value)) if isinstance(value, list) else _text(value)
            rows.append((shown(name, VALUE_LETTERS), shown(text, VALUE_LETTERS)))
    return rows


def _text(value: object) -> str:
    """A value as a plan file would have it, without the noise of binary fractions."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.9g}" if isinstance(value, float) else str(value)
