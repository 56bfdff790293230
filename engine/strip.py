"""The timing strip: what every part of the instrument did when, as a picture made from a trace.

One lane for states, one for each device; planned against actual; late and lost slots in red. Reads trace.jsonl, so
it draws any run, also one that failed.
"""

import signal
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from engine.clock import NS_PER_MS, NS_PER_S
from engine.trace import Record, read_trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes

log = structlog.get_logger()

DRAW_LIMIT_S = 60.0
COLOURS = {"frame": "#4477aa", "snapshot": "#ccbb44", "call": "#66ccee", "lost": "#ee6677", "state": "#dddddd"}
CLOSE_UP_SLOTS = 12


def draw_strip(trace: Path, picture: Path) -> None:
    """Draw the timing strip of a trace into a PNG or SVG file (by its ending)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    records = list(read_trace(trace))
    figure = Figure(figsize=(12, 8))
    FigureCanvasAgg(figure)
    whole, close_up, late = figure.subplots(3, 1, height_ratios=(2, 2, 1.3))
    # Fixed margins: a layout engine would draw everything twice.
    figure.subplots_adjust(left=0.06, right=0.99, top=0.96, bottom=0.06, hspace=0.35)
    first_s, last_s = _span(records)
    _lanes(whole, records, first_s, last_s)
    whole.set_title("whole run", loc="left")
    middle_s = _close_up(records, first_s, last_s)
    _lanes(close_up, records, *middle_s)
    close_up.set_title("around the first snapshot", loc="left")
    _lateness(late, records)
    figure.savefig(picture, dpi=110)


class StripProcess:
    """Draws a strip in a process of its own; `warm` it early and loading the plotting library costs no time later."""

    def __init__(self) -> None:
        self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_begin_process)

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


def _begin_process() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the run, which ends this process in good order


def _load_plotting() -> None:
    import matplotlib.backends.backend_agg
    import matplotlib.figure  # noqa: F401


def _span(records: list[Record]) -> tuple[float, float]:
    times = [record["t_ns"] / NS_PER_S for record in records]
    return (min(times), max(times)) if times else (0.0, 1.0)


def _close_up(records: list[Record], first_s: float, last_s: float) -> tuple[float, float]:
    """The seconds around the first snapshot, or the first frames when there is none."""
    frames = [r for r in records if r["kind"] == "frame" and "start_ns" in r]
    if not frames:
        return first_s, last_s
    mark = next((r for r in frames if r["name"] == "snapshot"), frames[0])
    slot_ns = min((b["start_ns"] - a["start_ns"] for a, b in pairwise(frames)), default=NS_PER_S)
    reach_s = CLOSE_UP_SLOTS * int(slot_ns) / NS_PER_S / 2
    return mark["start_ns"] / NS_PER_S - reach_s, mark["start_ns"] / NS_PER_S + reach_s


def _lanes(axes: "Axes", records: list[Record], first_s: float, last_s: float) -> None:
    devices = sorted({r["name"].split(".")[0] for r in records if r["kind"] == "call"} - {"detector"})
    lanes = ["states", "detector", *devices]
    states = [r for r in records if r["kind"] == "state"]
    begins_s = [state["t_ns"] / NS_PER_S for state in states]
    ends_s = [*begins_s[1:], last_s]
    durations_s = [end - begin for begin, end in zip(begins_s, ends_s, strict=False)]
    bars = list(zip(begins_s, durations_s, strict=False))
    axes.broken_barh(bars, (-0.4, 0.8), facecolor=COLOURS["state"], edgecolor="white")
    for state, begin_s, end_s in zip(states, begins_s, ends_s, strict=False):
        if min(end_s, last_s) - max(begin_s, first_s) > 0.07 * (last_s - first_s):
            axes.text(max(begin_s, first_s), 0, f" {state['name']}", va="center", fontsize=7, clip_on=True)
    for name in ("diffraction", "snapshot"):
        exposures = _bars(r for r in records if r["kind"] == "frame" and r["name"] == name)
        axes.broken_barh(exposures, (0.6, 0.8), facecolor=COLOURS["frame" if name == "diffraction" else name])
    for lane, device in enumerate(devices, start=2):
        calls = (r for r in records if r["kind"] == "call" and r["name"].startswith(f"{device}."))
        axes.broken_barh(_bars(calls), (lane - 0.4, 0.8), facecolor=COLOURS["call"])
    marks = [r for r in records if r["kind"] in ("fault", "command") or (r["kind"], r["name"]) == ("slot", "lost")]
    axes.vlines([r["t_ns"] / NS_PER_S for r in marks], -0.5, len(lanes) - 0.5, colors=COLOURS["lost"], linewidth=1)
    axes.set_yticks(range(len(lanes)), lanes)
    axes.invert_yaxis()
    axes.set_xlim(first_s, last_s)
    axes.set_xlabel("time / s")


def _bars(records: Iterable[Record]) -> list[tuple[float, float]]:
    ends = [(int(r["start_ns"] if "start_ns" in r else r["begin_ns"]), int(r["end_ns"])) for r in records]
    return [(begin / NS_PER_S, (end - begin) / NS_PER_S) for begin, end in ends]


def _lateness(axes: "Axes", records: list[Record]) -> None:
    steps = [r for r in records if r["kind"] == "step" and r["name"] == "frame" and "start_ns" in r]
    lost = [r["slot"] for r in records if r["kind"] == "slot" and r["name"] == "lost"]
    late = [(r["start_ns"] - r["planned_ns"]) / NS_PER_MS for r in steps]
    axes.plot([r["slot"] for r in steps], late, ".", color=COLOURS["frame"], markersize=3, label="start late")
    slack = [r["slack_ns"] / NS_PER_MS for r in steps]
    usual = [(r["slot"], s) for r, s in zip(steps, slack, strict=True) if s < 20]
    if usual:
        axes.plot(*zip(*usual, strict=True), ".", color=COLOURS["snapshot"], markersize=3, label="slack before start")
    axes.vlines(lost, 0, max(late, default=1.0), colors=COLOURS["lost"], linewidth=1)
    axes.set_xlabel("slot")
    axes.set_ylabel("ms")
    axes.legend(loc="upper right", fontsize=7)
