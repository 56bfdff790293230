"""The two tools of the driver tests: processes that are started and ended, and a proxy that spoils a peer."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from engine.clock import RealClock
from tests.drivers import counterparts
from tests.drivers.proxy import Mode, Proxy
from tests.engine.virtually import really

pytestmark = pytest.mark.realtime

SERVER = """
import socket, sys
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    listening.accept()
"""


def test_a_process_is_up_in_the_body_and_gone_after_it() -> None:
    port = counterparts.free_port()
    with counterparts.running([sys.executable, "-c", SERVER, str(port)], ready=port) as process:
        assert process.poll() is None
        assert counterparts.accepts(port)
    assert process.poll() is not None
    assert not counterparts.accepts(port)


def test_a_process_that_ends_early_fails_the_test_with_what_it_printed() -> None:
    args = [sys.executable, "-c", "raise SystemExit('no licence')"]
    with (
        pytest.raises(pytest.fail.Exception, match="status 1: no licence"),
        counterparts.running(args, ready=lambda: False),
    ):
        raise AssertionError("the body must not run")


def test_a_process_that_is_never_ready_is_ended_and_fails_the_test() -> None:
    args = [sys.executable, "-c", "import threading; threading.Event().wait()"]
    with (
        pytest.raises(pytest.fail.Exception, match=r"not ready in 0\.2 s"),
        counterparts.running(args, ready=lambda: False, timeout_s=0.2),
    ):
        raise AssertionError("the body must not run")


@pytest.mark.parametrize(("required", "outcome"), [("0", pytest.skip.Exception), ("1", pytest.fail.Exception)])
def test_a_missing_counterpart_skips_unless_it_is_required(
    monkeypatch: pytest.MonkeyPatch, required: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setenv("CREDLINE_REQUIRE_COUNTERPARTS", required)
    with pytest.raises(outcome, match="no-such-program"):
        counterparts.program("no-such-program")


@asynccontextmanager
async def behind_a_proxy() -> AsyncIterator[tuple[Proxy, asyncio.StreamReader, asyncio.StreamWriter]]:
    """A server that answers every line with ten digits, behind a proxy, and a client of it."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline():
            writer.write(b"0123456789")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, Proxy(server.sockets[0].getsockname()[1]) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        try:
            yield proxy, reader, writer
        finally:
            writer.close()
    await asyncio.sleep(0)


async def heard(reader: asyncio.StreamReader, seconds: float) -> bytes:
    """What arrives in this time."""
    try:
        async with asyncio.timeout(seconds):
            return await reader.readexactly(10)
    except TimeoutError:
        return b""


@really
async def test_pass_passes_both_ways(clock: RealClock) -> None:
    async with behind_a_proxy() as (_, reader, writer):
        writer.write(b"\n")
        assert await reader.readexactly(10) == b"0123456789"


@really
async def test_stall_holds_a_reply_back_and_pass_delivers_it(clock: RealClock) -> None:
    async with behind_a_proxy() as (proxy, reader, writer):
        proxy.mode = "stall"
        writer.write(b"\n")
        assert await heard(reader, 0.1) == b""
        proxy.mode = "pass"
        assert await reader.readexactly(10) == b"0123456789"


@really
async def test_garbage_has_the_length_of_the_reply(clock: RealClock) -> None:
    async with behind_a_proxy() as (proxy, reader, writer):
        proxy.mode = "garbage"
        writer.write(b"\n")
        assert await reader.readexactly(10) != b"0123456789"


@really
async def test_half_a_reply_comes_and_the_rest_later(clock: RealClock) -> None:
    async with behind_a_proxy() as (proxy, reader, writer):
        proxy.mode = "half"
        writer.write(b"\n")
        assert await reader.readexactly(5) == b"01234"
        assert await heard(reader, 0.1) == b""
        proxy.mode = "pass"
        assert await reader.readexactly(5) == b"56789"


@really
async def test_a_delay_makes_the_peer_slow(clock: RealClock) -> None:
    async with behind_a_proxy() as (proxy, reader, writer):
        proxy.delay_s = 0.3
        before_ns = clock.now_ns()
        writer.write(b"\n")
        assert await reader.readexactly(10) == b"0123456789"
        assert clock.now_ns() - before_ns >= 290_000_000


@pytest.mark.parametrize("then", ["pass", "stall"])
@really
async def test_cut_ends_connections_and_refuses_new_ones_until_it_is_over(clock: RealClock, then: Mode) -> None:
    async with behind_a_proxy() as (proxy, reader, _):
        proxy.mode = "cut"
        await proxy.idle()
        try:
            assert await reader.read() == b""
        except ConnectionResetError:
            pass  # the same on some systems
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", proxy.port)
        proxy.mode = then
        _, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.close()
