"""Watch and steer runs from a browser: a web page on this machine.

The command `credline console`; docs/console.md.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.commands.options import Devices, Seed
from engine.errors import Refused

if TYPE_CHECKING:
    import socket

console_app = typer.Typer(context_settings={"help_option_names": ["-h", "--help"]})

PORT = 8421
LOOPBACK = "127.0.0.1"
NICE = 10
"""The instrument process comes first on a machine with few processors."""


@console_app.command(epilog="Example: credline console --devices our-microscope.toml --out runs")
def console(
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Of the page; 0 for any that is free.")] = PORT,
    out: Annotated[Path, typer.Option("--out", help="Where the run folders are, and are made.")] = Path("runs"),
    devices: Devices = "simulated",
    seed: Seed = 0,
    watch_only: Annotated[
        bool, typer.Option("--watch-only", help="Show the runs in the folder, and open no instrument.")
    ] = False,
) -> None:
    """Show and steer runs in a browser on this machine. The instrument is held by a process of its own, which goes on
    when this one ends while a run is under way.
    """
    import asyncio

    from engine.clock import RealClock
    from engine.console.link import answers, start, until_ready
    from engine.console.planning import load_protocols

    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
        import websockets  # noqa: F401
    except ImportError as error:
        raise Refused(
            f"console: {error.name} is not installed; nothing was begun. Install it, in the folder of credline: "
            'pip install -e ".[console]".'
        ) from error
    listening, process = _listen(port), None
    if not watch_only:
        if asyncio.run(answers(devices, RealClock())):
            typer.echo(f"instrument: {devices}, held by a process that is there already", err=True)
        else:
            typer.echo(f"instrument: {devices}, being opened", err=True)
            process = start(devices, out, seed)
    load_protocols()  # at the same time as the instrument process does
    if process is not None:
        until_ready(process)
        typer.echo(f"instrument: open, process {process.pid}", err=True)
    if hasattr(os, "nice"):
        os.nice(NICE)
    asyncio.run(_serve(listening, out.absolute(), devices, seed, watch_only=watch_only))


def _listen(port: int) -> "socket.socket":
    """A socket on loopback, before anything else is begun. Raises Refused where the port is taken."""
    import socket

    listening = socket.socket()
    try:
        if os.name != "nt":  # there it would let a second program take the port as well
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((LOOPBACK, port))
        listening.listen()  # who opens the link the moment it is printed waits, and is not refused
    except OSError as error:
        listening.close()
        raise Refused(
            f"console: port {port} is taken ({error.strerror}); nothing was begun. Open the page that is there, or "
            "choose another with --port."
        ) from error
    return listening


async def _serve(listening: "socket.socket", out: Path, devices: str, seed: int, *, watch_only: bool) -> None:
    import uvicorn

    from engine.clock import RealClock
    from engine.console.guard import BODY_LIMIT_BYTES, Keys
    from engine.console.link import InstrumentLink, Reopening
    from engine.console.server import Console, web_app
    from engine.errors import CredlineError

    clock, port = RealClock(), listening.getsockname()[1]
    page = f"http://{LOOPBACK}:{port}/"

    def say(key: str) -> None:
        typer.echo(f"console: open {page}enter?key={key} to steer (good once; the next link comes then)", err=True)

    link = InstrumentLink(devices, clock)
    where = link.published
    if where is not None and where.out != str(out) and not watch_only:
        out = Path(where.out)
        typer.echo(f"runs: in {out}, as the instrument process was told when it was started", err=True)
    typer.echo(f"console: {page} to watch; Ctrl-C ends it", err=True)
    reopening = None if watch_only else Reopening(link, out, seed, clock)
    app = web_app(Console(out, link, Keys(port, say), clock, reopening))
    config = uvicorn.Config(
        app,
        log_level="warning",
        ws="websockets-sansio",
        ws_max_size=BODY_LIMIT_BYTES,
        ws_per_message_deflate=False,
        server_header=False,
        timeout_graceful_shutdown=2,
    )

    class Server(uvicorn.Server):
        """One that takes Ctrl-C for its own end and does not raise it again: the instrument is let go after it."""

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            """See `uvicorn.Server`."""
            numbers = (signal.SIGINT, signal.SIGTERM)
            before = {number: signal.signal(number, self.handle_exit) for number in numbers}
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

    try:
        await Server(config).serve([listening])
    finally:
        if not watch_only:
            try:
                await link.ask({"ask": "close", "id": os.urandom(8).hex(), "who": "the console"})
                typer.echo("instrument: let go", err=True)
            except CredlineError as error:
                typer.echo(f"instrument: its process goes on: {error}", err=True)
        await link.close()
