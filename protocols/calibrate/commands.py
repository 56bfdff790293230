"""Calibrations as experiments: each measures values of the instrument and stores them in its instrument file.

The group of commands `credline calibrate`; docs/calibration.md. Every command has the same options and does the same:
perform the run of an experiment, analyse its folder, store what was found. `CALIBRATIONS` says which.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.commands.options import ClockKind, Config, Devices, Json, Seed, Settings
from engine.errors import CredlineError
from engine.interrupts import remember_interrupts
from protocols.calibrate.calibrations import CALIBRATIONS, Calibration

if TYPE_CHECKING:
    from pydantic import BaseModel

    from engine.run.contract import AnyExperiment
    from protocols.calibrate.measured import Analysed

calibrate_app = typer.Typer(
    name="calibrate",
    help="Calibrations as experiments: each measures values of the instrument and stores them.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@calibrate_app.callback()
def _group() -> None:
    """Calibrations as experiments: each measures values of the instrument and stores them in its instrument file."""


@calibrate_app.command("list", epilog="Example: credline calibrate list --devices titan-devices.toml")
def list_calibrations(devices: Devices = "simulated") -> None:
    """Say what is calibrated of an instrument, since when, and what is missing for which experiment; asks nobody."""
    from engine.clock import utc_now
    from protocols.calibrate.missing import lines_of, standings

    for line in lines_of(standings(devices, utc_now().date()), devices):
        typer.echo(line)


class _Unfinished(CredlineError):
    """A run did not come to its end; nothing was stored. folder: of the run."""

    def __init__(self, said: str, folder: Path) -> None:
        super().__init__(said)
        self.folder = folder


def _add(calibration: Calibration) -> None:
    """The command of a calibration."""

    @calibrate_app.command(calibration.what, help=calibration.help, epilog=f"Example: {calibration.example}")
    def command(
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
        remember_interrupts()
        kind = calibration.load_kind()
        plan = calibration.plan(kind, config, settings or [])
        if dry_run:
            _say_plan(kind, plan, devices, as_json)
            _last_line(as_json, calibration.what, None, None, None)
            return

        def perform() -> Path:
            return earlier or _perform(kind, plan, out, devices, clock, seed)

        def analyse(folder: Path) -> "Analysed":
            return calibration.analyse(folder, plan)

        _calibrate(calibration.what, devices, perform, analyse, earlier is None, as_json)


def _calibrate(
    what: str,
    devices: str,
    perform: Callable[[], Path],
    analyse: "Callable[[Path], Analysed]",
    is_new: bool,
    as_json: bool,
) -> None:
    """Perform, analyse, store, tell. is_new: whether `perform` takes frames."""
    from protocols.calibrate.measured import rows_of
    from protocols.calibrate.storing import NO_FILE, store_measured

    folder = None
    try:
        folder = perform()
        found = analyse(folder)
        path = store_measured(devices, folder, found)
    except _Unfinished as error:
        _last_line(as_json, what, None, None, error.folder)
        raise
    except CredlineError as error:
        _last_line(as_json, what, None, None, folder)
        if is_new and folder is not None:  # the frames were taken, so it was no refusal
            raise CredlineError(str(error)) from error
        raise
    for line in (*found.lines, *rows_of(found.values)):
        typer.echo(line, err=as_json)
    stored = NO_FILE.format(what=what, folder=folder) if path is None else f"stored in {path}"
    typer.echo(stored, err=as_json)
    _last_line(as_json, what, found, path, folder)


def _say_plan(kind: "AnyExperiment", plan: "BaseModel", devices: str, as_json: bool) -> None:
    from drivers.judged import NO_AXIS
    from engine.run.planbasis import declared_basis

    basis = declared_basis(devices, kind.device_options(plan))
    prepared = kind.prepare(plan, basis.facts)
    for name, text in prepared.words.items():
        typer.echo(f"{name}: {text}", err=as_json)
    for remark in (*basis.facts.questions, *prepared.remarks):
        if remark == NO_AXIS:  # no calibration is indexed by other programs, and one of them finds the axis
            continue
        typer.echo(f"Note: {remark}", err=as_json)


def _perform(kind: "AnyExperiment", plan: "BaseModel", out: Path, devices: str, clock: ClockKind, seed: int) -> Path:
    """Perform the run; its folder. Raises _Unfinished where it has not come to its end."""
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
        stored = "" if "othing is stored" in reason else " Nothing was stored."
        raise _Unfinished(f"{kind.name}: {status}: {reason}{stored} The run folder is {report.folder}", report.folder)
    return report.folder


def _last_line(as_json: bool, what: str, found: "Analysed | None", stored: Path | None, folder: Path | None) -> None:
    """The result as JSON, where it is wanted. stored: the instrument file, where it was."""
    if not as_json:
        return
    values = {} if found is None else found.values
    result: dict[str, object] = {
        "what": what,
        "values": {
            name: {"value": each.value, "sigma": each.sigma, "unit": each.unit} for name, each in values.items()
        },
        "stored": None if stored is None else str(stored),
        "run_dir": None if folder is None else str(folder),
    }
    if found is not None and found.truth:
        result["truth"] = found.truth
    typer.echo(json.dumps(result))


for _each in CALIBRATIONS:
    _add(_each)
