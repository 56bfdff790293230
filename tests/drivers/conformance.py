"""What every driver promises, as one suite: the contracts of drivers/base.py, checked on a connected instrument.

A driver's test module inherits the classes of the parts it implements (`MicroscopeConformance` for all) and gives a
fixture `bench`, which connects the instrument, runs a test's coroutine on it and lets go. Nothing here assumes virtual
time: only order, outcome and what readings say are judged, so the same suite runs on the simulation, on recordings
and against fake servers on the real clock.
"""

import asyncio
import math
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from drivers.base import Exposure, Microscope, Reading
from engine.clock import NS_PER_MS, NS_PER_S, Clock, ns
from engine.errors import DeviceBusy, DeviceError
from engine.frame import Frame
from tests.drivers.bench import Bench, after_cycle, cancelled_soon, numbers_left, on_bench


class StageConformance:
    """The contract of `drivers.base.Stage`."""

    @on_bench
    async def test_limits_and_backlash_make_sense(self, bench: Bench, clock: Clock, microscope: Microscope) -> None:
        low_deg, high_deg = microscope.stage.limits_deg
        assert -180 <= low_deg < high_deg <= 180
        assert 0 <= microscope.stage.backlash_deg < 5

    @on_bench
    async def test_the_interval_of_a_reading_lies_within_its_call(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        for _ in range(5):
            asked_ns = clock.now_ns()
            reading = await microscope.stage.angle()
            assert asked_ns <= reading.t_before_ns <= reading.t_after_ns <= clock.now_ns()
            low_deg, high_deg = microscope.stage.limits_deg
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
        readings = await self._until_atnumbers_left(bench, clock, microscope)
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
        assert abs((await stage.angle()).value - begin_deg) < bench.travel_deg / 2
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
        past_deg = stage.limits_deg[side] + (-0.5, +0.5)[side]
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
        readings = await self._until_atnumbers_left(bench, clock, microscope)
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
        readings = await self._until_atnumbers_left(bench, clock, microscope)
        assert abs(readings[-1].value - (begin_deg - bench.travel_deg / 2)) <= bench.scatter_deg

    @on_bench
    async def test_a_stage_left_to_the_pedal_can_be_stopped(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        stage = microscope.stage
        await stage.release_to_pedal((await stage.angle()).value + bench.travel_deg, bench.speed_deg_s)
        await stage.stop()
        await self._until_atnumbers_left(bench, clock, microscope)

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
        await self._until_atnumbers_left(bench, clock, microscope)

    @staticmethod
    async def _beyond(stage: Any, angle_deg: float) -> Reading:
        """The first reading above an angle."""
        while (reading := await stage.angle()).value < angle_deg:
            pass
        result: Reading = reading
        return result

    @staticmethod
    async def _until_atnumbers_left(bench: Bench, clock: Clock, microscope: Microscope) -> list[Reading]:
        """Readings until three in a row, 0.2 s apart, agree."""
        readings: list[Reading] = []
        while True:
            readings.append(await microscope.stage.angle())
            last = [reading.value for reading in readings[-3:]]
            if len(last) == 3 and max(last) - min(last) <= bench.scatter_deg:
                return readings
            await clock.sleep_s(0.2)


class BeamConformance:
    """The contract of `drivers.base.Beam`."""

    @on_bench
    async def test_the_blanker_does_what_it_is_told(self, bench: Bench, clock: Clock, microscope: Microscope) -> None:
        beam = microscope.beam
        for _ in range(2):
            await beam.unblank()
            assert await beam.is_blanked() is False
            await beam.blank()
            assert await beam.is_blanked() is True

    @on_bench
    async def test_blanking_a_blanked_beam_is_harmless(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        for _ in range(3):
            await microscope.beam.blank()
        assert await microscope.beam.is_blanked() is True

    @on_bench
    async def test_calls_made_at_once_take_effect_in_order(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        beam = microscope.beam
        await asyncio.gather(beam.blank(), beam.unblank(), beam.blank())
        assert await beam.is_blanked() is True

    @on_bench
    async def test_after_a_cancelled_unblank_the_beam_can_be_blanked(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        await cancelled_soon(microscope.beam.unblank())
        await microscope.beam.blank()
        assert await microscope.beam.is_blanked() is True


class OpticsConformance:
    """The contract of `drivers.base.Optics`."""

    @on_bench
    async def test_the_lens_keeps_the_value_it_was_given(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        optics = microscope.optics
        focus = await optics.focus()
        assert isinstance(focus, int)
        await optics.set_focus(focus + bench.defocus)
        assert await optics.focus() == focus + bench.defocus
        await optics.set_focus(focus)
        assert await optics.focus() == focus

    @on_bench
    async def test_a_larger_defocus_takes_no_less_to_settle(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        times_s = [microscope.optics.settling_s(share * bench.defocus // 4) for share in range(9)]
        assert times_s == sorted(times_s)
        assert 0 <= times_s[0] <= times_s[4] < 10
        assert microscope.optics.settling_s(-bench.defocus) == times_s[4]

    @on_bench
    async def test_a_cancelled_lens_call_leaves_the_lens_usable(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        optics = microscope.optics
        focus = await optics.focus()
        await cancelled_soon(optics.set_focus(focus + bench.defocus))
        await cancelled_soon(optics.focus())
        await optics.set_focus(focus)
        assert await optics.focus() == focus


class DetectorConformance:
    """The contract of `drivers.base.Detector`."""

    @staticmethod
    async def _arm(bench: Bench, microscope: Microscope) -> AsyncIterator[Frame]:
        await microscope.detector.arm(Exposure(bench.exposure_s, bench.snapshot_exposure_s))
        return aiter(microscope.detector.frames())

    @on_bench
    async def test_what_the_camera_says_of_itself_makes_sense(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        detector = microscope.detector
        rows, columns = detector.shape
        assert min(rows, columns) > 0
        assert 255 <= detector.saturation
        shortest_s, longest_s = detector.exposure_limits_s
        assert 0 < shortest_s < longest_s
        assert detector.cycle_s(bench.exposure_s) >= bench.exposure_s
        if detector.flatfield is not None:
            assert detector.flatfield.shape == detector.shape
            assert detector.flatfield.dtype == np.float32
            assert detector.flatfield.mean() == pytest.approx(1.0, abs=0.01)
            assert detector.flatfield.min() >= 0

    @on_bench
    async def test_each_start_gives_one_frame(self, bench: Bench, clock: Clock, microscope: Microscope) -> None:
        frames = await self._arm(bench, microscope)
        for number in range(3):
            asked_ns = clock.now_ns()
            opened_ns = await microscope.detector.start(bench.exposure_s)
            frame = await anext(frames)
            assert asked_ns <= opened_ns
            assert frame.number == number
            assert frame.counts.shape == microscope.detector.shape
            assert np.issubdtype(frame.counts.dtype, np.integer)
            assert 0 <= frame.counts.min() <= frame.counts.max() <= microscope.detector.saturation
            assert abs(frame.start_ns - opened_ns) <= NS_PER_MS
            assert frame.end_ns - frame.start_ns >= ns(bench.exposure_s)
            assert frame.end_ns <= clock.now_ns()

    @on_bench
    async def test_the_next_start_may_follow_after_the_cycle_time(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        frames = await self._arm(bench, microscope)
        for _ in range(6):
            began_ns = await microscope.detector.start(bench.exposure_s)
            await after_cycle(bench, clock, microscope, began_ns)
        received = [await anext(frames) for _ in range(6)]
        assert [frame.number for frame in received] == list(range(6))
        assert all(after.start_ns >= before.end_ns for before, after in pairwise(received))

    @on_bench
    async def test_frames_wait_for_a_receiver_that_is_late(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        frames = await self._arm(bench, microscope)
        for _ in range(3):
            began_ns = await microscope.detector.start(bench.exposure_s)
            await after_cycle(bench, clock, microscope, began_ns)
        await microscope.detector.disarm()
        assert [frame.number async for frame in frames] == [0, 1, 2]

    @on_bench
    async def test_the_receiver_owns_the_counts(self, bench: Bench, clock: Clock, microscope: Microscope) -> None:
        frames = await self._arm(bench, microscope)
        await microscope.detector.start(bench.exposure_s)
        first = await anext(frames)
        copy = first.counts.copy()
        await microscope.detector.start(bench.exposure_s)
        second = await anext(frames)
        assert not np.shares_memory(first.counts, second.counts)
        assert np.array_equal(first.counts, copy)

    @on_bench
    async def test_a_snapshot_between_frames_counts_as_one_of_them(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        frames = await self._arm(bench, microscope)
        lengths_ns, numbers = [], []
        for exposure_s in (bench.exposure_s, bench.snapshot_exposure_s, bench.exposure_s):
            await microscope.detector.start(exposure_s)
            frame = await anext(frames)
            numbers.append(frame.number)
            lengths_ns.append(frame.end_ns - frame.start_ns)
        assert numbers == [0, 1, 2]
        assert lengths_ns[1] >= ns(bench.snapshot_exposure_s)
        assert lengths_ns[1] < min(lengths_ns[0], lengths_ns[2])

    @on_bench
    async def test_a_start_during_an_exposure_is_refused_and_harms_nothing(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        frames = await self._arm(bench, microscope)
        await microscope.detector.start(bench.exposure_s)
        for _ in range(2):
            with pytest.raises(DeviceBusy):
                await microscope.detector.start(bench.exposure_s)
        assert (await anext(frames)).number == 0
        await microscope.detector.start(bench.exposure_s)
        assert (await anext(frames)).number == 1

    @on_bench
    async def test_a_camera_that_is_not_armed_does_not_expose(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        for _ in range(2):
            with pytest.raises(DeviceError, match="no exposure"):
                await microscope.detector.start(bench.exposure_s)
            await self._arm(bench, microscope)
            await microscope.detector.disarm()

    @on_bench
    async def test_the_frames_end_after_disarm(self, bench: Bench, clock: Clock, microscope: Microscope) -> None:
        frames = await self._arm(bench, microscope)
        await microscope.detector.start(bench.exposure_s)
        waiting = asyncio.ensure_future(anext(frames))
        assert (await waiting).number == 0
        ended = asyncio.create_task(numbers_left(frames))
        await asyncio.sleep(0)
        await microscope.detector.disarm()
        assert await ended == []

    @on_bench
    async def test_an_exposure_under_way_is_given_up_by_disarm(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        frames = await self._arm(bench, microscope)
        await microscope.detector.start(bench.exposure_s)
        await microscope.detector.disarm()
        assert await numbers_left(frames) == []

    @on_bench
    async def test_disarm_is_harmless_when_not_armed(self, bench: Bench, clock: Clock, microscope: Microscope) -> None:
        await microscope.detector.disarm()
        await self._arm(bench, microscope)
        for _ in range(3):
            await microscope.detector.disarm()

    @on_bench
    async def test_a_second_series_counts_from_zero_again(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        for _ in range(2):
            frames = await self._arm(bench, microscope)
            for number in range(2):
                await microscope.detector.start(bench.exposure_s)
                assert (await anext(frames)).number == number
            await microscope.detector.disarm()
            assert await numbers_left(frames) == []

    @on_bench
    async def test_nothing_of_an_earlier_series_reaches_the_next(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        await self._arm(bench, microscope)
        await microscope.detector.start(bench.exposure_s)  # nobody takes its frame
        await microscope.detector.disarm()
        frames = await self._arm(bench, microscope)
        began_ns = await microscope.detector.start(bench.exposure_s)
        frame = await anext(frames)
        assert frame.number == 0
        assert abs(frame.start_ns - began_ns) <= NS_PER_MS

    @on_bench
    async def test_a_cancelled_wait_for_a_frame_loses_none(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        await self._arm(bench, microscope)
        await microscope.detector.start(bench.exposure_s)
        await cancelled_soon(anext(aiter(microscope.detector.frames())))  # type: ignore[arg-type]
        assert (await anext(aiter(microscope.detector.frames()))).number == 0

    @on_bench
    async def test_a_cancelled_arm_leaves_the_camera_usable(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        await cancelled_soon(microscope.detector.arm(Exposure(bench.exposure_s, bench.snapshot_exposure_s)))
        await microscope.detector.disarm()
        frames = await self._arm(bench, microscope)
        await microscope.detector.start(bench.exposure_s)
        assert (await anext(frames)).number == 0

    @pytest.mark.parametrize("which", ["too short", "too long", "negative", "no number", "snapshot too short"])
    @on_bench
    async def test_an_impossible_exposure_is_refused_and_leaves_the_camera_not_armed(
        self, bench: Bench, clock: Clock, microscope: Microscope, which: str
    ) -> None:
        shortest_s, longest_s = microscope.detector.exposure_limits_s
        impossible = {
            "too short": Exposure(shortest_s / 2, bench.snapshot_exposure_s),
            "too long": Exposure(longest_s * 2, bench.snapshot_exposure_s),
            "negative": Exposure(-1.0, bench.snapshot_exposure_s),
            "no number": Exposure(math.nan, bench.snapshot_exposure_s),
            "snapshot too short": Exposure(bench.exposure_s, shortest_s / 2),
        }[which]
        with pytest.raises(DeviceError, match="not armed"):
            await microscope.detector.arm(impossible)
        with pytest.raises(DeviceError, match="not armed"):
            await microscope.detector.start(bench.exposure_s)
        frames = await self._arm(bench, microscope)
        await microscope.detector.start(bench.exposure_s)
        assert (await anext(frames)).number == 0


class MicroscopeConformance(StageConformance, BeamConformance, OpticsConformance, DetectorConformance):
    """The four contracts, and that the parts work side by side."""

    @on_bench
    async def test_timing_is_declared(self, bench: Bench, clock: Clock, microscope: Microscope) -> None:
        timing = microscope.timing
        assert 0 < timing.api_call_s <= timing.api_call_worst_s
        assert timing.stage_read_s > 0

    @on_bench
    async def test_calls_to_several_devices_at_once_are_all_answered(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        focus = await microscope.optics.focus()
        _, reading, _, blanked = await asyncio.gather(
            microscope.beam.blank(),
            microscope.stage.angle(),
            microscope.optics.set_focus(focus + bench.defocus),
            microscope.beam.is_blanked(),
        )
        assert blanked is True
        assert reading.t_before_ns <= reading.t_after_ns
        await microscope.optics.set_focus(focus)

    @on_bench
    async def test_an_exposure_goes_on_during_other_calls(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        frames = await self._arm(bench, microscope)
        began_ns = await microscope.detector.start(bench.exposure_s)
        for _ in range(3):
            await microscope.stage.angle()
        frame = await anext(frames)
        assert abs(frame.start_ns - began_ns) <= NS_PER_MS
        assert frame.end_ns - frame.start_ns < 2 * ns(bench.exposure_s)
