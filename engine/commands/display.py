"""What a person sees of a run: a live line on the terminal while it goes, a table when it is over.

An observer of the trace. It draws only when a frame was stored, that is just after the next exposure began, and at
most four times a second: drawing takes milliseconds that no timed step can spare. What is done of how much, and the
result in words, the protocol says.
"""

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from engine.clock import NS_PER_MS, NS_PER_S
from engine.record.trace import Record
from engine.run.contract import AnyExperiment, Prepared
from engine.run.framewatch import WARNING
from engine.run.perform import Report
from engine.run.run import Run

DRAW_INTERVAL_NS = NS_PER_S // 4


class LiveDisplay:
    """Shows state, progress and lateness of a run on a terminal; on any console what is unusual about it, and what it
    warns of.
    """

    def __init__(self, console: Console, kind: AnyExperiment) -> None:
        self._console = console
        self._kind = kind
        self._progress: Progress | None = None
        self._task = TaskID(0)
        self._drawn_ns = -DRAW_INTERVAL_NS
        self._state = ""
        self._note = ""
        self._late_ms = 0.0
        self._said: set[str] = set()

    def watch(self, run: Run, prepared: Prepared) -> None:
        """Begin to show a run; what is unusual about it, and what it warns of, is said on any console."""
        run.trace.observe(self.warn)
        new = [remark for remark in run.document.remarks if remark not in self._said]
        self._said.update(new)  # what is said of a session's instrument is not said of every child again
        for remark in new:
            self._console.print(f"Note: {remark}", markup=False, highlight=False, soft_wrap=True)
        if not self._console.is_terminal:
            return
        self._progress = Progress(
            TextColumn("[bold]{task.fields[state]:<17}"),
            BarColumn(bar_width=30),
            TextColumn("{task.completed:>4.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[note]:>9}"),
            TextColumn("late {task.fields[late]:5.2f} ms"),
            TimeElapsedColumn(),
            console=self._console,
            auto_refresh=False,  # a thread that draws would take the interpreter away at the wrong moment
            transient=True,
        )
        self._task = self._progress.add_task("run", total=prepared.total, state="", note="", late=0.0)
        self._progress.start()
        run.trace.observe(self.observe)
        run.show_progress = self.after_run

    def after_run(self, what: str, done: int, total: int) -> None:
        """Show long work after the run; nothing is timed any more, so it may draw at any moment."""
        if self._progress is not None:
            self._progress.update(self._task, state=what, completed=done, total=total, note="", late=0.0)
            self._progress.refresh()

    def warn(self, record: Record) -> None:
        """Say at once what a run warns of: one line, less than 1 ms."""
        if (record["kind"], record["name"]) == ("note", WARNING):
            console = self._console if self._progress is None else self._progress.console
            console.print(f"WARNING: {record['text']}", style="bold red", markup=False, highlight=False, soft_wrap=True)

    def observe(self, record: Record) -> None:
        """Take one record of the trace."""
        if self._progress is None:
            return
        done = self._kind.progress(record)
        if record["kind"] == "state":
            self._state = record["name"]
            # States that follow one another within a fraction of a second are seen by the next frame.
            if record["t_ns"] - self._drawn_ns >= DRAW_INTERVAL_NS:
                self._draw(record)
        elif record["kind"] == "note" and record["name"] == "operator":
            self._progress.console.print(record["text"])
        elif record["kind"] == "step" and "start_ns" in record:
            self._late_ms = (record["start_ns"] - record["planned_ns"]) / NS_PER_MS
        if done is not None and record["t_ns"] - self._drawn_ns >= DRAW_INTERVAL_NS:
            self._note = done.note
            self._draw(record, completed=done.done)

    def _draw(self, record: Record, completed: int | None = None) -> None:
        if self._progress is not None:
            self._drawn_ns = record["t_ns"]
            note, late = self._note, self._late_ms
            self._progress.update(self._task, completed=completed, state=self._state, note=note, late=late)
            self._progress.refresh()

    def close(self) -> None:
        """Take the live line away."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def summary_table(report: Report, kind: AnyExperiment) -> Table:
    """The figures of a finished run for a person."""
    table = Table(title=f"{report.folder.name}: {report.ending.status.value}", title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column()
    for alarm in report.alarms:
        table.add_row("ALARM", alarm)
    for warning in report.document.get("warnings", []):
        table.add_row("WARNING", warning)
    table.add_row("reason", report.ending.reason)
    for name, text in kind.told(report.document["result"]):
        table.add_row(name, text)
    table.add_row("run folder", str(report.folder))
    return table
