"""The two connections to a Merlin detector: commands with their replies, and the stream of frames.

Used by `drivers.merlin.camera`; what the bytes mean is in `drivers.merlin.frames`. The command connection belongs to
the event
loop: one command at a time, and after a reply that was not read whole it is closed, so that no later command gets it.
The frame connection is new for each series and read by that series' own thread.
"""

import asyncio
import re

from drivers.merlin.frames import (
    PREFIX_BYTES,
    REFUSALS,
    acquisition_header,
    command,
    counts,
    frame_header,
    lacks_status,
    payload_size,
    reply,
)
from drivers.selfpaced.framesocket import FrameSocket, damaged
from drivers.selfpaced.series import Part
from engine.clock import Clock, ns
from engine.errors import DeviceError, DeviceLost

OPENING = re.compile(rb"MPX,\d{10},HDR,")
OPENING_BYTES = PREFIX_BYTES + 4
# What old versions of the software may still send of an earlier series before the header of the next.
LEFTOVERS_BYTES = 64 << 20


class Commands:
    """The command port (6341). Every call takes at most `timeout_s`, and reconnects when the connection was lost."""

    def __init__(self, clock: Clock, host: str, port: int, timeout_s: float) -> None:
        self._clock = clock
        self._host = host
        self._port = port
        self._timeout_s = timeout_s
        self._lock = asyncio.Lock()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, name: str) -> str:
        """The value of a parameter. Raises DeviceError when there is none, DeviceLost without an answer."""
        return await self._ask("GET", name, None)

    async def set(self, name: str, value: str) -> None:
        """Set a parameter.

        Raises DeviceError when it is refused (not done), DeviceLost when nobody is reached (not done) or no answer
        comes (unknown).
        """
        await self._ask("SET", name, value)

    async def do(self, name: str) -> None:
        """Give a command: STARTACQUISITION, SOFTTRIGGER, STOPACQUISITION. Raises as `set` does."""
        await self._ask("CMD", name, None)

    async def _ask(self, kind: str, name: str, value: str | None) -> str:
        words = " ".join([kind, name, *([value] if value is not None else [])])
        asked = False
        async with self._lock:
            try:
                async with self._clock.timeout_at(self._clock.now_ns() + ns(self._timeout_s)):
                    reader, writer = await self._connection()
                    asked = True
                    writer.write(command(kind, name, value))
                    await writer.drain()
                    payload = await reader.readexactly(payload_size(await reader.readexactly(PREFIX_BYTES)))
                    if lacks_status(payload):
                        payload += await reader.readexactly(1)
                answer = reply(payload)
                if (answer.kind, answer.name) != (kind, name):
                    raise ValueError(f"it answers to {answer.kind} {answer.name}")
            except TimeoutError as error:
                self.close()
                raise DeviceLost(self._text(words, asked, f"no answer within {self._timeout_s:g} s")) from error
            except EOFError as error:
                self.close()
                raise DeviceLost(self._text(words, asked, "the connection was closed before the reply")) from error
            except OSError as error:
                self.close()
                raise DeviceLost(self._text(words, asked, str(error))) from error
            except ValueError as error:
                self.close()
                raise DeviceError(self._text(words, asked, str(error))) from error
            except asyncio.CancelledError:
                self.close()  # the reply may still come, and must not be taken for that of the next command
                raise
        if answer.status != 0:
            raise DeviceError(
                f"merlin: {words} was refused, {REFUSALS.get(answer.status, f'status {answer.status}')}; nothing was "
                "changed by it. Look at the state of the detector in the Merlin software."
            )
        return answer.value

    def _text(self, words: str, asked: bool, cause: str) -> str:
        state = f"whether {words} was done is unknown" if asked else f"{words} was not done"
        return (
            f"merlin: {self._host}:{self._port}: {cause}; {state}. Check that the Merlin software runs and that no "
            "other program uses its command port."
        )

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is not None and self._streams[0].at_eof():  # the other side closed it meanwhile
            self.close()
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        return self._streams

    def close(self) -> None:
        """Close the connection; the next command opens a new one."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


class Frames:
    """The data port (6342) during one series. Implements `drivers.selfpaced.series.Receiver`; used by one thread at a
    time.
    """

    def __init__(self, connection: FrameSocket, shape: tuple[int, int], shutter_s: float, timeout_s: float) -> None:
        self.header: dict[str, str] = {}
        self._connection = connection
        self._shape = shape
        self._shutter_s = shutter_s
        self._timeout_s = timeout_s
        self._message = bytearray()
        self._prefix = bytearray(PREFIX_BYTES)

    def wait_for_header(self, seconds: float) -> None:
        """Skip whatever comes before the acquisition header, and read that.

        Raises Silent when nothing comes for so long (it may be called again), DeviceError when no header comes.
        """
        self._connection.be_patient(seconds)
        held, skipped = b"", 0
        while not (found := OPENING.search(held)):
            keep = held[-OPENING_BYTES:]
            skipped += len(held) - len(keep)
            if skipped > LEFTOVERS_BYTES:
                raise DeviceError(
                    f"merlin: no acquisition header in {skipped} bytes of its data port; not armed. Restart the Merlin "
                    "software."
                )
            held = keep + self._connection.some()
        self._connection.put_back(held[found.start() :])
        try:
            self._connection.fill(self._prefix)
            payload = bytearray(payload_size(bytes(self._prefix)))
            self._connection.fill(payload)
            self.header = acquisition_header(bytes(payload))
            self._connection.be_patient(self._timeout_s)
        except ValueError as error:
            raise damaged("merlin", error) from error

    def receive(self) -> Part:
        """See `Receiver.receive`."""
        try:
            self._connection.fill(self._prefix)
            size = payload_size(bytes(self._prefix))
            if size != len(self._message):
                self._message = bytearray(size)
            self._connection.fill(self._message)
            head = frame_header(self._message)
            if head.shape != self._shape:
                raise ValueError(f"a frame has {head.shape} pixels, the detector said {self._shape}")
            if abs(head.shutter_s - self._shutter_s) > 0.01 * self._shutter_s:
                raise ValueError(f"a frame was exposed for {head.shutter_s:g} s, asked were {self._shutter_s:g} s")
        except ValueError as error:
            raise damaged("merlin", error) from error
        return Part(head.sequence - 1, lambda: counts(head, self._message))

    def close(self) -> None:
        """See `Receiver.close`."""
        self._connection.close()
