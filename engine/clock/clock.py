"""The one time source: integer nanoseconds since the clock was made, waits in order, precise waits, lateness.

Everything that waits awaits `Clock.sleep_until`. `RealClock` runs on the machine's performance counter;
`engine.clock.virtual.VirtualClock` on the virtual time of its loop. Nothing else in the project reads a clock.
"""

import asyncio
import heapq
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Protocol

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000

# Spinning starts this long before a precise deadline: asyncio rounds its waits up to whole milliseconds, so
# less than 1.2 ms would often be too late, and more than 3 ms would starve the loop for nothing.
SPIN_MIN_NS = 1_200_000
SPIN_MAX_NS = 3_000_000
LATENESS_KEPT = 256

# A reaction takes 5 to 10 turns of the loop, however long they last. A camera whose bytes come without a pause keeps
# the loop from ever being at rest: then 20 turns are waited for, and up to 100 while they take less than this together.
REST_TURNS, REST_TURNS_MOST, REST_NS = 20, 100, 2 * NS_PER_MS


def ns(seconds: float) -> int:
    """Seconds to integer nanoseconds, rounded to nearest."""
    return round(seconds * NS_PER_S)


def utc_now() -> datetime:
    """Wall time with its zone, for run.json and file headers; never for timing."""
    return datetime.now(UTC)


class Clock(Protocol):
    """What the engine, drivers and protocols know of time."""

    @property
    def is_virtual(self) -> bool:
        """Whether waiting costs no wall time. Drivers and storage may ask; protocols have no reason to."""
        ...

    def now_ns(self) -> int:
        """Nanoseconds since the clock was made. Callable from any thread."""
        ...

    async def sleep_until(self, deadline_ns: int, *, precise: bool = False, at_rest: bool = False) -> int:
        """Wait until `deadline_ns`; return the instant of waking, never earlier than the deadline.

        Waits with equal deadlines wake in the order in which they began. A deadline in the past returns at
        once, without giving other tasks a turn. `precise` spins through the last 1.2-3 ms on the real clock
        (median lateness about 2 us), which blocks the loop that long: for one waiter at a time. `at_rest`: all
        that is ready runs first (see there), before the spin of a precise wait and after any other.
        """
        ...

    async def at_rest(self) -> None:
        """Let everything that is ready run, and all that this makes ready; those who wait here go on one by one.

        Who lets an event into a run waits for this first (`engine.record.trace`). Under virtual time it returns at
        once: there time moves only when nothing is ready.
        """
        ...

    async def sleep_s(self, seconds: float) -> int:
        """Wait for a duration; the same promises as `sleep_until`."""
        ...

    def timeout_at(self, deadline_ns: int) -> asyncio.Timeout:
        """An `asyncio.timeout` whose limit is an instant of this clock."""
        ...

    def block_s(self, seconds: float) -> None:
        """Hold up the calling thread, be it the loop's own (then nothing runs meanwhile): for faults only."""
        ...


class WaitQueue:
    """Waits of one clock, woken in order of `(deadline_ns, seq)` by a single loop timer for the earliest.

    asyncio's own timers with equal deadlines fire in no particular order, and each costs a handle; one heap of
    our own is both ordered and 2.5 times faster (docs/nuances.md).
    """

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, asyncio.Future[None]]] = []
        self._seq = 0
        self._timer: asyncio.TimerHandle | None = None
        self._armed_ns = 0

    async def wait(self, clock: "BaseClock", deadline_ns: int) -> None:
        """Suspend the calling task until the clock reaches `deadline_ns`."""
        future = asyncio.get_running_loop().create_future()
        self._seq += 1
        heapq.heappush(self._heap, (deadline_ns, self._seq, future))
        self._arm(clock)
        try:
            await future
        except asyncio.CancelledError:
            self._arm(clock)  # a timer left behind would let virtual time go on to it
            raise

    def _arm(self, clock: "BaseClock") -> None:
        while self._heap and self._heap[0][2].done():  # cancelled while waiting
            heapq.heappop(self._heap)
        if not self._heap:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            return
        head_ns = self._heap[0][0]
        if self._timer is not None:
            if self._armed_ns == head_ns:
                return
            self._timer.cancel()
        self._armed_ns = head_ns
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(clock.loop_time(head_ns), self._fire, clock)

    def _fire(self, clock: "BaseClock") -> None:
        self._timer = None
        now_ns = clock.now_ns()
        # A loop may release a timer early by its resolution; what is not due yet is armed again.
        while self._heap and self._heap[0][0] <= now_ns:
            deadline_ns, _, future = heapq.heappop(self._heap)
            if not future.done():
                clock.woke(deadline_ns, now_ns)
                future.set_result(None)
        self._arm(clock)


class RestQueue:
    """Waits for the loop to come to rest; each is let go when the reaction to the one before has ended. One for a loop.

    A reaction is a chain of callbacks, and real time passes while it runs. What another event finds half done it would
    find done in a replay, where time stands still meanwhile: so it waits, some 10 us a callback.
    """

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._turns = 0
        self._since_ns = 0
        self._looked_by: asyncio.AbstractEventLoop | None = None

    async def wait(self) -> None:
        """Suspend the calling task until nothing else is ready, but not for ever (`REST_TURNS`).

        Returns at once where nothing is: a frame's start waits for this, and two turns of the loop take some 50 us.
        """
        loop = asyncio.get_running_loop()
        if self._looked_by is not loop:  # no loop, or one that was closed before it came to look
            self._waiting.clear()
            if _nothing_ready(loop):
                return
            self._looked_by = loop
            self._begin()
            loop.call_soon(self._look, loop)
        future = loop.create_future()
        self._waiting.append(future)
        await future

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._waiting and self._waiting[0].done():  # cancelled while waiting
            self._waiting.popleft()
        self._turns += 1
        if self._waiting and (_nothing_ready(loop) or self._waited_enough()):
            self._waiting.popleft().set_result(None)
            self._begin()
        if self._waiting:
            loop.call_soon(self._look, loop)
        else:
            self._looked_by = None

    def _begin(self) -> None:
        self._turns, self._since_ns = 0, time.perf_counter_ns()

    def _waited_enough(self) -> bool:
        long = time.perf_counter_ns() - self._since_ns > REST_NS
        return self._turns >= (REST_TURNS if long else REST_TURNS_MOST)


def _nothing_ready(loop: asyncio.AbstractEventLoop) -> bool:
    # asyncio tells nobody what is ready; a loop without this list (none of asyncio's own) is taken to be at rest.
    return not getattr(loop, "_ready", ())


class BaseClock:
    """What the real and the virtual clock share; they differ in `now_ns` and `loop_time`."""

    def __init__(self) -> None:
        self._waits = WaitQueue()

    def now_ns(self) -> int:
        """Nanoseconds since the clock was made."""
        raise NotImplementedError

    def loop_time(self, deadline_ns: int) -> float:
        """The running loop's own time at an instant of this clock."""
        raise NotImplementedError

    def block_s(self, seconds: float) -> None:
        """See `Clock.block_s`."""
        raise NotImplementedError

    def woke(self, deadline_ns: int, now_ns: int) -> None:
        """Called at every wake, before the waiter runs."""

    async def sleep_until(self, deadline_ns: int, *, precise: bool = False, at_rest: bool = False) -> int:
        """See `Clock.sleep_until`."""
        if deadline_ns > self.now_ns():
            await self._waits.wait(self, deadline_ns)
        if at_rest:
            await self.at_rest()
        return self.now_ns()

    async def at_rest(self) -> None:
        """See `Clock.at_rest`."""

    async def sleep_s(self, seconds: float) -> int:
        """See `Clock.sleep_s`."""
        return await self.sleep_until(self.now_ns() + ns(seconds))

    def timeout_at(self, deadline_ns: int) -> asyncio.Timeout:
        """See `Clock.timeout_at`."""
        return asyncio.timeout_at(self.loop_time(deadline_ns))


class RealClock(BaseClock):
    """The machine's performance counter, with precise waits that learn how late this machine wakes."""

    is_virtual = False

    def __init__(self) -> None:
        super().__init__()
        self._origin_ns = time.perf_counter_ns()
        self._coarse_late_ns: deque[int] = deque(maxlen=LATENESS_KEPT)
        self._rests = RestQueue()

    def now_ns(self) -> int:
        """Nanoseconds since the clock was made."""
        return time.perf_counter_ns() - self._origin_ns

    async def at_rest(self) -> None:
        """See `Clock.at_rest`."""
        await self._rests.wait()

    def block_s(self, seconds: float) -> None:
        """See `Clock.block_s`."""
        time.sleep(seconds)

    def loop_time(self, deadline_ns: int) -> float:
        """The loop's monotonic time at an instant of this clock (two counters on some systems, so by difference)."""
        return asyncio.get_running_loop().time() + (deadline_ns - self.now_ns()) / NS_PER_S

    def woke(self, deadline_ns: int, now_ns: int) -> None:
        """Remember how late the loop woke, for the length of the next spin."""
        self._coarse_late_ns.append(now_ns - deadline_ns)

    @property
    def spin_ns(self) -> int:
        """How long before a precise deadline the spin begins: the recent 99th percentile of lateness, bounded."""
        if len(self._coarse_late_ns) < 20:
            return SPIN_MAX_NS
        late = sorted(self._coarse_late_ns)
        return min(max(late[int(0.99 * (len(late) - 1))], SPIN_MIN_NS), SPIN_MAX_NS)

    async def sleep_until(self, deadline_ns: int, *, precise: bool = False, at_rest: bool = False) -> int:
        """See `Clock.sleep_until`."""
        if not precise:
            return await super().sleep_until(deadline_ns, at_rest=at_rest)
        # The spin's length is looked up only where there is time for it: who is late has none to lose.
        if deadline_ns - SPIN_MIN_NS > self.now_ns() and (coarse_ns := deadline_ns - self.spin_ns) > self.now_ns():
            await self._waits.wait(self, coarse_ns)
        if at_rest:
            await self.at_rest()  # the spin would hold up what is half done
        while (now_ns := self.now_ns()) < deadline_ns:
            pass
        return now_ns


@contextmanager
def fast_thread_switches() -> Iterator[None]:
    """Let the loop take the interpreter back from a busy thread within 0.5 ms instead of 5 ms.

    With one Python thread busy in the process this brings the median wake from 5.3 ms late to 0.8 ms.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
