"""A machine that wakes later than the plan can bear is refused before anything moves."""

import gc
import sys

import pytest

from engine.clock import RealClock
from engine.clock.selftest import TimingHealth, check_timing, measure_timing, undisturbed
from engine.clock.virtual import VirtualClock
from engine.errors import Refused
from tests.engine.virtually import really, virtual


def health(p99_ms: float) -> TimingHealth:
    return TimingHealth(median_ms=0.01, p99_ms=p99_ms, max_ms=80.0)


@pytest.mark.parametrize("p99_ms", [0.0, 3.9, 4.0])
def test_a_machine_within_the_margin_may_run_the_plan(p99_ms: float) -> None:
    check_timing(health(p99_ms), smallest_margin_s=0.004)


@pytest.mark.parametrize("p99_ms", [4.01, 25.0, float("inf")])
def test_a_machine_that_wakes_too_late_is_refused_with_both_figures(p99_ms: float) -> None:
    with pytest.raises(Refused, match=rf"{p99_ms:.2f} ms late .* margin is 4\.00 ms; nothing was started.*--accept"):
        check_timing(health(p99_ms), smallest_margin_s=0.004)


@virtual
async def test_a_virtual_machine_is_never_late(clock: VirtualClock) -> None:
    assert await measure_timing(clock) == TimingHealth(0.0, 0.0, 0.0)
    assert clock.now_ns() == 1_000_000_000


@virtual
async def test_a_few_late_wakes_in_a_hundred_are_the_tail_not_the_median(clock: VirtualClock) -> None:
    class Late(VirtualClock):
        async def sleep_until(self, deadline_ns: int, *, precise: bool = False, at_rest: bool = False) -> int:
            waits.append(precise)
            late_ns = {7: 5_000_000, 40: 2_000_000}.get(len(waits), 10_000)
            return await super().sleep_until(deadline_ns) + late_ns

    waits: list[bool] = []
    measured = await measure_timing(Late(clock._loop))
    assert measured == TimingHealth(median_ms=0.01, p99_ms=2.0, max_ms=5.0)
    assert all(waits)  # as frames are started: precisely


@pytest.mark.realtime
@really
async def test_the_self_test_of_a_real_machine_orders_its_figures(clock: RealClock) -> None:
    measured = await measure_timing(clock)
    assert 0 <= measured.median_ms <= measured.p99_ms <= measured.max_ms


def test_an_undisturbed_run_gives_everything_back() -> None:
    before = sys.getswitchinterval(), gc.get_freeze_count()
    with undisturbed():
        assert gc.get_freeze_count() > 0
        assert sys.getswitchinterval() < 0.001
        assert gc.isenabled()
    assert (sys.getswitchinterval(), gc.get_freeze_count()) == before
