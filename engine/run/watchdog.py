"""The engine's side of the watchdog: starts it, tells it that all is well, hears from it when it had to act.

The watchdog itself is a process of its own (`engine.run.watchdogprocess`), so that it outlives this one. It blanks the
beam through the instrument's second connection when this process dies or its event loop stands still, from the opening
of the instrument to its end, in runs and between them. What it promises and why: docs/decisions/0008-watchdog.md.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from threading import Thread
from typing import Protocol

import structlog

from engine.clock import Clock, ns
from engine.record.jsonobject import JsonObject
from engine.record.trace import Record
from engine.run.commands import Source
from engine.run.run import Run
from engine.run.watchdogprocess import BEAT, BETWEEN, BLANK, CLOSED, RUNS, SAFE

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
    def arguments(self) -> JsonObject:
        """Its keyword arguments."""
        ...

    @property
    def limit_s(self) -> float:
        """How long a call may take."""
        ...


@asynccontextmanager
async def watchdog(second: SecondConnection | None, clock: Clock) -> AsyncIterator["Watchdog"]:
    """A watchdog process that watches until the end of this; without a second connection there is none."""
    dog = Watchdog(clock)
    if second is not None:
        await dog.start(second)
    try:
        yield dog
    finally:
        await dog.end()


class _Watched:
    """A run under its eyes. asked: set when the watchdog has answered, where the run could not make safe itself."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.is_safe = False
        self.asked: asyncio.Event | None = None


class Watchdog:
    """One watchdog process, seen from the instrument that it watches. Without one, all of this does nothing."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._process: subprocess.Popen[bytes] | None = None
        self._ready: asyncio.Future[str] = self._loop.create_future()  # empty, or why it cannot watch
        self._cause = ""
        """Why nobody watches; empty while somebody does, or nobody was to."""
        self._runs: list[_Watched] = []
        """Under way, the innermost last."""
        self._beating: asyncio.Task[None] | None = None
        self._ending = False
        self._ended = asyncio.Event()

    async def start(self, second: SecondConnection) -> None:
        """Start the process and wait until it is ready (0.1 s, ten at most); from then on it watches."""
        cause = ""
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
                cause = await self._ready
        except TimeoutError:
            cause = f"it was not ready within {START_LIMIT_S:g} s"
        except (OSError, TypeError, ValueError) as error:
            cause = str(error) or type(error).__name__
        if cause:
            self._cause = f"the watchdog could not be started ({cause})"
            if self._process is not None:
                self._process.kill()  # it has not begun to watch
            return
        self._beating = self._loop.create_task(self._beat(), name="watchdog heartbeat")

    @asynccontextmanager
    async def watching(self, run: Run) -> AsyncIterator[None]:
        """Tell it that this run is the innermost one; the run must not put the beam on before this has been entered.

        Its notes stand in this run's folder, and in those of the runs around it. A watchdog that could not be started,
        or has died, is told in trace, run.json and on standard error; the run goes on. At the end a run that was not
        made safe has its beam blanked by the watchdog.
        """
        if self._process is None and not self._cause:
            yield
            return
        watched = _Watched(run)
        self._runs.append(watched)
        if self._cause:
            self._without(run)
        else:
            run.document = replace(run.document, watchdog="watching")
            run.trace.observe(partial(self._observe, watched))
            self._tell_runs()
        try:
            yield
        finally:
            if not watched.is_safe and watched.asked is None:
                self._ask(watched)
            try:
                if watched.asked is not None:
                    await self._answer(watched.asked)
            finally:
                self._runs.remove(watched)
                if self._runs:
                    self._tell_runs()
                else:
                    self._say(BETWEEN, str(run.folder.absolute().parent))

    def _tell_runs(self) -> None:
        self._say(RUNS, [str(watched.run.folder.absolute()) for watched in self._runs])

    async def _beat(self) -> None:
        """From the run's own loop, so that a loop that stands still is noticed."""
        while not self._ended.is_set():
            self._send(BEAT)
            await self._clock.sleep_s(BEAT_S)

    def _say(self, word: str, told: object) -> None:
        self._send((json.dumps({word: told}) + "\n").encode())

    def _send(self, line: bytes) -> None:
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError, ValueError):
                self._process.stdin.write(line)

    def _observe(self, watched: _Watched, record: Record) -> None:
        """The run reached its safe state, which is good, or the watchdog's turn to try."""
        if record["kind"] != "note" or record["name"] != "safe state":
            return
        if record["alarms"] == 0:
            watched.is_safe = True
            self._say(SAFE, str(watched.run.folder.absolute()))
        else:
            self._ask(watched)

    def _ask(self, watched: _Watched) -> None:
        """Have it blank the beam of a run that could not."""
        watched.asked = asyncio.Event()
        if self._cause:
            watched.asked.set()
        self._say(BLANK, str(watched.run.folder.absolute()))

    async def _answer(self, asked: asyncio.Event) -> None:
        with suppress(TimeoutError):
            async with self._clock.timeout_at(self._clock.now_ns() + ns(END_LIMIT_S)):
                await asked.wait()

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

    def _heard(self, message: JsonObject) -> None:
        if "ready" in message:
            if not self._ready.done():
                self._ready.set_result("" if message["ready"] else message["cause"])
            return
        state = (
            "it blanked the beam through its own connection and read it back as blanked"
            if message["blanked"]
            else f"IT COULD NOT BLANK THE BEAM EITHER ({message['cause']})"
        )
        said = f"{MARK}{message['why']}; {state}."
        asking = [watched for watched in self._runs if watched.asked is not None]
        for watched in asking:
            watched.run.alarms.append(said)
            if watched.asked is not None:
                watched.asked.set()
        if asking:
            return
        if not self._runs or self._runs[-1].is_safe:  # no run has the beam on, so none has lost anything
            log.warning(said)
            return
        self._runs[-1].run.commands.fail(
            f"{said} What was exposed before is kept. Look what stopped the program: a suspended process, a terminal "
            "that holds its output back, a machine without memory.",
            Source.WATCHDOG,
        )

    def _process_ended(self) -> None:
        self._ended.set()
        if not self._ready.done():
            self._ready.set_result("it ended at once")
        elif not self._ending and not self._cause:
            self._cause = "the watchdog process ended before the run"
            for watched in self._runs:
                self._without(watched.run)
        for watched in self._runs:
            if watched.asked is not None:
                watched.asked.set()

    def _without(self, run: Run) -> None:
        run.document = replace(run.document, watchdog=self._cause)
        run.trace.record("note", "watchdog", text=self._cause)
        log.warning(f"{self._cause}; the run goes on without one: nobody blanks the beam if this program is killed")

    async def end(self) -> None:
        """Let the process go: the instrument is let go in good order."""
        self._ending = True
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.wait([self._beating])
        self._say(CLOSED, True)
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
        with suppress(TimeoutError):
            async with self._clock.timeout_at(self._clock.now_ns() + ns(END_LIMIT_S)):
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
