"""The suite finds a driver that holds the event loop, and none that does not, however busy the machine is."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable

import pytest

from drivers.conformance.responsive import assert_responsive
from engine.clock import RealClock
from tests.engine.virtually import really

HELD_S = 0.05  # far beyond the limit, which a crowded machine stretches


async def waits_for_a_reply_in_the_loop() -> None:
    time.sleep(HELD_S)  # noqa: ASYNC251 the fault itself


async def decodes_in_the_loop() -> None:
    begin_s = time.thread_time()
    while time.thread_time() - begin_s < HELD_S:
        pass


async def holds_it_after_an_honest_wait() -> None:
    await asyncio.sleep(0.003)
    time.sleep(HELD_S)  # noqa: ASYNC251 the fault itself


async def works_in_a_thread() -> None:
    await asyncio.to_thread(time.sleep, 0.01)


async def does_little_at_a_time() -> None:
    for _ in range(10):
        time.sleep(0.0002)  # noqa: ASYNC251
        await asyncio.sleep(0)


@pytest.mark.realtime
@pytest.mark.parametrize("call", [waits_for_a_reply_in_the_loop, decodes_in_the_loop, holds_it_after_an_honest_wait])
@really
async def test_a_call_that_holds_the_loop_is_named(clock: RealClock, call: Callable[[], Awaitable[None]]) -> None:
    with pytest.raises(AssertionError, match=r"block the event loop.*'the call'"):
        await assert_responsive(clock, {"innocent": works_in_a_thread, "the call": call})


@pytest.mark.realtime
@pytest.mark.parametrize("call", [works_in_a_thread, does_little_at_a_time])
@really
async def test_a_call_that_lets_the_loop_turn_passes(clock: RealClock, call: Callable[[], Awaitable[None]]) -> None:
    await assert_responsive(clock, {"the call": call})


@pytest.mark.realtime
@really
async def test_other_work_on_the_machine_is_not_held_against_a_driver(clock: RealClock) -> None:
    over = threading.Event()
    others = [threading.Thread(target=_hash_until, args=(over,)) for _ in range(4)]
    for other in others:
        other.start()
    try:
        await assert_responsive(clock, {"the call": works_in_a_thread})
    finally:
        over.set()
        for other in others:
            other.join()


def _hash_until(over: threading.Event) -> None:
    """Burn a processor without holding the interpreter."""
    import hashlib

    block = bytes(1_000_000)
    while not over.is_set():
        hashlib.sha256(block)
