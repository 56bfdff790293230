"""What a cRED run leaves on disk: frames.h5 with fitted angles, snapshots, the truth of a simulation, the result."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from fabio.tifimage import TifImage
from numpy.typing import NDArray

from drivers.contract import Microscope
from engine.errors import StorageError
from engine.record.frametable import write_frames
from engine.record.spool import SpooledFrame, read_spool
from engine.record.spoolformat import FrameInfo
from engine.run.timeline import SlotGrid
from protocols.cred.plan import CredPlan
from protocols.cred.records import DIFFRACTION, SNAPSHOT, Collected, period_s, timing_summary
from protocols.cred.rotation.angles import RotationFit, fit_rotation, middle_ns


class Asked(Protocol):
    """What the results need of a plan; None where a crash has left no plan."""

    @property
    def exposure_s(self) -> float | None:
        """Of a diffraction frame."""
        ...

    @property
    def snapshot_interval(self) -> int | None:
        """In slots."""
        ...


class Pace(Protocol):
    """What the results need of the slots as they were planned."""

    @property
    def period_s(self) -> float:
        """From slot to slot."""
        ...

    @property
    def oscillation_deg(self) -> float:
        """From slot to slot, signed."""
        ...


class CredData(Protocol):
    """What the results are made from: a run just finished, or one put together again after a crash."""

    @property
    def plan(self) -> Asked:
        """What was asked."""
        ...

    @property
    def slots(self) -> Pace:
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


def rotation_of(collected: Collected, slots: Pace) -> RotationFit | None:
    """The fitted rotation, from the readings taken while the stage was turning."""
    stopped_ns = collected.stage_stopped_ns
    turning = [r for r in collected.readings if stopped_ns is None or r.t_after_ns <= stopped_ns]
    return fit_rotation(turning, slots.oscillation_deg / slots.period_s)


def frame_table(infos: Sequence[FrameInfo], collected: Collected, fit: RotationFit | None) -> NDArray[np.void]:
    """One row per delivered frame, with the stage's angle at both ends of its exposure (NaN without a reading).

    infos: what the spool says of the same frames. Raises StorageError where these are others.
    """
    frames = collected.frames
    if [info.start_ns for info in infos] != [frame.start_ns for frame in frames]:
        raise StorageError(f"frames.h5: {len(infos)} pictures for {len(frames)} frames; the spool is kept as it is.")
    return DIFFRACTION.table(
        infos,
        {
            "kept": collected.kept(),
            "start_deg": [fit.angle_deg(frame.start_ns) if fit else np.nan for frame in frames],
            "end_deg": [fit.angle_deg(frame.end_ns) if fit else np.nan for frame in frames],
            "late_ns": [frame.late_ns for frame in frames],
        },
    )


def result_of(run: CredData) -> dict[str, Any]:
    """The `result` of run.json: counts, angles with their uncertainties, timing."""
    collected, plan = run.collected, run.plan
    fit = rotation_of(collected, run.slots)
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
        "lost_slots": len(lost),
        "lost_slot_numbers": lost,
        "exposure_s": plan.exposure_s,
        "period_s": period,
        "period_changes": len(collected.stretched_slots),
        "start_deg": None,
        "end_deg": None,
        "range_deg": None,
        "oscillation_deg": None,
        "rate_deg_s": None,
        "rate_uncertainty_deg_s": None,
        "offset_uncertainty_deg": None,
        "angle_residual_deg": None,
        "snapshot_interval": plan.snapshot_interval,
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
            "offset_uncertainty_deg": fit.offset_uncertainty_deg,
            "angle_residual_deg": fit.residual_deg,
        }
    return result | timing_summary(collected)


def instrument_of(microscope: Microscope) -> dict[str, Any]:
    """The `geometry` and `detector` of run.json."""
    detector = microscope.detector
    return {
        "geometry": asdict(microscope.geometry),
        "detector": {
            "shape": list(detector.shape),
            "saturation": detector.saturation,
            "wide_cross": detector.wide_cross,
            "has_pictures": detector.has_pictures,
        },
    }


def reading_list(collected: Collected, slots: Pace) -> list[dict[str, Any]]:
    """The `stage_readings` of run.json: each with its distance from the fitted rotation."""
    fit = rotation_of(collected, slots)
    return [
        {
            "t_before_ns": reading.t_before_ns,
            "t_after_ns": reading.t_after_ns,
            "angle_deg": reading.value,
            "residual_deg": reading.value - fit.angle_deg(middle_ns(reading)) if fit else None,
        }
        for reading in collected.readings
    ]


def snapshot_list(collected: Collected, slots: Pace) -> list[dict[str, Any]]:
    """The `snapshots` of run.json."""
    fit = rotation_of(collected, slots)
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


def write_data(
    run: CredData,
    folder: Path,
    read: Callable[[Path, str], Iterator[SpooledFrame]] = read_spool,
) -> None:
    """Write frames.h5 and the snapshots from the spool. Blocks: for a thread.

    read: gives the frames of one kind. Raises StorageError or DataError. The
    spool stays: it may go when run.json speaks of what is in frames.h5, and both are on the disk itself.
    """
    spool = folder / "frames.spool"
    if run.collected.frames:
        flatfield = [(frame.kind, frame.counts) for frame in read(spool, "flatfield")]
        fit = rotation_of(run.collected, run.slots)
        tables = {DIFFRACTION.name: frame_table(list(_infos(read(spool, DIFFRACTION.name))), run.collected, fit)}
        if run.collected.snapshots:
            tables[SNAPSHOT.name] = SNAPSHOT.table(list(_infos(read(spool, SNAPSHOT.name))))
        write_frames(
            folder / "frames.h5", tables, lambda kind: (frame.counts for frame in read(spool, kind)), dict(flatfield)
        )
    if run.collected.snapshots:
        try:
            (folder / "snapshots").mkdir(exist_ok=True)
            for frame in read(spool, "snapshot"):
                counts = frame.counts.astype(frame.counts.dtype.newbyteorder("="), copy=False)  # all that fabio takes
                TifImage(data=counts).write(str(folder / snapshot_file(frame.integer("slot"))))
        except OSError as error:
            raise StorageError(
                f"{folder / 'snapshots'}: could not be written ({error}); the spool holds every frame. Free some "
                "space, then run 'credline recover' on the run folder."
            ) from error


def _infos(frames: Iterator[SpooledFrame]) -> Iterator[FrameInfo]:
    """What the spool says of frames, without their counts: these would fill the memory."""
    for f in frames:
        yield FrameInfo(f.index, f.kind, f.columns, f.number, f.start_ns, f.end_ns, f.start_bounds_ns, f.end_bounds_ns)


def data_files(run: CredData, folder: Path) -> list[Path]:
    """What `write_data` has written: with these on the disk itself, nobody needs the spool any more."""
    files = [folder / "frames.h5", *(folder / snapshot_file(shot.slot) for shot in run.collected.snapshots)]
    return [file for file in files if file.exists()]


def write_truth(plan: CredPlan, collected: Collected, folder: Path, microscope: Microscope) -> None:
    """Write truth.h5 if the plan asks for it and the instrument knows it."""
    if plan.truth and microscope.truth is not None:
        kept = [frame for frame, keep in zip(collected.frames, collected.kept(), strict=True) if keep]
        microscope.truth.write(
            folder / "truth.h5", [frame.slot for frame in kept], [(frame.start_ns, frame.end_ns) for frame in kept]
        )
