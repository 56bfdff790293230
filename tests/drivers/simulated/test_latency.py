"""Calls take their typical time, now and then much longer, queue up in order, and the same again with the same seed."""

import asyncio
from itertools import pairwise
from statistics import median

import numpy as np
import pytest

from drivers.simulated.latency import WORST, Interface, generator
from engine.clock import NS_PER_S
from engine.clock.virtual import VirtualClock
from tests.engine.virtually import virtual

CALLS = 20_000


async def durations_s(
    clock: VirtualClock, interface: Interface, count: int, typical_s: float | None = None
) -> list[float]:
    durations = []
    for _ in range(count):
        asked_ns = clock.now_ns()
        async with interface.call(typical_s) as (begin_ns, end_ns):
            assert (begin_ns, end_ns) == (asked_ns, clock.now_ns())
        durations.append((end_ns - begin_ns) / NS_PER_S)
    return durations


@pytest.mark.parametrize("seed", [1, 2])
@virtual
async def test_a_call_takes_35_ms_and_one_in_two_hundred_more_than_its_worst(clock: VirtualClock, seed: int) -> None:
    durations = await durations_s(clock, Interface(clock, seed, 0.035), CALLS)
    assert median(durations) == pytest.approx(0.035, rel=0.01)
    beyond = sum(duration > WORST * 0.035 for duration in durations) / CALLS
    assert 0.0035 <= beyond <= 0.0065
    assert min(durations) > 0.020
    assert max(durations) < 4.0 * 1.5 * 0.035
    assert 0.9 * 0.035 < np.percentile(durations, 10) < np.percentile(durations, 90) < 1.15 * 0.035


@virtual
async def test_a_stage_reading_may_be_slower_than_other_calls(clock: VirtualClock) -> None:
    interface = Interface(clock, 1, 0.035)
    assert median(await durations_s(clock, interface, 500, 0.277)) == pytest.approx(0.277, rel=0.03)
    assert median(await durations_s(clock, interface, 500)) == pytest.approx(0.035, rel=0.03)


def series(seed: int) -> list[float]:
    found: list[float] = []

    @virtual
    async def calls(clock: VirtualClock) -> None:
        found.extend(await durations_s(clock, Interface(clock, seed, 0.035), 100))

    calls()
    return found


def test_the_same_seed_gives_the_same_durations() -> None:
    assert series(3) == series(3)
    assert series(3) != series(4)


def test_parts_of_the_instrument_have_independent_generators() -> None:
    stage, detector = generator(5, "goniometer"), generator(5, "detector")
    first = stage.random(10)
    detector.random(1000)
    assert not np.array_equal(first, generator(5, "detector").random(10))
    assert np.array_equal(first, generator(5, "goniometer").random(10))


@virtual
async def test_calls_made_at_once_are_answered_one_after_the_other(clock: VirtualClock) -> None:
    interface = Interface(clock, 1, 0.035)
    answers: list[tuple[int, int, int]] = []

    async def call(k: int) -> None:
        async with interface.call() as (begin_ns, end_ns):
            answers.append((k, begin_ns, end_ns))

    async with asyncio.TaskGroup() as group:
        for k in range(5):
            group.create_task(call(k))
    assert [k for k, *_ in answers] == [0, 1, 2, 3, 4]
    assert all(after[1] == before[2] for before, after in pairwise(answers))


@virtual
async def test_a_cancelled_call_frees_the_connection(clock: VirtualClock) -> None:
    interface = Interface(clock, 1, 0.035)
    first, second = (asyncio.create_task(durations_s(clock, interface, 1)) for _ in range(2))
    await clock.sleep_s(0.001)
    first.cancel()
    await asyncio.wait([first, second])
    assert not second.cancelled()
    assert clock.now_ns() < 0.2 * NS_PER_S
