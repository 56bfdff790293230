"""The socket on which a DECTRIS detector's stream arrives, in a thread of its own that also decompresses.

Used by `drivers.dectris.detector`. pyzmq's blocking interface in one thread, so that the loop never decodes and that it
works on every event loop, that of Windows included. zmq connects again by itself when the detector comes back.
"""

import asyncio
import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.dectris.asked import added, narrowed, summed
from drivers.dectris.stream import Decompress, Message, Pixels, StreamImage, read_message
from engine.clock import Clock
from engine.devicethread import DeviceThread
from engine.errors import DeviceError, Refused

CONNECT_LIMIT_S = 5.0
POLL_MS = 50
LARGEST_IMAGE = 1 << 27


class StreamSocket:
    """Connected between `open` and `close`, as often as wanted; `finish` is last."""

    def __init__(self, clock: Clock, name: str, host: str, port: int) -> None:
        self._clock = clock
        self._name = name
        self._address = f"tcp://{host}:{port}"
        self._thread = DeviceThread(f"stream of the {name}", clock, hard_limit_s=2 * CONNECT_LIMIT_S)
        self._zmq: Any = None
        self._socket: Any = None
        self._decompress: Decompress = bytes

    async def open(self) -> None:
        """Connect and wait until the detector has shaken hands. Raises DeviceError when it does not."""
        if self._zmq is None:
            self._zmq, self._decompress = await asyncio.to_thread(_libraries)
        await self._thread.call(self._connect)

    def _connect(self) -> None:
        zmq = self._zmq
        self._disconnect()
        reached, why = 0, f"nothing there in {CONNECT_LIMIT_S:g} s"
        try:
            self._socket = zmq.Context().socket(zmq.PULL)
            for option, value in ((zmq.LINGER, 0), (zmq.RCVTIMEO, POLL_MS), (zmq.MAXMSGSIZE, LARGEST_IMAGE)):
                self._socket.setsockopt(option, value)
            with self._socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED) as shaken:
                self._socket.connect(self._address)
                reached = shaken.poll(round(1000 * CONNECT_LIMIT_S))
                self._socket.disable_monitor()
        except zmq.ZMQError as error:
            why = str(error)
        if not reached:
            self._disconnect()
            raise self._unreachable(why)

    def _unreachable(self, why: str) -> DeviceError:
        return DeviceError(
            f"{self._name}: its stream cannot be reached at {self._address} ({why}); it is not armed. Check "
            "stream_port, and that no firewall is between."
        )

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket.context.term()
            self._socket = None

    async def next(self) -> tuple[int, Message | ValueError] | None:
        """The next message and when it arrived; None when none came for a while; an error for one without sense.

        Raises DeviceError when the socket is of no use any more.
        """
        return await self._thread.call(self._take)

    def _take(self) -> tuple[int, Message | ValueError] | None:
        if self._socket is None:
            raise DeviceError("not connected")
        try:
            parts = self._socket.recv_multipart()
        except self._zmq.Again:
            return None
        except self._zmq.ZMQError as error:
            raise DeviceError(str(error)) from error
        at_ns = self._clock.now_ns()
        try:
            return at_ns, read_message(parts)
        except ValueError as error:
            return at_ns, error

    async def count(
        self, image: StreamImage, before: Pixels | None, mask: NDArray[np.bool_] | None, *, sums: bool, narrow: bool
    ) -> Pixels:
        """The counts of an image, added to those `before` where the series is one of sums. Raises ValueError."""
        return await self._thread.call(self._count, image, before, mask, sums, narrow)

    def _count(
        self, image: StreamImage, before: Pixels | None, mask: NDArray[np.bool_] | None, sums: bool, narrow: bool
    ) -> Pixels:
        counts = (summed if sums else added)(before, image, mask, self._decompress)
        return narrowed(counts) if narrow else counts

    async def close(self) -> None:
        """Disconnect."""
        await self._thread.call(self._disconnect)

    def finish(self) -> None:
        """Let the thread go."""
        self._thread.close()


def _libraries() -> tuple[Any, Decompress]:
    try:
        return importlib.import_module("zmq"), importlib.import_module("dectris.compression").decompress
    except ImportError as error:
        raise Refused(
            'devices: the driver "dectris" needs httpx, pyzmq and dectris-compression; nothing was started. '
            f'Install them, in the folder of credline: pip install -e ".[dectris]" ({error}).'
        ) from error
