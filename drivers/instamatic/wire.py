"""The connection to one of Instamatic's servers: one request in flight, and no answer taken for another's.

Used by `drivers.instamatic.microscope` (TEM server) and `drivers.instamatic.camera` (camera server). The servers
(Instamatic 2.2.2, `server/tem_server.py`, `server/cam_server.py`) frame nothing, number nothing, and hand answers to
whichever client's thread wakes first. So here:

* a request goes out only when the answer of the last one is in. A cancelled call does not take its request back: the
  answer is awaited in the background and thrown away, and only then the next request goes out;
* every answer must be of the shape its call has. One that is not, or that nobody asked for, belongs to another client:
  that is a fault of the device, and the connection is made anew;
* a new connection is tried with a question whose answer is unlike any other (a function that does not exist, with a
  random name, which the server repeats in its error) before anything else is asked. Only what cannot wait for that
  (`at_once`: take the beam off) goes before it.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from drivers.instamatic.codec import Codec, Unfinished
from engine.clock import NS_PER_S, Clock, ns
from engine.devicethread import DeviceThread
from engine.errors import DeviceError, DeviceLost

LARGEST_REPLY = 1 << 16
SHORT_REPLY = 1 << 12
LONGEST_PIXEL = 8
LARGEST_REQUEST = 1024  # what the TEM server reads at once; more makes it close the connection
CONNECT_TRIES = 3

Answer = TypeVar("Answer")
# What an answer must be: returns it in the driver's own type, raises ValueError or TypeError saying what it is not.
Shape = Callable[[Any], Answer]


class _Line(asyncio.Protocol):
    """The bytes that have arrived, when the last of them did, and whether the line still holds."""

    def __init__(self, clock: Clock) -> None:
        self.received = bytearray()
        self.received_ns = 0
        self._clock = clock
        self.changed = asyncio.Event()
        self.ended = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what create_connection makes
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received_ns = self._clock.now_ns()
        self.received += data
        self.changed.set()

    def eof_received(self) -> None:
        self.ended = True
        self.changed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True
        self.changed.set()


class Wire:
    """One connection, made again when it breaks.

    device: how errors call it. asks_with: the key of a request that names the function ("func_name", "attr_name").
    when_connected: awaited on each connection before the first call, to read the state (again); it gets the function
    to ask with, and what it raises is raised by the call that connected. thread: where long answers are read, so that
    the loop is not held; without one they are read in the loop, as short ones always are.
    """

    def __init__(
        self,
        clock: Clock,
        device: str,
        host: str,
        port: int,
        codec: Codec,
        timeout_s: float,
        asks_with: str,
        when_connected: Callable[["Wire"], Awaitable[None]],
        thread: DeviceThread | None = None,
    ) -> None:
        self.device = device
        self.peer = f"{host}:{port}"
        self.connections = 0
        self.answered_ns = 0
        """When the last bytes of the last answer came."""
        self._clock = clock
        self._host, self._port = host, port
        self._codec = codec
        self._timeout_s = timeout_s
        self._asks_with = asks_with
        self._when_connected = when_connected
        self._thread = thread
        self._line: _Line | None = None
        self._is_unproven = False
        self.long_reply = 0
        """Bytes that a long answer has at least: until they are there only short ones are read. 0: all are short."""
        self._turn = asyncio.Lock()
        self._exchange: asyncio.Task[Any] | None = None
        self._closed = False
        self._nonce = random.Random()  # to be unlike earlier words, not secret

    @property
    def busy(self) -> bool:
        """Whether a request is under way."""
        return self._turn.locked()

    @property
    def connected(self) -> bool:
        """Whether the line holds, as far as known."""
        return self._line is not None and not self._line.ended

    async def connect(self) -> None:
        """Make the connection. Raises DeviceLost when there is no server, DeviceError when it is not a right one."""
        await self._taking_turns(self._connected)

    async def call(
        self, function: str, shape: Shape[Answer], *args: Any, extra_s: float = 0.0, **kwargs: Any
    ) -> Answer:
        """Ask the server to do one thing and return its answer, which must be of the given shape.

        Waits for its turn; takes at most the time-out (and `extra_s`, for what takes long) from then on. Cancel: before
        its turn nothing is sent; after that the request is carried out. Raises DeviceLost when no answer comes,
        ServerError when the server says no, DeviceError when the answer is not one to this question.
        """
        return await self.in_turn(lambda wire: wire.ask(function, shape, *args, extra_s=extra_s, **kwargs))

    async def in_turn(self, work: Callable[["Wire"], Awaitable[Answer]]) -> Answer:
        """Do what takes several questions (`ask`) with no other between them; cancel and errors as with `call`."""

        async def connected_work() -> Answer:
            await self._connected()
            return await work(self)

        return await self._taking_turns(connected_work)

    async def at_once(self, function: str, shape: Shape[Answer], *args: Any) -> Answer:
        """Ask what may wait for nothing, and what is right in any state: on a new line where the old one broke.

        That line is proved, and the state compared, by the next call. Waits for its turn, raises and is cancelled as
        `call`, except that it never refuses because of what the microscope has become.
        """

        async def ask_first() -> Answer:
            if self._line is None or self._line.ended or self._line.received:
                self._drop()
                await self._open()
                self._is_unproven = True
            return await self.ask(function, shape, *args)

        return await self._taking_turns(ask_first)

    async def _taking_turns(self, work: Callable[[], Awaitable[Answer]]) -> Answer:
        await self._turn.acquire()
        if self._closed:
            self._turn.release()
            raise DeviceError(f"{self.device}: its connection was closed; this call was not made. Connect again.")

        async def work_and_release() -> Answer:
            try:
                return await work()
            finally:
                self._turn.release()

        exchange = asyncio.get_running_loop().create_task(work_and_release(), name=f"{self.device} request")
        exchange.add_done_callback(_look_at)
        self._exchange = exchange
        return await asyncio.shield(exchange)

    async def close(self) -> None:
        """End the connection; waits for the answer of a request under way, at most its time-out."""
        self._closed = True
        if self._exchange is not None:
            await asyncio.wait([self._exchange])
        self._drop()

    def _drop(self) -> None:
        line, self._line, self._is_unproven = self._line, None, False
        if line is not None and line.transport is not None:
            line.transport.abort()

    async def _connected(self) -> None:
        """Make sure that there is a line on which questions get their own answers. Called in its turn."""
        if self._line is not None and self._is_unproven and (self._line.ended or self._line.received):
            self._drop()
        if self._line is not None and not self._is_unproven:
            if not self._line.ended and not self._line.received:
                return
            why = "closed the connection" if self._line.ended else "sent an answer that nobody asked for"
            self._drop()
            raise DeviceLost(
                f"{self.device}: the server at {self.peer} {why}; this call was not made. Was it restarted? The next "
                "call connects again and compares the state."
            )
        for tries_left in reversed(range(CONNECT_TRIES)):
            if self._line is None:
                await self._open()
            try:
                await self._prove()
                break
            except DeviceLost:
                raise
            except DeviceError:
                # After a call that was given up its answer may still come, and come here: the next try is clean.
                if not tries_left:
                    raise
        self._is_unproven = False
        await self._when_connected(self)

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with self._clock.timeout_at(self._clock.now_ns() + ns(self._timeout_s)):
                _, self._line = await loop.create_connection(lambda: _Line(self._clock), self._host, self._port)
        except (OSError, TimeoutError) as error:
            raise DeviceLost(
                f"{self.device}: no server at {self.peer} ({_told(error)}); nothing was done. Start Instamatic's "
                "server there, or correct host and port in the devices file."
            ) from error
        self.connections += 1

    async def _prove(self) -> None:
        """Ask for something that cannot be, and see the question come back in the error."""
        word = f"credline_{self._nonce.getrandbits(64):016x}"
        try:
            status, value = await self._exchanged(word, (), {}, 0.0)
        except DeviceLost as error:
            raise DeviceLost(
                f"{error} If it is running, its tem_communication_protocol may not be {self._codec.name}, the protocol "
                "in the devices file."
            ) from error
        if status != 500 or word not in str(value):
            self._drop()
            raise DeviceError(
                f"{self.device}: the server at {self.peer} answered another question than it was asked; nothing was "
                "done. Let no other program use this server during a run, and check that it is Instamatic's."
            )

    async def ask(self, function: str, shape: Shape[Answer], *args: Any, extra_s: float = 0.0, **kwargs: Any) -> Answer:
        """Like `call`, for who has the turn: `when_connected`, and what is done `in_turn`."""
        status, value = await self._exchanged(function, args, kwargs, extra_s)
        if status == 500:
            raise ServerError(self.device, function, value)
        try:
            return shape(value)
        except (ValueError, TypeError) as error:
            self._drop()
            raise DeviceError(
                f"{self.device}: the answer to {function} is not one ({error}): {_short(value)}. The server gave us "
                "the answer of another client, which it is known to do; whether the action happened is unknown. "
                "Let no other program use this server during a run."
            ) from error

    async def _exchanged(
        self, function: str, args: Sequence[Any], kwargs: dict[str, Any], extra_s: float
    ) -> tuple[int, Any]:
        """Send one request and read its whole reply: (status, value). After any failure the line is down."""
        line = self._line
        request: dict[str, Any] = {self._asks_with: function}
        if args:
            request["args"] = list(args)
        if kwargs:
            request["kwargs"] = kwargs
        data = self._codec.encode(request)
        if line is None or line.transport is None or line.ended:
            self._drop()
            raise DeviceLost(
                f"{self.device}: the server at {self.peer} closed the connection; {function} was not done."
            )
        if len(data) > LARGEST_REQUEST:
            raise DeviceError(
                f"{self.device}: {function} needs {len(data)} bytes, more than the server reads; not sent."
            )
        line.transport.write(data)
        limit_s = self._timeout_s + extra_s
        asked_ns = self._clock.now_ns()
        try:
            async with self._clock.timeout_at(asked_ns + ns(limit_s)):
                return await self._reply(line, function)
        except TimeoutError as error:
            waited_s = (self._clock.now_ns() - asked_ns) / NS_PER_S
            part = "only part of an answer" if line.received else "no answer"
            self._drop()
            raise DeviceLost(
                f"{self.device}: {part} to {function} from {self.peer} in {waited_s:.1f} s; whether it happened is "
                "unknown. Check the microscope's own software and Instamatic's server."
            ) from error
        except BaseException:
            self._drop()
            raise

    async def _reply(self, line: _Line, function: str) -> tuple[int, Any]:
        while True:
            line.changed.clear()
            if line.received and (len(line.received) <= SHORT_REPLY or len(line.received) >= self.long_reply):
                try:
                    reply, length = await self._read(line.received)
                    break
                except Unfinished:
                    largest = LARGEST_REPLY + LONGEST_PIXEL * self.long_reply
                    if len(line.received) > largest:
                        raise self._nonsense(function, f"more than {largest} bytes") from None
                except ValueError as error:
                    raise self._nonsense(function, str(error)) from error
            if line.ended:
                raise DeviceLost(
                    f"{self.device}: the server at {self.peer} closed the connection instead of answering {function}; "
                    "whether it happened is unknown. Was it restarted?"
                )
            await line.changed.wait()
        if length != len(line.received):
            raise self._nonsense(function, "two answers at once")
        line.received.clear()
        self.answered_ns = line.received_ns
        if not (isinstance(reply, list | tuple) and len(reply) == 2 and reply[0] in (200, 500)):
            raise self._nonsense(function, f"not (status, value): {_short(reply)}")
        return int(reply[0]), reply[1]

    async def _read(self, received: bytearray) -> tuple[Any, int]:
        """See `Codec.decode`. Beside the loop where that may take long; more may come meanwhile."""
        if self._thread is None or len(received) <= SHORT_REPLY:
            return self._codec.decode(bytes(received))
        return await self._thread.call(lambda: self._codec.decode(bytes(received)))

    def _nonsense(self, function: str, what: str) -> DeviceError:
        return DeviceError(
            f"{self.device}: what {self.peer} answered to {function} cannot be read as {self._codec.name} "
            f"({what[:160]}); whether it happened is unknown, the connection was closed. "
            "Check tem_communication_protocol on both sides."
        )


class ServerError(DeviceError):
    """The server, or the microscope behind it, said no. `kind`: the name of its exception."""

    def __init__(self, device: str, function: str, value: Any) -> None:
        self.kind, text = "an error", _short(value)
        if isinstance(value, list | tuple) and len(value) == 2 and isinstance(value[0], str):
            self.kind = _short(value[0], 40).strip("'\"")
            text = ", ".join(str(item) for item in value[1]) if isinstance(value[1], list | tuple) else str(value[1])
        text = " ".join(text.split())[:200] or "no reason given"
        super().__init__(f"{device}: {function} was refused with {self.kind}: {text}. It was most likely not done.")


def _look_at(exchange: asyncio.Task[Any]) -> None:
    """So that the error of a request whose caller has gone is not reported as never retrieved."""
    if not exchange.cancelled():
        exchange.exception()


def _short(value: object, length: int = 120) -> str:
    """A value from the network, fit for one line."""
    text = repr(value)
    return text if len(text) <= length else f"{text[:length]}..."


def _told(error: BaseException) -> str:
    return "no answer" if isinstance(error, TimeoutError) else getattr(error, "strerror", None) or str(error)
