"""An emulator of Instamatic's camera server, in the test's own loop.

Written from the description of Instamatic 2.2.2's `server/cam_server.py`: no framing, requests of up to 4096 bytes with
`attr_name`, `args` and `kwargs`, replies `(200, value)` or `(500, (name, args))`, pictures in shared memory with one
buffer per shape that the next picture overwrites. It can lie and fail as the real one (a counterpart) does not.
"""

import asyncio
import json
import pickle
from multiprocessing.shared_memory import SharedMemory
from typing import Any, Self

import numpy as np

from drivers.instamatic.codec import CODECS


class CameraServerEmulator:
    """Listens on `port` inside `async with`. Picture n (from 0) holds n in its first pixel and n % 200 elsewhere.

    answers: what to say instead of the truth, by the name of the attribute: bytes as they are, anything else encoded.
    ramp: 1 for a last row that rises (n % 200 + column % 50). pictures: how many were taken. connections: how many were
    made. on_time: cleared, no picture is finished.
    """

    def __init__(self, protocol: str = "json", shape: tuple[int, int] = (64, 48), dtype: str = "uint16") -> None:
        self.answers: dict[str, Any] = {}
        self.ramp = 0
        self.pictures = 0
        self.connections = 0
        self.port = 0
        self.on_time = asyncio.Event()
        self.on_time.set()
        self._codec = CODECS[protocol]()
        self._shape = shape
        self._dtype = dtype
        self._memory = SharedMemory(create=True, size=int(np.prod(shape)) * np.dtype(dtype).itemsize)
        self._clients: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for client in self._clients:
            client.cancel()
        if self._clients:
            await asyncio.wait(self._clients)
        self._memory.close()
        self._memory.unlink()

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        client = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._clients.add(client)
        client.add_done_callback(self._clients.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(4096):
                request = self._request(data)
                writer.write(self._encoded(await self._answer(request)))
                await writer.drain()
        except (OSError, ValueError):
            pass  # as the real one's thread, which ends with the connection
        finally:
            writer.close()

    def _request(self, data: bytes) -> Any:
        if self._codec.name == "json":
            return json.loads(data)
        if self._codec.name == "msgpack":
            import msgpack

            return msgpack.unpackb(data)
        if data[:1] != b"\x80":
            raise ValueError("not a pickle")
        return pickle.loads(data)

    def _encoded(self, answer: Any) -> bytes:
        if isinstance(answer, bytes):
            return answer
        return self._codec.encode(answer) if self._codec.name != "pickle" else pickle.dumps(answer)

    async def _answer(self, request: dict[str, Any]) -> Any:
        name = request["attr_name"]
        if name == "get_image" and self.answers.get(name) is None:
            picture = await self._picture(request.get("kwargs", {}).get("exposure", 0.1))
            return (200, picture)
        if name in self.answers:
            return self.answers[name]
        known: dict[str, Any] = {
            "get_camera_dimensions": self._shape,
            "dynamic_range": 11800,
            "physical_pixelsize": 0.055,
        }
        if name in known:
            return (200, known[name])
        return (500, ("AttributeError", (f"'Emulated' object has no attribute '{name}'",)))

    async def _picture(self, exposure_s: float) -> dict[str, Any]:
        await asyncio.sleep(exposure_s)
        await self.on_time.wait()
        buffer: np.ndarray[Any, Any] = np.ndarray(self._shape, self._dtype, self._memory.buf)
        buffer[:] = self.pictures % 200
        buffer[-1] += np.arange(buffer.shape[1], dtype=buffer.dtype) % 50 * self.ramp
        buffer[0, 0] = self.pictures
        self.pictures += 1
        return {"shape": self._shape, "dtype": self._dtype, "name": self._memory.name}
