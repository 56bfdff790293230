"""An emulator of the camera: enough of its words to try the driver without it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np

ROWS = COLUMNS = 64
READOUT_S = 0.002


class CameraEmulator:
    """One camera; `fault` makes it misbehave: "stall" (no answers), "garbage" (nonsense), "gone" (hangs up)."""

    def __init__(self) -> None:
        self.fault = ""
        self._number = 0
        self._exposing: asyncio.Task[None] | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one client until it leaves."""
        try:
            while line := (await reader.readline()).decode().split():
                if self.fault == "gone":
                    break
                if self.fault == "garbage":
                    writer.write(b"FRAME of what?\n")
                elif self.fault != "stall":
                    writer.write(self._answer(line, writer).encode() + b"\n")
        finally:
            self._give_up()
            writer.close()

    def _answer(self, line: list[str], writer: asyncio.StreamWriter) -> str:
        if line[0] == "ARM":
            self._number = 0
        elif line[0] == "DISARM":
            self._give_up()
        elif line[0] == "EXPOSE":
            self._exposing = asyncio.create_task(self._expose(float(line[1]), writer))
        else:
            return f"ERROR unknown {line[0]}"
        return "OK"

    async def _expose(self, seconds: float, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(seconds + READOUT_S)
        counts = np.random.default_rng(self._number).poisson(3.0, (ROWS, COLUMNS)).astype("<u2")
        writer.write(f"FRAME {self._number} {ROWS} {COLUMNS}\n".encode() + counts.tobytes())
        self._number += 1

    def _give_up(self) -> None:
        if self._exposing is not None:
            self._exposing.cancel()


@asynccontextmanager
async def camera_emulator() -> AsyncIterator[tuple[CameraEmulator, int]]:
    """An emulator on a free port of this machine."""
    emulator = CameraEmulator()
    server = await asyncio.start_server(emulator.serve, "127.0.0.1", 0)
    try:
        yield emulator, server.sockets[0].getsockname()[1]
    finally:
        server.close()
