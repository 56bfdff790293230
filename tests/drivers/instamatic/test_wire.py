"""The connection to Instamatic's servers with a long answer: it is read beside the loop, and when it came is known."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from drivers.instamatic.codec import PickleCodec
from drivers.instamatic.wire import Wire
from engine.clock import NS_PER_MS, NS_PER_S, RealClock
from engine.devicethread import DeviceThread
from engine.errors import DeviceLost
from tests.drivers.emulators.instamaticcamera import CameraServerEmulator
from tests.engine.virtually import really

pytestmark = pytest.mark.realtime
LONG = list(range(20_000))
READING_S = 0.2


class SlowToRead(PickleCodec):
    """A codec that takes its time, as an array of many megabytes does."""

    def __init__(self) -> None:
        self.read_in: set[str] = set()

    def decode(self, data: bytes) -> tuple[Any, int]:
        read = super().decode(data)
        if len(data) > 10_000:
            self.read_in.add(threading.current_thread().name)
            threading.Event().wait(READING_S)
        return read


@asynccontextmanager
async def a_wire(clock: RealClock, codec: PickleCodec, timeout_s: float = 5.0) -> AsyncIterator[Wire]:
    async def no_state(_: Wire) -> None:
        pass

    thread = DeviceThread("reader of answers", clock, 5.0)
    async with CameraServerEmulator("pickle") as server:
        server.answers["name"] = (200, LONG)
        wire = Wire(clock, "camera", "127.0.0.1", server.port, codec, timeout_s, "attr_name", no_state, thread)
        await wire.connect()
        try:
            yield wire
        finally:
            await wire.close()
            thread.close()


@really
async def test_a_long_answer_is_read_beside_the_loop(clock: RealClock) -> None:
    codec = SlowToRead()
    async with a_wire(clock, codec) as wire:
        asked = asyncio.ensure_future(wire.call("name", list))
        longest_ns = 0
        while not asked.done():
            before_ns = clock.now_ns()
            await clock.sleep_s(0.001)
            longest_ns = max(longest_ns, clock.now_ns() - before_ns)
        assert await asked == LONG
    assert codec.read_in == {"reader of answers"}
    assert longest_ns < READING_S * NS_PER_S / 2


@really
async def test_an_answer_came_when_its_last_bytes_did_and_not_when_it_was_read(clock: RealClock) -> None:
    async with a_wire(clock, SlowToRead()) as wire:
        asked_ns = clock.now_ns()
        await wire.call("name", list)
        read_ns = clock.now_ns()
        assert asked_ns < wire.answered_ns <= read_ns - round(READING_S * NS_PER_S) + NS_PER_MS


@really
async def test_an_answer_that_is_not_read_in_time_is_lost_and_the_next_call_gets_its_own(clock: RealClock) -> None:
    async with a_wire(clock, SlowToRead(), timeout_s=0.1) as wire:
        with pytest.raises(DeviceLost, match=r"only part of an answer to name|no answer"):
            await wire.call("name", list)
        assert await wire.call("get_camera_dimensions", list) == [64, 48]
