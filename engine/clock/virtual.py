"""Virtual time: an event loop that jumps to the next timer instead of waiting, and the clock that runs on it.

`asyncio.Runner(loop_factory=VirtualLoop)` is all it takes; nothing is patched. `asyncio.sleep`,
`asyncio.timeout` and library code see the same virtual time as the clock. Three promises:

* Time moves only when nothing can run: while any callback is ready, any file descriptor readable or any thread
  call of `run_in_executor` under way, it stands still.
* Order is reproducible: timers with equal deadlines fire in order of registration, and thread calls are
  delivered in the order in which they were made, each when nothing else is ready.
* A hang is a diagnosis: nothing left to wait for raises `VirtualDeadlock` naming the waiting tasks.
"""

import asyncio
import heapq
import math
import selectors
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextvars import Context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar, TypeVarTuple
from weakref import WeakKeyDictionary

from engine.clock import NS_PER_S, BaseClock, ns
from engine.errors import VirtualDeadlock

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Ts = TypeVarTuple("Ts")

RESOLUTION_S = 1e-9
# How long a wait for a thread lasts before the loop looks whether that thread has asked for something.
THREAD_POLL_S = 0.02


class _OrderedTimer(asyncio.TimerHandle):
    """asyncio compares timers by deadline alone, so equal deadlines leave its heap in no particular order."""

    __slots__ = ("seq",)
    _scheduled: bool  # asyncio's own, which it declares to no type checker

    def __init__(
        self,
        seq: int,
        when: float,
        callback: Callable[..., object],
        args: Sequence[object],
        loop: asyncio.AbstractEventLoop,
        context: Context | None,
    ) -> None:
        super().__init__(when, callback, args, loop, context)
        self.seq = seq

    def __lt__(self, other: object) -> bool:
        if isinstance(other, _OrderedTimer):
            return (self.when(), self.seq) < (other.when(), other.seq)
        return NotImplemented


class _Timed(Generic[T_co]):
    """A thread's function, and for how long it blocked in virtual time (`VirtualLoop.block`)."""

    def __init__(self, time: threading.local, func: Callable[[], T_co]) -> None:
        self._time = time
        self._func = func
        self.blocked_ns = 0

    def __call__(self) -> T_co:
        self._time.blocked_ns = 0
        try:
            return self._func()
        finally:
            self.blocked_ns = self._time.blocked_ns


@dataclass(frozen=True, slots=True)
class _ThreadCall(Generic[T_co]):
    """A call under way in a thread or process, and who waits for its outcome."""

    executor: Executor
    call: Future[T_co]
    answer: asyncio.Future[T_co]
    timed: _Timed[T_co] | None

    def hand_over(self) -> None:
        if self.call.cancelled():  # by its executor, closed before the call's turn came
            self.answer.cancel()
        elif not self.answer.done():
            error = self.call.exception()
            if error is None:
                self.answer.set_result(self.call.result())
            else:
                self.answer.set_exception(error)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time jumps. `rate` = virtual seconds per real second for slow motion, None = at once."""

    # asyncio's own, which it declares to no type checker.
    _scheduled: list[asyncio.TimerHandle]
    _default_executor: Executor | None
    _thread_id: int | None
    if TYPE_CHECKING:

        def _check_closed(self) -> None: ...

    def __init__(self, rate: float | None = None) -> None:
        self.now_ns = 0
        self.rate = rate
        self._timer_seq = 0
        self._thread_calls: deque[_ThreadCall[object]] = deque()
        self._thread_time = threading.local()
        self._busy_until_ns: WeakKeyDictionary[Executor, int] = WeakKeyDictionary()
        super().__init__(_JumpingSelector(self))
        # With a resolution of 0 a timer that is exactly due would never be released (busy loop).
        self._clock_resolution = RESOLUTION_S

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self.now_ns / NS_PER_S

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """As in asyncio, but equal deadlines fire in order of registration."""
        self._check_closed()
        self._timer_seq += 1
        timer = _OrderedTimer(self._timer_seq, when, callback, args, self, context)
        heapq.heappush(self._scheduled, timer)
        timer._scheduled = True  # noqa: SLF001 asyncio's own bookkeeping, as BaseEventLoop.call_at does it
        return timer

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """Run `func` in a thread or process; virtual time stands still until it has returned.

        A cancelled call still holds time until the thread is through: a thread cannot be stopped.
        """
        if executor is None:
            executor = self._default_executor
            if executor is None:
                executor = ThreadPoolExecutor(thread_name_prefix="virtual")
                self.set_default_executor(executor)
        answer: asyncio.Future[T] = self.create_future()
        # What a thread's call blocks for, it blocks in virtual time; another process knows nothing of that.
        timed = _Timed(self._thread_time, lambda: func(*args)) if isinstance(executor, ThreadPoolExecutor) else None
        call = executor.submit(timed) if timed else executor.submit(func, *args)
        under_way = _ThreadCall(executor, call, answer, timed)
        self._thread_calls.append(under_way)
        return answer

    def pass_time(self, duration_ns: int) -> None:
        """Move the loop's time, however far: 97 days away its seconds, which are floats, tell nanoseconds no more
        apart, and a timer that is due must still be released.
        """
        self.now_ns += duration_ns
        self._clock_resolution = max(RESOLUTION_S, math.ulp(self.time()))

    def block(self, duration_ns: int) -> None:
        """Hold up the calling thread: the loop's own, so that its timers come late, or a thread call."""
        if threading.get_ident() == self._thread_id:
            self.pass_time(duration_ns)
        else:
            self._thread_time.blocked_ns += duration_ns

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait for the default threads. asyncio's own way waits in a thread that virtual time knows nothing of."""
        self._executor_shutdown_called = True
        executor = self._default_executor
        if executor is not None:
            executor.shutdown(wait=True)

    def deliver_thread_call(self) -> bool:
        """Wait a moment for the oldest thread call; hand over its outcome when it has one. True while any is open."""
        if not self._thread_calls:
            return False
        oldest = self._thread_calls[0]
        if not oldest.call.done():
            wait([oldest.call], timeout=THREAD_POLL_S)
        if oldest.call.done():
            self._thread_calls.popleft()
            # Calls of one executor follow one another; what they blocked for adds up.
            busy_ns = max(self._busy_until_ns.get(oldest.executor, 0), self.now_ns)
            done_ns = busy_ns + (oldest.timed.blocked_ns if oldest.timed else 0)
            if done_ns == self.now_ns:
                oldest.hand_over()
            else:
                self._busy_until_ns[oldest.executor] = done_ns
                self.call_at(done_ns / NS_PER_S, oldest.hand_over)
        return True

    def jump(self) -> int:
        """Virtual nanoseconds until the next timer. Raises VirtualDeadlock when there is none."""
        timers = self._scheduled
        if not timers:
            raise VirtualDeadlock(self._waiting())
        when_s: float = timers[0].when()
        far_ns = int(math.ulp(when_s) * NS_PER_S)  # never too short, or the timer would be set anew for ever
        return max(0, round(when_s * NS_PER_S) + far_ns - self.now_ns)

    def _waiting(self) -> str:
        names = []
        for task in sorted(asyncio.all_tasks(self), key=lambda task: task.get_name()):
            frames = task.get_stack(limit=1)
            where = f" at {frames[0].f_code.co_qualname}:{frames[0].f_lineno}" if frames else ""
            names.append(f"{task.get_name()}{where}")
        return (
            f"virtual time {self.now_ns / NS_PER_S:.6f} s: nothing left to wait for; these tasks would hang for "
            f"ever: {'; '.join(names) or 'none'}. Something they wait for was never set."
        )


class _JumpingSelector(selectors.DefaultSelector):
    """Polls real I/O without waiting, and moves the loop's time when there is nothing else to do."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        # asyncio passes 0 while any callback is ready; then, and while I/O is ready, time stands still.
        if events or timeout == 0:
            return events
        if self._loop.deliver_thread_call():
            return events
        step_ns = self._loop.jump()
        if self._loop.rate is not None:
            events = super().select(step_ns / NS_PER_S / self._loop.rate)
            if events:
                return events
        self._loop.pass_time(step_ns)
        return events


class VirtualClock(BaseClock):
    """The clock of a `VirtualLoop`: every wait ends exactly at its deadline."""

    is_virtual = True

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def now_ns(self) -> int:
        """Virtual nanoseconds since the loop was made."""
        return self._loop.now_ns

    def loop_time(self, deadline_ns: int) -> float:
        """The loop's time is this clock's time."""
        return deadline_ns / NS_PER_S

    def block_s(self, seconds: float) -> None:
        """See `Clock.block_s`: time passes without anything else being done."""
        self._loop.block(ns(seconds))
