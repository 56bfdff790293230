"""The HTTP side of DECTRIS detectors against servers that are none. With an emulator: test_dectris.py."""

import asyncio

import pytest

from drivers.dectris.rest import Simplon
from engine.clock import RealClock
from engine.errors import DeviceError
from tests.engine.virtually import really

pytest.importorskip("httpx")
pytestmark = pytest.mark.realtime


@pytest.mark.parametrize(
    ("status", "content", "says"),
    [
        ("404 Not Found", "", r"status 404 .*it was not done.*correct host and port"),
        ("200 OK", "<html>", r"not JSON; nothing was changed.*Check that host and port"),
        ("200 OK", '{"value": "2.0"}', r"version '2\.0'; nothing was changed.*check host and port"),
    ],
)
@really
async def test_a_server_of_another_kind_is_said_with_what_to_do(
    clock: RealClock, status: str, content: str, says: str
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(content)}\r\n\r\n{content}".encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        simplon = Simplon(clock, "127.0.0.1", server.sockets[0].getsockname()[1])
        try:
            with pytest.raises(DeviceError, match=says):
                await simplon.open()
        finally:
            await simplon.close()
