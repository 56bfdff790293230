"""The figures that are made of what a cRED run has collected, and which frames are kept."""

from typing import Any

import pytest

from engine.clock import NS_PER_MS
from protocols.cred.records import Collected, FrameRecord, timing_summary

NOTHING = {"median": None, "p99": None, "max": None}


def collected(**more: Any) -> Collected:
    frames = [FrameRecord(slot, slot * 100 * NS_PER_MS, (slot * 100 + 90) * NS_PER_MS, 0) for slot in (1, 2, 3)]
    return Collected(frames, slack_ns=[2 * NS_PER_MS, 4 * NS_PER_MS], **more)


def test_timing_is_told_of_frames_that_were_delivered() -> None:
    told = timing_summary(collected())
    assert told["lateness_ms"] == told["gap_error_ms"] == {"median": 0, "p99": 0, "max": 0}
    assert told["slack_ms"] == {"min": 2, "median": 3}


def test_where_no_frame_was_kept_nothing_is_told_of_timing() -> None:
    told = timing_summary(collected(stage_stopped_ns=0))
    assert told == {"lateness_ms": NOTHING, "gap_error_ms": NOTHING, "slack_ms": {"min": None, "median": None}}


# How much earlier and later, in ms, each of five frames may have been exposed than told, and which are then kept where
# 5 ms are the limit of what may be open.
OPEN = {
    "known to the instant": ([(0, 0)] * 5, [1, 1, 1, 1, 1]),
    "a readout of 40 ms that all have": ([(0, 40)] * 5, [1, 1, 1, 1, 1]),
    "a shutter that waits before the third": ([(0, 2), (0, 1), (0, 500), (0, 3), (0, 2)], [1, 1, 0, 1, 1]),
    "within the limit": ([(0, 1), (0, 6), (0, 1), (0, 1), (0, 1)], [1, 1, 1, 1, 1]),
    "earlier than told": ([(0, 0), (0, 0), (0, 0), (9, 0), (4, 0)], [1, 1, 1, 0, 1]),
}


@pytest.mark.parametrize(("open_ms", "kept"), OPEN.values(), ids=OPEN)
def test_a_frame_of_which_it_is_open_when_it_was_exposed_is_not_kept(
    open_ms: list[tuple[int, int]], kept: list[int]
) -> None:
    frames = [
        FrameRecord(slot, slot * 10**8, slot * 10**8 + 9 * 10**7, 0, earlier * NS_PER_MS, later * NS_PER_MS)
        for slot, (earlier, later) in enumerate(open_ms, start=1)
    ]
    assert Collected(frames, open_limit_ns=5 * NS_PER_MS).kept() == [bool(frame) for frame in kept]


def test_a_frame_that_may_have_ended_after_the_stage_stopped_is_not_kept() -> None:
    frames = [FrameRecord(1, 0, 90, 0), FrameRecord(2, 100, 190, 0, 0, 20)]
    assert Collected(frames, stage_stopped_ns=200).kept() == [True, False]
    assert Collected(frames, stage_stopped_ns=210).kept() == [True, True]


def test_a_frame_that_may_have_begun_before_the_stage_turned_is_not_kept() -> None:
    frames = [FrameRecord(1, 100, 190, 0, 20), FrameRecord(2, 200, 290, 0, 20)]
    assert Collected(frames, steady_from_ns=90).kept() == [False, True]
