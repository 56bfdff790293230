"""Does a driver keep the event loop waiting? Watches every turn of the loop while calls are made.

A turn lasts from the selector's answer to the next question to it. Time in which the thread was ready but the machine
ran something else is taken off (Linux tells it), and of several rounds the best but one counts: a busy machine is late
now and then, a call that blocks does so every time. The best but one, for Linux may err once in favour of a call.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from engine.clock import NS_PER_MS, Clock, fast_thread_switches

LONGEST_TURN_MS = 2.0
ROUNDS = 7
SCHEDSTAT_ERROR_NS = NS_PER_MS // 5
SCHEDSTAT = Path("/proc/thread-self/schedstat")

Call = Callable[[], Awaitable[object]]


class LoopWatch:
    """The longest turn of the running loop since `begin`, in ns. A context manager; use it on the real clock."""

    def __init__(self, clock: Clock) -> None:
        self.longest_ns = 0
        self._clock = clock
        self._selector: Any = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]  # noqa: SLF001 every loop of asyncio has one
        self._select = self._selector.select
        self._schedstat = os.open(SCHEDSTAT, os.O_RDONLY) if SCHEDSTAT.exists() else None
        self.begin()

    def __enter__(self) -> "LoopWatch":
        self._selector.select = self._turned
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._selector.select = self._select
        if self._schedstat is not None:
            os.close(self._schedstat)

    def begin(self) -> None:
        """Count from here: what this turn has taken so far is forgotten."""
        self.longest_ns = 0
        self._began_ns, self._ran_ns, self._queued_ns = self._look()

    def end(self) -> int:
        """The longest turn since `begin`, the one that is not over included."""
        now_ns, ran_ns, queued_ns = self._look()
        turn_ns, ran_ns, queued_ns = now_ns - self._began_ns, ran_ns - self._ran_ns, queued_ns - self._queued_ns
        # Loaded machines count some waits twice; a sum that cannot be is not used.
        if ran_ns + queued_ns <= turn_ns + SCHEDSTAT_ERROR_NS:
            turn_ns -= queued_ns
        self.longest_ns = max(self.longest_ns, turn_ns)
        return self.longest_ns

    def _look(self) -> tuple[int, int, int]:
        """Now; how long this thread has run; how long it was ready and waited for a processor. 0 where unknown; ns."""
        if self._schedstat is None:
            return self._clock.now_ns(), 0, 0
        os.lseek(self._schedstat, 0, os.SEEK_SET)
        queued_ns = int(os.read(self._schedstat, 100).split()[1])
        # The file's own figure of the running time lags by up to a tick of the kernel.
        return self._clock.now_ns(), time.thread_time_ns(), queued_ns

    def _turned(self, timeout: float | None = None) -> Any:
        self.end()
        events = self._select(timeout)
        self._began_ns, self._ran_ns, self._queued_ns = self._look()
        return events


def _crowding() -> float:
    """Processes that want to run, per processor, over the last minute; at least 1, and 1 where nobody tells."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)) if hasattr(os, "getloadavg") else 1.0


async def assert_responsive(clock: Clock, calls: Mapping[str, Call], limit_ms: float = LONGEST_TURN_MS) -> None:
    """Make the calls in their order, several times over; none may hold the loop for more than the limit every time.

    Where more processes want to run than there are processors, the limit is that many times longer.
    """
    if clock.is_virtual:
        pytest.skip("under virtual time the loop waits for nobody")
    turns_ns: dict[str, list[int]] = {name: [] for name in calls}
    with fast_thread_switches(), LoopWatch(clock) as watch:
        for _ in range(ROUNDS):
            for name, call in calls.items():
                watch.begin()
                await call()
                turns_ns[name].append(watch.end())
    held_ms = {name: round(sorted(turns)[1] / NS_PER_MS, 2) for name, turns in turns_ns.items()}
    limit_ms *= _crowding()
    blocking = {name: ms for name, ms in held_ms.items() if ms > limit_ms}
    assert not blocking, f"calls that block the event loop, in ms, best but one of {ROUNDS}: {blocking}"  # noqa: S101 for pytest
