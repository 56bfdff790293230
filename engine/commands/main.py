"""The command line: `credline run`, `plan`, `export` and more. Results on standard output, all else on standard error.

Exit statuses are those of EXIT_STATUSES. An error is one line, never a traceback.
"""

import json
import os
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperGroup
from typer.main import get_group

from engine.commands.export import export
from engine.commands.groups import PromisedGroup
from engine.commands.mistyped import example, plain, remedy
from engine.commands.options import ClockKind, Config, Devices, Json, Protocol, Seed, Settings
from engine.commands.replay import replay
from engine.commands.soak import soak
from engine.commands.tell import tell
from engine.commands.terminal import outlive_the_terminal
from engine.commands.watch import watch
from engine.errors import CredlineError, Refused
from engine.interrupts import remember_interrupts

if TYPE_CHECKING:
    from engine.record.jsonobject import JsonObject
    from engine.run.contract import Prepared

INTERRUPTED = 130
EXIT_STATUSES = (
    "Exit status: 0 done, or stopped with data; 1 failed, aborted, stopped without a frame, or an alarm is left; "
    "2 refused, nothing was begun; 130 Ctrl-C where no run was under way."
)
COMPLETION = "_CREDLINE_COMPLETE"
ASKS_ONLY = {"-h", "--help", "--version"}
"""Words that are answered without anything being done."""

app = typer.Typer(
    name="credline",
    help="Timing-critical experiments on a transmission electron microscope.",
    epilog=EXIT_STATUSES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _say_version(wanted: bool) -> None:
    if wanted:
        import platform
        from importlib.metadata import version

        typer.echo(f"credline {version('credline')} (Python {platform.python_version()}, {platform.system()})")
        raise typer.Exit


@app.callback()
def _credline(
    _: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """What is asked of the program as a whole."""


@app.command(
    epilog=f"Example: credline run cred --config examples/demo.toml --clock virtual --seed 1\n\n{EXIT_STATUSES}"
)
def run(
    protocol: Annotated[
        str | None, typer.Argument(help="Which experiment, by its name; with --continue that of the earlier run.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Where the run folder is made.")] = Path("runs"),
    devices: Devices = "simulated",
    clock: Annotated[ClockKind, typer.Option("--clock", help="Virtual: a run takes moments.")] = ClockKind.REAL,
    seed: Seed = 0,
    config: Config = None,
    settings: Settings = None,
    as_json: Json = False,
    accept_timing: Annotated[
        bool, typer.Option("--accept-timing", help="Run although this machine wakes too late for the plan.")
    ] = False,
    accept_gaps: Annotated[
        bool, typer.Option("--accept-gaps", help="Run although the plan leaves much unrecorded; `plan` says how much.")
    ] = False,
    no_watchdog: Annotated[
        bool, typer.Option("--no-watchdog", help="Leave out the process that blanks the beam if this one dies.")
    ] = False,
    faults: Annotated[
        list[str] | None,
        typer.Option("--fault", help="A bad day: what is to befall the run, see docs/reliability.md; repeatable."),
    ] = None,
    earlier: Annotated[
        Path | None,
        typer.Option(
            "--continue",
            help="Go on from this run, in a new folder: with its plan, save what --config or --set say.",
        ),
    ] = None,
) -> None:
    """Run an experiment and leave a run folder."""
    remember_interrupts()
    from rich.console import Console

    from engine.commands.display import LiveDisplay, summary_table
    from engine.commands.tables import print_whole
    from engine.record.endings import Status
    from engine.run.perform import Request, execute
    from engine.run.planfile import build_plan
    from engine.run.registry import experiment_type

    continued = None
    if earlier is not None:
        from engine.run.continuing import earlier_run

        before = earlier_run(earlier, protocol, devices)
        for line in before.told:
            typer.echo(line, err=True)
        kind = before.kind
        plan = build_plan(kind, config, settings or [], before.plan)
        continued = before.carried_over(plan)
    elif protocol is not None:
        kind = experiment_type(protocol)
        plan = build_plan(kind, config, settings or [])
    else:
        raise Refused("run: which experiment? Nothing was started. Name one; credline run -h shows an example.")
    display = LiveDisplay(Console(stderr=True), kind)
    virtual = clock is ClockKind.VIRTUAL
    request = Request(
        kind,
        plan,
        out,
        devices,
        virtual,
        seed,
        accept_timing,
        accept_gaps,
        watchdog=not no_watchdog,
        faults=tuple(faults or ()),
        continued=continued,
    )
    try:
        report = execute(request, display.watch)
    finally:
        display.close()
    print_whole(summary_table(report, kind), to_stderr=as_json)
    for line in report.products:
        typer.echo(line, err=as_json)
    warnings = report.document.get("warnings", [])
    for line in (*(f"ALARM: {alarm}" for alarm in report.alarms), *(f"WARNING: {text}" for text in warnings)):
        typer.echo(line, err=True)
    if as_json:
        typer.echo(json.dumps(_json_result(report.folder, report.document, report.wall_s)))
    if report.ending.status in (Status.FAILED, Status.ABORTED):
        typer.echo(f"credline: {report.ending.status.value}: {report.ending.reason}", err=True)
        raise typer.Exit(1)
    if report.ending.status is Status.STOPPED and kind.frame_kinds and report.document["result"].get("frames") == 0:
        typer.echo("credline: stopped without a frame that can be used.", err=True)
        raise typer.Exit(1)
    if report.alarms:  # whoever works through a grid by a script stops here
        raise typer.Exit(1)


def _json_result(folder: Path, document: "JsonObject", wall_s: float) -> dict[str, object]:
    return {
        "run_dir": str(folder),
        "status": document["status"],
        "reason": document["reason"],
        "warnings": document.get("warnings", []),
        **document["result"],
        "wall_s": round(wall_s, 3),
    }


@app.command(epilog="Example: credline plan cred --set exposure_s=0.3 --set snapshot_interval=20")
def plan(
    protocol: Protocol,
    devices: Devices = "simulated",
    config: Config = None,
    settings: Settings = None,
    connected: Annotated[
        bool, typer.Option("--connected", help="Ask the instrument, instead of taking what its drivers declare.")
    ] = False,
    keys: Annotated[
        bool, typer.Option("--keys", help="Say what each key of the plan is instead: unit, default, range, meaning.")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Print each step of each cycle too, and where every fact is from.")
    ] = False,
) -> None:
    """Say what a run will be and refuse a plan that cannot fit; nothing moves, and nothing is asked."""
    import asyncio

    from engine.clock import RealClock
    from engine.commands.planbasis import print_basis
    from engine.run.planbasis import declared_basis, told_basis
    from engine.run.planfile import build_plan
    from engine.run.registry import experiment_type

    kind = experiment_type(protocol)
    if keys:
        from shutil import get_terminal_size

        from engine.commands.plankeys import key_lines

        for line in key_lines(kind.plan_type, get_terminal_size().columns):
            typer.echo(line)
        return
    values = build_plan(kind, config, settings or [])
    options = kind.device_options(values)
    if connected:
        basis = asyncio.run(told_basis(devices, RealClock(), options))
    else:
        basis = declared_basis(devices, options)
    prepared = kind.prepare(values, basis.facts)
    _print_plan(prepared, full)
    print_basis(basis, kind.needs, full)
    for remark in (*basis.facts.questions, *prepared.remarks):
        typer.echo(f"Note: {remark}")
    for objection in prepared.objections:
        typer.echo(f"Objection: {objection} To run it all the same, `credline run` wants --accept-gaps.")
    if not full:
        typer.echo("With --full: each step of each cycle, and where every fact is from.")


def _print_plan(prepared: "Prepared", full: bool) -> None:
    from rich.table import Table

    from engine.commands.tables import print_whole

    if not prepared.budgets and not prepared.words:
        typer.echo("The plan fits the instrument.")
    facts = Table(show_header=False, box=None)
    for budget in prepared.budgets:
        left_s = budget.available_s - budget.typical_s
        if not full:
            slack = f"slack {left_s * 1000:.1f} ms, at worst {budget.slack_s * 1000:.1f} ms"
            facts.add_row(budget.name, f"{budget.available_s * 1000:.1f} ms, {slack}")
            continue
        table = Table(title=f"{budget.name}: {budget.available_s * 1000:.1f} ms", title_justify="left")
        for heading in ("step", "typical ms", "worst ms", "from"):
            table.add_column(heading, justify="right" if "ms" in heading else "left")
        for step in budget.steps:
            table.add_row(step.name, f"{step.typical_s * 1000:.1f}", f"{step.worst_s * 1000:.1f}", step.source)
        table.add_section()
        table.add_row("slack", f"{left_s * 1000:.1f}", f"{budget.slack_s * 1000:.1f}", "")
        print_whole(table)
    for name, text in prepared.words.items():
        facts.add_row(name, text)
    print_whole(facts)


@app.command(epilog="Example: credline recover runs/mordenite_001")
def recover(run: Annotated[Path, typer.Argument(help="A run folder whose program was cut off.")]) -> None:
    """Bring a run that was cut off (crash, power) into its final form, from its spool and its trace."""
    from engine.run.recovery import recover_run

    for line in recover_run(run, draw=True):
        typer.echo(line)


@app.command(epilog="Example: credline graph cred > docs/cred-machine.md")
def graph(protocol: Protocol) -> None:
    """Print an experiment's state machine as a Mermaid diagram."""
    from engine.run.registry import experiment_type

    typer.echo(experiment_type(protocol).machine().mermaid(), nl=False)


app.command(
    epilog="Example: credline tell runs/mordenite_001 track offset 200 -50",
    context_settings={"ignore_unknown_options": True},
)(tell)
app.command(epilog=f"Example: credline watch runs/mordenite_001\n\n{EXIT_STATUSES}")(watch)
app.command(epilog="Example: credline export runs/mordenite_001 --formats smv,xds,dials")(export)
app.command(epilog="Example: credline soak cred --seeds 1000")(soak)
app.command(epilog="Example: credline replay runs/mordenite_001 --what-if api_latency=60ms")(replay)


def _log_to_standard_error() -> None:
    """Warnings of the engine, in lines on standard error."""
    import logging

    import structlog

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def with_groups() -> TyperGroup:
    """The whole command line: with `runs`, `trace`, and the groups that packages register under `credline.commands`."""
    from engine.run.registry import registered

    command = get_group(app)
    for name in ("runs", "trace"):
        command.add_command(PromisedGroup(name, EntryPoint(name, f"engine.commands.{name}:{name}_app", "")))
    for name, point in registered("commands").items():
        command.add_command(PromisedGroup(name, point))
    return command


def main() -> None:
    """Entry point of the `credline` command."""
    outlive_the_terminal()
    try:
        command = with_groups()
        if COMPLETION in os.environ:  # a shell asks for its completion, or which words there are
            from typer import completion

            completion.completion_init()  # type: ignore[attr-defined] # imported there, from a room that is private
        if not ASKS_ONLY.intersection(sys.argv):
            _log_to_standard_error()
        # Not typer's own ending: it would leave silently on Ctrl-C, which it gives back as a status.
        status = command(standalone_mode=False)
        if status == INTERRUPTED:
            raise KeyboardInterrupt
        sys.exit(status)
    except KeyboardInterrupt:
        typer.echo(
            "credline: interrupted; no run was under way, beam and lens are as they were. What was written before is "
            "whole.",
            err=True,
        )
        sys.exit(INTERRUPTED)
    except Refused as error:
        typer.echo(f"credline: refused: {error}", err=True)
        sys.exit(error.exit_status)
    except CredlineError as error:
        typer.echo(f"credline: {error}", err=True)
        sys.exit(error.exit_status)
    except Exception as error:
        show = getattr(error, "show", None)
        if callable(show):  # words on the command line that make no command
            said = str(getattr(error, "message", ""))
            if said:
                error.message = plain(said)  # type: ignore[attr-defined] # an error of the command line library
            show()
            context = getattr(error, "ctx", None)
            meant = remedy(getattr(context, "info_name", None) or "", said)
            for line in (meant, example(getattr(getattr(context, "command", None), "epilog", None))):
                if line:
                    typer.echo(line, err=True)
            sys.exit(2)
        if os.environ.get("CREDLINE_TRACEBACK"):
            raise
        typer.echo(
            f"credline: internal error ({type(error).__name__}: {error}); please report it with what you typed and "
            "the output of the same with CREDLINE_TRACEBACK=1.",
            err=True,
        )
        sys.exit(1)
