"""Slots and steps: absolute deadlines instead of delays, and the slack measured at every step.

A run's time is cut into slots of one acquisition period T; slot k begins at `first + (k - 1) * T`. Steps are
placed at absolute instants, so nothing drifts. After ARTIQ, *slack* is the time left until a step's planned
start when the engine gets to it: negative slack is an underflow.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from statistics import median_low

from engine.clock import NS_PER_MS, Clock
from engine.errors import BudgetExceeded, Underflow
from engine.record.trace import Trace


@dataclass(frozen=True, slots=True)
class SlotGrid:
    """Slot k begins at `first_ns + (k - first_slot) * period_ns`; slots are numbered from 1."""

    first_ns: int
    period_ns: int
    first_slot: int = 1

    def __post_init__(self) -> None:
        if self.period_ns <= 0:
            raise ValueError("a slot needs a positive period")

    def start_ns(self, slot: int) -> int:
        """The boundary at which `slot` begins."""
        return self.first_ns + (slot - self.first_slot) * self.period_ns

    def slot_at(self, t_ns: int) -> int:
        """The slot whose interval [start, next start) holds `t_ns`."""
        return self.first_slot + (t_ns - self.first_ns) // self.period_ns

    def next_slot(self, t_ns: int) -> int:
        """The first slot that begins at `t_ns` or later."""
        return self.first_slot - (self.first_ns - t_ns) // self.period_ns

    def stretched(self, slot: int, start_ns: int, period_ns: int) -> "SlotGrid":
        """A grid on which `slot` begins at `start_ns` and periods last `period_ns`: explicit, never silent."""
        return replace(self, first_ns=start_ns, first_slot=slot, period_ns=period_ns)


class PeriodMonitor:
    """Watches how long the camera really takes per frame, by the median of recent frames.

    A mean since the start lets one slow first frame poison every later gap (a known fault of the peer program);
    a median over the last frames does not see it.
    """

    def __init__(self, period_ns: int, window: int = 11) -> None:
        self.period_ns = period_ns
        self._recent: deque[int] = deque(maxlen=window)

    def observe(self, interval_ns: int) -> None:
        """Add one frame's time from start to start, or to the moment at which the next could start."""
        self._recent.append(interval_ns)

    @property
    def median_ns(self) -> int:
        """Median of the recent frames; the declared period until half the window is filled."""
        if len(self._recent) <= (self._recent.maxlen or 0) // 2:
            return self.period_ns
        return median_low(self._recent)  # of six, four late ones are needed

    def too_long_ns(self) -> int:
        """By how much the median frame exceeds the period; 0 when frames fit their slots."""
        return max(0, self.median_ns - self.period_ns)

    def restart(self, period_ns: int) -> None:
        """Forget what was seen and watch against another period."""
        self.period_ns = period_ns
        self._recent.clear()


class Timeline:
    """Places steps on a clock and writes planned start, start, end and slack of each into the trace."""

    def __init__(self, clock: Clock, trace: Trace) -> None:
        self.clock = clock
        self._trace = trace

    @property
    def now_ns(self) -> int:
        """The run's time (`engine.record.trace`): decisions are made by it, so that a replay makes the same."""
        return self._trace.now_ns

    async def wait(self, name: str, deadline_ns: int, *, precise: bool = False) -> int:
        """Wait until an instant; return when it woke. A late wake is recorded: replay needs it.

        So is a wait whose instant had passed, but who waited was cancelled by an event that entered before the wake.
        """
        try:
            await self.clock.sleep_until(deadline_ns, precise=precise, at_rest=True)
        except asyncio.CancelledError:
            if (gone_ns := self.clock.now_ns()) > deadline_ns:
                self._trace.record("wake", name, deadline_ns=deadline_ns, woke_ns=gone_ns, given_up=True)
            raise
        woke_ns = self._trace.tick()
        if woke_ns > deadline_ns:
            self._trace.record("wake", name, deadline_ns=deadline_ns, woke_ns=woke_ns)
        return woke_ns

    @asynccontextmanager
    async def step(
        self, name: str, *, slot: int, at_ns: int, budget_ns: int, tolerance_ns: int, stretch: bool = False
    ) -> AsyncIterator[int]:
        """Wait precisely for `at_ns`, then run the body; yields the instant at which it began.

        Raises Underflow when it would begin more than `tolerance_ns` late: the body is NOT run, nothing was
        done. After the body, more than `budget_ns` since the start raises BudgetExceeded (the body WAS done),
        unless `stretch` allows it; either way the trace says so.
        """
        slack_ns = at_ns - self.now_ns
        start_ns = await self.wait(name, at_ns, precise=True)
        late_ns = start_ns - at_ns
        if late_ns > tolerance_ns:
            self._trace.record("step", name, slot=slot, planned_ns=at_ns, slack_ns=slack_ns, verdict="underflow")
            raise Underflow(
                f"{name}, slot {slot}: would start {late_ns / NS_PER_MS:.1f} ms late "
                f"(tolerance {tolerance_ns / NS_PER_MS:.1f} ms); not done, devices as before the step."
            )
        yield start_ns
        end_ns = self.now_ns
        left_ns = budget_ns - (end_ns - start_ns)
        verdict = "ok" if left_ns >= 0 else "over"
        self._trace.record(
            "step",
            name,
            slot=slot,
            planned_ns=at_ns,
            start_ns=start_ns,
            end_ns=end_ns,
            slack_ns=slack_ns,
            left_ns=left_ns,
            verdict=verdict,
        )
        if left_ns < 0 and not stretch:
            raise BudgetExceeded(
                f"{name}, slot {slot}: done, but took {-left_ns / NS_PER_MS:.1f} ms more than its "
                f"{budget_ns / NS_PER_MS:.1f} ms; devices are in the state after the step."
            )
