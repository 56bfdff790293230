"""The contract of `drivers.contract.Stage`, as tests: readings, rotations, limits, stop, cancelled calls."""

# ruff: noqa: D102, S101

import asyncio
import math
from itertools import cycle, pairwise
from typing import Any

import pytest

from drivers.conformance.bench import Bench, cancelled_soon, on_bench
from drivers.conformance.responsive import assert_responsive
from drivers.contract import Microscope, Reading
from engine.clock import NS_PER_S, Clock
from engine.errors import DeviceError


class StageConformance:
    """The contract of `drivers.contract.Stage`."""

    @on_bench
    async def test_limits_and_backlash_make_sense(self, bench: Bench, clock: Clock, microscope: Microscope) -> None:
        facts = microscope.stage.facts
        low_deg, high_deg = facts.limits_deg
        assert -180 <= low_deg < high_deg <= 180
        assert 0 <= facts.backlash_deg < 5
        assert list(facts.speeds_deg_s) == sorted(speed for speed in facts.speeds_deg_s if speed > 0)

    @on_bench
    async def test_the_interval_of_a_reading_lies_within_its_call(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        for _ in range(5):
            asked_ns = clock.now_ns()
            reading = await microscope.stage.angle()
            assert asked_ns <= reading.t_before_ns <= reading.t_after_ns <= clock.now_ns()
            low_deg, high_deg = microscope.stage.facts.limits_deg
            assert low_deg - 0.1 <= reading.value <= high_deg + 0.1

    @on_bench
    async def test_readings_asked_for_at_once_are_all_answered(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        readings = await asyncio.gather(*(microscope.stage.angle() for _ in range(4)))
        values = [reading.value for reading in readings]
        assert max(values) - min(values) <= bench.scatter_deg

    @pytest.mark.parametrize("direction", [+1, -1])
    @on_bench
    async def test_a_rotation_moves_to_its_target_and_stays_there(
        self, bench: Bench, clock: Clock, microscope: Microscope, direction: int
    ) -> None:
        stage = microscope.stage
        begin_deg = (await stage.angle()).value
        target_deg = begin_deg + direction * bench.travel_deg
        await stage.rotate(target_deg, bench.speed_deg_s)
        readings = await self._until_at_rest(bench, clock, microscope)
        values = [reading.value for reading in readings]
        assert abs(values[-1] - target_deg) <= bench.scatter_deg
        steps = [direction * (after - before) for before, after in pairwise([begin_deg, *values])]
        assert min(steps) >= -bench.scatter_deg  # never the other way

    @on_bench
    async def test_rotate_returns_while_the_stage_moves(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        stage = microscope.stage
        begin_deg = (await stage.angle()).value
        await stage.rotate(begin_deg + bench.travel_deg, bench.speed_deg_s)
        # Not at its target yet, however slow the machine was: nobody waited for the end.
        assert abs((await stage.angle()).value - begin_deg) < bench.travel_deg - bench.scatter_deg
        await stage.stop()

    @on_bench
    async def test_the_speed_of_a_rotation_is_the_one_asked_for(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        stage = microscope.stage
        begin_deg = (await stage.angle()).value
        await stage.rotate(begin_deg + bench.travel_deg, bench.speed_deg_s)
        first = await self._beyond(stage, begin_deg + 0.3 * bench.travel_deg)
        last = await self._beyond(stage, begin_deg + 0.7 * bench.travel_deg)
        shortest_s = (last.t_before_ns - first.t_after_ns) / NS_PER_S
        longest_s = (last.t_after_ns - first.t_before_ns) / NS_PER_S
        moved_deg = last.value - first.value
        # True at unknown instants within their intervals, the readings bound the speed and say no more.
        assert moved_deg - bench.scatter_deg <= 1.05 * bench.speed_deg_s * longest_s
        if last.value < begin_deg + 0.95 * bench.travel_deg:  # else it may have come to rest before
            assert moved_deg + bench.scatter_deg >= 0.95 * bench.speed_deg_s * shortest_s

    @pytest.mark.parametrize("side", [0, 1], ids=["low", "high"])
    @on_bench
    async def test_past_a_limit_nothing_moves(
        self, bench: Bench, clock: Clock, microscope: Microscope, side: int
    ) -> None:
        stage = microscope.stage
        before_deg = (await stage.angle()).value
        past_deg = stage.facts.limits_deg[side] + (-0.5, +0.5)[side]
        with pytest.raises(DeviceError, match="nothing moved"):
            await stage.rotate(past_deg, bench.speed_deg_s)
        await clock.sleep_s(0.3)
        assert abs((await stage.angle()).value - before_deg) <= bench.scatter_deg

    @on_bench
    async def test_no_number_is_no_target(self, bench: Bench, clock: Clock, microscope: Microscope) -> None:
        with pytest.raises(DeviceError):
            await microscope.stage.rotate(math.nan, bench.speed_deg_s)

    @on_bench
    async def test_stop_ends_a_rotation(self, bench: Bench, clock: Clock, microscope: Microscope) -> None:
        stage = microscope.stage
        begin_deg = (await stage.angle()).value
        await stage.rotate(begin_deg + bench.travel_deg, bench.speed_deg_s)
        await self._beyond(stage, begin_deg + 0.2 * bench.travel_deg)
        await stage.stop()
        readings = await self._until_at_rest(bench, clock, microscope)
        assert abs(readings[-1].value - begin_deg) < 0.9 * bench.travel_deg

    @on_bench
    async def test_stop_is_harmless_when_nothing_moves(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        stage = microscope.stage
        before_deg = (await stage.angle()).value
        for _ in range(3):
            await stage.stop()
        assert abs((await stage.angle()).value - before_deg) <= bench.scatter_deg

    @on_bench
    async def test_a_stopped_stage_can_rotate_again(self, bench: Bench, clock: Clock, microscope: Microscope) -> None:
        stage = microscope.stage
        begin_deg = (await stage.angle()).value
        await stage.rotate(begin_deg + bench.travel_deg, bench.speed_deg_s)
        await stage.stop()
        await stage.rotate(begin_deg - bench.travel_deg / 2, bench.speed_deg_s)
        readings = await self._until_at_rest(bench, clock, microscope)
        assert abs(readings[-1].value - (begin_deg - bench.travel_deg / 2)) <= bench.scatter_deg

    @on_bench
    async def test_a_stage_left_to_the_pedal_can_be_stopped(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        stage = microscope.stage
        await stage.release_to_pedal((await stage.angle()).value + bench.travel_deg, bench.speed_deg_s)
        await stage.stop()
        await self._until_at_rest(bench, clock, microscope)

    @on_bench
    async def test_a_cancelled_stage_call_leaves_the_stage_usable(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        stage = microscope.stage
        before_deg = (await stage.angle()).value
        await cancelled_soon(stage.angle())
        await cancelled_soon(stage.stop())
        assert abs((await stage.angle()).value - before_deg) <= bench.scatter_deg
        await cancelled_soon(stage.rotate(before_deg + bench.travel_deg, bench.speed_deg_s))
        await stage.stop()  # it may have started
        await self._until_at_rest(bench, clock, microscope)

    @on_bench
    async def test_no_stage_call_blocks_the_event_loop(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        stage = microscope.stage
        here_deg = (await stage.angle()).value
        targets_deg = cycle((here_deg + bench.travel_deg, here_deg - bench.travel_deg))
        await assert_responsive(
            clock,
            {
                "stage.angle": stage.angle,
                "stage.rotate": lambda: stage.rotate(next(targets_deg), bench.speed_deg_s),
                "stage.angle, turning": stage.angle,
                "stage.stop": stage.stop,
            },
        )

    @staticmethod
    async def _beyond(stage: Any, angle_deg: float) -> Reading:
        """The first reading above an angle."""
        while (reading := await stage.angle()).value < angle_deg:
            pass
        result: Reading = reading
        return result

    @staticmethod
    async def _until_at_rest(bench: Bench, clock: Clock, microscope: Microscope) -> list[Reading]:
        """Readings until three in a row, 0.2 s apart, agree."""
        readings: list[Reading] = []
        while True:
            readings.append(await microscope.stage.angle())
            last = [reading.value for reading in readings[-3:]]
            if len(last) == 3 and max(last) - min(last) <= bench.scatter_deg:
                return readings
            await clock.sleep_s(0.2)
