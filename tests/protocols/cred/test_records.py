"""The figures that are made of what a cRED run has collected."""

from typing import Any

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
