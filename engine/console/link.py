"""The console's side of the instrument process: started where there is none, asked, and found again when it is new."""

import asyncio
import subprocess
import sys
from asyncio import StreamReader, StreamWriter
from contextlib import suppress
from pathlib import Path

from engine.clock import Clock, ns
from engine.console.published import Published, place_of, published
from engine.console.wire import LINE_LIMIT_BYTES, introduce, receive, send
from engine.errors import CredlineError, DataError, Refused
from engine.record.jsonobject import JsonDict, JsonObject

LOOPBACK = "127.0.0.1"
ANSWER_LIMIT_S = 30.0
LETS_GO_S = 1.0
"""From its last answer until an instrument process has let its locks go."""
GONE = "the instrument process does not answer; what it was doing is not known here. Its watchdog blanks the beam."


class InstrumentLink:
    """Connections to the instrument process of one devices file. One after the other asks on each.

    The red button has a connection of its own, so that it waits behind nobody.
    """

    def __init__(self, devices: str, clock: Clock) -> None:
        self.devices = place_of(devices)
        self._clock = clock
        self._usual, self._urgent = _Line(self.devices, clock), _Line(self.devices, clock)

    async def ask(self, asked: JsonObject, *, urgent: bool = False) -> JsonDict:
        """The answer to a request (`engine.console.controls`). Raises Refused with what it says is wrong, DeviceError
        where nobody answers.
        """
        answer = await (self._urgent if urgent else self._usual).ask(asked)
        if answer.get("ok") is not True:
            raise Refused(str(answer.get("error") or "the instrument process gave no reason."))
        return answer

    @property
    def published(self) -> Published | None:
        """What it says of itself; None where there is none."""
        return published(self.devices)

    async def close(self) -> None:
        """Let the connections go; the instrument process goes on."""
        await self._usual.close()
        await self._urgent.close()


class _Line:
    """One connection, made when it is needed and made again when it was lost."""

    def __init__(self, devices: str, clock: Clock) -> None:
        self._devices, self._clock = devices, clock
        self._turn = asyncio.Lock()
        self._ends: tuple[StreamReader, StreamWriter] | None = None

    async def ask(self, asked: JsonObject) -> JsonDict:
        async with self._turn:
            try:
                async with self._clock.timeout_at(self._clock.now_ns() + ns(ANSWER_LIMIT_S)):
                    reader, writer = self._ends or await self._connected()
                    await send(writer, asked)
                    answer = await receive(reader)
            except (OSError, DataError, TimeoutError) as error:
                await self.close()
                raise Refused(GONE) from error
            except BaseException:
                await self.close()  # its answer would be taken for that to the next request
                raise
            if answer is None:
                await self.close()
                raise Refused(GONE)
            return answer

    async def _connected(self) -> tuple[StreamReader, StreamWriter]:
        told = published(self._devices)
        if told is None:
            raise Refused("no instrument process is there; start it with `credline console`.")
        reader, writer = await asyncio.open_connection(LOOPBACK, told.port, limit=LINE_LIMIT_BYTES)
        try:
            await introduce(reader, writer, told.secret, self._clock)
        except CredlineError:
            writer.close()
            raise
        self._ends = reader, writer
        return self._ends

    async def close(self) -> None:
        ends, self._ends = self._ends, None
        if ends is not None:
            ends[1].close()
            with suppress(OSError, asyncio.CancelledError):
                await ends[1].wait_closed()


async def answers(devices: str, clock: Clock) -> bool:
    """Whether an instrument process of these devices is there."""
    link = InstrumentLink(devices, clock)
    try:
        await link.ask({"ask": "status"})
    except CredlineError:
        return False
    finally:
        await link.close()
    return True


def start(devices: str, out: Path, seed: int) -> subprocess.Popen[str]:
    """Start an instrument process that outlives this one, in a session of its own: a Ctrl-C for the console does not
    reach it.
    """
    words = [sys.executable, "-m", "engine.console.instrumentprocess"]
    words += ["--devices", place_of(devices), "--out", str(out), "--seed", str(seed)]
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
    return subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True, creationflags=flags
    )


def until_ready(process: subprocess.Popen[str]) -> None:
    """Wait until a started instrument process is ready. Raises Refused with what it says went wrong."""
    told = process.stdout.readline().strip() if process.stdout is not None else ""
    if told != "ready":
        process.wait()
        raise Refused(told or "the instrument process ended before it was ready; its last words stand above.")


class Reopening:
    """Closes the instrument and opens it again, with what was stored meanwhile; or opens it where its process is gone.

    out, seed: of the process that is started. One at a time.
    """

    def __init__(self, link: InstrumentLink, out: Path, seed: int, clock: Clock) -> None:
        self._link, self._out, self._seed, self._clock = link, out, seed, clock
        self.is_under_way = False

    async def again(self, asked: JsonObject) -> None:
        """asked: `id`, `who` and `by`, as for any request. Raises Refused: while a run goes, then nothing was done;
        where it cannot be opened, with why.
        """
        if self.is_under_way:
            raise Refused("the instrument is being opened already.")
        self.is_under_way = True
        try:
            if await answers(self._link.devices, self._clock):
                await self._link.ask({**asked, "ask": "close"})
            await self._link.close()
            limit_ns = self._clock.now_ns() + ns(ANSWER_LIMIT_S)
            while await answers(self._link.devices, self._clock):
                if self._clock.now_ns() > limit_ns:
                    raise Refused("the instrument process has not ended in time; nothing was opened. Try it again.")
                await self._clock.sleep_s(0.2)
            await self._clock.sleep_s(LETS_GO_S)
            await asyncio.to_thread(lambda: until_ready(start(self._link.devices, self._out, self._seed)))
        finally:
            self.is_under_way = False
