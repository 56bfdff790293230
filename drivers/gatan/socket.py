"""The socket protocol of SerialEM's plug-in for Gatan DigitalMicrograph (SEMCCD): messages, and images behind them.

Used by `drivers.gatan.orius`. A message is its own length in bytes, then long arguments, then booleans, then doubles,
all little-endian and long as on Windows: 4, 4, 4 and 8 bytes. The first long of a request is the function's number, the
first long of a reply is 0, an error (> 0, all arguments follow) or a refusal (< 0, nothing follows). An image follows
its reply in chunks; before each but the first, the client says that it has the one before.

Source: the public source of the plug-in, github.com/mastcu/SerialEMCCD, SocketPathway.cpp and SEMCCDDefines.h
(function numbers, argument counts, error numbers, chunks, one client at a time), plug-in version 112.
"""

import asyncio
import socket
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.clock import Clock, ns
from engine.errors import DeviceError, DeviceLost

GET_ACQUIRED_IMAGE = 6
SELECT_CAMERA = 9
GET_NUMBER_OF_CAMERAS = 11
IS_CAMERA_INSERTED = 12
CHUNK_HANDSHAKE = 24
GET_PLUGIN_VERSION = 31

PROCESSING = {"unprocessed": 0, "dark subtracted": 1, "gain normalized": 2}
LONGEST_REPLY = 1024
MOST_CHUNKS = 64
BROKEN = (TimeoutError, OSError, ValueError)
RECEIVE_BYTES = 1 << 18  # at a time: copying more would hold the loop
BYTES_PER_PIXEL = 2
REFUSALS = {
    -1: "it does not know this function; update the plug-in",
    -2: "it ran out of memory or DigitalMicrograph threw an exception",
    -3: "its reply did not fit",
    -4: "the request was too short",
    -5: "the request was too long",
    -6: "the request had a wrong length; update the plug-in",
}
ERRORS = {
    1: "the image was not found",
    2: "the image has a data type it cannot send",
    3: "a call inside DigitalMicrograph failed",
    25: "the script failed",
    26: "the script failed",
}


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: long arguments without the error number, and booleans."""

    longs: tuple[int, ...]
    bools: tuple[bool, ...]


def packed(longs: tuple[int, ...], doubles: tuple[float, ...] = ()) -> bytes:
    """A request: the function's number and its arguments."""
    form = f"<{1 + len(longs)}i{len(doubles)}d"
    return struct.pack(form, struct.calcsize(form), *longs, *doubles)


def unpacked(message: bytes, longs: int, bools: int) -> Reply:
    """The reply (without its length) to a function that returns so many longs and booleans.

    Raises DeviceError for errors that the plug-in reports, ValueError for what is no such reply.
    """
    if len(message) < 4:
        raise ValueError(f"a reply of {len(message)} bytes")
    (error,) = struct.unpack_from("<i", message)
    if error < 0:
        raise DeviceError(REFUSALS.get(error, f"refusal {error}"))
    if len(message) != 4 * (1 + longs + bools):
        raise ValueError(f"a reply of {len(message)} bytes instead of {4 * (1 + longs + bools)}")
    if error:
        raise DeviceError(ERRORS.get(error, f"error {error}"))
    values = struct.unpack_from(f"<{longs + bools}i", message, 4)
    return Reply(values[:longs], tuple(value != 0 for value in values[longs:]))


def image_request(
    shape: tuple[int, int], binning: int, processing: str, exposure_s: float, settling_s: float = 0.0
) -> bytes:
    """The request for one image of the whole camera, shape (rows, columns) after binning.

    Its arguments: pixels, columns, rows, processing, binning, the area as top, left, bottom, right in binned pixels,
    the shutter (-1: as DigitalMicrograph is set up), a delay of the shutter in ms, division by two, corrections (-1:
    those that DigitalMicrograph makes by itself); exposure and settling in s.
    """
    rows, columns = shape
    longs = (rows * columns, columns, rows, PROCESSING[processing], binning, 0, 0, rows, columns, -1, 0, 0, -1)
    return packed((GET_ACQUIRED_IMAGE, *longs), (exposure_s, settling_s))


class PlugIn:
    """The connection to the plug-in: one request at a time, closed as soon as a reply was not read to its end.

    A closed connection is opened again by `open`. Whatever the network does comes out as DeviceError or DeviceLost.
    """

    def __init__(self, clock: Clock, host: str, port: int) -> None:
        self.name = f"camera at {host}:{port}"
        self._clock = clock
        self._address = (host, port)
        self._socket: socket.socket | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._socket is not None

    async def open(self, limit_s: float) -> None:
        """Connect, if there is no connection."""
        if self._socket is not None:
            return
        loop = asyncio.get_running_loop()
        line = socket.socket()
        line.setblocking(False)
        try:
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with self._clock.timeout_at(self._clock.now_ns() + ns(limit_s)):
                await loop.sock_connect(line, self._address)
        except BaseException as error:
            line.close()
            if not isinstance(error, OSError | TimeoutError):
                raise
            raise DeviceError(
                f"{self.name}: cannot be reached ({error or 'no answer'}); no exposure was made. Check that "
                "DigitalMicrograph runs with the SerialEM plug-in and that SERIALEMCCD_PORT there is this port."
            ) from error
        self._socket = line

    def close(self) -> None:
        """Close the connection; the plug-in waits for the next one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def ask(self, longs: tuple[int, ...], limit_s: float, results: int = 0, bools: int = 0) -> Reply:
        """One function that returns so many longs and booleans. Cancel: closed, it may have happened."""
        await self.send(packed(longs), limit_s)
        return await self.reply(limit_s, results, bools)

    async def send(self, request: bytes, limit_s: float) -> None:
        """Hand a request to the network: without waiting, as long as the connection takes it."""
        try:
            async with self._clock.timeout_at(self._clock.now_ns() + ns(limit_s)):
                await asyncio.get_running_loop().sock_sendall(self._line(), request)
        except BROKEN as error:
            raise self._ours(error, "whether the request arrived is unknown") from error
        except asyncio.CancelledError:
            self.close()
            raise

    async def reply(self, limit_s: float, results: int = 0, bools: int = 0) -> Reply:
        """The reply to the request sent last."""
        try:
            async with self._clock.timeout_at(self._clock.now_ns() + ns(limit_s)):
                (length,) = struct.unpack("<i", await self._receive(4))
                if not 8 <= length <= LONGEST_REPLY:
                    raise ValueError(f"a reply of {length} bytes")
                message = bytes(await self._receive(length - 4))
            return unpacked(message, results, bools)
        except DeviceError as error:  # the plug-in's own: the connection is in order
            raise DeviceError(
                f"{self.name}: the plug-in answered: {error}; it was not done. See the log window of DigitalMicrograph."
            ) from error
        except BROKEN as error:
            raise self._ours(error, "the connection was closed, whether it was done is unknown") from error
        except asyncio.CancelledError:
            self.close()
            raise

    async def image(self, limit_s: float, shape: tuple[int, int]) -> NDArray[np.uint16]:
        """The image that the request sent last asked for, (rows, columns). limit_s: exposure and readout included."""
        before_ns = self._clock.now_ns()
        about = await self.reply(limit_s, results=4)
        pixels, columns, rows, chunks = about.longs
        try:
            if (rows, columns) != shape or pixels != rows * columns or not 1 <= chunks <= MOST_CHUNKS:
                raise ValueError(
                    f"an image of {rows} x {columns} ({pixels} pixels in {chunks} chunks) instead of {shape[0]} x "
                    f"{shape[1]}; check rows, columns and binning in the devices file"
                )
            counts = np.empty(shape, "<u2")
            data = counts.data.cast("B")
            chunk = -(-len(data) // chunks)
            async with self._clock.timeout_at(before_ns + ns(limit_s)):
                for begin in range(0, len(data), chunk):
                    if begin:
                        await asyncio.get_running_loop().sock_sendall(self._line(), packed((CHUNK_HANDSHAKE,)))
                    await self._receive_into(data[begin : begin + chunk])
        except BROKEN as error:
            raise self._ours(error, "the image is lost and the connection was closed") from error
        except asyncio.CancelledError:
            self.close()
            raise
        return counts.astype(np.uint16, copy=False)

    async def _receive(self, size: int) -> bytearray:
        data = bytearray(size)
        await self._receive_into(memoryview(data))
        return data

    async def _receive_into(self, data: memoryview) -> None:
        loop, at = asyncio.get_running_loop(), 0
        while at < len(data):
            received = await loop.sock_recv_into(self._line(), data[at : at + RECEIVE_BYTES])
            if not received:
                raise ConnectionResetError("closed by the plug-in")
            at += received

    def _line(self) -> socket.socket:
        if self._socket is None:
            raise ConnectionError("the connection is closed")
        return self._socket

    def _ours(self, error: Exception, state: str) -> DeviceError:
        """Close the connection, which can no longer be told from one that works, and say so."""
        self.close()
        if isinstance(error, TimeoutError):
            return DeviceLost(
                f"{self.name}: no answer in time; {state}. Check DigitalMicrograph for an open dialog, then arm again."
            )
        return DeviceError(
            f"{self.name}: {error}; {state}. Check whether another program (SerialEM) has taken the connection: the "
            "plug-in serves one at a time."
        )
