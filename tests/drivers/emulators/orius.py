"""An emulator of SerialEM's plug-in for Gatan DigitalMicrograph with a camera behind it, in the test's own loop.

Written from the public source of the plug-in (github.com/mastcu/SerialEMCCD: SocketPathway.cpp, SEMCCDDefines.h):
lengths, argument counts, error numbers, chunks with handshakes, one client at a time of which a later one takes the
place, commands one after the other. It is no camera: exposures are waits, images are numbers.
"""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROWS, COLUMNS = 48, 64
# function number: long, boolean and double arguments that come, long, boolean and double results that go
FUNCTIONS = {
    6: (13, 0, 2, 4, 0, 0),
    9: (1, 0, 0, 0, 0, 0),
    11: (0, 0, 0, 1, 0, 0),
    12: (1, 0, 0, 0, 1, 0),
    31: (0, 0, 0, 1, 0, 0),
}
HANDSHAKE = 24


def counts_of(image: int, shape: tuple[int, int]) -> NDArray[np.uint16]:
    """The pixels of image `image` since the emulator began."""
    counts = np.arange(shape[0] * shape[1], dtype=np.uint16).reshape(shape) % np.uint16(1000)
    counts[0, 0] = 40000 + image  # more than 15 bits
    return counts


class OriusEmulator:
    """The plug-in. readout_s: after each exposure. superchunk: bytes of an image between two handshakes."""

    def __init__(self) -> None:
        self.port = 0
        self.cameras = 2
        self.inserted = True
        self.readout_s = 0.02
        self.superchunk = 1 << 25
        self.error = 0  # of the next image: > 0 as DigitalMicrograph reports, < 0 as the plug-in refuses
        self.turned = False  # sends images turned by 90 degrees
        self.selected: list[int] = []
        self.requests: list[tuple[tuple[int, ...], tuple[float, ...]]] = []
        self.connections = 0
        self.replaced = asyncio.Event()  # a second client has taken the place of the first
        self._images = 0
        self._serial = asyncio.Lock()  # commands are carried out one after the other, whoever sent them
        self._client: asyncio.StreamWriter | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[None]:
        """Listen on loopback."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            async with self._serial:  # it looks at new connections between two commands
                if self._client is not None:
                    self._client.close()
                    self.replaced.set()
                self._client = writer
            while True:
                message = await self._message(reader)
                async with self._serial:
                    await self._carry_out(message, reader, writer)
        except (asyncio.IncompleteReadError, OSError):
            pass  # the client has gone, or was replaced
        except asyncio.CancelledError:
            pass  # switched off; asyncio's own server would complain
        finally:
            self._tasks.discard(task)
            writer.close()

    @staticmethod
    async def _message(reader: asyncio.StreamReader) -> bytes:
        (length,) = struct.unpack("<i", await reader.readexactly(4))
        return await reader.readexactly(length - 4)

    async def _carry_out(self, message: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (function,) = struct.unpack_from("<i", message)
        if function not in FUNCTIONS:
            return self._reply(writer, -1)
        longs_in, bools_in, doubles_in, longs_out, bools_out, _ = FUNCTIONS[function]
        form = f"<{1 + longs_in}i{bools_in}i{doubles_in}d"
        if len(message) != struct.calcsize(form):
            return self._reply(writer, -4 if len(message) < struct.calcsize(form) else -6)
        values: tuple[Any, ...] = struct.unpack(form, message)
        longs, doubles = values[1 : 1 + longs_in], values[1 + longs_in + bools_in :]
        results: tuple[int, ...] = (0,) * (longs_out + bools_out)
        if function == 9:
            self.selected.append(longs[0])
        elif function == 11:
            results = (self.cameras,)
        elif function == 12:
            results = (int(self.inserted),)
        elif function == 31:
            results = (112,)
        else:
            return await self._image(longs, doubles, reader, writer)
        return self._reply(writer, 0, results)

    async def _image(
        self,
        longs: tuple[int, ...],
        doubles: tuple[float, ...],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.requests.append((longs, doubles))
        _, _, _, _, _, top, left, bottom, right, *_ = longs
        shape = (bottom - top, right - left)
        await asyncio.sleep(doubles[0] + self.readout_s)
        data = counts_of(self._images, shape).tobytes()
        chunks = -(-len(data) // self.superchunk)
        error, self.error = self.error, 0
        sides = shape if self.turned else (shape[1], shape[0])
        self._reply(writer, error, (shape[0] * shape[1], *sides, chunks))
        if error:
            return
        self._images += 1
        size = -(-len(data) // chunks)
        for begin in range(0, len(data), size):
            if begin:
                assert await self._message(reader) == struct.pack("<i", HANDSHAKE)
            writer.write(data[begin : begin + size])
            await writer.drain()

    @staticmethod
    def _reply(writer: asyncio.StreamWriter, error: int, results: tuple[int, ...] = ()) -> None:
        values = (error,) if error < 0 else (error, *results)
        writer.write(struct.pack(f"<i{len(values)}i", 4 + 4 * len(values), *values))

    @property
    def options(self) -> dict[str, Any]:
        """Options of the driver."""
        return {"port": self.port, "rows": ROWS, "columns": COLUMNS, "camera": 1, "overhead_s": 0.3}
