"""An emulator of ASI's Serval, in the test's own loop: its HTTP interface and its stream of frames.

Written from the public description of the interface: the code and notes of areaDetector's ADTimePix3 (ADServal), which
its authors tried on Serval 3.3 to 4.1 and real detectors, and Instamatic's camera_serval. It is not Serval: where those
are silent it is a guess.
"""

import asyncio
import itertools
import json
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.integer[Any]]


def jsonimage(picture: Picture, number: int, **more: Any) -> bytes:
    """One frame of the stream: a line of JSON, then big-endian pixels."""
    header = {"width": picture.shape[1], "height": picture.shape[0], "pixelFormat": picture.dtype.name, **more}
    header |= {"frameNumber": number, "timeAtFrame": 1e6 * number}
    return json.dumps(header).encode() + b"\n" + picture.astype(picture.dtype.newbyteorder(">")).tobytes()


def tiff(picture: Picture, order: Literal["<", ">"] = "<", strips: int = 1) -> bytes:
    """A picture as an uncompressed TIFF file."""
    rows, columns = picture.shape
    each = -(-rows // strips)
    parts = [picture[at : at + each].astype(picture.dtype.newbyteorder(order)).tobytes() for at in range(0, rows, each)]
    bits = picture.dtype.itemsize * 8
    tags = [(256, 4, [columns]), (257, 4, [rows]), (258, 3, [bits]), (259, 3, [1]), (262, 3, [1])]
    tags += [(277, 3, [1]), (278, 4, [each]), (339, 3, [1])]
    data_at = 8 + 2 + 12 * (len(tags) + 2) + 4
    arrays_at = data_at + sum(map(len, parts))
    offsets = [data_at + sum(map(len, parts[:at])) for at in range(len(parts))]
    tags += [(273, 4, offsets), (279, 4, [len(part) for part in parts])]
    arrays = b""
    entries = b""
    for tag, kind, values in sorted(tags):
        packed = struct.pack(f"{order}{len(values)}{'HI'[kind == 4]}", *values)
        if len(packed) > 4:
            packed, arrays = struct.pack(order + "I", arrays_at + len(arrays)), arrays + packed
        entries += struct.pack(order + "HHI", tag, kind, len(values)) + packed.ljust(4, b"\0")
    head = {"<": b"II", ">": b"MM"}[order] + struct.pack(order + "HI", 42, 8)
    return head + struct.pack(order + "H", len(tags)) + entries + bytes(4) + b"".join(parts) + arrays


class ServalEmulator:
    """One Serval with one detector, whose frames come at TriggerPeriod while a measurement runs.

    config, destination: what GET reads and PUT writes. lost: numbers of frames that are never sent. busy_ports: on
    which a measurement refuses to start. hangs: no frame is made. refused: path -> status of its answer. picture: of a
    frame's number. stream_target: where it really listens for a port of its destination. log: requests in order.
    """

    def __init__(self, shape: tuple[int, int] = (32, 64)) -> None:
        self.shape = shape
        self.config: dict[str, Any] = {
            "TriggerMode": "SOFTWARESTART_TIMERSTOP",
            "ExposureTime": 1.0,
            "TriggerPeriod": 1.002,
            "nTriggers": 10,
            "BiasVoltage": 100,
            "BiasEnabled": True,
        }
        self.destination: dict[str, Any] = {"Raw": [{"Base": "file:/data/raw", "FilePattern": "raw%MdHms_"}]}
        self.detector: dict[str, Any] | None = {"DetectorType": "Tpx3"}
        self.has_info = True
        self.lost: set[int] = set()
        self.busy_ports: set[int] = set()
        self.hangs = False
        self.log: list[str] = []
        self.refused: dict[str, int] = {}
        self.picture: Callable[[int], Picture] = lambda number: np.full(shape, number % 7, np.uint16)
        self.port = 0
        self.stream_target: Callable[[int], int] = lambda port: port
        self.stream_port = 0
        self._status: str | None = None
        self._measuring: asyncio.Task[None] | None = None
        self._listener: asyncio.Server | None = None
        self._receivers: list[asyncio.StreamWriter] = []
        self._writers: set[asyncio.StreamWriter] = set()
        self._image: asyncio.Future[tuple[int, Picture]] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["ServalEmulator"]:
        """Its HTTP port open."""
        server = await asyncio.start_server(self._http, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            await self._stop()
            for writer in [*self._writers, *self._receivers]:
                writer.transport.abort()

    async def _http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().split("\r\n")
                method, path, _ = lines[0].split(" ")
                headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                status, answer = await self._answer(method, path, body)
                kind = "image/tiff" if isinstance(answer, bytes) else "application/json"
                content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                writer.write(f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\n".encode())
                writer.write(f"Content-Length: {len(content)}\r\n\r\n".encode() + content)
        self._writers.discard(writer)
        writer.close()

    async def _answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        self.log.append(f"{method} {path}")
        if path in self.refused:
            return self.refused[path], "refused"
        if method == "PUT":
            return self._write(path, json.loads(body))
        if path == "/measurement/start":
            return await self._start()
        if path == "/measurement/stop":
            await self._stop()
            return 200, "Measurement stopped"
        if path == "/measurement/image":
            return await self._next_image()
        info = {"PixCount": self.shape[0] * self.shape[1], "NumberOfRows": self.shape[0], "NumberOfChips": 1}
        known = {
            "/dashboard": {
                "Server": {"SoftwareVersion": "4.1.5"},
                "Measurement": {"Status": self._status} if self._status else None,
                "Detector": self.detector,
            },
            "/detector": {"Info": info, "Config": self.config},
            "/detector/config": self.config,
            "/server/destination": self.destination,
        }
        if self.has_info:
            known["/detector/info"] = info
        return (200, known[path]) if path in known else (404, "not found")

    def _write(self, path: str, document: dict[str, Any]) -> tuple[int, Any]:
        if path == "/detector/config":
            self.config = document
        elif path == "/server/destination":
            self.destination = document
        else:
            return 404, "not found"
        return 200, "written"

    async def _start(self) -> tuple[int, Any]:
        if self._measuring is not None:
            return 409, "Measurement is already running"
        base = urlsplit(self.destination["Image"][0]["Base"])
        if base.scheme == "tcp":
            port = base.port or 0
            if port in self.busy_ports:
                return 500, "java.net.BindException: Address already in use"
            self.stream_port = self.stream_target(port)
            self._listener = await asyncio.start_server(self._stream, "127.0.0.1", self.stream_port)
        self._status = "DA_RECORDING"
        self._measuring = asyncio.ensure_future(self._measure())
        return 200, "Measurement started"

    async def _stop(self) -> None:
        if self._measuring is not None:
            self._measuring.cancel()
            self._measuring = None
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for writer in self._receivers:
            writer.close()
        if self._image is not None and not self._image.done():
            self._image.cancel()
        self._status = None

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._receivers.append(writer)
        with suppress(ConnectionError):
            await reader.read()
        self._receivers.remove(writer)
        writer.close()

    async def _measure(self) -> None:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        self._image = loop.create_future()
        for number in itertools.count():
            await asyncio.sleep(begin + (number + 1) * self.config["TriggerPeriod"] - loop.time())
            if number in self.lost or self.hangs:
                continue
            picture = self.picture(number)
            for writer in self._receivers:
                writer.write(jsonimage(picture, number))
            if not self._image.done():
                self._image.set_result((number, picture))

    async def _next_image(self) -> tuple[int, Any]:
        if self._image is None:
            return 404, "no measurement"
        with suppress(asyncio.CancelledError):
            _, picture = await asyncio.shield(self._image)
            self._image = asyncio.get_running_loop().create_future()
            return 200, tiff(picture)
        return 410, "the measurement was stopped"
