"""Look at the devices themselves.

`credline devices check`: what the connected devices really take, and what that means for a plan. `credline devices
list`: what drivers and devices files there are (`drivers.check.listing`).
"""

import asyncio
import json
import sys
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from engine.clock import Clock, RealClock, utc_now
from engine.commands.options import DEVICES_VARIABLE, ClockKind, say_where_from
from engine.commands.tables import print_whole
from engine.errors import CredlineError, Interrupted

if TYPE_CHECKING:
    from drivers.check.measure import Left

devices_app = typer.Typer(
    name="devices",
    help="Look at the devices themselves.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@devices_app.callback()
def _group() -> None:
    """Look at the devices themselves."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a check is to do. kind, plan: with which plan it is compared. move, beam: as the options of the command."""

    devices: str
    kind: Any
    plan: Any
    seed: int
    move: bool
    frames: int
    beam: bool


@devices_app.command(epilog="Example: credline devices check devices.toml --config examples/demo.toml")
def check(
    devices: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            envvar=DEVICES_VARIABLE,
            callback=say_where_from,
            help="A devices file (.toml), or a registered driver.",
        ),
    ] = "simulated",
    protocol: Annotated[str, typer.Option("--protocol", help="Whose plan is compared with.")] = "cred",
    config: Annotated[Path | None, typer.Option("--config", help="Plan as a TOML file; see examples/.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="One key of the plan, key=value; repeatable.")
    ] = None,
    move: Annotated[
        bool, typer.Option("--move", help="Rotate the stage by up to 10 deg, several times, to measure its speed.")
    ] = False,
    beam: Annotated[
        bool,
        typer.Option("--beam", help="Beam on for some ten seconds, to measure how long the pattern takes to settle."),
    ] = False,
    frames: Annotated[int, typer.Option("--frames", min=4, help="Frames taken at each of two paces.")] = 30,
    write: Annotated[
        bool, typer.Option("--write/--no-write", help="Write the measured times into the devices file.")
    ] = True,
    clock: Annotated[
        ClockKind, typer.Option("--clock", help="Virtual: for simulated devices, takes moments.")
    ] = ClockKind.REAL,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of everything random in a simulation.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Result as JSON in the last line of output.")] = False,
) -> None:
    """Connect, time every call and the camera, and say what would not work. The beam is blanked and stays so, but for
    --beam.

    Exit status 0 when the plan would work, 1 when it would not (or a device fails), 2 for bad input, 130 after Ctrl-C.
    """
    from engine.run.planfile import build_plan
    from engine.run.registry import experiment_type

    kind = experiment_type(protocol)
    request = Request(devices, kind, build_plan(kind, config, settings or []), seed, move, frames, beam)
    result = check_and_tell(request, virtual=clock is ClockKind.VIRTUAL, write=write, to_stderr=as_json)
    if as_json:
        typer.echo(json.dumps(result))
    raise typer.Exit(1 if result["problems"] else 0)


def check_and_tell(request: Request, *, virtual: bool, write: bool, to_stderr: bool) -> dict[str, Any]:
    """Make the check, print what it found, and write what it measured into the devices file; the result.

    Raises Refused or DeviceError, nothing was written then.
    """
    from drivers.check.measure import Left
    from engine.clock.virtual import VirtualLoop

    devices, as_json = request.devices, to_stderr
    if sys.stderr.isatty() and not virtual:
        typer.echo("Measuring; a check takes about a minute, with --move some more.", err=True)
    left = Left()
    try:
        with asyncio.Runner(loop_factory=VirtualLoop if virtual else None) as runner:
            result = runner.run(_check(request, left))
    except KeyboardInterrupt as error:
        raise Interrupted(f"devices check: interrupted; {left.words}. Nothing was written.") from error
    print_whole(*_tables(result), to_stderr=as_json)
    tables = {"timing": result["timing"]}
    if result["rotation"].get("options"):
        tables[f"{_table_of(devices, 'stage')}.rotation"] = result["rotation"]["options"]
        typer.echo(f"Rotation: {result['rotation']['summary']}.", err=as_json)
    _keep(devices, tables, write, "" if virtual else f" on {utc_now():%Y-%m-%d}", as_json)
    if result["proposed"]:
        typer.echo(
            f"For [{_table_of(devices, 'detector')}] of the devices file, if you want plans to count on it:",
            err=as_json,
        )
        for key, value in result["proposed"].items():
            typer.echo(f"{key} = {value:g}", err=as_json)
    for remark in result["remarks"]:
        typer.echo(f"- {remark}", err=as_json)
    for problem in result["problems"]:
        typer.echo(f"WOULD NOT WORK: {problem}", err=as_json)
    if not result["problems"]:
        typer.echo(f"The plan of {request.kind.name} works with these devices ({devices}).", err=as_json)
    return result


@devices_app.command("list", epilog="Example: credline devices list merlin")
def list_devices(
    driver: Annotated[
        str | None, typer.Argument(metavar="DRIVER", help="Only this one, with all that its options may be.")
    ] = None,
) -> None:
    """List the installed drivers, with parts and options, and the devices files in this folder; connects nothing."""
    from shutil import get_terminal_size

    from drivers.check.listing import devices_files, driver_lines, drivers_named, file_line

    for one in drivers_named(driver):
        for line in driver_lines(one, get_terminal_size().columns, whole=driver is not None):
            typer.echo(line)
    if driver is None:
        for line in map(file_line, devices_files(Path())):
            typer.echo(line)


async def _check(request: Request, left: "Left") -> dict[str, Any]:
    from drivers.check.judgement import judge, proposed
    from drivers.check.measure import measure
    from drivers.contract import Microscope
    from engine.clock.virtual import VirtualClock, VirtualLoop
    from engine.run.devicesfile import connect_devices

    loop = asyncio.get_running_loop()
    clock: Clock = VirtualClock(loop) if isinstance(loop, VirtualLoop) else RealClock()
    kind, plan = request.kind, request.plan
    options = kind.device_options(plan)
    async with connect_devices(request.devices, clock, request.seed, options) as microscope:
        if not isinstance(microscope, Microscope):
            raise TypeError("a check needs the parts of drivers.contract")
        times = kind.times(plan)
        measured = await measure(clock, microscope, times.exposures_s, times.lens_change, request.frames, left)
        judgement = judge(kind, plan, microscope.facts, measured)
        rotation = await _rotations(clock, microscope.stage, times.speed_deg_s, left) if request.move else {}
        settling = await _settling(clock, microscope, times) if request.beam else {}
        problems = [*judgement.problems, *rotation.pop("problems", []), *settling.pop("problems", [])]
        return {
            "devices": request.devices,
            "problems": problems,
            "remarks": [*judgement.remarks, *settling.pop("remarks", [])],
            "timing": measured.timing,
            "declared": asdict(microscope.facts.timing),
            "calls": {name: asdict(times) for name, times in measured.calls.items()},
            "camera": asdict(measured.cadence),
            "proposed": proposed(microscope.detector, measured.cadence),
            "rotation": rotation,
            "settling": settling,
        }


async def _rotations(clock: Clock, stage: Any, speed_deg_s: float, left: "Left") -> dict[str, Any]:
    """Measured rotations, what is wrong with them, and the calibration where the stage has one to make."""
    from drivers.approach import OnClock
    from drivers.check.rotation import WithinLimits, measure_rotations, speeds_to_try

    try:
        measured = await measure_rotations(
            OnClock(clock), WithinLimits(clock, stage), speeds_to_try(stage, speed_deg_s)
        )
    except asyncio.CancelledError:  # it was stopped where it was
        left.words += "; the stage was told to stop where it was: look at it"
        raise
    problems = [
        f"Asked for {asked:.4g} deg/s the stage turns at {turns:.4g} deg/s: every frame would cover another angle than "
        "planned. Calibrate it, or set it at the console."
        for asked, turns in _speeds(measured).items()
        if abs(turns - asked) > 0.05 * asked
    ]
    found: dict[str, Any] = {"measured": [asdict(rotation) for rotation in measured], "problems": problems}
    known = getattr(stage, "rotation_speeds", None)
    if known is not None:
        try:
            fitted = known.refitted([(r.span_deg, r.asked_deg_s, r.time_s) for r in measured])
        except CredlineError as error:
            return {**found, "problems": [*problems, str(error)]}
        return {**found, "options": fitted.as_options(), "summary": fitted.summary()}
    return found


async def _settling(clock: Clock, microscope: Any, times: Any) -> dict[str, Any]:
    """How long the pattern takes to stand still, beside what plans count on."""
    from drivers.check.judgement import judge_settling
    from drivers.check.settling import measure_settling

    found = await measure_settling(clock, microscope, min(times.exposures_s), times.lens_change)
    declared_s = microscope.facts.optics.settling_s(times.lens_change)
    judged = judge_settling(found, declared_s)
    return {
        "defocus": found.defocus,
        "settled_s": found.settled_s,
        "why": found.why,
        "declared_s": declared_s,
        "left_share": found.left_share(declared_s),
        "problems": list(judged.problems),
        "remarks": list(judged.remarks),
    }


def _speeds(measured: Any) -> dict[float, float]:
    """The median speed of the rotations at each speed asked for."""
    turned: dict[float, list[float]] = {}
    for rotation in measured:
        if rotation.speed_deg_s is not None:
            turned.setdefault(rotation.asked_deg_s, []).append(rotation.speed_deg_s)
    return {asked: sorted(speeds)[len(speeds) // 2] for asked, speeds in turned.items()}


def _table_of(devices: str, part: str) -> str:
    """The table of a devices file that holds the driver of a part."""
    if not devices.endswith(".toml"):
        return "microscope"
    tables = tomllib.loads(Path(devices).read_text(encoding="utf-8"))
    return part if part in tables else "microscope"


def _keep(devices: str, tables: dict[str, dict[str, float]], write: bool, when: str, as_json: bool) -> None:
    """Write the figures into the devices file, or show what to write."""
    from engine.run.devicesfile import update_devices_file

    path = Path(devices)
    if write and path.suffix == ".toml" and path.exists():
        update_devices_file(path, tables, f"measured by credline devices check{when}")
        typer.echo(f"{path}: wrote [{'] and ['.join(tables)}].", err=as_json)
        return
    typer.echo("For the devices file:", err=as_json)
    for name, figures in tables.items():
        typer.echo(f"[{name}]", err=as_json)
        for key, value in figures.items():
            typer.echo(f"{key} = {value}", err=as_json)


def _tables(result: dict[str, Any]) -> list[Table]:
    calls = Table("call", title="microscope", title_justify="left")
    for heading in ("median ms", "p99 ms", "n"):
        calls.add_column(heading, justify="right")
    for name, times in result["calls"].items():
        calls.add_row(name, f"{times['median_s'] * 1000:.1f}", f"{times['p99_s'] * 1000:.1f}", str(times["n"]))
    camera = result["camera"]
    cadence = Table("camera", f"frames of {camera['exposure_s'] * 1000:g} ms", title_justify="left")
    cadence.columns[1].justify = "right"
    for name, seconds in (
        ("declared cycle", camera["declared_s"]),
        ("first to second frame", camera["first_s"]),
        ("second to third frame", camera["second_s"]),
        ("the others, median", camera["rest"]["median_s"]),
        ("the others, p99", camera["rest"]["p99_s"]),
        (f"snapshot of {camera['snapshot_exposure_s'] * 1000:g} ms", camera["snapshot"]["median_s"]),
        ("frame after a snapshot", camera["back"]["median_s"]),
    ):
        cadence.add_row(name, f"{seconds * 1000:.1f} ms")
    cadence.add_row("not ready at the declared cycle", f"{camera['busy']} of {camera['paced']}")
    tables = [calls, cadence]
    if result["rotation"]:
        turns = Table("asked deg/s", "span deg", "turned at deg/s", "took s", title="rotation", title_justify="left")
        for rotation in result["rotation"]["measured"]:
            speed, sigma = rotation["speed_deg_s"], rotation["sigma_deg_s"]
            turned = "-" if speed is None else f"{speed:.4f} +- {sigma:.4f}"
            turns.add_row(
                f"{rotation['asked_deg_s']:g}", f"{rotation['span_deg']:.2f}", turned, f"{rotation['time_s']:.2f}"
            )
        tables.append(turns)
    return tables
