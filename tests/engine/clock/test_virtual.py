"""The virtual loop: time jumps when nothing can run, order is reproducible, a hang is a diagnosis."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.clock import NS_PER_MS, NS_PER_S
from engine.clock.virtual import VirtualClock, VirtualLoop
from engine.errors import VirtualDeadlock
from tests.engine.virtually import virtual


@virtual
async def test_time_begins_at_zero_and_jumps_to_the_next_timer(clock: VirtualClock) -> None:
    began = time.perf_counter()
    assert clock.now_ns() == 0
    await asyncio.sleep(3600)
    assert clock.now_ns() == 3600 * NS_PER_S
    assert time.perf_counter() - began < 60


@virtual
async def test_waits_end_also_where_floats_of_seconds_are_coarse(clock: VirtualClock) -> None:
    """As in a replay that waits for what its recording does not have, and then makes safe."""
    for deadline_ns in (2**53 + 1, 2**55 + 3, 2**62, 2**62 + 1):
        assert await clock.sleep_until(deadline_ns) >= deadline_ns
    for k in range(100):
        began_ns = clock.now_ns()
        assert await clock.sleep_s(0.1) >= began_ns + NS_PER_S // 10
        with pytest.raises(TimeoutError):
            async with clock.timeout_at(clock.now_ns() + k):
                await asyncio.Event().wait()


@virtual
async def test_the_clock_and_asyncio_see_the_same_time(clock: VirtualClock) -> None:
    await clock.sleep_until(1_500_000_001)
    assert asyncio.get_running_loop().time() == 1.500000001
    await asyncio.sleep(0.25)
    assert clock.now_ns() == 1_750_000_001


@virtual
async def test_an_asyncio_timeout_fires_at_its_virtual_instant(clock: VirtualClock) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2.5):
            await asyncio.Event().wait()
    assert clock.now_ns() == 2_500_000_000


@virtual
async def test_two_hundred_task_hops_do_not_let_a_timeout_fire(clock: VirtualClock) -> None:
    async def hop(left: int) -> int:
        return 1 + await asyncio.create_task(hop(left - 1)) if left else 0

    async with asyncio.timeout(9):
        assert await hop(200) == 200
    assert clock.now_ns() == 0


@virtual
async def test_a_busy_task_holds_time(clock: VirtualClock) -> None:
    woken = asyncio.create_task(asyncio.sleep(1))
    for _ in range(1000):
        await asyncio.sleep(0)
    assert clock.now_ns() == 0
    await woken
    assert clock.now_ns() == NS_PER_S


@given(deadlines=st.lists(st.integers(0, 4), min_size=1, max_size=60))
@virtual
async def test_asyncio_timers_fire_in_order_of_deadline_then_registration(
    clock: VirtualClock, deadlines: list[int]
) -> None:
    loop = asyncio.get_running_loop()
    fired: list[tuple[int, int]] = []
    for k, deadline in enumerate(deadlines):
        loop.call_at(1.0 + deadline, fired.append, (deadline, k))
    await asyncio.sleep(10)
    assert fired == sorted((deadline, k) for k, deadline in enumerate(deadlines))


@virtual
async def test_an_unrelated_timer_does_not_reorder_equal_ones(clock: VirtualClock) -> None:
    loop = asyncio.get_running_loop()
    fired: list[int] = []
    for k in range(200):
        loop.call_at(5.0, fired.append, k)
        if k % 7 == 0:
            loop.call_at(4.0 + k / 1000, int)
        if k % 11 == 0:
            loop.call_at(5.0, fired.append, -1).cancel()
    await asyncio.sleep(10)
    assert fired == list(range(200))


@virtual
async def test_timers_a_microsecond_apart_fire_at_their_own_instants(clock: VirtualClock) -> None:
    loop = asyncio.get_running_loop()
    fired: list[int] = []
    for k in (3, 1, 2):
        loop.call_at(1 + k / 1e6, lambda: fired.append(clock.now_ns()))
    await asyncio.sleep(2)
    assert fired == [NS_PER_S + 1000, NS_PER_S + 2000, NS_PER_S + 3000]


@given(deadline_ns=st.integers(1, 10**15))
@virtual
async def test_a_timer_of_whole_nanoseconds_is_released_at_exactly_its_instant(
    clock: VirtualClock, deadline_ns: int
) -> None:
    # A timer that never counts as due would hang here at full speed.
    reached: list[int] = []
    asyncio.get_running_loop().call_at(deadline_ns / NS_PER_S, lambda: reached.append(clock.now_ns()))
    assert await clock.sleep_until(deadline_ns) == deadline_ns
    assert reached == [deadline_ns]


@virtual
async def test_a_thread_of_50_ms_holds_time_under_a_timeout(clock: VirtualClock) -> None:
    async with asyncio.timeout(1):
        await asyncio.to_thread(time.sleep, 0.05)
    assert clock.now_ns() == 0


@virtual
async def test_a_thread_longer_than_any_poll_still_costs_no_virtual_time(clock: VirtualClock) -> None:
    alarm = asyncio.create_task(clock.sleep_until(1))
    await asyncio.to_thread(time.sleep, 0.15)
    assert clock.now_ns() == 0
    assert not alarm.done()
    assert await alarm == 1


@virtual
async def test_thread_calls_are_delivered_in_the_order_of_submission(clock: VirtualClock) -> None:
    loop = asyncio.get_running_loop()
    delivered: list[int] = []
    with ThreadPoolExecutor(4) as pool:
        for k, seconds in enumerate((0.04, 0.0, 0.02, 0.0)):
            answer = loop.run_in_executor(pool, time.sleep, seconds)
            answer.add_done_callback(partial(lambda k, _: delivered.append(k), k))
        await clock.sleep_until(1)
    assert delivered == [0, 1, 2, 3]
    assert clock.now_ns() == 1


@virtual
async def test_the_error_of_a_thread_call_reaches_its_caller(clock: VirtualClock) -> None:
    with pytest.raises(ZeroDivisionError):
        await asyncio.to_thread(divmod, 1, 0)


@virtual
async def test_a_cancelled_thread_call_holds_time_until_the_thread_is_through(clock: VirtualClock) -> None:
    through: list[bool] = []

    def work() -> None:
        time.sleep(0.05)
        through.append(True)

    call = asyncio.create_task(asyncio.to_thread(work))
    await asyncio.sleep(0)
    call.cancel()
    await clock.sleep_until(1)
    assert through == [True]


@virtual
async def test_a_thread_may_call_into_the_loop(clock: VirtualClock) -> None:
    loop = asyncio.get_running_loop()
    told = asyncio.Event()

    def work() -> None:
        loop.call_soon_threadsafe(told.set)
        time.sleep(0.05)

    call = asyncio.create_task(asyncio.to_thread(work))
    await told.wait()
    assert clock.now_ns() == 0
    await call


# --- blocking: what a host that stands still, or a slow disk, costs in virtual time


@virtual
async def test_who_blocks_the_loop_makes_its_timers_late(clock: VirtualClock) -> None:
    woken: list[int] = []
    for at_s in (1, 2, 4):
        asyncio.get_running_loop().call_later(at_s, lambda: woken.append(clock.now_ns()))
    await clock.sleep_s(0.5)
    clock.block_s(2.0)
    assert clock.now_ns() == 2_500_000_000
    await clock.sleep_s(5)
    assert woken == [2_500_000_000, 2_500_000_000, 4_000_000_000]


@virtual
async def test_a_thread_that_blocks_is_answered_later_and_holds_up_nobody_else(clock: VirtualClock) -> None:
    call = asyncio.ensure_future(asyncio.to_thread(clock.block_s, 2.0))
    await clock.sleep_s(1.0)
    assert clock.now_ns() == NS_PER_S
    assert not call.done()
    await call
    assert clock.now_ns() == 2 * NS_PER_S


@virtual
async def test_what_calls_of_one_thread_block_for_adds_up_in_their_order(clock: VirtualClock) -> None:
    loop = asyncio.get_running_loop()
    done: list[tuple[str, int]] = []
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        for pool, name, seconds in ((one, "a", 2.0), (one, "b", 0.0), (other, "c", 1.0), (one, "d", 1.0)):
            answer = loop.run_in_executor(pool, clock.block_s, seconds)
            answer.add_done_callback(partial(lambda name, _: done.append((name, clock.now_ns() // NS_PER_S)), name))
        await clock.sleep_s(10)
    assert sorted(done) == [("a", 2), ("b", 2), ("c", 1), ("d", 3)]
    assert [name for name, _ in done if name != "c"] == ["a", "b", "d"]


@virtual
async def test_a_call_made_while_its_thread_is_blocked_waits_for_its_turn(clock: VirtualClock) -> None:
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as pool:
        first = loop.run_in_executor(pool, clock.block_s, 2.0)
        await clock.sleep_s(0.5)
        second = loop.run_in_executor(pool, clock.block_s, 1.0)
        await first
        assert clock.now_ns() == 2 * NS_PER_S
        await second
        assert clock.now_ns() == 3 * NS_PER_S


@virtual
async def test_a_thread_that_blocks_and_fails_fails_when_it_has_blocked(clock: VirtualClock) -> None:
    def work() -> None:
        clock.block_s(1.5)
        raise OSError("broken")

    with pytest.raises(OSError, match="broken"):
        await asyncio.to_thread(work)
    assert clock.now_ns() == 1_500_000_000


@virtual
async def test_what_one_call_blocked_for_is_not_charged_to_the_next(clock: VirtualClock) -> None:
    with ThreadPoolExecutor(1) as pool:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(pool, clock.block_s, 1.0)
        await loop.run_in_executor(pool, int)
        assert clock.now_ns() == NS_PER_S
        await clock.sleep_s(5)
        await loop.run_in_executor(pool, clock.block_s, 1.0)
    assert clock.now_ns() == 7 * NS_PER_S


@virtual
async def test_calls_dropped_by_a_closing_executor_end_as_cancelled(clock: VirtualClock) -> None:
    loop = asyncio.get_running_loop()
    pool = ThreadPoolExecutor(1)
    first = loop.run_in_executor(pool, time.sleep, 0.02)
    second = loop.run_in_executor(pool, time.sleep, 0)
    pool.shutdown(wait=False, cancel_futures=True)
    await first
    with pytest.raises(asyncio.CancelledError):
        await second


def test_ending_a_loop_whose_default_threads_were_used_is_no_deadlock() -> None:
    for _ in range(20):
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(asyncio.to_thread(int))


def test_a_deadlock_names_the_tasks_that_would_hang() -> None:
    async def stuck() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        await asyncio.sleep(1.5)
        task = asyncio.create_task(stuck(), name="frame pump")
        await task

    with (
        pytest.raises(VirtualDeadlock, match=r"virtual time 1\.500000 s.*frame pump at .*stuck") as caught,
        asyncio.Runner(loop_factory=VirtualLoop) as runner,
    ):
        runner.run(main())
    assert "main" in str(caught.value)


def test_two_runs_of_the_same_program_take_the_same_course() -> None:
    async def program(clock: VirtualClock) -> list[tuple[int, str]]:
        log: list[tuple[int, str]] = []

        async def worker(name: str, step_ns: int) -> None:
            for k in range(20):
                await clock.sleep_until(clock.now_ns() + step_ns)
                log.append((clock.now_ns(), f"{name}{k}"))
                if k % 5 == 0:
                    await asyncio.to_thread(int)

        async with asyncio.TaskGroup() as group:
            for name, step_ns in (("a", 6), ("b", 4), ("c", 12), ("d", 3)):
                group.create_task(worker(name, step_ns))
        return log

    def once() -> list[tuple[int, str]]:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            loop = runner.get_loop()
            assert isinstance(loop, VirtualLoop)
            return runner.run(program(VirtualClock(loop)))

    first = once()
    assert len(first) == 80
    assert all(once() == first for _ in range(5))


@virtual
async def test_real_sockets_within_the_loop_cost_no_virtual_time(clock: VirtualClock) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line.upper())
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        async with asyncio.timeout(0.001):
            for _ in range(100):
                writer.write(b"tilt\n")
                assert await reader.readline() == b"TILT\n"
        writer.close()
        await writer.wait_closed()
    assert clock.now_ns() == 0


@pytest.mark.realtime
def test_slow_motion_keeps_virtual_instants_and_takes_real_time() -> None:
    async def main(clock: VirtualClock) -> int:
        for k in range(1, 6):
            assert await clock.sleep_until(k * 100 * NS_PER_MS) == k * 100 * NS_PER_MS
        return clock.now_ns()

    loop = VirtualLoop(rate=10.0)
    began = time.perf_counter()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        assert runner.run(main(VirtualClock(loop))) == NS_PER_S // 2
    assert time.perf_counter() - began >= 0.049  # 0.5 virtual seconds at tenfold speed
