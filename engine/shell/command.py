"""Type at an instrument: `await stage.angle()`, `await perform(EXPERIMENT, key=value)`; the beam is off at the exit.

The command `credline shell`; docs/shell.md.
"""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.commands.options import Devices, Seed
from engine.errors import CredlineError, Refused

if TYPE_CHECKING:
    from pydantic import BaseModel

    from engine.run.children import ChildReport
    from engine.run.contract import AnyExperiment
    from engine.shell.opened import OpenInstrument

shell_app = typer.Typer(context_settings={"help_option_names": ["-h", "--help"]})


@shell_app.command(epilog="Example: credline shell --devices our-microscope.toml")
def shell(
    devices: Devices = "simulated",
    out: Annotated[Path, typer.Option("--out", help="Where the log of what is typed is made, and runs in it.")] = Path(
        "runs"
    ),
    seed: Seed = 0,
    accept_timing: Annotated[
        bool, typer.Option("--accept-timing", help="Perform runs although this machine wakes too late for their plans.")
    ] = False,
    accept_gaps: Annotated[
        bool, typer.Option("--accept-gaps", help="Perform runs although their plans leave much unrecorded.")
    ] = False,
) -> None:
    """Open an instrument and type at it in IPython. Ctrl-C stops a run under way; at the exit the beam is off."""
    try:
        from IPython.terminal.interactiveshell import TerminalInteractiveShell
        from IPython.terminal.ipapp import TerminalIPythonApp
    except ImportError as error:
        raise Refused(
            f"shell: {error.name} is not installed; nothing was begun. Install it, in the folder of credline: "
            'pip install -e ".[shell]". A notebook can open an instrument without it (docs/shell.md).'
        ) from error
    from engine.shell.leaving import Leaving
    from engine.shell.opened import kinds, open_instrument

    leaving = Leaving()
    known = kinds()  # takes seconds: before the instrument is opened
    app = TerminalIPythonApp.instance()
    app.display_banner = False
    app.initialize([])  # type: ignore[no-untyped-call]
    interactive = TerminalInteractiveShell.instance()  # that of the application
    opened = open_instrument(devices, out, seed, accept_timing=accept_timing, accept_gaps=accept_gaps)
    with opened as instrument, asyncio.Runner() as runner:
        typer.echo(f"instrument: {devices}; log: {instrument.folder}", err=True)
        typer.echo(f"awaited: {', '.join(instrument.parts)}, perform(EXPERIMENT, key=value), picture(0.5)", err=True)
        typer.echo("exit leaves it with the beam off", err=True)
        fit(interactive, instrument, known, runner.run)
        with leaving.watching(instrument.let_go, interactive.ask_exit):
            app.start()  # type: ignore[no-untyped-call]
    typer.echo(f"instrument: let go, beam off; {instrument.folder}", err=True)
    leaving.leave_if_told()


def fit(
    interactive: Any,
    instrument: "OpenInstrument",
    known: Mapping[str, object],
    run_cell: Callable[..., object],
) -> None:
    """Put an instrument into an IPython: its names, its errors in a line, what is typed into its log.

    known: experiments by their names; a part of the instrument goes before an experiment of that name. run_cell: of an
    `asyncio.Runner` that heeds Ctrl-C, one for all cells: what one of them leaves in the background goes on.
    """

    async def perform(
        kind: "AnyExperiment | str", plan: "BaseModel | Mapping[str, object] | None" = None, **keys: object
    ) -> "ChildReport":
        return await shown_perform(instrument, kind, plan, **keys)

    perform.__doc__ = instrument.perform.__doc__
    names = {**known, **instrument.parts, "instrument": instrument, "perform": perform, "picture": instrument.picture}
    interactive.push(names)
    interactive.loop_runner = run_cell
    interactive.autoawait = True
    interactive.set_custom_exc((CredlineError,), _said)
    interactive.events.register("pre_run_cell", lambda info: instrument.note("cell", info.raw_cell))


async def shown_perform(
    instrument: "OpenInstrument",
    kind: "AnyExperiment | str",
    plan: "BaseModel | Mapping[str, object] | None",
    **keys: object,
) -> "ChildReport":
    """Perform an experiment with the display of `credline run`."""
    from rich.console import Console

    from engine.commands.display import LiveDisplay
    from engine.run.registry import experiment_type

    known = experiment_type(kind) if isinstance(kind, str) else kind
    display = LiveDisplay(Console(stderr=True), known)
    instrument.watch(display.watch)
    try:
        return await instrument.perform(known, plan, **keys)
    finally:
        instrument.watch(None)
        display.close()


def _said(_shell: object, kind: type, error: BaseException, _trace: object, tb_offset: object = None) -> None:
    """An error of ours is a line that says all: no traceback."""
    typer.echo(f"{kind.__name__}: {error}", err=True)
