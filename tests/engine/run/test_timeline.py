"""Slots, the watch on the period, and steps: what is done, what is not, and what the trace says of it."""

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.clock import NS_PER_MS
from engine.clock.virtual import VirtualClock
from engine.errors import BudgetExceeded, Underflow
from engine.record.trace import Record, Trace
from engine.run.timeline import PeriodMonitor, SlotGrid, Timeline
from tests.engine.virtually import virtual

DAY_NS = 86_400 * 10**9
GRIDS = st.builds(
    SlotGrid,
    first_ns=st.integers(-DAY_NS, DAY_NS),
    period_ns=st.integers(1, 20 * 10**9),
    first_slot=st.integers(-1000, 100_000),
)
SLOTS = st.integers(-10_000, 1_000_000)


@given(grid=GRIDS, slot=SLOTS)
def test_a_boundary_belongs_to_the_slot_that_begins_there(grid: SlotGrid, slot: int) -> None:
    start_ns = grid.start_ns(slot)
    assert isinstance(start_ns, int)
    assert grid.slot_at(start_ns) == slot
    assert grid.next_slot(start_ns) == slot


@given(grid=GRIDS, slot=SLOTS)
def test_one_nanosecond_decides_between_two_slots(grid: SlotGrid, slot: int) -> None:
    start_ns = grid.start_ns(slot)
    assert grid.slot_at(start_ns - 1) == slot - 1
    assert grid.next_slot(start_ns + 1) == slot + 1


@given(grid=GRIDS, t_ns=st.integers(-DAY_NS, 10 * DAY_NS))
def test_every_instant_lies_in_its_slot_and_before_the_next(grid: SlotGrid, t_ns: int) -> None:
    slot = grid.slot_at(t_ns)
    assert grid.start_ns(slot) <= t_ns < grid.start_ns(slot + 1)
    following = grid.next_slot(t_ns)
    assert grid.start_ns(following - 1) < t_ns <= grid.start_ns(following)


@given(grid=GRIDS, slot=SLOTS, steps=st.integers(0, 100_000))
def test_slots_do_not_drift(grid: SlotGrid, slot: int, steps: int) -> None:
    assert grid.start_ns(slot + steps) - grid.start_ns(slot) == steps * grid.period_ns


@given(
    grid=GRIDS, slot=SLOTS, late_ns=st.integers(0, 10**9), period_ns=st.integers(1, 10**10), ahead=st.integers(0, 99)
)
def test_a_stretched_grid_goes_on_from_the_slot_where_it_was_stretched(
    grid: SlotGrid, slot: int, late_ns: int, period_ns: int, ahead: int
) -> None:
    start_ns = grid.start_ns(slot) + late_ns
    stretched = grid.stretched(slot, start_ns, period_ns)
    assert stretched.start_ns(slot + ahead) == start_ns + ahead * period_ns
    assert stretched.slot_at(start_ns) == slot
    assert grid.start_ns(slot) == start_ns - late_ns  # the old grid is as it was


def test_slots_are_numbered_from_one() -> None:
    grid = SlotGrid(first_ns=100, period_ns=10)
    assert [grid.start_ns(slot) for slot in (1, 2, 3)] == [100, 110, 120]


@pytest.mark.parametrize("period_ns", [0, -1])
def test_a_grid_needs_a_positive_period(period_ns: int) -> None:
    with pytest.raises(ValueError, match="positive"):
        SlotGrid(0, period_ns)


PERIOD_NS = 512 * NS_PER_MS


def test_a_slow_first_frame_does_not_move_the_grid() -> None:
    monitor = PeriodMonitor(PERIOD_NS)
    monitor.observe(PERIOD_NS + 300 * NS_PER_MS)
    for _ in range(600):
        assert monitor.median_ns == PERIOD_NS
        assert monitor.too_long_ns() == 0
        monitor.observe(PERIOD_NS)


def test_a_camera_that_really_is_slower_is_noticed_after_half_the_window() -> None:
    monitor = PeriodMonitor(PERIOD_NS, window=11)
    for _ in range(11):
        monitor.observe(PERIOD_NS)
    noticed = []
    for _ in range(11):
        monitor.observe(PERIOD_NS + 4 * NS_PER_MS)
        noticed.append(monitor.too_long_ns())
    assert noticed == [0] * 5 + [4 * NS_PER_MS] * 6


def test_until_half_the_window_is_filled_the_declared_period_stands() -> None:
    monitor = PeriodMonitor(PERIOD_NS, window=11)
    medians = []
    for _ in range(7):
        monitor.observe(PERIOD_NS + 1)
        medians.append(monitor.median_ns - PERIOD_NS)
    assert medians == [0] * 5 + [1] * 2


def test_a_faster_camera_is_not_too_long() -> None:
    monitor = PeriodMonitor(PERIOD_NS)
    for _ in range(11):
        monitor.observe(PERIOD_NS - 9)
    assert monitor.median_ns == PERIOD_NS - 9
    assert monitor.too_long_ns() == 0


def test_after_a_restart_earlier_frames_do_not_count() -> None:
    monitor = PeriodMonitor(PERIOD_NS)
    for _ in range(11):
        monitor.observe(PERIOD_NS + 9)
    monitor.restart(PERIOD_NS + 7)
    assert monitor.median_ns == PERIOD_NS + 7
    assert monitor.too_long_ns() == 0


@given(
    outliers=st.lists(st.integers(1, 10**11), max_size=5),
    place=st.randoms(use_true_random=False),
    period_ns=st.integers(10**6, 10**10),
)
def test_up_to_five_odd_frames_in_eleven_change_nothing(outliers: list[int], place: Any, period_ns: int) -> None:
    frames = outliers + [period_ns] * (11 - len(outliers))
    place.shuffle(frames)
    monitor = PeriodMonitor(period_ns)
    for interval_ns in frames:
        monitor.observe(interval_ns)
    assert monitor.median_ns == period_ns


def timeline(clock: VirtualClock) -> tuple[Timeline, list[Record]]:
    trace = Trace(clock)
    records: list[Record] = []
    trace.observe(records.append)
    return Timeline(clock, trace), records


STEP: dict[str, Any] = {"slot": 7, "at_ns": 1000, "budget_ns": 500, "tolerance_ns": 100}


@virtual
async def test_a_step_begins_at_its_instant_and_records_its_slack(clock: VirtualClock) -> None:
    line, records = timeline(clock)
    await line.wait("work", 400)
    async with line.step("expose", **STEP) as start_ns:
        assert start_ns == clock.now_ns() == line.now_ns == 1000
        await line.wait("work", 1350)
    assert records == [
        {
            "seq": 0,
            "t_ns": 1350,
            "kind": "step",
            "name": "expose",
            "slot": 7,
            "planned_ns": 1000,
            "start_ns": 1000,
            "end_ns": 1350,
            "slack_ns": 600,
            "left_ns": 150,
            "verdict": "ok",
        }
    ]


@virtual
async def test_a_step_that_would_begin_too_late_is_not_done(clock: VirtualClock) -> None:
    line, records = timeline(clock)
    await line.wait("work", 1101)
    done = False
    with pytest.raises(Underflow, match=r"expose, slot 7: would start 0.0 ms late .*not done"):
        async with line.step("expose", **STEP):
            done = True
    assert not done
    assert [(r["kind"], r.get("verdict"), r.get("slack_ns")) for r in records] == [
        ("wake", None, None),
        ("step", "underflow", -101),
    ]


@virtual
async def test_what_was_too_late_or_too_long_is_told_in_milliseconds(clock: VirtualClock) -> None:
    line, _ = timeline(clock)
    step: dict[str, Any] = {"slot": 3, "at_ns": 40_000_000, "budget_ns": 12_500_000, "tolerance_ns": 2_500_000}
    await line.wait("work", 43_400_000)
    with pytest.raises(Underflow, match=r"start 3\.4 ms late \(tolerance 2\.5 ms\); not done"):
        async with line.step("expose", **step):
            pass
    with pytest.raises(BudgetExceeded, match=r"took 0\.8 ms more than its 12\.5 ms; devices are in the state after"):
        async with line.step("expose", **{**step, "at_ns": 50_000_000}) as start_ns:
            await line.wait("work", start_ns + 13_300_000)


@virtual
async def test_a_step_late_within_its_tolerance_is_done(clock: VirtualClock) -> None:
    line, records = timeline(clock)
    await line.wait("work", 1100)
    async with line.step("expose", **STEP) as start_ns:
        assert start_ns == 1100
    assert records[-1]["verdict"] == "ok"
    assert records[-1]["slack_ns"] == -100


@pytest.mark.parametrize(("took_ns", "verdict"), [(499, "ok"), (500, "ok"), (501, "over")])
@virtual
async def test_a_step_over_its_budget_was_done_and_says_so(clock: VirtualClock, took_ns: int, verdict: str) -> None:
    line, records = timeline(clock)
    done = False
    over = (
        pytest.raises(BudgetExceeded, match="refocus, slot 7: done, but took") if verdict == "over" else nullcontext()
    )
    with over:
        async with line.step("refocus", **STEP) as start_ns:
            await line.wait("work", start_ns + took_ns)
            done = True
    assert done
    assert records[-1]["verdict"] == verdict
    assert records[-1]["left_ns"] == 500 - took_ns


@virtual
async def test_the_budget_counts_from_the_true_start(clock: VirtualClock) -> None:
    line, records = timeline(clock)
    await line.wait("work", 1090)
    async with line.step("expose", **STEP):
        await line.wait("work", 1590)
    assert records[-1]["left_ns"] == 0


@virtual
async def test_a_step_that_may_stretch_is_recorded_as_over_and_goes_on(clock: VirtualClock) -> None:
    line, records = timeline(clock)
    async with line.step("refocus", **STEP, stretch=True):
        await line.wait("work", 2000)
    assert records[-1]["verdict"] == "over"
    assert records[-1]["left_ns"] == -500


@virtual
async def test_an_error_in_the_body_is_the_error_of_the_step(clock: VirtualClock) -> None:
    line, records = timeline(clock)
    with pytest.raises(KeyError):
        async with line.step("expose", **STEP):
            raise KeyError
    assert all(record.get("verdict") != "ok" for record in records)


@pytest.mark.parametrize(("begin_ns", "expected"), [(999, []), (1000, []), (1003, [(1000, 1003)])])
@virtual
async def test_a_wake_is_recorded_only_when_it_was_late(
    clock: VirtualClock, begin_ns: int, expected: list[tuple[int, int]]
) -> None:
    line, records = timeline(clock)
    await line.wait("work", begin_ns)
    assert await line.wait("settle", 1000) == max(begin_ns, 1000)
    assert [(r["deadline_ns"], r["woke_ns"]) for r in records if r["kind"] == "wake"] == expected


@pytest.mark.parametrize(("deadline_ns", "given_up"), [(500, True), (600, False), (900, False)])
@virtual
async def test_a_wait_that_was_given_up_is_recorded_when_its_instant_had_passed(
    clock: VirtualClock, deadline_ns: int, given_up: bool
) -> None:
    """The loop is held up over both, so that who cancels comes to it first."""
    line, records = timeline(clock)
    work = asyncio.ensure_future(line.wait("settle", deadline_ns))
    await clock.sleep_until(400)
    clock.block_s(200e-9)
    work.cancel()
    await asyncio.wait({work})
    assert work.cancelled()
    expected = {"deadline_ns": deadline_ns, "woke_ns": 600, "given_up": True}
    assert [{key: r[key] for key in expected} for r in records] == ([expected] if given_up else [])


@given(
    period_ns=st.integers(1, 10**9),
    works=st.lists(st.fractions(0, 1), min_size=1, max_size=30),
)
@virtual
async def test_steps_whose_work_fits_follow_each_other_without_drift(
    clock: VirtualClock, period_ns: int, works: list[Fraction]
) -> None:
    line, records = timeline(clock)
    grid = SlotGrid(first_ns=clock.now_ns() + period_ns, period_ns=period_ns)
    for slot, share in enumerate(works, start=1):
        step: Callable[..., Any] = line.step
        async with step("expose", slot=slot, at_ns=grid.start_ns(slot), budget_ns=period_ns, tolerance_ns=0) as start:
            await line.wait("work", start + int(share * period_ns))
    assert [r["start_ns"] for r in records] == [grid.start_ns(slot) for slot in range(1, len(works) + 1)]
    assert {r["verdict"] for r in records} == {"ok"}
