"""The result of a cRED run as it stands in run.json, the columns of its frames, and its snapshots as files."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Protocol

from engine.clock import NS_PER_S
from engine.errors import StorageError
from engine.record.spool import SpooledFrame
from engine.run.timeline import SlotGrid
from protocols.cred.plan import CredPlan
from protocols.cred.records import Collected, Doubt, FrameRecord, period_s, timing_summary
from protocols.cred.rotation.angles import RotationFit, fit_rotation, middle_ns


@dataclass(frozen=True, slots=True)
class SlotTimes:
    """How the slots of a run follow one another, as far as it is known. snapshot_slots: that one snapshot takes.
    lead_s: so long before its slot a frame is asked for (`PacedFacts.lead_s`).
    """

    period_s: float
    oscillation_deg: float
    snapshot_slots: int | None
    settling_s: float
    lead_s: float = 0.0


class CredData(Protocol):
    """What the result is made from (`protocols.cred.finish`)."""

    @property
    def plan(self) -> CredPlan | None:
        """What was asked; None where a crash has left no plan."""
        ...

    @property
    def slots(self) -> SlotTimes:
        """The slots as they were planned."""
        ...

    @property
    def collected(self) -> Collected:
        """What came of it."""
        ...

    @property
    def grid(self) -> SlotGrid:
        """Where the slots really begin."""
        ...


def rotation_of(collected: Collected, slots: SlotTimes) -> RotationFit | None:
    """The fitted rotation, from the readings taken while the stage was turning.

    Frames are kept until the last reading that shows it so has begun: that one belongs to them, for it tells where the
    stage had got to.
    """
    stopped_ns = collected.stage_stopped_ns
    turning = [r for r in collected.readings if stopped_ns is None or r.t_before_ns <= stopped_ns]
    return fit_rotation(turning, slots.oscillation_deg / slots.period_s)


def frame_columns(collected: Collected, fit: RotationFit | None) -> dict[str, list[float]]:
    """The final columns of the diffraction frames: kept, late_ns, the stage's angle at both ends of the exposure, and
    a bound on how far it may be off (NaN without a reading).
    """
    frames = collected.frames
    return {
        "kept": list(collected.kept()),
        "start_deg": [fit.angle_deg(frame.start_ns) if fit else math.nan for frame in frames],
        "end_deg": [fit.angle_deg(frame.end_ns) if fit else math.nan for frame in frames],
        "late_ns": [frame.late_ns for frame in frames],
        "uncertainty_deg": [uncertainty_deg(frame, fit, collected.doubt) if fit else math.nan for frame in frames],
    }


def uncertainty_deg(frame: FrameRecord, fit: RotationFit, doubt: Doubt | None = None) -> float:
    """How far the angles of a frame may be off: by the line of the readings, by when it was exposed, and, of the last
    ones before a stage was found astray, by how far astray it was.
    """
    away_s = max(abs(at_ns - fit.reference_ns) for at_ns in (frame.start_ns, frame.end_ns)) / NS_PER_S
    open_s = max(frame.maybe_earlier_ns, frame.maybe_later_ns) / NS_PER_S
    of_rate_deg = 3 * fit.rate_uncertainty_deg_s * away_s if fit.readings > 1 else 0.0
    told_deg = fit.offset_uncertainty_deg + of_rate_deg + fit.bend_deg + abs(fit.rate_deg_s) * open_s
    return told_deg + (doubt.off_deg if doubt and frame.end_ns + frame.maybe_later_ns > doubt.from_ns else 0.0)


def result_of(run: CredData, fit: RotationFit | None) -> dict[str, Any]:
    """The `result` of run.json: counts, angles with their uncertainties, timing."""
    collected, plan = run.collected, run.plan
    frames = [frame for frame, kept in zip(collected.frames, collected.kept(), strict=True) if kept]
    taken = [frame.slot for frame in frames] + [shot.slot for shot in collected.snapshots]
    slots = max(taken, default=0)
    lost = [slot for slot in collected.lost_slots if slot <= slots]
    grid, period = run.grid, period_s(frames, run.grid.period_ns)
    result: dict[str, Any] = {
        "slots": slots,
        "frames": len(frames),
        "frames_not_kept": len(collected.frames) - len(frames),
        "snapshots": len(collected.snapshots),
        "snapshot_slots": run.slots.snapshot_slots,
        "lost_slots": len(lost),
        "lost_slot_numbers": lost,
        "exposure_s": plan.exposure_s if plan else None,
        "period_s": period,
        "period_changes": len(collected.stretched_slots),
        "start_deg": None,
        "end_deg": None,
        "range_deg": None,
        "oscillation_deg": None,
        "rate_deg_s": None,
        "rate_uncertainty_deg_s": None,
        "offset_uncertainty_deg": None,
        "frame_uncertainty_deg": None,
        "angle_residual_deg": None,
        "snapshot_interval": plan.snapshot_interval if plan else None,
        "elapsed_s": slots * period,
    }
    if fit is not None and slots:
        oscillation_deg = fit.rate_deg_s * period
        first = frames[0].slot if frames else 1
        start_deg = fit.angle_deg(frames[0].start_ns if frames else grid.start_ns(1)) - (first - 1) * oscillation_deg
        result |= {
            "start_deg": start_deg,
            "end_deg": start_deg + slots * oscillation_deg,
            "range_deg": abs((slots - first + 1) * oscillation_deg),
            "oscillation_deg": oscillation_deg,
            "rate_deg_s": fit.rate_deg_s,
            "rate_uncertainty_deg_s": fit.rate_uncertainty_deg_s if fit.readings > 1 else None,
            "offset_uncertainty_deg": fit.offset_uncertainty_deg
            + fit.bend_deg
            + abs(fit.rate_deg_s) * max(collected.shared_open_ns) / NS_PER_S,
            "frame_uncertainty_deg": median(uncertainty_deg(frame, fit, collected.doubt) for frame in frames)
            if frames
            else None,
            "angle_residual_deg": fit.residual_deg,
        }
    return result | timing_summary(collected)


def reading_list(collected: Collected, fit: RotationFit | None) -> list[dict[str, Any]]:
    """The `stage_readings` of run.json: each with its distance from the fitted rotation."""
    return [
        {
            "t_before_ns": reading.t_before_ns,
            "t_after_ns": reading.t_after_ns,
            "angle_deg": reading.value,
            "residual_deg": reading.value - fit.angle_deg(middle_ns(reading)) if fit else None,
        }
        for reading in collected.readings
    ]


def snapshot_list(collected: Collected, fit: RotationFit | None) -> list[dict[str, Any]]:
    """The `snapshots` of run.json."""
    return [
        {
            "slot": shot.slot,
            "file": snapshot_file(shot.slot),
            "start_ns": shot.start_ns,
            "end_ns": shot.end_ns,
            "start_deg": fit.angle_deg(shot.start_ns) if fit else None,
        }
        for shot in collected.snapshots
    ]


def snapshot_file(slot: int) -> str:
    """Where a snapshot stands in the run folder; named after its slot."""
    return f"snapshots/{slot:05d}.tiff"


def look_file(look: int) -> str:
    """Where an image of the pre-scan stands."""
    return f"snapshots/prescan_{look:02d}.tiff"


def write_pictures(
    folder: Path, frames: Iterator[SpooledFrame], column: str, file_of: Callable[[int], str]
) -> list[Path]:
    """Write pictures as TIFF files, named by their slot or look; which were written. Raises StorageError."""
    from fabio.tifimage import TifImage  # no run waits for it before its first state

    files = []
    try:
        for frame in frames:
            number = frame.columns.get(column)
            if type(number) is not int:
                continue
            file = folder / file_of(number)
            file.parent.mkdir(exist_ok=True)
            TifImage(data=frame.counts.astype(frame.counts.dtype.newbyteorder("="))).write(str(file))
            files.append(file)
    except OSError as error:
        raise StorageError(
            f"{folder / 'snapshots'}: could not be written ({error}); the spool holds every frame. Free some space, "
            "then run 'credline recover' on the run folder."
        ) from error
    return files
