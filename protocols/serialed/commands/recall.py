"""`credline serialed recall`: a crystal of an earlier run back under the beam, by its number in a table."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from engine.commands.options import ClockKind, Devices, Json, Seed, Settings

if TYPE_CHECKING:
    from engine.run.perform import Report
    from protocols.serialed.recall.plan import RecallPlan


def recall(
    table: Annotated[
        Path, typer.Argument(metavar="CSV", help="crystals.csv or serialed.csv of a serial run, or its folder.")
    ],
    number: Annotated[
        int, typer.Argument(metavar="N", min=1, help="Of the crystal: its number in crystals.csv; else its line.")
    ],
    devices: Devices = "simulated",
    out: Annotated[Path, typer.Option("--out", help="Where the run folder is made.")] = Path("runs"),
    clock: Annotated[ClockKind, typer.Option("--clock", help="Virtual: a run takes moments.")] = ClockKind.REAL,
    seed: Seed = 0,
    settings: Settings = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done; nothing moves, and nothing is asked.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Bring crystal N back under the beam: stage to its place, a short image, known again by its neighbours.

    Exit status: 0 it is there; 1 it was not found, or the run failed; 2 refused.
    """
    from engine.interrupts import remember_interrupts
    from engine.record.endings import Status
    from protocols.serialed.recall.experiment import RECALL
    from protocols.serialed.recall.recalledtable import plan_for

    remember_interrupts()
    plan = plan_for(table, number, settings or [])
    if dry_run:
        _say_plan(plan, devices, as_json)
        return
    report = _perform(plan, out, devices, clock, seed)
    result = report.document.get("result", {})
    for name, text in RECALL.told(result):
        typer.echo(f"{name}: {text}", err=as_json)
    typer.echo(f"{report.ending.status.value}: {report.ending.reason}", err=as_json)
    if as_json:
        told = {"run_dir": str(report.folder), "status": report.ending.status.value, **result}
        typer.echo(json.dumps(told))
    if report.ending.status is not Status.DONE:
        raise typer.Exit(1)


def _say_plan(plan: "RecallPlan", devices: str, as_json: bool) -> None:
    from drivers.facts import Facts
    from engine.run.planbasis import declared_basis
    from protocols.serialed.recall.experiment import RECALL

    basis = declared_basis(devices, RECALL.device_options(plan))
    prepared = RECALL.prepare(plan, cast(Facts, basis.facts))
    for name, text in prepared.words.items():
        typer.echo(f"{name}: {text}", err=as_json)
    for remark in (*basis.facts.questions, *prepared.remarks):
        typer.echo(f"Note: {remark}", err=as_json)


def _perform(plan: "RecallPlan", out: Path, devices: str, clock: ClockKind, seed: int) -> "Report":
    from rich.console import Console

    from engine.commands.display import LiveDisplay
    from engine.run.perform import Request, execute
    from protocols.serialed.recall.experiment import RECALL

    display = LiveDisplay(Console(stderr=True), RECALL)
    try:
        report = execute(Request(RECALL, plan, out, devices, clock is ClockKind.VIRTUAL, seed), display.watch)
    finally:
        display.close()
    for alarm in report.alarms:
        typer.echo(f"ALARM: {alarm}", err=True)
    return report
