"""Is this machine fit for the plan? One second of precise waits before a run on the real clock."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from engine.clock import NS_PER_MS, Clock, fast_thread_switches, ns
from engine.errors import Refused

TEST_WAITS = 80
TEST_STEP_S = 0.0125


@dataclass(frozen=True, slots=True)
class TimingHealth:
    """How late precise waits ended on this machine just now, in milliseconds."""

    median_ms: float
    p99_ms: float
    max_ms: float


async def measure_timing(clock: Clock) -> TimingHealth:
    """Take about a second of precise waits, 12.5 ms apart, and see how late they end."""
    begin_ns = clock.now_ns()
    late_ns = []
    for k in range(1, TEST_WAITS + 1):
        deadline_ns = begin_ns + k * ns(TEST_STEP_S)
        late_ns.append(await clock.sleep_until(deadline_ns, precise=True) - deadline_ns)
    late_ms = sorted(late / NS_PER_MS for late in late_ns)
    return TimingHealth(late_ms[len(late_ms) // 2], late_ms[int(0.99 * (len(late_ms) - 1))], late_ms[-1])


def check_timing(health: TimingHealth, smallest_margin_s: float) -> None:
    """Raise Refused when this machine wakes later than the plan can bear."""
    margin_ms = smallest_margin_s * 1000
    if health.p99_ms > margin_ms:
        raise Refused(
            f"timing: this machine wakes up to {health.p99_ms:.2f} ms late (99th percentile), the plan's smallest "
            f"margin is {margin_ms:.2f} ms; nothing was started. Close other programs, lengthen exposure_s, or run "
            "with --accept-timing."
        )


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keep the interpreter from taking long breaks: quick thread switches, and no search through old objects.

    What is alive at the start of a run is put out of the garbage collector's sight, so that collecting during the
    run takes microseconds instead of tens of milliseconds.
    """
    gc.collect()
    gc.freeze()
    try:
        with fast_thread_switches():
            yield
    finally:
        gc.unfreeze()
