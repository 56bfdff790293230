"""A TCP proxy on loopback that makes a good peer a bad one: silent, talking nonsense, half a reply, slow, gone.

    async with Proxy(server_port) as proxy:
        ... connect the driver to proxy.port ...
        proxy.mode = "stall"

What the client sends always gets through; the modes are about what the server sends back.
"""

import asyncio
import random
import socket
from functools import partial
from typing import Literal, Self

Mode = Literal["pass", "stall", "garbage", "half", "cut"]
CHUNK = 1 << 16


class Proxy:
    """Passes bytes between clients on `port` and the server on `target_port`, as `mode` says.

    mode: "pass"; "stall" (the server's bytes are held back, and delivered after a return to "pass"); "garbage" (each
        chunk of the server replaced by noise of the same length); "half" (half of the server's next chunk, the rest
        held as in "stall"); "cut" (all connections closed, new ones refused; `await idle()` to be sure that they are).
    delay_s: each chunk of the server waits so long before it is passed on.
    target_port: may be changed, for connections made from then on (a server restarted on another port).
    accepted: how many connections were made so far.
    """

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.delay_s = 0.0
        self.accepted = 0
        self.port = 0
        self._mode: Mode = "pass"
        self._open = asyncio.Event()
        self._open.set()
        self._listener: asyncio.Task[None] | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._noise = random.Random(1)

    async def __aenter__(self) -> Self:
        self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.mode = "cut"
        await self.idle()

    @property
    def mode(self) -> Mode:
        """What happens to the server's bytes."""
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        was, self._mode = self._mode, mode
        if mode in ("pass", "garbage"):
            self._open.set()
        elif mode == "stall":
            self._open.clear()
        if mode == "cut" and self._listener is not None:
            self._listener.cancel()
            for connection in self._connections:
                connection.cancel()
        elif was == "cut" and mode != "cut":
            self._listen()

    async def idle(self) -> None:
        """Wait until what "cut" closes is closed."""
        ending = [*self._connections, *([self._listener] if self._listener is not None else [])]
        if ending:
            await asyncio.wait(ending)

    def _listen(self) -> None:
        # Bound and listening before the task runs: who connects right after a change of mode is not refused.
        bound = socket.socket()
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", self.port))
        bound.listen()
        self.port = bound.getsockname()[1]
        bound.setblocking(False)
        self._listener = asyncio.get_running_loop().create_task(self._accept(bound), name="proxy listener")
        self._listener.add_done_callback(lambda _: bound.close())  # also of a task that never got to run

    async def _accept(self, bound: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            client, _ = await loop.sock_accept(bound)
            self.accepted += 1
            connection = loop.create_task(self._connect(client), name=f"proxy connection {self.accepted}")
            self._connections.add(connection)
            connection.add_done_callback(partial(self._ended, client))

    def _ended(self, client: socket.socket, connection: asyncio.Task[None]) -> None:
        client.close()
        self._connections.discard(connection)

    async def _connect(self, client: socket.socket) -> None:
        """One connection, until either side closes it."""
        with socket.socket() as server:
            server.setblocking(False)
            loop = asyncio.get_running_loop()
            try:
                await loop.sock_connect(server, ("127.0.0.1", self.target_port))
            except OSError:
                return
            pumps = [
                loop.create_task(self._up(client, server), name="proxy to the server"),
                loop.create_task(self._down(server, client), name="proxy to the client"),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.wait(pumps)

    async def _up(self, client: socket.socket, server: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            while chunk := await loop.sock_recv(client, CHUNK):
                await loop.sock_sendall(server, chunk)
        except OSError:
            pass  # either side reset it: the connection is over

    async def _down(self, server: socket.socket, client: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            while chunk := await loop.sock_recv(server, CHUNK):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                if self._mode == "garbage":
                    chunk = self._noise.randbytes(len(chunk))
                if self._mode == "half":
                    await loop.sock_sendall(client, chunk[: len(chunk) // 2])
                    chunk = chunk[len(chunk) // 2 :]
                    self.mode = "stall"
                await self._open.wait()
                await loop.sock_sendall(client, chunk)
            await self._open.wait()
        except OSError:
            pass
