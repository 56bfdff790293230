"""The one time source: order of waits, nothing left of cancelled ones, precise waits on the real clock."""

import asyncio
import gc
import sys
import weakref
from contextlib import suppress
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.clock.clock import (
    NS_PER_MS,
    REST_TURNS_MOST,
    SPIN_MAX_NS,
    SPIN_MIN_NS,
    RealClock,
    fast_thread_switches,
    ns,
    utc_now,
)
from engine.clock.virtual import VirtualClock
from engine.errors import VirtualDeadlock
from tests.engine.virtually import really, virtual


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.0, 0), (0.512, 512_000_000), (1e-9, 1), (0.1 + 0.2, 300_000_000), (-0.5, -500_000_000), (2.5e-10, 0)],
)
def test_seconds_become_whole_nanoseconds(seconds: float, expected: int) -> None:
    assert ns(seconds) == expected


@given(deadlines=st.lists(st.integers(1, 8), min_size=1, max_size=100))
@virtual
async def test_waits_wake_in_order_of_deadline_then_of_beginning(clock: VirtualClock, deadlines: list[int]) -> None:
    woken: list[tuple[int, int]] = []

    async def wait(k: int, deadline_ns: int) -> None:
        assert await clock.sleep_until(deadline_ns) == deadline_ns
        woken.append((deadline_ns, k))

    async with asyncio.TaskGroup() as group:
        for k, deadline_ns in enumerate(deadlines):
            group.create_task(wait(k, deadline_ns))
    assert woken == sorted((deadline_ns, k) for k, deadline_ns in enumerate(deadlines))


# (when it begins, how long it waits, when it is cancelled counted from its beginning or None)
WAITS = st.tuples(st.integers(0, 6), st.integers(-3, 9), st.none() | st.integers(1, 9))


@given(waits=st.lists(WAITS, min_size=1, max_size=40))
@virtual
async def test_waits_that_begin_and_are_cancelled_at_any_time_disturb_no_other(
    clock: VirtualClock, waits: list[tuple[int, int, int | None]]
) -> None:
    woken: dict[int, int] = {}
    begun: list[tuple[int, int]] = []
    order: list[int] = []

    async def wait(k: int, deadline_ns: int) -> None:
        begun.append((deadline_ns, k))
        woken[k] = await clock.sleep_until(deadline_ns)
        order.append(k)

    async def one(k: int, begin_ns: int, length_ns: int, cancel_ns: int | None) -> None:
        await clock.sleep_until(begin_ns)
        task = asyncio.create_task(wait(k, begin_ns + length_ns))
        if cancel_ns is not None:
            await clock.sleep_until(begin_ns + cancel_ns)
            task.cancel()
        await asyncio.wait([task])

    async with asyncio.TaskGroup() as group:
        for k, (begin_ns, length_ns, cancel_ns) in enumerate(waits):
            group.create_task(one(k, begin_ns, length_ns, cancel_ns))
    for k, (begin_ns, length_ns, cancel_ns) in enumerate(waits):
        if cancel_ns is None or length_ns < cancel_ns:
            assert woken[k] == max(begin_ns, begin_ns + length_ns)
        elif cancel_ns < length_ns:
            assert k not in woken
    # Among waits that really waited, those of one deadline wake in the order in which they began.
    waited = [
        (woken[k], begun.index((deadline_ns, k)), k) for deadline_ns, k in begun if k in woken and waits[k][1] > 0
    ]
    assert [k for k in order if waits[k][1] > 0] == [k for *_, k in sorted(waited)]


@virtual
async def test_a_deadline_in_the_past_returns_at_once(clock: VirtualClock) -> None:
    await clock.sleep_until(1000)
    other = asyncio.create_task(asyncio.sleep(0))
    for deadline_ns in (-5, 0, 999, 1000):
        assert await clock.sleep_until(deadline_ns) == 1000
        assert await clock.sleep_until(deadline_ns, precise=True) == 1000
    assert not other.done()  # no other task had a turn
    await other


@virtual
async def test_a_wait_for_a_duration_counts_from_now(clock: VirtualClock) -> None:
    await clock.sleep_until(7)
    assert await clock.sleep_s(0.512) == 512_000_007


@virtual
async def test_a_wait_that_begins_later_and_ends_earlier_wakes_first(clock: VirtualClock) -> None:
    late = asyncio.create_task(clock.sleep_until(100))
    await clock.sleep_until(10)
    assert await clock.sleep_until(20) == 20
    assert not late.done()
    assert await late == 100


def test_a_cancelled_wait_leaves_no_timer_behind() -> None:
    async def main(clock: VirtualClock) -> None:
        wait = asyncio.create_task(clock.sleep_until(ns(100)))
        await clock.sleep_until(ns(1))
        wait.cancel()
        await asyncio.Event().wait()  # were the timer still there, time would go on to 100 s

    with pytest.raises(VirtualDeadlock, match=r"virtual time 1\.000000 s"):
        virtual(main)()


@virtual
async def test_a_cancelled_wait_leaves_nothing_in_memory(clock: VirtualClock) -> None:
    class Held:
        pass

    async def wait(held: Held) -> None:
        await clock.sleep_until(ns(100))

    held = Held()
    alive = weakref.ref(held)
    task = asyncio.create_task(wait(held))
    await clock.sleep_until(1)
    task.cancel()
    await asyncio.wait([task])
    del held, task
    await asyncio.sleep(0)
    gc.collect()
    assert alive() is None


@virtual
async def test_cancelling_the_earliest_wait_leaves_the_next_one_its_deadline(clock: VirtualClock) -> None:
    first = asyncio.create_task(clock.sleep_until(10))
    second = asyncio.create_task(clock.sleep_until(20))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == 20
    assert first.cancelled()


@virtual
async def test_a_timeout_is_set_to_an_instant_of_the_clock(clock: VirtualClock) -> None:
    await clock.sleep_until(ns(3))
    with pytest.raises(TimeoutError):
        async with clock.timeout_at(ns(3.25)):
            await clock.sleep_until(ns(4))
    assert clock.now_ns() == ns(3.25)


@virtual
async def test_a_timeout_in_the_past_fires_at_the_first_wait(clock: VirtualClock) -> None:
    await clock.sleep_until(ns(3))
    with pytest.raises(TimeoutError):
        async with clock.timeout_at(ns(2)):
            await clock.sleep_until(ns(4))
    assert clock.now_ns() == ns(3)


def test_wall_time_has_its_zone() -> None:
    assert utc_now().utcoffset() == timedelta(0)


def test_fast_thread_switches_are_taken_back_after_an_error() -> None:
    before = sys.getswitchinterval()
    with suppress(KeyError), fast_thread_switches():
        assert sys.getswitchinterval() == pytest.approx(0.0005)
        raise KeyError
    assert sys.getswitchinterval() == before


@pytest.mark.realtime
@really
async def test_real_waits_never_end_early(clock: RealClock) -> None:
    for k in range(40):
        deadline_ns = clock.now_ns() + 300_000 + 131_071 * k
        assert await clock.sleep_until(deadline_ns, precise=k % 2 == 0) >= deadline_ns


@pytest.mark.realtime
@really
async def test_real_waits_with_equal_deadlines_wake_in_order(clock: RealClock) -> None:
    woken: list[int] = []

    async def wait(k: int, deadline_ns: int) -> None:
        await clock.sleep_until(deadline_ns)
        woken.append(k)

    deadline_ns = clock.now_ns() + 50 * NS_PER_MS
    async with asyncio.TaskGroup() as group:
        for k in range(50):
            group.create_task(wait(k, deadline_ns))
    assert woken == list(range(50))


@pytest.mark.realtime
@really
async def test_a_real_timeout_ends_a_longer_wait(clock: RealClock) -> None:
    limit_ns = clock.now_ns() + 20 * NS_PER_MS
    with pytest.raises(TimeoutError):
        async with clock.timeout_at(limit_ns):
            await clock.sleep_s(30)
    assert clock.now_ns() >= limit_ns - NS_PER_MS  # loop and clock may be two counters


@pytest.mark.realtime
@really
async def test_a_past_deadline_on_the_real_clock_returns_at_once(clock: RealClock) -> None:
    other = asyncio.create_task(asyncio.sleep(0))
    assert await clock.sleep_until(0) > 0
    assert await clock.sleep_until(0, precise=True) > 0
    assert not other.done()
    await other


async def react(name: str, seen: list[str], turns: int = 7) -> None:
    """What an event sets off: one thing after another, each making the next one ready."""
    for k in range(turns):
        seen.append(f"{name}{k}")
        await asyncio.sleep(0)


@really
async def test_who_waits_for_rest_goes_on_when_every_reaction_is_over_one_by_one(clock: RealClock) -> None:
    seen: list[str] = []

    async def enter(name: str) -> None:
        await clock.at_rest()
        await react(name, seen)

    async with asyncio.TaskGroup() as group:
        group.create_task(react("a", seen))
        for name in ("b", "c"):
            group.create_task(enter(name))
        given_up = group.create_task(enter("d"))
        group.create_task(enter("e"))
        await asyncio.sleep(0)
        given_up.cancel()
    assert seen == [f"{name}{k}" for name in "abce" for k in range(7)]


@really
async def test_a_loop_that_never_rests_is_not_waited_for_for_ever(clock: RealClock) -> None:
    seen: list[str] = []
    busy = asyncio.create_task(react("a", seen, turns=10**9))
    await clock.at_rest()
    assert 20 <= len(seen) <= REST_TURNS_MOST + 2
    busy.cancel()


@pytest.mark.parametrize("cancelled", [True, False])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_loop_that_was_closed_meanwhile_keeps_nobody_waiting_in_the_next(cancelled: bool) -> None:
    clock = RealClock()

    async def leave_one_waiting() -> None:
        waiting = asyncio.ensure_future(clock.at_rest())
        await asyncio.sleep(0)
        asyncio.get_running_loop().stop()
        await waiting

    loop = asyncio.new_event_loop()
    with suppress(RuntimeError):  # the loop was stopped before its task was through
        loop.run_until_complete(leave_one_waiting())
    left = asyncio.all_tasks(loop)
    if cancelled:
        for task in left:
            task.cancel()
    loop.close()

    async def bounded() -> None:
        async with asyncio.timeout(20):
            await clock.at_rest()

    asyncio.run(bounded())


@pytest.mark.realtime
@really
async def test_who_waits_for_an_earlier_instant_goes_on_first_also_when_both_are_late(clock: RealClock) -> None:
    """A camera that is ready before the next exposure is begun is not found busy because the machine stood still."""
    seen: list[str] = []

    async def wait(name: str, after_ms: int, precise: bool) -> None:
        await clock.sleep_until(begin_ns + after_ms * NS_PER_MS, precise=precise)
        seen.append(name)

    begin_ns = clock.now_ns()
    async with asyncio.TaskGroup() as group:
        group.create_task(wait("precisely", 20, True))
        group.create_task(wait("later", 21, False))
        asyncio.get_running_loop().call_later(0.005, clock.block_s, 0.03)
    assert seen == ["precisely", "later"]


@pytest.mark.realtime
@really
async def test_a_precise_wait_does_not_spin_while_something_is_ready(clock: RealClock) -> None:
    seen: list[str] = []
    deadline_ns = clock.now_ns() + 10 * NS_PER_MS
    asyncio.get_running_loop().call_at(
        clock.loop_time(deadline_ns - clock.spin_ns), lambda: reactions.append(asyncio.ensure_future(react("a", seen)))
    )
    reactions: list[asyncio.Future[None]] = []
    await clock.sleep_until(deadline_ns, precise=True, at_rest=True)
    assert len(seen) in (0, 7)  # not begun, or over
    await asyncio.sleep(0.01)
    await reactions[0]


def test_the_real_clock_never_goes_back() -> None:
    clock = RealClock()
    readings = [clock.now_ns() for _ in range(1000)]
    assert all(before <= after for before, after in pairwise(readings))


@pytest.mark.parametrize(
    ("late_ns", "expected_ns"),
    [
        ([], SPIN_MAX_NS),
        ([0] * 19, SPIN_MAX_NS),  # too few to judge by
        ([10_000] * 100, SPIN_MIN_NS),
        ([2_000_000] * 100, 2_000_000),
        ([50_000_000] * 100, SPIN_MAX_NS),
        ([1_500_000] * 199 + [9_000_000], 1_500_000),  # one wake in two hundred does not count
        ([50_000_000] * 256 + [1_500_000] * 256, 1_500_000),  # what is long past does not count
    ],
)
def test_the_spin_is_as_long_as_recent_wakes_were_late(late_ns: list[int], expected_ns: int) -> None:
    clock = RealClock()
    for late in late_ns:
        clock.woke(0, late)
    assert clock.spin_ns == expected_ns
