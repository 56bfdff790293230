"""Calibrations as experiments: each measures values of the instrument and stores them in its instrument file.

The group of commands `credline calibrate`; docs/calibration.md.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.commands.options import ClockKind, Config, Devices, Json, Seed, Settings
from engine.errors import CredlineError
from engine.interrupts import remember_interrupts

if TYPE_CHECKING:
    from engine.run.contract import AnyExperiment
    from protocols.calibrate.flatfield.plan import FlatfieldPlan
    from protocols.calibrate.measured import Measured

calibrate_app = typer.Typer(
    name="calibrate",
    help="Calibrations as experiments: each measures values of the instrument and stores them.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@calibrate_app.callback()
def _group() -> None:
    """Calibrations as experiments: each measures values of the instrument and stores them in its instrument file."""


@calibrate_app.command(
    epilog="Example: credline calibrate flatfield --devices titan-devices.toml --set accuracy_percent=0.5"
)
def flatfield(
    devices: Devices = "simulated",
    out: Annotated[Path, typer.Option("--out", help="Where the run folder is made.")] = Path("runs"),
    clock: Annotated[ClockKind, typer.Option("--clock", help="Virtual: a run takes moments.")] = ClockKind.REAL,
    seed: Seed = 0,
    config: Config = None,
    settings: Settings = None,
    earlier: Annotated[
        Path | None, typer.Option("--from", help="Take no frames: the calibration of this run folder once more.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done; nothing moves, and nothing is asked.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Response, dark counts, bad pixels and gain of the camera, from a beam that you have spread over it.

    Exit status: 0 stored, or measured where no instrument file is named; 1 no flatfield could be made, nothing was
    stored; 2 refused, nothing was begun.
    """
    remember_interrupts()
    from engine.run.planfile import build_plan
    from protocols.calibrate.flatfield.analysis import analyse
    from protocols.calibrate.flatfield.experiment import FLATFIELD
    from protocols.calibrate.flatfield.truth import truth_of
    from protocols.calibrate.storing import NO_FILE, store_measured

    plan: FlatfieldPlan = build_plan(FLATFIELD, config, settings or [])
    if dry_run:
        _say_plan(FLATFIELD, plan, devices, as_json)
        _last_line(as_json, "flatfield", {}, None, None)
        return
    folder = earlier
    try:
        if folder is None:
            folder = _perform(FLATFIELD, plan, out, devices, clock, seed)
        found = analyse(folder)
        path = store_measured(devices, folder, found.values, found.arrays)
    except CredlineError as error:
        _last_line(as_json, "flatfield", {}, None, folder)
        if earlier is None and folder is not None:  # the frames were taken, so it was no refusal
            raise CredlineError(str(error)) from error
        raise
    for line in (*found.lines, *_rows(found.values)):
        typer.echo(line, err=as_json)
    stored = NO_FILE.format(what="flatfield", folder=folder) if path is None else f"stored in {path}"
    typer.echo(stored, err=as_json)
    _last_line(as_json, "flatfield", found.values, path, folder, truth_of(folder, found.arrays))


def _say_plan(kind: "AnyExperiment", plan: "FlatfieldPlan", devices: str, as_json: bool) -> None:
    from engine.run.planbasis import declared_basis

    basis = declared_basis(devices, kind.device_options(plan))
    prepared = kind.prepare(plan, basis.facts)
    for name, text in prepared.words.items():
        typer.echo(f"{name}: {text}", err=as_json)
    for remark in (*basis.facts.questions, *prepared.remarks):
        typer.echo(f"Note: {remark}", err=as_json)


def _perform(
    kind: "AnyExperiment", plan: "FlatfieldPlan", out: Path, devices: str, clock: ClockKind, seed: int
) -> Path:
    """Perform the run; its folder. Raises CredlineError where it has not come to its end."""
    from rich.console import Console

    from engine.commands.display import LiveDisplay
    from engine.record.endings import Status
    from engine.run.perform import Request, execute

    display = LiveDisplay(Console(stderr=True), kind)
    try:
        report = execute(Request(kind, plan, out, devices, clock is ClockKind.VIRTUAL, seed), display.watch)
    finally:
        display.close()
    for alarm in report.alarms:
        typer.echo(f"ALARM: {alarm}", err=True)
    if report.ending.status is not Status.DONE:
        status, reason = report.ending.status.value, report.ending.reason
        raise CredlineError(f"{kind.name}: {status}: {reason} Nothing was stored; the run folder is {report.folder}")
    return report.folder


def _rows(values: "dict[str, Measured]") -> list[str]:
    return [f"{name} = {value.value:.6g} +- {value.sigma:.2g} {value.unit}" for name, value in values.items()]


def _last_line(
    as_json: bool,
    what: str,
    values: "dict[str, Measured]",
    stored: Path | None,
    folder: Path | None,
    truth: dict[str, float] | None = None,
) -> None:
    """The result as JSON, where it is wanted. stored: the instrument file, where it was."""
    if not as_json:
        return
    result: dict[str, object] = {
        "what": what,
        "values": {name: asdict(value) for name, value in values.items()},
        "stored": None if stored is None else str(stored),
        "run_dir": None if folder is None else str(folder),
    }
    if truth is not None:
        result["truth"] = truth
    typer.echo(json.dumps(result))
