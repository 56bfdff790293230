"""An emulator of a DECTRIS detector with the SIMPLON API 1.8: HTTP and ZeroMQ stream version 1, in the test's own loop.

Written from the public description of the interface: SIMPLON API reference 1.8 (addresses, keys, commands, stream) and
EIGER2 user manual 1.8.2, chapter 9 (trigger modes). It is no detector: exposures are waits, images are numbers. What
eiger-simulator lacks is here: trigger mode inte with the exposure as the argument of the trigger, images numbered
through a series of several triggers, exts, states, a pixel mask, refusals, `stream/config/format`.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import zmq
from numpy.typing import NDArray

ROWS, COLUMNS = 48, 64
MASKED_ROW = 5
OVERLOADED = (7, 11)


def counts_of(image: int) -> NDArray[np.uint16]:
    """The pixels of image `image` as the detector sends them: a masked row and an overloaded pixel included."""
    counts = np.full((ROWS, COLUMNS), 100 + image % 50, np.uint16)
    counts[0, :] = np.arange(COLUMNS)
    counts[MASKED_ROW, :] = 0xFFFF
    counts[OVERLOADED] = 0xFFFF
    return counts


def lz4_block(data: bytes) -> bytes:
    """The data as one LZ4 block of nothing but literals, which is valid LZ4 and needs no library."""
    length = len(data) - 15
    return bytes([0xF0]) + b"\xff" * (length // 255) + bytes([length % 255]) + data


class SimplonEmulator:
    """A detector. number: of the next image. lost: images that never reach the stream. late_s: extra time of each."""

    def __init__(self) -> None:
        self.port = 0
        self.stream_port = 0
        self.version = "1.8.0"
        self.series = 40  # somebody has measured before
        self.state = "idle"
        self.lost: set[int] = set()
        self.late_s = 0.0
        self.replies_at_once = False  # to a trigger, instead of when its exposure is over
        self.brightness: int | None = None  # counts of one pixel in every image
        self.commands: list[str] = []
        self.exposures_s: list[float] = []
        mask = np.zeros((ROWS, COLUMNS), np.uint32)
        mask[MASKED_ROW, :] = 1
        self.config: dict[str, dict[str, Any]] = {
            "detector/x_pixels_in_detector": {"value": COLUMNS},
            "detector/y_pixels_in_detector": {"value": ROWS},
            "detector/x_pixel_size": {"value": 7.5e-5, "unit": "m"},
            "detector/bit_depth_image": {"value": 16},
            "detector/count_time": {"value": 0.7, "min": 1e-6, "max": 3600.0, "unit": "s"},
            "detector/frame_time": {"value": 1.0, "unit": "s"},
            "detector/nimages": {"value": 3},
            "detector/ntrigger": {"value": 2},
            "detector/trigger_mode": {"value": "ints"},
            "detector/flatfield_correction_applied": {"value": False},
            "detector/countrate_correction_applied": {"value": True},
            "detector/threshold/1/pixel_mask": {
                "value": {
                    "__darray__": [1, 0, 0],
                    "type": "uint32",
                    "shape": [ROWS, COLUMNS],
                    "filters": ["base64"],
                    "data": base64.b64encode(mask.tobytes()).decode(),
                }
            },
            "stream/mode": {"value": "disabled"},
            "stream/format": {"value": "cbor"},
        }
        self.number = 0
        self._triggers = 0
        self._running: asyncio.Task[None] | None = None
        self._context = zmq.Context()
        self._stream: zmq.Socket[bytes] = self._context.socket(zmq.PUSH)
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def found(self) -> dict[str, Any]:
        """What can be read of the configuration."""
        return {key: about["value"] for key, about in self.config.items()}

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Listen on loopback."""
        self._stream.setsockopt(zmq.LINGER, 0)
        self.stream_port = self._stream.bind_to_random_port("tcp://127.0.0.1")
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            for task in [*self._connections, *([self._running] if self._running else [])]:
                task.cancel()
            if self._connections:
                await asyncio.wait(self._connections)
            self._stream.close()
            self._context.term()

    # -- the stream ---------------------------------------------------------------------------------------------------

    def send(self, *parts: dict[str, Any] | bytes) -> None:
        """A message on the stream, lost where nobody listens."""
        whole = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in parts]
        try:
            self._stream.send_multipart(whole, zmq.NOBLOCK)
        except zmq.Again:
            pass

    def send_image(self, number: int, series: int | None = None) -> None:
        """An image as the stream carries it."""
        counts = counts_of(number)
        if self.brightness is not None:
            counts[20, 20] = self.brightness
        data = lz4_block(counts.tobytes())
        self.send(
            {"htype": "dimage-1.0", "series": self.series if series is None else series, "frame": number, "hash": ""},
            {
                "htype": "dimage_d-1.0",
                "shape": [COLUMNS, ROWS],
                "type": "uint16",
                "encoding": "lz4<",
                "size": len(data),
            },
            data,
            {"htype": "dconfig-1.0", "start_time": 0, "stop_time": 0, "real_time": 0},
        )

    def end_series(self) -> None:
        """As after the last image, or when somebody disarms it."""
        self.send({"htype": "dseries_end-1.0", "series": self.series})
        self.state = "idle"

    def pulse(self) -> None:
        """The external trigger."""
        self._running = asyncio.create_task(self._take(self._value("nimages"), self._value("frame_time")))

    async def _take(self, images: int, period_s: float) -> None:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        self.state = "acquire"
        for taken in range(images):
            await asyncio.sleep(max(0.0, began_s + (taken + 1) * period_s - loop.time()) + self.late_s)
            if self.number not in self.lost:
                self.send_image(self.number)
            self.number += 1
        self._triggers += 1
        self.state = "ready"
        if self._triggers == self._value("ntrigger"):
            self.end_series()

    # -- commands -----------------------------------------------------------------------------------------------------

    def _value(self, key: str) -> Any:
        return self.config[f"detector/{key}"]["value"]

    async def _command(self, name: str, argument: float | None) -> tuple[int, Any]:
        self.commands.append(name)
        if name == "initialize":
            self.state = "idle"
        elif name == "arm" and self.state != "na":
            if self.config["stream/format"]["value"] != "legacy" or self.config["stream/mode"]["value"] != "enabled":
                return 400, "the stream is not what this emulator speaks"
            self.series += 1
            self.number = self._triggers = 0
            self.state = "ready"
            self.send({"htype": "dheader-1.0", "series": self.series, "header_detail": "none"})
            return 200, {"sequence id": self.series}
        elif name == "trigger" and self.state == "ready":
            mode = self._value("trigger_mode")
            exposure_s = self._value("count_time") if argument is None else argument
            self.exposures_s.append(exposure_s)
            series = (1, exposure_s) if mode == "inte" else (self._value("nimages"), self._value("frame_time"))
            self._running = asyncio.create_task(self._take(*series))
            if not self.replies_at_once:
                await asyncio.wait([self._running])
        elif name in ("disarm", "abort", "cancel"):
            if self._running is not None:
                self._running.cancel()
            if self.state in ("ready", "acquire"):
                self.end_series()
            return 200, {"sequence id": self.series}
        else:
            return 400, f"{name} is not possible in state {self.state}"
        return 200, None

    # -- HTTP ---------------------------------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
                body = await reader.readexactly(int(fields.get("content-length", 0)))
                method, path, _ = head[0].split()
                status, answer = await self._answer(method, path.strip("/").split("/"), body)
                content = b"" if answer is None else json.dumps(answer).encode()
                writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass  # the client has gone
        except asyncio.CancelledError:
            pass  # switched off; asyncio's own server would complain
        finally:
            self._connections.discard(task)
            writer.close()

    async def _answer(self, method: str, path: list[str], body: bytes) -> tuple[int, Any]:
        module, _, version, task, *rest = [*path, *[""] * 3]
        key = "/".join(part for part in rest if part)
        argument = json.loads(body)["value"] if body else None
        if version == "version":
            return 200, {"value": self.version, "value_type": "string"}
        if version != self.version:
            return 404, None
        if task == "command":
            return await self._command(key, argument)
        if task == "status":
            return 200, {"value": self.state}
        if f"{module}/{key}" not in self.config:
            return 404, f"no {key}"
        if method == "GET":
            return 200, self.config[f"{module}/{key}"]
        self.config[f"{module}/{key}"]["value"] = argument
        if key == "count_time" and argument > self._value("frame_time"):
            self.config["detector/frame_time"]["value"] = argument
        if key == "frame_time" and argument < self._value("count_time"):
            return 400, "frame_time is shorter than count_time"
        return 200, [key]

    @property
    def options(self) -> dict[str, Any]:
        """Options of the driver."""
        return {"port": self.port, "stream_port": self.stream_port, "overhead_s": 0.3}
