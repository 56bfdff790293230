"""An emulator of the Merlin software, in the test's own loop: the command port acts on what it is told.

Written from the public descriptions of the interface: the Merlin device of Diamond's tickit-devices (parameters, status
codes, length of messages), LiberTEM-live's client and Instamatic's camera_merlin. It is not the detector: where those
are silent it is a guess. LiberTEM-live's simulator, a program of others, is what the driver is measured with.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.drivers import mibdata

Picture = NDArray[np.integer[Any]]


class MerlinEmulator:
    """Two ports of one detector, whose frames come at ACQUISITIONPERIOD after a start and a soft trigger.

    parameters: what GET reads and SET writes. refused: parameter -> status with which SET answers. lost: sequence
    numbers that are never sent. hangs: no frame is sent at all. shutter_factor: by how much exposures differ from what
    was set. picture: of a sequence number. log: commands in order.
    """

    def __init__(self, shape: tuple[int, int] = (32, 64)) -> None:
        self.parameters = {
            "DETECTORSTATUS": "0",
            "IMAGEX": str(shape[1]),
            "IMAGEY": str(shape[0]),
            "CONTINUOUSRW": "0",
            "COUNTERDEPTH": "12",
            "ACQUISITIONTIME": "90.000000",
            "ACQUISITIONPERIOD": "100.000000",
            "NUMFRAMESTOACQUIRE": "1",
            "NUMFRAMESPERTRIGGER": "1",
            "TRIGGERSTART": "0",
            "FILEENABLE": "1",
        }
        self.refused: dict[str, int] = {}
        self.lost: set[int] = set()
        self.log: list[str] = []
        self.hangs = False
        self.shutter_factor = 1.0
        self.connections = 0
        self.port = 0
        self.data_port = 0
        self.picture: Callable[[int], Picture] = lambda sequence: np.full(shape, sequence % 7, np.uint16)
        self._commanders: list[asyncio.StreamWriter] = []
        self._receivers: list[asyncio.StreamWriter] = []
        self._running: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["MerlinEmulator"]:
        """Both ports open."""
        commands = await asyncio.start_server(self._commands, "127.0.0.1", 0)
        data = await asyncio.start_server(self._data, "127.0.0.1", 0)
        self.port, self.data_port = (server.sockets[0].getsockname()[1] for server in (commands, data))
        try:
            yield self
        finally:
            self._stop()
            for server in (commands, data):
                server.close()
            for writer in (*self._commanders, *self._receivers):
                writer.transport.abort()

    async def _commands(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._commanders.append(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                prefix = await reader.readexactly(15)
                payload = await reader.readexactly(int(prefix[4:14]) - 1)
                writer.write(mibdata.message(self._answer(payload.decode()).encode()))
        writer.close()

    def _answer(self, text: str) -> str:
        kind, name, *value = text.split(",")
        self.log.append(text)
        if kind == "GET":
            return f"GET,{name},{self.parameters[name]},0" if name in self.parameters else f"GET,{name},0,2"
        if kind == "SET":
            status = self.refused.get(name, 0 if name in self.parameters else 2)
            if status == 0:
                self.parameters[name] = value[0]
            return f"SET,{name},{status}"
        return f"CMD,{name},{self._command(name)}"

    def _command(self, name: str) -> int:
        if name == "STARTACQUISITION":
            if self._running is not None:
                return 1
            self._running = asyncio.ensure_future(self._series(triggered=self.parameters["TRIGGERSTART"] == "0"))
        elif name == "SOFTTRIGGER":
            self._trigger.set()
        elif name == "STOPACQUISITION":
            self._stop()
        else:
            return 2
        return 0

    def _stop(self) -> None:
        if self._running is not None:
            self._running.cancel()
            self._running = None

    async def _data(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._receivers.append(writer)
        await reader.read()
        self._receivers.remove(writer)
        writer.close()

    async def _series(self, *, triggered: bool) -> None:
        self._trigger = asyncio.Event()
        loop = asyncio.get_running_loop()
        depth = int(self.parameters["COUNTERDEPTH"])
        self._send(mibdata.message(mibdata.acquisition_header(int(self.parameters["NUMFRAMESTOACQUIRE"]), depth)))
        if not triggered:
            await self._trigger.wait()
        begin = loop.time()
        shutter_s = float(self.parameters["ACQUISITIONTIME"]) / 1000
        period_s = float(self.parameters["ACQUISITIONPERIOD"]) / 1000
        for sequence in itertools.count(1):
            await asyncio.sleep(begin + sequence * period_s - loop.time())
            if sequence not in self.lost and not self.hangs:
                shutter = shutter_s * self.shutter_factor
                self._send(mibdata.message(mibdata.frame(self.picture(sequence), sequence, depth, shutter_s=shutter)))

    def _send(self, message: bytes) -> None:
        for writer in self._receivers:
            writer.write(message)
