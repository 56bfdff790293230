"""How console and instrument process know each other, over real sockets on loopback."""

import asyncio
import json

import pytest

from engine.clock import RealClock
from engine.console.wire import LINE_LIMIT_BYTES, greet, introduce, receive, send
from engine.errors import DataError, Refused

SECRET = "as long as it takes"


async def _served(serve, talk):
    """Run `serve` for one connection, and `talk` at its other end."""
    served = asyncio.get_running_loop().create_future()

    async def entered(reader, writer):
        try:
            served.set_result(await serve(reader, writer))
        except Exception as error:
            served.set_exception(error)
        finally:
            writer.close()

    server = await asyncio.start_server(entered, "127.0.0.1", 0, limit=LINE_LIMIT_BYTES)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2], limit=LINE_LIMIT_BYTES)
    try:
        talked = await talk(reader, writer)
        return await served, talked
    finally:
        writer.close()
        server.close()


@pytest.mark.asyncio
async def test_both_sides_with_the_secret_know_each_other_and_it_never_travels():
    clock, said = RealClock(), []

    async def talk(reader, writer):
        write = writer.write
        writer.write = lambda data: (said.append(data), write(data))[1]
        await introduce(reader, writer, SECRET, clock)
        await send(writer, {"ask": "status"})

    async def serve(reader, writer):
        return await greet(reader, writer, SECRET, clock), await receive(reader)

    (known, asked), _ = await _served(serve, talk)
    assert known
    assert asked == {"ask": "status"}
    assert said
    assert not any(SECRET.encode() in data for data in said)


@pytest.mark.asyncio
async def test_another_secret_is_sent_away():
    clock = RealClock()

    async def talk(reader, writer):
        with pytest.raises(Refused, match="not the instrument process"):
            await introduce(reader, writer, "guessed", clock)

    known, _ = await _served(lambda reader, writer: greet(reader, writer, SECRET, clock), talk)
    assert known is False


@pytest.mark.asyncio
async def test_a_program_that_only_listens_on_an_old_port_is_not_believed():
    clock = RealClock()

    async def serve(reader, writer):
        await send(writer, {"who": "somebody", "nonce": "00"})
        said = await receive(reader)
        assert said is not None
        await send(writer, {"proof": said["proof"]})  # says back what it was told

    async def talk(reader, writer):
        with pytest.raises(Refused, match="not the instrument process"):
            await introduce(reader, writer, SECRET, clock)

    await _served(serve, talk)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "line",
    [
        b"{" * 5 + b"\n",
        b"[1]\n",
        b"\xff\xfe\n",
        b'"text"\n',
        b"[" * 100_000 + b"\n",
        b"x" * (2 * LINE_LIMIT_BYTES) + b"\n",
    ],
)
async def test_what_is_no_request_ends_the_connection(line):
    async def talk(reader, writer):
        writer.write(line)
        await writer.drain()

    with pytest.raises(DataError, match="the connection is closed"):
        await _served(lambda reader, writer: receive(reader), talk)


@pytest.mark.asyncio
async def test_a_line_that_does_not_end_is_the_end():
    async def talk(reader, writer):
        writer.write(json.dumps({"ask": "stop"}).encode())
        writer.write_eof()

    assert (await _served(lambda reader, writer: receive(reader), talk))[0] is None
