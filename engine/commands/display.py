"""What a person sees of a run: two live lines on the terminal while it goes, a table when it is over.

An observer of the trace, as it is made or as it is read from the disk (`engine.commands.watch`). It draws only when a
frame was stored, that is just after the next exposure began, and at most four times a second: drawing takes
milliseconds that no timed step can spare. What is done of how much, what the operator is to do, and the result in
words, the protocol says.
"""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from engine.clock import NS_PER_MS, NS_PER_S
from engine.commands.liveline import Figures, live_text, warning_of
from engine.record.endings import Status
from engine.record.trace import Record
from engine.record.warned import LOOKED_AGAIN, WARNING
from engine.run.contract import AnyExperiment, Prepared
from engine.run.perform import Report
from engine.run.run import Run

DRAW_INTERVAL_NS = NS_PER_S // 4
NS_PER_MIN = 60 * NS_PER_S
LOG_INTERVAL_NS = 5 * NS_PER_MIN


class LiveDisplay:
    """Shows state, progress, time left, lateness, lost slots and warnings of a run on a terminal; on any console what
    is unusual about it, and what is wrong with its frames.
    """

    def __init__(self, console: Console, kind: AnyExperiment) -> None:
        self._console = console
        self._kind = kind
        self._live: Live | None = None
        self._drawn_ns = -DRAW_INTERVAL_NS
        self._figures = Figures()
        self._first: tuple[int, int] | None = None
        """When the first progress was told, and how much was done then: the pace is counted from there."""
        self._zero_ns = 0
        self._said: set[str] = set()
        self._warned: set[str] = set()
        self._warnings: list[str] = []
        """Not shown yet: they wait for the next time at which it may draw."""
        self._is_logged = False

    def watch(self, run: Run, prepared: Prepared) -> None:
        """Begin to show a run; what is unusual about it, and what it warns of, is said on any console."""
        run.trace.observe(self.warn)
        if self.begin(run.folder, run.document.remarks, prepared.total):
            run.trace.observe(self.observe)
            run.show_progress = self.after_run
        else:
            run.trace.observe(LogLines(self._console, self._kind, prepared.total, within=self._is_logged).take)
            self._is_logged = True

    def begin(self, folder: Path, remarks: Sequence[str], total: int, zero_ns: int = 0) -> bool:
        """The same of a run of which only the folder is known; whether its records are to be shown.

        total: how much it has to do, 0 where nobody knows. zero_ns: when it began, on its clock.
        """
        new = [remark for remark in remarks if remark not in self._said]
        self._said.update(new)  # what is said of a session's instrument is not said of every child again
        for remark in new:
            self._console.print(f"Note: {remark}", markup=False, highlight=False, soft_wrap=True)
        if not self._console.is_terminal:
            return False
        self._figures, self._first, self._zero_ns = Figures(total=total), None, zero_ns
        if self._live is None:  # else it is a run within the one that is shown
            # auto_refresh: a thread that draws would take the interpreter away at the wrong moment.
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        self._print(f"run folder: {folder}")
        return True

    def after_run(self, what: str, done: int, total: int) -> None:
        """Show long work after the run; nothing is timed any more, so it may draw at any moment."""
        if self._live is not None:
            self._live.update(Text(live_text(Figures(what, done, total), self._console.width)), refresh=True)

    def warn(self, record: Record) -> None:
        """Say at once what is wrong with the frames of a run: one line, less than 1 ms."""
        if record["kind"] == "note" and record["name"] in (WARNING, LOOKED_AGAIN):
            text = f"WARNING: {record['text']}"
            self._console.print(text, style="bold red", markup=False, highlight=False, soft_wrap=True)

    def observe(self, record: Record) -> None:
        """Take one record of the trace, and draw if it is time: at a state or at progress."""
        if self._live is None:
            return
        # States that follow one another within a fraction of a second are seen by the next frame.
        if self.take(record) and record["t_ns"] - self._drawn_ns >= DRAW_INTERVAL_NS:
            self.draw(record["t_ns"])

    def take(self, record: Record) -> bool:
        """Take one record without drawing; whether it is one to draw at."""
        figures, kind, name = self._figures, record["kind"], record["name"]
        done = self._kind.progress(record)
        self._warn(record)
        if kind == "state":
            figures.state = name
        elif (kind, name) == ("note", "operator"):
            self._print(record["text"])
        elif kind == "step" and "start_ns" in record:
            figures.late_ms = (record["start_ns"] - record["planned_ns"]) / NS_PER_MS
        elif (kind, name) == ("slot", "lost"):
            figures.lost += 1
        if done is not None:
            figures.done, figures.note = done.done, done.note
            self._first = self._first or (record["t_ns"], done.done)
        return kind == "state" or done is not None

    def _warn(self, record: Record) -> None:
        """Keep a warning for the next drawing; each cause is told once, its number stands in the live line."""
        told = warning_of(record)
        if told is not None and told.cause not in self._warned:
            self._warned.add(told.cause)
            self._warnings.append(told.text)

    def draw(self, t_ns: int) -> None:
        """Draw how things stand at an instant of the run's clock."""
        if self._live is None:
            return
        self._drawn_ns = t_ns
        self._figures.elapsed_s = (t_ns - self._zero_ns) / NS_PER_S
        self._figures.left_s = self._left_s(t_ns)
        self._show_warnings()
        self._live.update(Text(live_text(self._figures, self._console.width)), refresh=True)

    def _left_s(self, now_ns: int) -> float | None:
        """How long it still takes at the pace until now; None where nobody can tell."""
        if self._first is None:
            return None
        first_ns, before = self._first
        done = self._figures.done
        if not self._figures.total or done <= before:
            return None
        return max(0, self._figures.total - done) * (now_ns - first_ns) / NS_PER_S / (done - before)

    def _show_warnings(self) -> None:
        warnings, self._warnings = self._warnings, []
        for text in warnings:
            self._print(f"WARNING: {text}")

    def _print(self, text: str) -> None:
        """A line that stays, above the live ones."""
        self._console.print(text, markup=False, highlight=False)

    def close(self) -> None:
        """Take the live lines away; warnings that were not shown yet stay behind."""
        if self._live is not None:
            self._show_warnings()
            self._live.stop()
            self._live = None


class LogLines:
    """The same for a log, from which no line is taken away: what the operator is told, and of the outermost run how far
    it is now and then, and how each run within it has ended.
    """

    def __init__(self, console: Console, kind: AnyExperiment, total: int, *, within: bool) -> None:
        self._console, self._kind, self._total, self._within = console, kind, total, within
        self._next_ns = LOG_INTERVAL_NS

    def take(self, record: Record) -> None:
        """Write what one record of the trace tells, if anything; less than 1 ms."""
        kind, name, t_ns = record["kind"], record["name"], record["t_ns"]
        if (kind, name) == ("note", "operator"):
            self._print(record["text"])
        elif self._within:
            return
        elif kind == "child" and record["event"] == "end":
            self._print(f"{name}: {record['status']}, {record['reason']}")
        elif t_ns >= self._next_ns and (done := self._kind.progress(record)) is not None:
            self._next_ns = t_ns + LOG_INTERVAL_NS
            of = f" of {self._total}" if self._total else ""
            self._print(f"after {t_ns / NS_PER_MIN:.0f} min: {done.done}{of} {self._kind.unit}, {done.note}")

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def summary_table(report: Report, kind: AnyExperiment) -> Table:
    """The figures of a finished run for a person.

    Alarms, warnings, and the reason why a run failed, are not in it: they are told once, after it, where everybody sees
    them.
    """
    table = Table(title=f"{report.folder.name}: {report.ending.status.value}", title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    if report.ending.status in (Status.DONE, Status.STOPPED):
        table.add_row("reason", report.ending.reason)
    for name, text in kind.told(report.document["result"]):
        table.add_row(name, text)
    if devices := report.document.get("devices"):  # of a simulation nobody is to think that it was an instrument
        table.add_row("devices", str(devices))
    table.add_row("run folder", str(report.folder))
    return table
