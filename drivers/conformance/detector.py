"""The contract of `drivers.contract.Detector`, as tests: arm, start, frames, disarm; numbers, lengths, cancelled
calls.
"""

# ruff: noqa: D102, S101

import asyncio
import math
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import cast

import numpy as np
import pytest

from drivers.conformance.bench import Bench, after_cycle, cancelled_soon, numbers_left, on_bench
from drivers.conformance.responsive import assert_responsive
from drivers.contract import Microscope, PacedDetector
from engine.clock import NS_PER_MS, Clock, ns
from engine.errors import DeviceBusy, DeviceError
from engine.frame import Frame, is_picture_type, picture_type, same_type


class DetectorConformance:
    """The contract of `drivers.contract.Detector`."""

    @staticmethod
    async def _arm(bench: Bench, microscope: Microscope) -> AsyncIterator[Frame]:
        await microscope.detector.arm((bench.exposure_s, bench.snapshot_exposure_s))
        return aiter(microscope.detector.frames())

    @on_bench
    async def test_what_the_camera_says_of_itself_makes_sense(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        detector, facts = microscope.detector, microscope.detector.facts
        rows, columns = facts.known_shape
        assert min(rows, columns) > 0
        assert facts.saturation is not None
        assert 127 <= (facts.saturation_of(bench.exposure_s) or 0) <= facts.saturation
        assert facts.dtype == "" or picture_type(facts.dtype) is not None
        shortest_s, longest_s = facts.exposure_limits_s
        assert 0 < shortest_s < longest_s
        assert facts.cycle_s(bench.exposure_s) >= bench.exposure_s
        assert facts.flatfield is (detector.flatfield is not None)
        if detector.flatfield is not None:
            assert detector.flatfield.shape == facts.shape
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
            assert frame.counts.shape == microscope.detector.facts.shape
            most = microscope.detector.facts.saturation_of(bench.exposure_s)
            assert most is not None
            assert 0 <= frame.counts.min() <= frame.counts.max() <= most
            assert abs(frame.start_ns - opened_ns) <= NS_PER_MS
            assert frame.end_ns - frame.start_ns >= ns(bench.exposure_s)
            assert frame.end_ns <= clock.now_ns()

    @on_bench
    async def test_all_frames_are_of_the_type_that_was_declared(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        frames = await self._arm(bench, microscope)
        declared = picture_type(microscope.detector.facts.dtype)
        for exposure_s in (bench.exposure_s, bench.snapshot_exposure_s):
            await microscope.detector.start(exposure_s)
            counts = (await anext(frames)).counts
            assert is_picture_type(counts.dtype)
            declared = declared or counts.dtype
            assert same_type(counts.dtype, declared)

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
    async def test_a_camera_that_tells_when_its_parts_begin_begins_with_one(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        detector, paced = microscope.detector, microscope.detector.facts.paced
        if paced is None or not paced.tells_begin:
            return  # this camera begins when it is told to, or does not know
        await self._arm(bench, microscope)
        part_ns, lead_ns, soon_ns = ns(paced.period_s), ns(paced.lead_s), clock.now_ns() + ns(0.03)
        told_ns = await cast(PacedDetector, detector).part_begin_ns(soon_ns)
        assert soon_ns <= told_ns <= soon_ns + part_ns
        await clock.sleep_until(told_ns - lead_ns, precise=True)
        opened_ns = await detector.start(bench.exposure_s)
        parts_later = (opened_ns - told_ns) / part_ns  # of a machine that woke late
        assert abs(parts_later - round(parts_later)) < 0.4

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
    async def test_a_series_may_have_any_number_of_exposure_times(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        between_s = (bench.exposure_s + bench.snapshot_exposure_s) / 2
        for exposures_s in ((bench.exposure_s,), (bench.exposure_s, between_s, bench.snapshot_exposure_s)):
            await microscope.detector.arm(exposures_s)
            frames = aiter(microscope.detector.frames())
            for number, exposure_s in enumerate(exposures_s):
                await microscope.detector.start(exposure_s)
                frame = await anext(frames)
                assert frame.number == number
                assert frame.end_ns - frame.start_ns >= ns(exposure_s)
            await microscope.detector.disarm()

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
        await asyncio.sleep(0)  # noqa: TID251 a turn of the loop, no time
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
        armed_ns = clock.now_ns()
        await microscope.detector.start(bench.exposure_s)
        frame = await anext(frames)
        assert frame.number == 0
        assert frame.start_ns >= armed_ns - NS_PER_MS

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
        await cancelled_soon(microscope.detector.arm((bench.exposure_s, bench.snapshot_exposure_s)))
        await microscope.detector.disarm()
        frames = await self._arm(bench, microscope)
        await microscope.detector.start(bench.exposure_s)
        assert (await anext(frames)).number == 0

    @pytest.mark.parametrize(
        "which", ["too short", "too long", "negative", "no number", "second too short", "third too long", "none"]
    )
    @on_bench
    async def test_an_impossible_exposure_is_refused_and_leaves_the_camera_not_armed(
        self, bench: Bench, clock: Clock, microscope: Microscope, which: str
    ) -> None:
        shortest_s, longest_s = microscope.detector.facts.exposure_limits_s
        impossible = {
            "too short": (shortest_s / 2, bench.snapshot_exposure_s),
            "too long": (longest_s * 2, bench.snapshot_exposure_s),
            "negative": (-1.0, bench.snapshot_exposure_s),
            "no number": (math.nan, bench.snapshot_exposure_s),
            "second too short": (bench.exposure_s, shortest_s / 2),
            "third too long": (bench.exposure_s, bench.snapshot_exposure_s, longest_s * 2),
            "none": (),
        }[which]
        with pytest.raises(DeviceError, match="not armed"):
            await microscope.detector.arm(impossible)
        with pytest.raises(DeviceError, match="not armed"):
            await microscope.detector.start(bench.exposure_s)
        frames = await self._arm(bench, microscope)
        await microscope.detector.start(bench.exposure_s)
        assert (await anext(frames)).number == 0

    @on_bench
    async def test_no_call_to_the_camera_blocks_the_event_loop(
        self, bench: Bench, clock: Clock, microscope: Microscope
    ) -> None:
        detector = microscope.detector

        async def next_frame() -> None:
            await anext(aiter(detector.frames()))

        calls = {
            "detector.arm": lambda: detector.arm((bench.exposure_s, bench.snapshot_exposure_s)),
            "detector.start": lambda: detector.start(bench.exposure_s),
            "detector.frames": next_frame,
            "detector.start again": lambda: detector.start(bench.exposure_s),
            "detector.frames again": next_frame,
            "detector.disarm": detector.disarm,
        }
        await assert_responsive(clock, calls, bench.longest_turn_ms)
