"""A TCP connection on which a camera sends frames, read by the thread of its series.

Used by `drivers.merlin.link` and `drivers.serval.camera`. Every wait is bounded; whatever goes wrong becomes DeviceLost
with one line of text.
"""

import asyncio
import socket
from collections.abc import Callable

from engine.clock import Clock, ns
from engine.errors import DeviceError, DeviceLost

RECEIVE_BUFFER_BYTES = 8 << 20
CHUNK = 1 << 16


class Silent(DeviceLost):
    """Nothing came in time; the connection itself is still there."""


class FrameSocket:
    """Reads exactly so many bytes, or what is there; raises Silent when nothing comes for `timeout_s`."""

    def __init__(self, name: str, connection: socket.socket, timeout_s: float) -> None:
        self._name = name
        self._socket = connection
        self._held = b""
        self.be_patient(timeout_s)

    def be_patient(self, seconds: float) -> None:
        """From now on wait so long for the next byte."""
        self._timeout_s = seconds
        self._socket.settimeout(seconds)

    def fill(self, buffer: bytearray) -> None:
        """Read as many bytes as the buffer holds."""
        view = memoryview(buffer)
        filled = min(len(self._held), len(view))
        view[:filled] = self._held[:filled]
        self._held = self._held[filled:]
        while filled < len(view):
            filled += self._read(self._socket.recv_into, view[filled:])

    def some(self) -> bytes:
        """Read what is there, at least one byte."""
        if not self._held:
            chunk = bytearray(CHUNK)
            count = self._read(self._socket.recv_into, memoryview(chunk))
            return bytes(chunk[:count])
        chunk_held, self._held = self._held, b""
        return chunk_held

    def put_back(self, rest: bytes) -> None:
        """Give back bytes that belong to what is read next."""
        self._held = rest + self._held

    def close(self) -> None:
        """End the connection, from any thread; who waits in it is told. Harmless when closed."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the other side was first
        self._socket.close()

    def _read(self, receive: Callable[[memoryview], int], view: memoryview) -> int:
        over = "the series is over, its frames before are kept. Look at the camera's own software, and arm it again."
        try:
            count = receive(view)
        except TimeoutError as error:
            raise Silent(f"{self._name}: nothing came for {self._timeout_s:g} s; {over}") from error
        except OSError as error:
            raise DeviceLost(f"{self._name}: the connection for frames failed ({error}); {over}") from error
        if not count:
            raise DeviceLost(f"{self._name}: the connection for frames was closed by the other side; {over}")
        return count


async def connect(name: str, clock: Clock, host: str, port: int, timeout_s: float) -> FrameSocket:
    """Open the connection. Raises DeviceLost. Cancel: nothing is left open."""
    loop = asyncio.get_running_loop()
    try:
        async with clock.timeout_at(clock.now_ns() + ns(timeout_s)):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            family, _, _, _, address = found[0]
            connection = socket.socket(family, socket.SOCK_STREAM)
            try:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
                connection.setblocking(False)
                await loop.sock_connect(connection, address)
            except BaseException:
                connection.close()
                raise
    except TimeoutError as error:
        raise DeviceLost(_refused(name, host, port, f"no answer within {timeout_s:g} s")) from error
    except OSError as error:
        raise DeviceLost(_refused(name, host, port, str(error))) from error
    return FrameSocket(name, connection, timeout_s)


def _refused(name: str, host: str, port: int, cause: str) -> str:
    return (
        f"{name}: {host}:{port}: {cause}, so no frames can be received; not armed. Check that the camera's software "
        "runs and that no other program receives its frames."
    )


def damaged(name: str, error: ValueError) -> DeviceError:
    """What to raise when the bytes that came are no frame."""
    return DeviceError(
        f"{name}: {error}; the series is over, its frames before are kept. Arm it again, and restart the camera's "
        "software if this comes back."
    )
