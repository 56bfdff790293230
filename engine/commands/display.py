"""What a person sees of a run: a live line on the terminal while it goes, a table when it is over.

An observer of the trace. It draws only when a frame was stored, that is just after the next exposure began, and at
most four times a second: drawing takes milliseconds that no slot boundary can spare.
"""

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from engine.clock import NS_PER_MS, NS_PER_S
from engine.record.trace import Record
from engine.run.contract import Prepared
from engine.run.perform import Report
from engine.run.run import Run

DRAW_INTERVAL_NS = NS_PER_S // 4


class LiveDisplay:
    """Shows state, slots, angle and lateness of a run; does nothing unless the console is a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress: Progress | None = None
        self._task = TaskID(0)
        self._drawn_ns = -DRAW_INTERVAL_NS
        self._state = ""
        self._angle = ""
        self._late_ms = 0.0
        self._planned_ns: dict[int, int] = {}

    def watch(self, run: Run, prepared: Prepared) -> None:
        """Begin to show a run."""
        if not self._console.is_terminal:
            return
        self._progress = Progress(
            TextColumn("[bold]{task.fields[state]:<17}"),
            BarColumn(bar_width=30),
            TextColumn("{task.completed:>4.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[angle]:>9}"),
            TextColumn("late {task.fields[late]:5.2f} ms"),
            TimeElapsedColumn(),
            console=self._console,
            auto_refresh=False,  # a thread that draws would take the interpreter away at the wrong moment
            transient=True,
        )
        self._task = self._progress.add_task("run", total=prepared.slots, state="", angle="", late=0.0)
        self._progress.start()
        run.trace.observe(self.observe)
        run.show_progress = self.after_run

    def after_run(self, what: str, done: int, total: int) -> None:
        """Show long work after the run; nothing is timed any more, so it may draw at any moment."""
        if self._progress is not None:
            self._progress.update(self._task, state=what, completed=done, total=total, angle="", late=0.0)
            self._progress.refresh()

    def observe(self, record: Record) -> None:
        """Take one record of the trace."""
        if self._progress is None:
            return
        if record["kind"] == "state":
            if record["name"] not in ("expose", "defocus-snapshot", "refocus"):
                self._draw(record, record["name"])
        elif record["kind"] == "note" and record["name"] == "operator":
            self._progress.console.print(record["text"])
        elif record["kind"] == "step" and record["name"] == "frame" and "start_ns" in record:
            self._late_ms = (record["start_ns"] - record["planned_ns"]) / NS_PER_MS
        elif record["kind"] == "frame" and record["t_ns"] - self._drawn_ns >= DRAW_INTERVAL_NS:
            if record.get("angle_deg") is not None:
                self._angle = f"{record['angle_deg']:.2f} deg"
            self._draw(record, "expose", completed=record.get("slot"))

    def _draw(self, record: Record, state: str, **fields: Any) -> None:
        if self._progress is not None:
            self._drawn_ns = record["t_ns"]
            self._progress.update(self._task, state=state, angle=self._angle, late=self._late_ms, **fields)
            self._progress.refresh()

    def close(self) -> None:
        """Take the live line away."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def summary_table(report: Report) -> Table:
    """The figures of a finished run for a person."""
    result = report.document["result"]
    table = Table(title=f"{report.folder.name}: {report.ending.status.value}", title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column()

    def row(name: str, text: str) -> None:
        table.add_row(name, text)

    for alarm in report.alarms:
        row("ALARM", alarm)
    row("reason", report.ending.reason)
    row("frames, snapshots", f"{result['frames']}, {result['snapshots']} in {result['slots']} slots")
    if result["lost_slots"]:
        row("lost slots", f"{result['lost_slots']}: {result['lost_slot_numbers']}")
    if result["period_changes"]:
        row("period lengthened", f"{result['period_changes']} times: the camera took longer than it declares")
    if result["frames_not_kept"]:
        why = "late on their slots, of another period, or without a known angle"
        row("not kept", f"{result['frames_not_kept']} frames: {why}")
    if result["range_deg"] is not None:
        uncertainty = result["offset_uncertainty_deg"]
        row("range", f"{result['range_deg']:.2f} deg, {result['start_deg']:.2f} to {result['end_deg']:.2f} deg")
        row("oscillation angle", f"{result['oscillation_deg']:.5f} deg per slot, angles +-{uncertainty:.3f} deg")
    if result["frames"]:  # else it is the planned one
        row("period", f"{result['period_s']:.6f} s")
    for key, name in (("lateness_ms", "frame starts late"), ("gap_error_ms", "gap error")):
        spread = result[key]
        if spread["median"] is not None:
            row(name, f"median {spread['median']:.3f}, p99 {spread['p99']:.3f}, max {spread['max']:.3f} ms")
    if result["slack_ms"]["min"] is not None:
        row("slack", f"min {result['slack_ms']['min']:.2f}, median {result['slack_ms']['median']:.2f} ms")
    row("run folder", str(report.folder))
    return table
