"""The timing strip: what every part of the instrument did when, as a picture made from a trace.

One lane for states, one for steps with their budgets, one for each device; over-budget steps, lost slots and faults
in red. Reads trace.jsonl, so it draws any run, also one that failed, and imported logs as far as their times are known.
"""

from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from itertools import islice, pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from engine.clock import NS_PER_MS, NS_PER_S
from engine.record.trace import Record, read_trace
from engine.views.lines import between
from engine.worker import begin_worker

if TYPE_CHECKING:
    from matplotlib.axes import Axes

log = structlog.get_logger()

DRAW_LIMIT_S = 60.0
COLOURS = {
    "start": "#4477aa",
    "slack": "#ccbb44",
    "call": "#66ccee",
    "step": "#77bb88",
    "budget": "#d5ead5",
    "lost": "#ee6677",
    "over": "#cc0000",
    "state": "#dddddd",
}
KIND_COLOURS = ("#4477aa", "#ccbb44", "#aa3377", "#228833")
"""Of exposures, by kinds of frames in the order in which these first come; more kinds share the last."""
DURATIONS = ("slack_ns", "left_ns", "period_ns")
CLOSE_UP_SLOTS = 12
RECORDS_DRAWN = 50_000
"""A run of ten minutes has some 5000; a picture of more shows nothing, and this bounds its memory."""


def draw_strip(trace: Path, picture: Path) -> None:
    """Draw the timing strip of a run folder or trace into a PNG or SVG file (by its ending)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    reading = read_trace(trace)
    records = list(islice(reading, RECORDS_DRAWN))
    cut_off = next(reading, None) is not None
    records = [_from_header(record, records[0]["t_ns"] or 0) for record in records]
    figure = Figure(figsize=(12, 8))
    FigureCanvasAgg(figure)
    whole, close_up, late = figure.subplots(3, 1, height_ratios=(2, 2, 1.3))
    # Fixed margins: a layout engine would draw everything twice.
    figure.subplots_adjust(left=0.06, right=0.99, top=0.96, bottom=0.06, hspace=0.35)
    first_s, last_s = _span(records)
    _lanes(whole, records, first_s, last_s)
    whole.set_title(f"the first {RECORDS_DRAWN} records" if cut_off else "whole run", loc="left")
    title, begin_s, end_s = _close_up(records, first_s, last_s)
    _lanes(close_up, records, begin_s, end_s)
    close_up.set_title(title, loc="left")
    _lateness(late, records)
    figure.savefig(picture, dpi=110)


class StripProcess:
    """Draws a strip in a process of its own; `warm` it early and loading the plotting library costs no time later."""

    def __init__(self) -> None:
        self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=begin_worker)

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


def _from_header(record: Record, origin_ns: int) -> Record:
    """The record with its instants counted from the header, and without those that are not known."""
    return {
        key: value - origin_ns if key.endswith("_ns") and key not in DURATIONS else value
        for key, value in record.items()
        if value is not None or not key.endswith("_ns")
    }


def _span(records: list[Record]) -> tuple[float, float]:
    times = [record["t_ns"] / NS_PER_S for record in records if "t_ns" in record]
    first_s, last_s = (min(times), max(times)) if times else (0.0, 1.0)
    return first_s, max(last_s, first_s + 0.001)


def _close_up(records: list[Record], first_s: float, last_s: float) -> tuple[str, float, float]:
    """What is shown larger, from when to when in seconds: where frames of one kind first give way to another kind, or
    the first frames when all are of one kind.
    """
    frames = [r for r in records if r["kind"] == "frame" and "start_ns" in r]
    if not frames:
        return "whole run", first_s, last_s
    other = next((r for r in frames if r["name"] != frames[0]["name"]), None)
    mark = frames[0] if other is None else other
    title = "around the first frame" if other is None else f"around the first {_literal(other['name'])}"
    intervals_ns = [b["start_ns"] - a["start_ns"] for a, b in pairwise(frames)]
    slot_ns = min((interval for interval in intervals_ns if interval > 0), default=NS_PER_S)
    reach_s = CLOSE_UP_SLOTS * int(slot_ns) / NS_PER_S / 2
    return title, mark["start_ns"] / NS_PER_S - reach_s, mark["start_ns"] / NS_PER_S + reach_s


def _lanes(axes: "Axes", records: list[Record], first_s: float, last_s: float) -> None:
    devices = sorted({r["name"].split(".")[0] for r in records if r["kind"] == "call"} - {"detector"})
    lanes = ["states", "steps", "detector", *devices]
    _draw_states(axes, records, first_s, last_s)
    _draw_steps(axes, [r for r in records if r["kind"] == "step" and "start_ns" in r], 1)
    frames = [r for r in records if r["kind"] == "frame"]
    for k, kind in enumerate(dict.fromkeys(r["name"] for r in frames)):
        colour = KIND_COLOURS[min(k, len(KIND_COLOURS) - 1)]
        axes.broken_barh(_bars(r for r in frames if r["name"] == kind), (1.6, 0.8), facecolor=colour)
    arrivals = [r["arrived_ns"] / NS_PER_S for r in frames if "start_ns" not in r and "arrived_ns" in r]
    axes.vlines(arrivals, 1.6, 2.4, colors=KIND_COLOURS[0], linewidth=1)
    axes.broken_barh(_calls(records, "detector"), (2.3, 0.15), facecolor=COLOURS["call"])
    for lane, device in enumerate(devices, start=3):
        axes.broken_barh(_calls(records, device), (lane - 0.4, 0.8), facecolor=COLOURS["call"])
    marks = [r for r in records if r["kind"] in ("fault", "command") or (r["kind"], r["name"]) == ("slot", "lost")]
    marks += [r for r in records if r["kind"] == "step" and r["verdict"] == "underflow"]
    at_s = [r["t_ns"] / NS_PER_S for r in marks if "t_ns" in r]
    axes.vlines(at_s, -0.5, len(lanes) - 0.5, colors=COLOURS["lost"], linewidth=1)
    if not any("t_ns" in r for r in records[1:]):
        axes.text(0.5, 0.5, "this trace holds no times", transform=axes.transAxes, ha="center", fontsize=9)
    axes.set_yticks(range(len(lanes)), lanes)
    axes.set_ylim(len(lanes) - 0.5, -0.5)
    axes.set_xlim(first_s, last_s)
    axes.set_xlabel("time / s")


def _draw_states(axes: "Axes", records: list[Record], first_s: float, last_s: float) -> None:
    states = [r for r in records if r["kind"] == "state" and "t_ns" in r]
    begins_s = [state["t_ns"] / NS_PER_S for state in states]
    ends_s = [*begins_s[1:], max(last_s, *begins_s)] if begins_s else []
    bars = [(begin_s, end_s - begin_s) for begin_s, end_s in zip(begins_s, ends_s, strict=True)]
    axes.broken_barh(bars, (-0.4, 0.8), facecolor=COLOURS["state"], edgecolor="white")
    for state, begin_s, end_s in zip(states, begins_s, ends_s, strict=True):
        if min(end_s, last_s) - max(begin_s, first_s) > 0.07 * (last_s - first_s):
            name = _literal(state["name"])
            axes.text(max(begin_s, first_s), 0, f" {name}", va="center", fontsize=7, clip_on=True)


def _draw_steps(axes: "Axes", steps: list[Record], lane: int) -> None:
    """What each step took within its budget: pale what was left, red what was over, from the end of the budget."""
    left = [
        (r["end_ns"] / NS_PER_S, r["left_ns"] / NS_PER_S) for r in steps if "end_ns" in r and r.get("left_ns", 0) > 0
    ]
    axes.broken_barh(left, (lane - 0.4, 0.8), facecolor=COLOURS["budget"])
    axes.broken_barh(_bars(steps), (lane - 0.4, 0.8), facecolor=COLOURS["step"], edgecolor="white", linewidth=0.4)
    over = [r for r in steps if r["verdict"] == "over" and "end_ns" in r]
    # The edge keeps an overrun of a millisecond visible in a run of minutes.
    axes.broken_barh(_bars(over), (lane - 0.4, 0.8), facecolor=COLOURS["over"], edgecolor=COLOURS["over"], linewidth=1)
    budget_ends_s = [(r["end_ns"] + r.get("left_ns", 0)) / NS_PER_S for r in over]
    axes.vlines(budget_ends_s, lane - 0.4, lane + 0.4, colors="black", linewidth=1)


def _literal(text: str) -> str:
    """Text in which the plotting library sees no formula."""
    return text.replace("$", r"\$")


def _calls(records: list[Record], device: str) -> list[tuple[float, float]]:
    return _bars(r for r in records if r["kind"] == "call" and r["name"].split(".")[0] == device)


def _bars(records: Iterable[Record]) -> list[tuple[float, float]]:
    """(begin, duration) in seconds of those whose begin and end are both known."""
    spans = ((r.get("start_ns", r.get("begin_ns")), r.get("end_ns")) for r in records)
    return [(a / NS_PER_S, (b - a) / NS_PER_S) for a, b in spans if a is not None and b is not None]


def _lateness(axes: "Axes", records: list[Record]) -> None:
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
    _dots(axes, started, "start", "start late")
    _dots(axes, usual, "slack", "slack before start")
    _dots(axes, [(r["slot"], -r["left_ns"] / NS_PER_MS) for r in over], "over", "over budget by")
    axes.vlines(lost, 0, max((late for _, late in started), default=1.0) or 1.0, colors=COLOURS["lost"], linewidth=1)
    axes.set_xlabel("slot")
    axes.set_ylabel("ms")
    if started or usual or over:
        axes.legend(loc="upper right", fontsize=7)


def _dots(axes: "Axes", points: list[tuple[int, float]], colour: str, label: str) -> None:
    if points:
        axes.plot(*zip(*points, strict=True), ".", color=COLOURS[colour], markersize=3, label=label)
