"""The frames of cRED, and what a run has collected: frames, snapshots, readings, lost slots, and their figures."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np

from drivers.contract import Reading
from engine.clock import NS_PER_MS, NS_PER_S
from engine.record.framekinds import Column, FrameKind
from engine.record.spoolformat import FrameInfo

SLOT = Column("slot", "<i4", "slot of the exposure, from 1")
ANGLE = Column("angle_deg", "<f8", "stage angle at the begin of the exposure, as known on arrival")
DIFFRACTION = FrameKind(
    "diffraction",
    (SLOT, ANGLE),
    (
        Column("kept", "u1", "1 for frames that processing may use"),
        Column("start_deg", "<f8", "stage angle at the begin of the exposure, fitted"),
        Column("end_deg", "<f8", "stage angle at the end of the exposure, fitted"),
        Column("late_ns", "<i8", "how much later than its slot the exposure began"),
        Column("uncertainty_deg", "<f8", "bound on how far start_deg and end_deg may be off"),
    ),
    expects="light",
    words="protocols.spots.beam_on_camera:no_beam",
)
SNAPSHOT = FrameKind("snapshot", (SLOT, ANGLE))
PRESCAN_IMAGE = FrameKind(
    "prescan",
    (
        Column("look", "<i4", "of the pre-scan, from 1"),
        Column("angle_deg", "<f8", "where the stage stood, the middle one of three readings"),
    ),
)


@dataclass(frozen=True, slots=True)
class FrameRecord:
    """One diffraction frame in the spool: its slot, its exposure, and how late it began.

    maybe_earlier_ns, maybe_later_ns: by how much its exposure may have been earlier or later than told, by the bounds
    that the camera's driver gave; 0 and more.
    """

    slot: int
    start_ns: int
    end_ns: int
    late_ns: int
    maybe_earlier_ns: int = 0
    maybe_later_ns: int = 0

    @classmethod
    def of(cls, slot: int, frame: FrameInfo, late_ns: int) -> "FrameRecord":
        """From its entry in the spool."""
        (first_ns, last_ns), (first_end_ns, last_end_ns) = frame.start_bounds_ns, frame.end_bounds_ns
        return cls(
            slot,
            frame.start_ns,
            frame.end_ns,
            late_ns,
            max(0, frame.start_ns - first_ns, frame.end_ns - first_end_ns),
            max(0, last_ns - frame.start_ns, last_end_ns - frame.end_ns),
        )


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One defocused picture of the crystal in the spool."""

    slot: int
    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class Doubt:
    """What a stage that was found astray leaves open of the last frames that are kept: from when on, and by how much
    their angles may be off beyond what is known of all.
    """

    from_ns: int
    off_deg: float


@dataclass(slots=True)
class Collected:
    """Everything a run has so far."""

    frames: list[FrameRecord] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    lost_slots: list[int] = field(default_factory=list)
    stretched_slots: list[int] = field(default_factory=list)
    slack_ns: list[int] = field(default_factory=list)
    steady_from_ns: int = 0
    """From when on, and `stage_stopped_ns` until when, the stage is known to have turned at constant speed."""
    stage_stopped_ns: int | None = None
    doubt: Doubt | None = None
    tolerance_ns: int = 2**62
    """A frame that began later than this on its slot is not at its slot's angle."""
    open_limit_ns: int = 2**62
    """Nor is one known to be of which it is open by more than this when it was exposed; with less it is kept, and its
    own uncertainty says so."""

    @property
    def shared_open_ns(self) -> tuple[int, int]:
        """By how much all exposures alike may have been earlier, and later, than told: as the frame that is known best.

        A shutter that always opens late, a readout or the way of an answer: that moves all angles by one amount, which
        is part of what is said of all of them. What a frame leaves open beyond it is its own.
        """
        return (
            min((frame.maybe_earlier_ns for frame in self.frames), default=0),
            min((frame.maybe_later_ns for frame in self.frames), default=0),
        )

    def kept(self) -> list[bool]:
        """For each frame, whether it was taken on its slot, while the stage turned, in the longest part of one period.

        A frame of which nobody knows well enough when it was exposed is not kept.
        Processing programs know one oscillation angle for all images, so a run whose period was lengthened on the
        way keeps the longer part.
        """
        stopped_ns = self.stage_stopped_ns
        shared_earlier_ns, shared_later_ns = self.shared_open_ns
        turning = [
            frame.start_ns - frame.maybe_earlier_ns >= self.steady_from_ns
            and (stopped_ns is None or frame.end_ns + frame.maybe_later_ns <= stopped_ns)
            and frame.late_ns <= self.tolerance_ns
            and frame.maybe_later_ns - shared_later_ns <= self.open_limit_ns
            and frame.maybe_earlier_ns - shared_earlier_ns <= self.open_limit_ns
            for frame in self.frames
        ]
        parts = [sum(frame.slot >= slot for slot in self.stretched_slots) for frame in self.frames]
        counts = Counter(part for part, good in zip(parts, turning, strict=True) if good)
        longest = max(counts, key=lambda part: counts[part], default=0)
        return [good and part == longest for part, good in zip(parts, turning, strict=True)]


def spread_ms(values_ns: Sequence[int]) -> dict[str, float | None]:
    """Median, 99th percentile and largest of some times, in milliseconds; None without any."""
    if not values_ns:
        return {"median": None, "p99": None, "max": None}
    values = np.abs(np.array(values_ns, np.float64)) / NS_PER_MS
    return {
        "median": round(float(np.median(values)), 6),
        "p99": round(float(np.percentile(values, 99)), 6),
        "max": round(float(values.max()), 6),
    }


def period_s(frames: Sequence[FrameRecord], planned_ns: int) -> float:
    """Median time from slot to slot between successive frames; the planned one with fewer than two frames."""
    pairs = [(before, after) for before, after in pairwise(frames) if after.slot != before.slot]  # a damaged spool
    per_slot = [(after.start_ns - before.start_ns) / (after.slot - before.slot) for before, after in pairs]
    return median(per_slot) / NS_PER_S if per_slot else planned_ns / NS_PER_S


def gap_errors_ns(frames: Sequence[FrameRecord]) -> list[int]:
    """How far the time across each gap (snapshot or lost slots) is from a whole number of periods.

    Slot boundaries are whole periods apart, so that is by how much the frame after the gap was later than the one
    before it. Without any gap: the same for successive frames.
    """
    pairs = list(pairwise(frames))
    gaps = [pair for pair in pairs if pair[1].slot - pair[0].slot > 1] or pairs
    return [after.late_ns - before.late_ns for before, after in gaps]


def timing_summary(collected: Collected) -> dict[str, Any]:
    """The timing figures of run.json and of the summary table, of all frames delivered; None where none was kept."""
    anything = any(collected.kept())
    frames, slack = (collected.frames, collected.slack_ns) if anything else ([], [])
    return {
        "lateness_ms": spread_ms([frame.late_ns for frame in frames]),
        "gap_error_ms": spread_ms(gap_errors_ns(frames)),
        "slack_ms": {
            "min": round(min(slack) / NS_PER_MS, 6) if slack else None,
            "median": round(median(slack) / NS_PER_MS, 6) if slack else None,
        },
    }
