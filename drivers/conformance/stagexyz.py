"""The contract of `drivers.parts.StageXYZ`, as tests: readings, moves, limits, the flag, stop, cancelled calls."""

# ruff: noqa: D102, S101

import asyncio
import math
from itertools import cycle

import pytest

from drivers.approach import OnClock, arrive_xy
from drivers.conformance.bench import Bench, cancelled_soon, on_bench
from drivers.conformance.responsive import assert_responsive
from drivers.contract import Microscope
from drivers.parts import StageXYZ
from engine.clock import Clock
from engine.errors import DeviceBusy, DeviceError, Refused

POLL_S = 0.05


class StageXYZConformance:
    """The contract of `drivers.parts.StageXYZ`."""

    @on_bench
    async def test_limits_and_backlash_make_sense(self, bench: Bench, clock: Clock, microscope: Microscope) -> None:
        facts = _part(microscope).facts
        assert len(facts.limits_nm) == 3
        assert all(low_nm < high_nm for low_nm, high_nm in facts.limits_nm)
        assert 0 <= facts.backlash_nm < min(high_nm - low_nm for low_nm, high_nm in facts.limits_nm[:2])

    @on_bench
    async def test_the_interval_of_a_reading_lies_within_its_call(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        for _ in range(3):
            asked_ns = clock.now_ns()
            reading = await _part(microscope).position()
            assert asked_ns <= reading.t_before_ns <= reading.t_after_ns <= clock.now_ns()

    @on_bench
    async def test_readings_asked_for_at_once_are_all_answered(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        stage = _part(microscope)
        readings = await asyncio.gather(*(stage.position() for _ in range(4)))
        values_nm = [reading.x_nm for reading in readings]
        assert max(values_nm) - min(values_nm) <= bench.scatter_nm

    @pytest.mark.parametrize("direction", [+1, -1])
    @on_bench
    async def test_a_move_across_the_beam_ends_at_its_place_and_leaves_the_height(
        self, bench: Bench, clock: Clock, microscope: Microscope, direction: int
    ) -> None:
        stage = _part(microscope)
        begin = await stage.position()
        x_nm, y_nm = begin.x_nm + direction * bench.distance_nm, begin.y_nm - direction * bench.distance_nm / 2
        await stage.move_xy(x_nm, y_nm)
        await _until_at_rest(clock, stage)
        await _assert_at(bench, stage, x_nm, y_nm, begin.z_nm)

    @pytest.mark.parametrize("direction", [+1, -1])
    @on_bench
    async def test_a_move_along_the_beam_ends_at_its_height_and_leaves_the_place(
        self, bench: Bench, clock: Clock, microscope: Microscope, direction: int
    ) -> None:
        stage = _part(microscope)
        begin = await stage.position()
        z_nm = begin.z_nm + direction * bench.distance_nm / 2
        await stage.move_z(z_nm)
        await _until_at_rest(clock, stage)
        await _assert_at(bench, stage, begin.x_nm, begin.y_nm, z_nm)

    @on_bench
    async def test_a_move_returns_while_the_stage_moves_and_the_flag_says_so(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        stage = _part(microscope)
        begin = await stage.position()
        x_nm = begin.x_nm + bench.distance_nm
        await stage.move_xy(x_nm, begin.y_nm)
        assert await stage.is_moving() is True
        assert (await stage.position()).x_nm < x_nm - bench.scatter_nm
        await _until_at_rest(clock, stage)
        assert await stage.is_moving() is False

    @pytest.mark.parametrize("side", [0, 1], ids=["low", "high"])
    @on_bench
    async def test_past_a_limit_nothing_moves(
        self, bench: Bench, clock: Clock, microscope: Microscope, side: int
    ) -> None:
        stage = _part(microscope)
        begin = await stage.position()
        past_x_nm, past_y_nm, past_z_nm = (limits[side] + (-1.0, 1.0)[side] for limits in stage.facts.limits_nm)
        with pytest.raises(DeviceError, match="nothing moved"):
            await stage.move_xy(past_x_nm, begin.y_nm)
        with pytest.raises(DeviceError, match="nothing moved"):
            await stage.move_xy(begin.x_nm, past_y_nm)
        with pytest.raises(DeviceError, match="nothing moved"):
            await stage.move_z(past_z_nm)
        await clock.sleep_s(0.3)
        await _assert_at(bench, stage, begin.x_nm, begin.y_nm, begin.z_nm)

    @on_bench
    async def test_no_number_is_no_place(self, bench: Bench, clock: Clock, microscope: Microscope) -> None:
        stage = _part(microscope)
        with pytest.raises(DeviceError):
            await stage.move_xy(math.nan, 0.0)
        with pytest.raises(DeviceError):
            await stage.move_z(math.nan)

    @on_bench
    async def test_a_moving_stage_is_busy_and_its_move_goes_on(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        stage = _part(microscope)
        begin = await stage.position()
        x_nm = begin.x_nm + bench.distance_nm
        await stage.move_xy(x_nm, begin.y_nm)
        with pytest.raises(DeviceBusy):
            await stage.move_xy(begin.x_nm, begin.y_nm)
        with pytest.raises(DeviceBusy):
            await stage.move_z(begin.z_nm)
        await _until_at_rest(clock, stage)
        await _assert_at(bench, stage, x_nm, begin.y_nm, begin.z_nm)

    @on_bench
    async def test_stop_ends_a_move_or_says_that_it_cannot(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        stage = _part(microscope)
        begin = await stage.position()
        x_nm = begin.x_nm + 3 * bench.distance_nm
        await stage.move_xy(x_nm, begin.y_nm)
        try:
            await stage.stop()
        except DeviceError:
            await _until_at_rest(clock, stage)
            await _assert_at(bench, stage, x_nm, begin.y_nm, begin.z_nm)
        else:
            await _until_at_rest(clock, stage)
            assert (await stage.position()).x_nm < x_nm - bench.scatter_nm

    @on_bench
    async def test_stop_is_harmless_when_nothing_moves(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        stage = _part(microscope)
        begin = await stage.position()
        for _ in range(3):
            await stage.stop()
        await _assert_at(bench, stage, begin.x_nm, begin.y_nm, begin.z_nm)

    @on_bench
    async def test_a_place_is_arrived_at_from_below(self, bench: Bench, clock: Clock, microscope: Microscope) -> None:
        stage = _part(microscope)
        begin = await stage.position()
        x_nm, y_nm = begin.x_nm - bench.distance_nm, begin.y_nm + bench.distance_nm
        await arrive_xy(stage, OnClock(clock), x_nm, y_nm)
        assert await stage.is_moving() is False
        await _assert_at(bench, stage, x_nm, y_nm, begin.z_nm)
        with pytest.raises(Refused):
            await arrive_xy(stage, OnClock(clock), stage.facts.limits_nm[0][0] - 1.0, y_nm)
        await _assert_at(bench, stage, x_nm, y_nm, begin.z_nm)

    @on_bench
    async def test_a_cancelled_call_leaves_the_stage_usable(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        stage = _part(microscope)
        begin = await stage.position()
        await cancelled_soon(stage.position())
        await cancelled_soon(stage.is_moving())
        await cancelled_soon(stage.stop())
        await _assert_at(bench, stage, begin.x_nm, begin.y_nm, begin.z_nm)
        await cancelled_soon(stage.move_xy(begin.x_nm + bench.distance_nm, begin.y_nm))
        await _until_at_rest(clock, stage)
        await stage.move_xy(begin.x_nm, begin.y_nm)
        await _until_at_rest(clock, stage)
        await _assert_at(bench, stage, begin.x_nm, begin.y_nm, begin.z_nm)

    @on_bench
    async def test_no_call_to_the_stage_blocks_the_event_loop(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        stage = _part(microscope)
        begin = await stage.position()
        near = cycle((begin.x_nm + 10.0, begin.x_nm))

        async def move() -> None:
            await stage.move_xy(next(near), begin.y_nm)
            await _until_at_rest(clock, stage)

        await assert_responsive(
            clock,
            {
                "stagexyz.position": stage.position,
                "stagexyz.move_xy": move,
                "stagexyz.is_moving": stage.is_moving,
                "stagexyz.stop": stage.stop,
            },
        )


def _part(microscope: Microscope) -> StageXYZ:
    assert microscope.stagexyz is not None, "this instrument has no stagexyz"
    return microscope.stagexyz


async def _until_at_rest(clock: Clock, stage: StageXYZ) -> None:
    while await stage.is_moving():
        await clock.sleep_s(POLL_S)


async def _assert_at(bench: Bench, stage: StageXYZ, x_nm: float, y_nm: float, z_nm: float) -> None:
    reading = await stage.position()
    off_nm = (reading.x_nm - x_nm, reading.y_nm - y_nm, reading.z_nm - z_nm)
    assert max(abs(each) for each in off_nm) <= bench.scatter_nm
