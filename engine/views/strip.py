"""The timing strip: what every part of the instrument did when, as a picture made from a trace.

The whole run, and close-ups of where its frames change and of the first trouble; in each a row for every state, step,
kind of frame and device (`engine.views.lanes`). Reads trace.jsonl, so it draws any run, also one that failed, and
imported logs as far as their times are known.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import IO, TYPE_CHECKING

import structlog

from engine.clock import NS_PER_MS, NS_PER_S
from engine.record.trace import Record
from engine.views.lanes import Bar, Lane, Window, is_alarm, read_rows, visible
from engine.views.lines import between
from engine.worker import WORKERS, begin_worker

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

log = structlog.get_logger()

DRAW_LIMIT_S = 60.0
DPI = 110
SHORTEST_PX = 2.0
"""So wide is every event at least."""
WIDTH_IN, LEFT_IN, RIGHT_IN = 12.0, 1.75, 0.45
ROW_WIDTH_IN = WIDTH_IN - LEFT_IN - RIGHT_IN
ROW_IN, ABOVE_IN, BELOW_IN, LATENESS_IN = 0.16, 0.32, 0.42, 1.2
"""Heights: of a row, of a title and of the time axis of a panel, of the panel of lateness."""
FEWEST_ROWS = 3

COLOURS = {
    "left": "#cfe6d2",
    "states": "#8a8fb5",
    "steps": "#5aa56e",
    "calls": "#3fa9d0",
    "computations": "#9467bd",
    "children": "#8c6d31",
    "marks": "#777777",
    "over": "#cc0000",
    "budget end": "#000000",
    "alarm": "#ee6677",
    "slack": "#c9a227",
    "start": "#4477aa",
    "window": "#fff3c4",
}
"""Of the groups of rows and of what is in them; later ones are drawn over earlier ones."""
FAINT, RULE = "#808080", "#d9d9d9"
KIND_COLOURS = ("#4477aa", "#d48a00", "#aa3377", "#228833")
"""Of exposures, by kinds of frames in the order in which these first come; more kinds share the last."""

Box = tuple[float, float, float, float]
"""Begin and end in seconds, upper and lower end of a bar; row k is around k."""


def draw_strip(trace: Path, picture: Path | IO[bytes]) -> None:
    """Draw the timing strip of a run folder or trace into a PNG or SVG file (by its ending); as PNG into a stream."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    strip = read_rows(trace)
    windows = [strip.whole, *strip.near]
    rows = [strip.lanes, *([lane for lane in strip.lanes if lane.is_seen(window)] for window in strip.near)]
    rows_in = [ROW_IN * max(FEWEST_ROWS, len(each)) for each in rows]
    height_in = sum(rows_in) + (len(windows) + 1) * (ABOVE_IN + BELOW_IN) + LATENESS_IN
    figure = Figure(figsize=(WIDTH_IN, height_in), dpi=DPI)
    FigureCanvasAgg(figure)
    bottom_in = height_in
    for window, each, each_in in zip(windows, rows, rows_in, strict=True):
        bottom_in -= ABOVE_IN + each_in
        whole = window is strip.whole
        axes = _axes(figure, bottom_in, each_in)
        _draw_rows(axes, each, window, strip.near if whole else (), counted=whole)
        bottom_in -= BELOW_IN
    if not any("t_ns" in record for record in strip.records[1:]):
        axes.text(0.5, 0.5, "this trace holds no times", transform=axes.transAxes, ha="center", fontsize=9)
    _draw_lateness(_axes(figure, BELOW_IN, LATENESS_IN), strip.records)
    figure.savefig(picture)


def kinds_of(lanes: Iterable[Lane]) -> list[str]:
    """The kinds of frames among these rows, in their order."""
    return [lane.name for lane in lanes if lane.group == "frames"]


def layers(lane: Lane, kinds: Sequence[str]) -> list[tuple[str, Sequence[Bar]]]:
    """What is drawn in a row, the later over the earlier: colours and bars."""
    colour = KIND_COLOURS[min(kinds.index(lane.name), 3)] if lane.group == "frames" else COLOURS[lane.group]
    return [
        (COLOURS["left"], lane.left),
        (colour, lane.bars),
        (COLOURS["over"], lane.over),
        (COLOURS["budget end"], [(end_s, 0.0) for end_s in lane.budget_ends]),
        (COLOURS["alarm"] if is_alarm(lane) else colour, [(at_s, 0.0) for at_s in lane.marks]),
    ]


class StripProcess:
    """Draws a strip in a process of its own; `warm` it early and loading the plotting library costs no time later."""

    def __init__(self) -> None:
        self._pool = ProcessPoolExecutor(1, mp_context=WORKERS, initializer=begin_worker)

    def warm(self) -> None:
        """Start the process now."""
        self._pool.submit(_load_plotting)

    def draw(self, trace: Path, picture: Path) -> None:
        """Draw, and wait until it is done. A strip that cannot be drawn is logged and costs nothing else."""
        try:
            picture.parent.mkdir(exist_ok=True)
            self._pool.submit(draw_strip, trace, picture).result(timeout=DRAW_LIMIT_S)
        except Exception as error:
            log.warning("the timing strip was not drawn", cause=str(error), picture=str(picture))

    def close(self) -> None:
        """End the process."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def _load_plotting() -> None:
    import matplotlib.backends.backend_agg
    import matplotlib.figure  # noqa: F401


def _axes(figure: "Figure", bottom_in: float, height_in: float) -> "Axes":
    """Axes at a fixed place: a layout engine would draw everything twice."""
    width_in, whole_in = figure.get_size_inches()
    return figure.add_axes((LEFT_IN / width_in, bottom_in / whole_in, ROW_WIDTH_IN / width_in, height_in / whole_in))


def _draw_rows(axes: "Axes", lanes: Sequence[Lane], window: Window, near: Sequence[Window], counted: bool) -> None:
    """One panel: every row within the window, its name to the left, the number of its events to the right."""
    from matplotlib.collections import PolyCollection

    for other in near:
        axes.axvspan(other.begin_s, other.end_s, color=COLOURS["window"], linewidth=0, zorder=0)
    shortest_s = (window.end_s - window.begin_s) / (ROW_WIDTH_IN * DPI) * SHORTEST_PX
    kinds = kinds_of(lanes)
    boxes: dict[str, list[Box]] = {colour: [] for colour in (*COLOURS.values(), *KIND_COLOURS)}
    for row, lane in enumerate(lanes):
        for hue, bars in layers(lane, kinds):
            boxes[hue] += _boxes(bars, row, window, shortest_s)
        _write(axes, -0.08, row, lane.name, ha="right")
        if counted and lane.events > 1:
            _write(axes, ROW_WIDTH_IN + 0.06, row, f"{lane.events}", color=FAINT)
        if row == 0 or lanes[row - 1].group != lane.group:
            axes.axhline(row - 0.5, color=RULE, linewidth=0.6, zorder=0)
            _write(axes, 0.08 - LEFT_IN, row, lane.group, color=FAINT)
    for layer, (hue, drawn) in enumerate(boxes.items()):
        corners = [[(a, up), (b, up), (b, down), (a, down)] for a, b, up, down in drawn]
        axes.add_collection(PolyCollection(corners, facecolor=hue, linewidth=0, zorder=2 + 0.01 * layer), autolim=False)
    for at_s in {at_s for lane in lanes if is_alarm(lane) for at_s in lane.marks}:
        axes.axvline(at_s, color=COLOURS["alarm"], linewidth=0.8, alpha=0.5, zorder=1)
    axes.yaxis.set_visible(False)  # ticks of the library take four times as long as texts
    axes.tick_params(axis="x", labelsize=8)
    axes.set_ylim(max(FEWEST_ROWS, len(lanes)) - 0.5, -0.5)
    axes.set_xlim(window.begin_s, window.end_s)
    axes.set_xlabel("time / s", fontsize=8, labelpad=1)
    axes.set_title(_literal(window.title), loc="left", fontsize=9)


def _write(axes: "Axes", x_in: float, row: int, text: str, color: str = "black", ha: str = "left") -> None:
    """Text beside a row; x counts in inches from the left end of the rows."""
    place = axes.get_yaxis_transform()
    axes.text(x_in / ROW_WIDTH_IN, row, _literal(text), transform=place, va="center", ha=ha, fontsize=7, color=color)


def _boxes(bars: Iterable[Bar], row: int, window: Window, shortest_s: float) -> list[Box]:
    """The bars of a row that are seen in the window, cut off at its ends; one at its very end is moved into it."""
    seen = visible((bar for bar in bars if window.shows(bar)), shortest_s)
    last_s = window.end_s - shortest_s
    return [
        (min(max(begin_s, window.begin_s), last_s), min(begin_s + length_s, window.end_s), row - 0.38, row + 0.38)
        for begin_s, length_s in seen
    ]


def _literal(text: str) -> str:
    """Text in which the plotting library sees no formula."""
    return text.replace("$", r"\$")


def _draw_lateness(axes: "Axes", records: list[Record]) -> None:
    """When the steps of a slot that are commonest, those of its exposures as a rule, began, slot by slot."""
    slotted = [r for r in records if r["kind"] == "step" and r["slot"] is not None]
    commonest = Counter(r["name"] for r in slotted).most_common(1)
    steps = [r for r in slotted if r["name"] == commonest[0][0]]
    started = [
        (r["slot"], late / NS_PER_MS) for r in steps if (late := between(r, "planned_ns", "start_ns")) is not None
    ]
    lost = [r["slot"] for r in records if r["kind"] == "slot" and r["name"] == "lost" and r["slot"] is not None]
    over = [r for r in steps if r["verdict"] == "over" and "left_ns" in r]
    usual = [(r["slot"], r["slack_ns"] / NS_PER_MS) for r in steps if r.get("slack_ns", NS_PER_S) < 20 * NS_PER_MS]
    _dots(axes, usual, "slack", "slack before start")
    _dots(axes, started, "start", "start late")
    _dots(axes, [(r["slot"], -r["left_ns"] / NS_PER_MS) for r in over], "over", "over budget by")
    for slot in lost:
        axes.axvline(slot, color=COLOURS["alarm"], linewidth=0.8)
    axes.tick_params(labelsize=8)
    axes.locator_params(axis="x", integer=True)
    axes.set_xlabel("slot", fontsize=8, labelpad=1)
    axes.set_ylabel("ms", fontsize=8)
    name = _literal(f", step '{commonest[0][0][:24]}'") if commonest else ""
    axes.set_title(f"slot by slot{name}; lost slots in red", loc="left", fontsize=9)
    if started or usual or over:
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, fontsize=7, frameon=False, borderaxespad=0.2)


def _dots(axes: "Axes", points: list[tuple[int, float]], colour: str, label: str) -> None:
    if points:
        axes.plot(*zip(*points, strict=True), ".", color=COLOURS[colour], markersize=3, label=label)
