"""`credline watch`: the display of `credline run` for a run that another program performs, or that is over."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.errors import CredlineError, DataError, shown

if TYPE_CHECKING:
    from engine.clock import Clock
    from engine.commands.display import LiveDisplay
    from engine.record.document import RunDocument
    from engine.record.trace import Record
    from engine.run.contract import AnyExperiment

LOOK_S = 0.25


def watch(run: Annotated[Path, typer.Argument(help="The folder of a run, under way or over.")]) -> None:
    """Show a run that is under way in another program, to its end; Ctrl-C ends the watching, and never the run."""
    import asyncio

    from rich.console import Console

    from engine.clock import RealClock
    from engine.commands.display import LiveDisplay, summary_table
    from engine.commands.tables import print_whole
    from engine.record.document import RunDocument
    from engine.record.endings import Ending, Status
    from engine.run.perform import Report
    from engine.run.registry import experiment_type

    document = RunDocument.read(run)
    kind = experiment_type(document.protocol)
    display = LiveDisplay(Console(stderr=True), kind)
    try:
        document = asyncio.run(_watched(run, kind, document, display, RealClock()))
    except KeyboardInterrupt:
        display.close()
        typer.echo(f"credline: watched no more; {run} goes on.", err=True)
        return
    finally:
        display.close()
    if not document.has_ended:
        typer.echo(
            f"credline: the program that performed {run} was cut off. Its data are kept: credline recover {run}",
            err=True,
        )
        raise typer.Exit(1)
    if document.status not in {each.value for each in Status}:
        raise DataError(
            f"{run}: run.json says that the run was {shown(document.status)!r}, which no run is; left as it is"
        )
    ending = Ending(Status(document.status), document.reason)
    report = Report(run, ending, document.alarms, document.to_json(), 0.0)
    print_whole(summary_table(report, kind), to_stderr=False)
    warnings = (f"WARNING: {text}" for text in document.warnings)
    for line in (*(f"ALARM: {alarm}" for alarm in document.alarms), *warnings):
        typer.echo(line, err=True)
    if ending.status in (Status.FAILED, Status.ABORTED):
        typer.echo(f"credline: {ending.status.value}: {ending.reason}", err=True)
    if ending.status in (Status.FAILED, Status.ABORTED) or document.alarms:
        raise typer.Exit(1)


async def _watched(
    folder: Path, kind: "AnyExperiment", document: "RunDocument", display: "LiveDisplay", clock: "Clock"
) -> "RunDocument":
    """Show a run until it has ended, or its program is gone; what its run.json says then."""
    from engine.record.document import RunDocument
    from engine.record.lock import is_at_work

    view = Shown(folder, kind, document, display)
    while True:
        at_work = is_at_work(folder)  # before looking: what is written until then is seen
        view.look()
        try:
            document = RunDocument.read(folder)
        except CredlineError:  # being replaced
            at_work = True
        if document.has_ended or not at_work:
            view.look()
            return document
        await clock.sleep_s(LOOK_S)


class Shown:
    """One run, and those within it, on a display: their traces read as they grow."""

    def __init__(self, folder: Path, kind: "AnyExperiment", document: "RunDocument", display: "LiveDisplay") -> None:
        from engine.record.tracetail import TraceTail

        self._folder, self._kind, self._display = folder, kind, display
        self._remarks = document.remarks
        self._tail = TraceTail(folder)
        self._on_terminal = False
        self._within: list[Shown] = []

    def look(self) -> int | None:
        """Show what is new; the instant of the newest record, None where there was none."""
        newest_ns = None
        while records := self._tail.new():
            for record in records:
                self._take(record)
                newest_ns = record["t_ns"]
        for run in self._within:
            newest_ns = run.look() or newest_ns
        if newest_ns is not None:
            self._display.draw(newest_ns)
        return newest_ns

    def _take(self, record: "Record") -> None:
        if record["kind"] == "header":
            from engine.run.total import total_of

            total = total_of(self._kind, record)
            self._on_terminal = self._display.begin(self._folder, self._remarks, total, record["t_ns"])
            return
        self._display.warn(record)
        if self._on_terminal:
            self._display.take(record)
        if record["kind"] == "child" and record.get("event") == "begin":
            self._begin_within(self._folder / record["name"])

    def _begin_within(self, folder: Path) -> None:
        """A run within this one; one that is not there (any more, or yet) is not shown."""
        from engine.record.document import RunDocument
        from engine.run.registry import experiment_type

        try:
            document = RunDocument.read(folder)
            run = Shown(folder, experiment_type(document.protocol), document, self._display)
        except CredlineError:
            return
        self._within.append(run)
        run.look()
