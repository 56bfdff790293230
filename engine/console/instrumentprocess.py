"""The instrument process: it alone owns connection, lock and watchdog, performs the runs, and hears consoles.

Started by `credline console`, or by hand as `python -m engine.console.instrumentprocess`; goes on when its consoles
are gone, and ends when told to, or by a signal. Runs on the real clock.
"""

import argparse
import asyncio
import os
import secrets
import signal
import sys
from asyncio import StreamReader, StreamWriter
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import structlog

from engine.clock import Clock, RealClock
from engine.commands.terminal import outlive_the_terminal
from engine.console.controls import Controls
from engine.console.planning import load_protocols
from engine.console.published import Published, place_of, publishing
from engine.console.wire import LINE_LIMIT_BYTES, greet, receive, send
from engine.errors import CredlineError, DataError, Refused
from engine.record.lock import instruments_locked
from engine.run.instrument import Instrument

log = structlog.get_logger()

LOOPBACK = "127.0.0.1"
CONNECTIONS_MOST = 32
LAST_ANSWERS_S = 0.5
READY = "ready"
"""On standard output when the instrument is open and published; before it, what went wrong."""


class Door:
    """Where consoles come in: each request of each is answered in order; whoever is not known is sent away."""

    def __init__(self, controls: Controls, secret: str, clock: Clock) -> None:
        self._controls, self._secret, self._clock = controls, secret, clock
        self._open: dict[asyncio.Task[None], StreamWriter] = {}

    async def enter(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Serve one connection to its end."""
        this = asyncio.current_task()
        if this is None or len(self._open) >= CONNECTIONS_MOST:
            writer.close()
            return
        self._open[this] = writer
        try:
            if await greet(reader, writer, self._secret, self._clock):
                await self._serve(reader, writer)
        finally:
            del self._open[this]
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def close(self) -> None:
        """Send everybody away, after the answers that are under way."""
        if self._open:
            await asyncio.wait(self._open, timeout=LAST_ANSWERS_S)
        for writer in self._open.values():
            writer.close()
        if self._open:
            await asyncio.wait(self._open, timeout=LAST_ANSWERS_S)

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        self._controls.watchers += 1
        try:
            while (asked := await receive(reader)) is not None:
                await send(writer, await self._controls.answer(asked))
        except (DataError, OSError) as error:
            log.warning("a console was sent away", cause=str(error))
        finally:
            self._controls.watchers -= 1


async def own(devices: str, out: Path, seed: int) -> None:
    """Open the instrument and serve until told to end. Raises as `Instrument.open`, Refused where another process of
    this user has it.
    """
    clock, secret = RealClock(), secrets.token_hex(32)
    with ExitStack() as stack:
        stack.enter_context(instruments_locked([f"the console's {place_of(devices)}"]))
        async with Instrument.open(devices, clock, seed, signals=False) as instrument:
            controls = Controls(instrument, out)
            await controls.opened()
            door = Door(controls, secret, clock)
            server = await asyncio.start_server(door.enter, LOOPBACK, 0, limit=LINE_LIMIT_BYTES)
            port = server.sockets[0].getsockname()[1]
            told = Published(port, secret, os.getpid(), place_of(devices), str(out))
            try:
                stack.enter_context(publishing(told))
            except OSError as error:
                raise Refused(
                    f"console: the instrument process cannot say where it is ({error}); nothing was begun. Set TMPDIR "
                    "to a folder of your own."
                ) from error
            for number in (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if sys.platform != "win32" else [])):
                signal.signal(number, partial(_asked_to_end, asyncio.get_running_loop(), controls))
            print(READY, flush=True)
            _let_go_of_output()
            await controls.closing.wait()
            server.close()
            await controls.shut("the instrument process was told to end")
            await door.close()


def _asked_to_end(loop: asyncio.AbstractEventLoop, controls: Controls, number: int, _: object) -> None:
    """The run is stopped, and the process ends after it; it never leaves the beam on."""
    loop.call_soon_threadsafe(controls.closing.set)


def _let_go_of_output() -> None:
    """Who has started this process may go: what is written from here on must not fail for that."""
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)


def main(words: list[str] | None = None) -> int:
    """Entry point; the exit status."""
    parser = argparse.ArgumentParser(prog="credline instrument process", description=__doc__)
    parser.add_argument("--devices", default="simulated")
    parser.add_argument("--out", type=Path, default=Path("runs"))
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(words)
    try:
        outlive_the_terminal()
        load_protocols()
        asyncio.run(own(asked.devices, asked.out.absolute(), asked.seed))
    except CredlineError as error:
        print(str(error), flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
