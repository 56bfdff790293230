"""What a cRED run that was cut off has left in its folder, and the run put together from it.

The spool (or frames.h5, if that was whole) says which pictures are safe; the trace what was read from the stage,
when frames were planned and which slots were lost; run.json what was asked. Nothing is guessed: where the trace has
lost its header the frames have no angles, and a slot of which nothing is known is missing by its number.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from drivers.contract import Reading
from drivers.replayed.microscope import recorded_microscope, recorded_reading
from engine.clock import NS_PER_S, ns
from engine.clock.virtual import VirtualClock, VirtualLoop
from engine.errors import CredlineError, DataError
from engine.frame import same_type
from engine.record.frametable import FramesFile
from engine.record.salvage import (
    DamagedBytes,
    DamagedFrame,
    salvage_journal,
    salvage_lines,
    salvage_spool,
    salvage_trace,
)
from engine.record.spool import SpooledFrame
from engine.record.trace import Record
from engine.run.timeline import SlotGrid
from protocols.cred.machine import ENDS, State
from protocols.cred.plan import LATE_SHARE, CredPlan, SlotPlan
from protocols.cred.records import DIFFRACTION, SNAPSHOT, Collected, FrameRecord, Snapshot, period_s
from protocols.cred.rotation.angles import middle_ns

SPOOL_FILE = "frames.spool"
DATA_FILE = "frames.h5"
# A frame that would begin later than LATE_SHARE is not begun; the camera may open a little after that was judged.
LATE_MARGIN = 1.2


@dataclass(frozen=True, slots=True)
class Pace:
    """How the slots of a run follow one another, as far as it is known. snapshot_slots: that one snapshot takes."""

    period_s: float
    oscillation_deg: float
    snapshot_slots: int | None


@dataclass(frozen=True, slots=True)
class NoPlan:
    """In the place of a plan where none could be read."""

    exposure_s: float | None = None
    snapshot_interval: int | None = None


@dataclass(slots=True)
class Remains:
    """A run folder, read as far as it can be. lost: what could not be read, one line each for a person."""

    folder: Path
    document: dict[str, Any] | None
    records: list[Record]
    journal_states: list[str]
    watchdog: list[dict[str, Any]]
    lost: list[str]

    @property
    def header(self) -> Record | None:
        """The header of the trace."""
        return self.records[0] if self.records else None

    @property
    def trace_states(self) -> list[str]:
        """The states that the trace knows of."""
        return [record["name"] for record in self.records if record["kind"] == "state"]

    @property
    def states(self) -> list[str]:
        """The states that the run went through, as far as trace or journal go."""
        return max(self.trace_states, self.journal_states, key=len)

    @property
    def data_whole(self) -> bool:
        """Whether the run itself had written its data, and let the spool go: then its instrument was safe before."""
        if (self.folder / SPOOL_FILE).exists():
            return False
        return (self.folder / DATA_FILE).exists() or bool(
            self.states and self.states[-1] in (State.FINALIZE.value, *(end.value for end in ENDS))
        )

    @property
    def plan(self) -> CredPlan | None:
        """What was asked; None if neither run.json nor the trace say so."""
        for source in (self.document, self.header):
            try:
                return CredPlan.model_validate((source or {})["plan"])
            except (KeyError, ValidationError):
                continue
        return None

    @property
    def shape(self) -> tuple[int, int] | None:
        """Rows and columns of a picture, as run.json or the trace say."""
        for source in (self.document, (self.header or {}).get("instrument")):
            try:
                rows, columns = (source or {})["detector"]["shape"]
                return int(rows), int(columns)
            except (KeyError, TypeError, ValueError, OverflowError):
                continue
        return None


@dataclass(slots=True)
class RecoveredRun:
    """Implements `protocols.cred.results.CredData`."""

    plan: CredPlan | NoPlan
    slots: SlotPlan | Pace
    collected: Collected
    grid: SlotGrid
    shape: tuple[int, int]
    snapshot_slots: int | None = None
    lost_reasons: dict[int, str] = field(default_factory=dict)
    """Why slots have no frame, where the trace or the spool name them."""
    in_flight: set[int] = field(default_factory=set)
    """Slots whose record in the spool was cut off."""
    pixel: dict[str, np.dtype[Any]] = field(default_factory=dict)
    """The type of the counts of each kind: that of its first frame."""
    unlike: bool = False
    """Whether the spool holds whole frames that cannot stand beside the others, for their shape or type."""
    damaged: bool = False
    """Whether the spool is damaged otherwise than by having been cut off."""


def read_remains(folder: Path) -> Remains:
    """Read what is left. Raises DataError for a trace of a newer schema, OSError when the disk fails."""
    trace = salvage_trace(folder / "trace.jsonl")
    journal = salvage_journal(folder / "journal.jsonl")
    lost = [*trace.lost, *journal.lost]
    if not (folder / "journal.jsonl").exists():
        lost.append("journal.jsonl: is missing")
    states = [line["state"] for line in journal.records if "state" in line]
    watchdog = salvage_lines(folder / "watchdog.jsonl").records
    return Remains(folder, _document(folder / "run.json", lost), trace.records, states, watchdog, lost)


def _document(path: Path, lost: list[str]) -> dict[str, Any] | None:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        lost.append("run.json: is missing")
        return None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or not isinstance(document.get("status"), str):
        lost.append("run.json: is damaged")
        return None
    return document


def put_together(remains: Remains) -> RecoveredRun:
    """The run from its spool, or from frames.h5 where the spool is gone. Raises DataError if that is not readable."""
    pace = pace_of(remains.header)
    plan = remains.plan
    run = RecoveredRun(
        plan or NoPlan(), pace, Collected(), SlotGrid(0, 1), remains.shape or (0, 0), pace.snapshot_slots
    )
    frames: list[FrameRecord] = []
    spool = remains.folder / SPOOL_FILE
    if spool.exists():
        frames = _from_spool(spool, run)
    elif (remains.folder / DATA_FILE).exists():
        frames = _from_data(remains, run)
    period_ns = ns(pace.period_s) or _measured_ns(frames, run.plan.exposure_s)
    if not pace.period_s:
        oscillation_deg = plan.direction * plan.speed_deg_s * period_ns / NS_PER_S if plan else 0.0
        run.slots = Pace(period_ns / NS_PER_S, oscillation_deg, None)
    else:
        run.collected.tolerance_ns = ns(LATE_SHARE * pace.period_s)
    _take_notes(run, remains.records)
    run.collected.frames = _placed(frames, remains.records, period_ns if pace.period_s else 0, run.collected)
    _name_undelivered(run, remains.records)
    if run.collected.frames:
        first = run.collected.frames[0]
        run.grid = SlotGrid(first.start_ns - first.late_ns, period_ns, first.slot)
        _take_readings(run.collected, remains.records)
    else:
        run.grid = SlotGrid(0, period_ns)
    return run


def pace_of(header: Record | None) -> Pace:
    """From the plan and the instrument as the trace's header knows them; a period of 0 where it does not."""
    try:
        header = header or {}
        plan = CredPlan.model_validate(header["plan"])
        loop = VirtualLoop()
        try:
            slots = SlotPlan(plan, recorded_microscope(VirtualClock(loop), header["instrument"], ()))
        finally:
            loop.close()
    except (KeyError, TypeError, ValueError, AttributeError, CredlineError):
        return Pace(0.0, 0.0, None)
    return Pace(slots.period_s, slots.oscillation_deg, slots.snapshot_slots)


def fits(run: RecoveredRun) -> Callable[[SpooledFrame], bool]:
    """Which frames of the spool can stand in frames.h5: of each kind all of one shape and type, those of its first."""
    return lambda frame: (
        run.pixel.get(frame.kind) is not None
        and frame.counts.shape == run.shape
        and same_type(frame.counts.dtype, run.pixel[frame.kind])
    )


def _from_spool(spool: Path, run: RecoveredRun) -> list[FrameRecord]:
    frames: list[FrameRecord] = []
    for item in salvage_spool(spool):
        if isinstance(item, DamagedBytes):
            run.damaged |= not item.torn or item.begin == 0
        elif isinstance(item, DamagedFrame):
            slot = item.columns.get("slot")
            if type(slot) is not int:
                run.damaged |= not item.torn
            elif item.torn:
                run.in_flight.add(slot)
            else:
                run.damaged = True
                run.lost_reasons[slot] = "its record in the spool is damaged"
        elif item.kind in (DIFFRACTION.name, SNAPSHOT.name):
            slot = item.integer("slot")
            if run.shape == (0, 0):
                run.shape = item.counts.shape
            if item.counts.shape == run.shape:
                run.pixel.setdefault(item.kind, item.counts.dtype)
            if not fits(run)(item):
                run.unlike = True
                run.lost_reasons[slot] = (
                    f"its picture is {item.counts.shape} {item.counts.dtype}, others are {run.shape}"
                    f"{''.join(f' {pixel}' for pixel in [run.pixel.get(item.kind)] if pixel)}; it is kept in the spool"
                )
            elif item.kind == SNAPSHOT.name:
                run.collected.snapshots.append(Snapshot(slot, item.start_ns, item.end_ns))
            else:
                frames.append(FrameRecord(slot, item.start_ns, item.end_ns, 0))
    return frames


def _from_data(remains: Remains, run: RecoveredRun) -> list[FrameRecord]:
    path = remains.folder / DATA_FILE
    try:
        with FramesFile(path) as file:
            table = file.table(DIFFRACTION.name)
            if not set(DIFFRACTION.row.names or ()) <= set(table.dtype.names or ()):
                raise DataError(f"{path}: is not the frames.h5 of a run of cRED; nothing was touched.")
            if file.pictures(DIFFRACTION.name) != len(table):
                raise DataError(f"{path}: is not the frames.h5 of a run; nothing was touched.")
    except DataError as error:
        raise DataError(
            f"{path}: is damaged ({error}) and there is no spool beside it; nothing was touched. "
            "Take a copy of the run from elsewhere if there is one."
        ) from error
    for record in remains.records:
        if record["kind"] == "frame" and record["name"] == "snapshot":
            slot, start_ns, end_ns = (record.get(key) for key in ("slot", "start_ns", "end_ns"))
            if _integers(slot, start_ns, end_ns):
                run.collected.snapshots.append(Snapshot(slot, start_ns, end_ns))  # type: ignore[arg-type]
    return [FrameRecord(int(r["slot"]), int(r["start_ns"]), int(r["end_ns"]), int(r["late_ns"])) for r in table]


def _measured_ns(frames: Sequence[FrameRecord], exposure_s: float | None) -> int:
    rising = [frame for k, frame in enumerate(frames) if k == 0 or frame.slot > frames[k - 1].slot]
    return max(1, ns(period_s(rising, ns(exposure_s or 1.0))))


def _placed(
    frames: Iterable[FrameRecord], records: Sequence[Record], period_ns: int, collected: Collected
) -> list[FrameRecord]:
    """The frames with how late they began, by the plan in the trace, or by the grid where the trace does not go so far.

    A frame that is on neither began a part of its own: then the word of a lengthened period was lost. Without a period
    (0) nothing tells, and frames count as on time.
    """
    planned = {
        record["slot"]: record["planned_ns"]
        for record in records
        if record["kind"] == "step" and record["name"] == "frame" and _integers(record["slot"], record["planned_ns"])
    }
    stretched = {
        record["slot"]: (record["start_ns"], record["period_ns"])
        for record in records
        if record["kind"] == "slot"
        and record["name"] == "stretched"
        and _integers(record["slot"], record.get("start_ns"), record.get("period_ns"))
        and record["period_ns"] > 0
    }
    grid: SlotGrid | None = None
    placed: list[FrameRecord] = []
    for frame in frames:
        if not period_ns:
            placed.append(frame)
            continue
        for slot in sorted(slot for slot in stretched if slot <= frame.slot):
            start_ns, length_ns = stretched.pop(slot)
            grid = SlotGrid(start_ns, length_ns, slot)
        expected_ns = grid.start_ns(frame.slot) if grid else None
        planned_ns = planned.get(frame.slot)
        if planned_ns is None:
            late_ns = frame.start_ns - expected_ns if expected_ns is not None else 0
            on_grid = 0 <= late_ns <= LATE_MARGIN * LATE_SHARE * (grid.period_ns if grid else period_ns)
            planned_ns = expected_ns if on_grid and expected_ns is not None else frame.start_ns
        if grid is None or planned_ns != expected_ns:
            if grid is not None:
                collected.stretched_slots.append(frame.slot)
            grid = SlotGrid(planned_ns, grid.period_ns if grid else period_ns, frame.slot)
        placed.append(FrameRecord(frame.slot, frame.start_ns, frame.end_ns, frame.start_ns - planned_ns))
    collected.stretched_slots = sorted(set(collected.stretched_slots))
    return placed


def _take_notes(run: RecoveredRun, records: Sequence[Record]) -> None:
    """What the trace says of slots, and of the instant at which the stage stopped."""
    collected = run.collected
    for record in records:
        if record["kind"] == "slot" and _integers(record["slot"]):
            if record["name"] == "lost":
                collected.lost_slots.append(record["slot"])
                run.lost_reasons[record["slot"]] = record.get("reason", "")
            elif record["name"] == "stretched":
                collected.stretched_slots.append(record["slot"])
        elif record["kind"] == "note" and _integers(record.get("kept_until_ns")):
            collected.stage_stopped_ns = record["kept_until_ns"]


def _name_undelivered(run: RecoveredRun, records: Sequence[Record]) -> None:
    """Name the slots whose exposure the trace tells of and whose frame is not there."""
    held = {frame.slot for frame in run.collected.frames} | {shot.slot for shot in run.collected.snapshots}
    for record in records:
        slot = record.get("slot")
        if type(slot) is not int or slot in held or slot in run.lost_reasons:
            continue
        if record["kind"] == "frame" or (record["kind"] == "step" and "end_ns" in record and record["name"] == "frame"):
            run.lost_reasons[slot] = "the camera delivered it, and it did not reach the disk"


def _take_readings(collected: Collected, records: Sequence[Record]) -> None:
    """The stage readings that the run took for its fit: since the first frame began and until the stage was stopped,
    without those that it left out (`protocols.cred.rotation.stagewatch`).
    """
    seen: list[Reading] = []
    failed = False
    for record in records:
        if record["kind"] == "note" and record["name"] == "stage reading left out":
            after = [middle_ns(r) for r in seen if middle_ns(r) > (record.get("at_ns") or 0)]
            if len(after) > 1:  # it had been taken for good, and two later ones were against it
                collected.steady_from_ns = after[0]
            collected.readings = [r for r in collected.readings if middle_ns(r) != record.get("at_ns")]
        if record["kind"] != "call" or record["name"] not in ("stage.angle", "stage.stop"):
            continue
        if record["name"] == "stage.stop":
            if failed and collected.readings:  # where the stage was since then, nothing tells
                since_ns = middle_ns(collected.readings[-1])
                collected.stage_stopped_ns = min(collected.stage_stopped_ns or since_ns, since_ns)
            return
        reading = _reading(record)
        failed = reading is None
        if reading is not None and reading.t_before_ns >= collected.frames[0].start_ns:
            seen.append(reading)
            collected.readings.append(reading)


def _reading(call: Record) -> Reading | None:
    try:
        reading = recorded_reading(call)
    except DataError:  # a call that failed, or damage
        return None
    return reading if reading.t_before_ns <= reading.t_after_ns else None


def _integers(*values: object) -> bool:
    return all(type(value) is int and abs(value) < 2**62 for value in values)
