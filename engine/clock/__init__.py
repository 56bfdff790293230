"""The one time source: the clock on real and on virtual time, and the test whether this machine keeps time."""

from engine.clock.clock import (
    NS_PER_MS,
    NS_PER_S,
    SPIN_MAX_NS,
    BaseClock,
    Clock,
    RealClock,
    fast_thread_switches,
    ns,
    utc_now,
)

__all__ = [
    "NS_PER_MS",
    "NS_PER_S",
    "SPIN_MAX_NS",
    "BaseClock",
    "Clock",
    "RealClock",
    "fast_thread_switches",
    "ns",
    "utc_now",
]
