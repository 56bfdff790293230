"""The engine's side of the watchdog: starts it for a run, tells it that all is well, hears from it when it had to act.

The watchdog itself is a process of its own (`engine.run.watchdogprocess`), so that it outlives this one. It blanks the
beam through the instrument's second connection when this process dies or its event loop stands still. What it promises
and
why: docs/decisions/0008-watchdog.md.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from threading import Thread
from typing import Any, Protocol

import structlog

from engine.clock import Clock, ns
from engine.record.trace import Record
from engine.run.commands import Source
from engine.run.run import Run
from engine.run.watchdogprocess import BEAT, BLANK, SAFE

log = structlog.get_logger()

BEAT_S = 0.5
SILENCE_S = 3.0
"""No sign of life for so long, and the beam is blanked: six beats, and several slots that are lost in any case."""
START_LIMIT_S = 10.0
END_LIMIT_S = 10.0
MARK = "watchdog: "
"""How the reason of a run begins that the watchdog ended."""


class SecondConnection(Protocol):
    """What a driver says of its second connection: `drivers.contract.SecondConnection`."""

    @property
    def function(self) -> str:
        """`module:function`."""
        ...

    @property
    def arguments(self) -> Mapping[str, Any]:
        """Its keyword arguments."""
        ...

    @property
    def limit_s(self) -> float:
        """How long a call may take."""
        ...


@asynccontextmanager
async def watchdog(second: SecondConnection | None, clock: Clock) -> AsyncIterator["Watchdog"]:
    """A watchdog process, ready to watch one run; without a second connection there is none, and nothing to watch."""
    dog = Watchdog(clock)
    if second is not None:
        await dog.start(second)
    try:
        yield dog
    finally:
        await dog.end()


class Watchdog:
    """One watchdog process, seen from the run that it watches."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._process: subprocess.Popen[bytes] | None = None
        self._ready: asyncio.Future[str] = self._loop.create_future()  # empty, or why it cannot watch
        self._cause = ""
        self._run: Run | None = None
        self._dismissed = False
        self._asked: asyncio.Event | None = None
        self._ended = asyncio.Event()

    async def start(self, second: SecondConnection) -> None:
        """Start the process and wait until it is ready (0.1 s, ten at most)."""
        try:
            order = {
                "function": second.function,
                "arguments": dict(second.arguments),
                "limit_s": second.limit_s,
                "silence_s": SILENCE_S,
            }
            message = (json.dumps(order) + "\n").encode()
            self._process = _started()
            Thread(target=self._listen, args=(self._process,), name="watchdog", daemon=True).start()
            self._send(message)
            if sys.platform != "win32" and self._process.stdin is not None:
                os.set_blocking(self._process.stdin.fileno(), False)  # the run waits for nobody
            async with self._clock.timeout_at(self._clock.now_ns() + ns(START_LIMIT_S)):
                self._cause = await self._ready
        except TimeoutError:
            self._cause = f"it was not ready within {START_LIMIT_S:g} s"
        except (OSError, TypeError, ValueError) as error:
            self._cause = str(error) or type(error).__name__
        if self._cause and self._process is not None:
            self._process.kill()  # it has not begun to watch

    @asynccontextmanager
    async def watching(self, run: Run) -> AsyncIterator[None]:
        """Have the run watched; the beam must not be put on before this has been entered.

        A watchdog that could not be started, or dies, is told in trace, run.json and on standard error; the run goes
        on.
        """
        if self._process is None and not self._cause:
            yield
            return
        self._run = run
        if self._cause or self._ended.is_set():
            self._dismiss()
            self._without(f"the watchdog could not be started ({self._cause or 'it ended at once'})")
            yield
            return
        run.document = replace(run.document, watchdog="watching")
        run.trace.observe(self._observe)
        self._send((json.dumps({"folder": str(run.folder.absolute())}) + "\n").encode())
        beating = self._loop.create_task(self._beat(), name="watchdog heartbeat")
        try:
            yield
        finally:
            beating.cancel()
            await asyncio.wait([beating])
            await self.end()

    async def _beat(self) -> None:
        """From the run's own loop, so that a loop that stands still is noticed."""
        while not self._dismissed:
            self._send(BEAT)
            await self._clock.sleep_s(BEAT_S)

    def _send(self, word: bytes) -> None:
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError, ValueError):
                self._process.stdin.write(word)

    def _observe(self, record: Record) -> None:
        """The safe state was reached: that is the end of the watch, or the watchdog's turn to try."""
        if record["kind"] != "note" or record["name"] != "safe state" or self._dismissed:
            return
        if record["alarms"] == 0:
            self._send(SAFE)
        else:
            self._asked = asyncio.Event()
            self._send(BLANK)
        self._dismissed = True

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        """In a thread of its own: what the process says, and its end."""
        if process.stdout is not None:
            with process.stdout as lines:
                for line in lines:
                    with suppress(RuntimeError, ValueError):  # the loop may be closed already
                        self._loop.call_soon_threadsafe(self._heard, json.loads(line))
        process.wait()
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._process_ended)

    def _heard(self, message: dict[str, Any]) -> None:
        if "ready" in message:
            if not self._ready.done():
                self._ready.set_result("" if message["ready"] else message["cause"])
            return
        state = (
            "it blanked the beam through its own connection and read it back as blanked"
            if message["blanked"]
            else f"IT COULD NOT BLANK THE BEAM EITHER ({message['cause']})"
        )
        if self._run is None:
            return
        if self._asked is not None:
            self._run.alarms.append(f"{MARK}{message['why']}; {state}.")
            self._asked.set()
            return
        self._run.commands.fail(
            f"{MARK}{message['why']}; {state}. What was exposed before is kept. Look what stopped the program: a "
            "suspended process, a terminal that holds its output back, a machine without memory.",
            Source.WATCHDOG,
        )

    def _process_ended(self) -> None:
        self._ended.set()
        if not self._ready.done():
            self._ready.set_result("it ended at once")
        elif not self._dismissed and self._run is not None:
            self._dismiss()
            self._without("the watchdog process ended before the run")
        elif self._asked is not None:
            self._asked.set()

    def _without(self, cause: str) -> None:
        if self._run is None:
            return
        self._run.document = replace(self._run.document, watchdog=cause)
        self._run.trace.record("note", "watchdog", text=cause)
        log.warning(f"{cause}; the run goes on without one: nobody blanks the beam if this program is killed")

    def _dismiss(self) -> None:
        self._dismissed = True
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()

    async def end(self) -> None:
        """Let the process go. If it watched and was not told that everything is safe, it blanks the beam now."""
        limit_ns = self._clock.now_ns() + ns(END_LIMIT_S)
        with suppress(TimeoutError):
            async with self._clock.timeout_at(limit_ns):
                if self._asked is not None:
                    await self._asked.wait()
        self._dismiss()
        with suppress(TimeoutError):
            async with self._clock.timeout_at(limit_ns):
                if self._process is not None:
                    await self._ended.wait()


def _started() -> subprocess.Popen[bytes]:
    """The process, out of reach of what a terminal sends to the programs in it."""
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
    # The paths of this program, for a driver of the lab's own; -P keeps the present folder out of them.
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "engine.run.watchdogprocess"],
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths},
        start_new_session=True,
        creationflags=flags,
    )
