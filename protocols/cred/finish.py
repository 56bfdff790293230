"""What came of a cRED run: slots, angles, timing, from its records and the frames that are on disk.

Pure, and the same for a run, its replay and its recovery. Nothing is guessed: where the trace has lost its header the
frames have no angles, and a slot of which nothing is known is missing by its number.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from drivers.facts import Facts
from engine.clock import NS_PER_S, ns
from engine.errors import CredlineError
from engine.record.beamtime import beam_on_s
from engine.record.remains import Remains, RunEnd
from engine.record.spoolformat import FrameInfo
from engine.record.trace import Record
from engine.run.timeline import SlotGrid
from protocols.cred import results
from protocols.cred.crystalslots import SEVERAL, crystals_of
from protocols.cred.liveresult import live_result
from protocols.cred.missing import missing_slots
from protocols.cred.pattern import pattern_in
from protocols.cred.plan import CredPlan
from protocols.cred.readings import readings_of
from protocols.cred.records import Collected, Doubt, FrameRecord, Snapshot, period_s
from protocols.cred.results import SlotTimes
from protocols.cred.slotplan import LATE_SHARE, SlotPlan
from protocols.cred.trackedpath import tracked_in

# A frame that would begin later than LATE_SHARE is not begun; the camera may open a little after that was judged.
LATE_MARGIN = 1.2
# A frame that may have been exposed so much of a period earlier or later than told, beyond what all of a run share, is
# not kept: on a busy machine answers come milliseconds late, on a slow shutter or a halted server far more.
OPEN_SHARE = 0.25
# In these states a frame is being exposed, or has arrived and is not written yet.
EXPOSING = ("expose", "defocus-snapshot", "finalize")


@dataclass(slots=True)
class CredData:
    """A cRED run put together. plan: None where a crash has left none. lost_reasons: of slots without a frame."""

    plan: CredPlan | None
    slots: SlotTimes
    collected: Collected
    grid: SlotGrid
    lost_reasons: dict[int, str] = field(default_factory=dict)
    in_flight: set[int] = field(default_factory=set)
    """Slots whose record in the spool was cut off."""


def finish_cred(remains: Remains) -> RunEnd:
    """See `ExperimentType.finish`."""
    run = put_together(remains)
    missing = _missing(run, remains.states if remains.cut_off and not remains.data_written else ())
    collected = run.collected
    if remains.cut_off or remains.lost:
        collected.lost_slots = list(missing)
    instrument = remains.header.get("instrument") or {}
    fit = results.rotation_of(collected, run.slots)
    result = results.result_of(run, fit) | {"beam_on_s": round(beam_on_s(remains.records), 3)}
    pictures = (instrument.get("detector") or {}).get("has_pictures")
    tracked = tracked_in(remains.records)
    if tracked is not None:
        result |= {"tracking": tracked.summary}
    if run.plan is not None and run.plan.other_paths:
        files = [each.file for each in run.plan.paths]
        found = [] if tracked is None else tracked.snapshots
        slots = [frame.slot for frame, kept in zip(collected.frames, collected.kept(), strict=True) if kept]
        result |= {SEVERAL: crystals_of(remains.records, files, found, result["slots"], slots)}
    if (live := live_result(remains.records)) is not None:
        result |= {"live": live}
    unusable = ""
    if not result["frames"]:
        unusable = "no frame was kept"
    elif not pictures:
        unusable = "the camera delivered no pictures" if pictures is False else "run.json was lost"
    elif result["oscillation_deg"] is None:
        unusable = "the frames have no angles"
    return RunEnd(
        result=result,
        columns={"diffraction": results.frame_columns(collected, fit)},
        sections={
            "snapshots": results.snapshot_list(collected, fit),
            "stage_readings": results.reading_list(collected, fit),
            "pattern": pattern_in(instrument),
            **({} if tracked is None else {"tracking": {"found": tracked.snapshots, "corrected": tracked.corrections}}),
        },
        unusable=unusable,
        missing=[{"slot": slot, "reason": reason} for slot, reason in missing.items()],
    )


def put_together(remains: Remains) -> CredData:
    """The run from what is left of it."""
    plan, pace = plan_of(remains.plan), pace_of(remains.plan, remains.header)
    entries = remains.of_kind("diffraction")
    run = CredData(plan, pace, Collected(), SlotGrid(0, 1))
    collected = run.collected
    period_ns = ns(pace.period_s) or _measured_ns(entries, plan)
    if not pace.period_s:
        oscillation_deg = plan.direction * plan.speed_deg_s * period_ns / NS_PER_S if plan else 0.0
        run.slots = SlotTimes(period_ns / NS_PER_S, oscillation_deg, None, 0.0)
    else:
        collected.tolerance_ns = ns(LATE_SHARE * pace.period_s)
        collected.open_limit_ns = ns(OPEN_SHARE * pace.period_s)
    collected.snapshots = [
        Snapshot(_slot(entry), entry.start_ns, entry.end_ns) for entry in remains.of_kind("snapshot")
    ]
    _take_notes(run, remains.records)
    lead_ns = ns(pace.lead_s)
    collected.frames = _placed(entries, remains.records, period_ns if pace.period_s else 0, collected, lead_ns)
    _name_unwritten(run, remains)
    run.grid = _grid(run, remains.records, period_ns)
    if collected.frames or remains.header.get("recorded_schema") != 1:
        readings_of(collected, remains)
    collected.slack_ns = _slack(remains.records, run.slots, period_ns)
    return run


def plan_of(plan: Mapping[str, Any]) -> CredPlan | None:
    """The plan as it was recorded; None where it was not."""
    try:
        return CredPlan.model_validate(plan)
    except ValidationError:
        return None


def pace_of(plan: Mapping[str, Any], header: Record) -> SlotTimes:
    """How slots follow one another, from the plan and the instrument as the header knows them; a period of 0 where it
    does not.
    """
    try:
        slots = SlotPlan(CredPlan.model_validate(plan), Facts.of(header["instrument"]))
    except (KeyError, TypeError, ValueError, AttributeError, CredlineError):
        return SlotTimes(0.0, 0.0, None, 0.0)
    return SlotTimes(slots.period_s, slots.oscillation_deg, slots.snapshot_slots, slots.ready_s, slots.lead_s)


def _slot(entry: FrameInfo) -> int:
    slot = entry.columns.get("slot")
    return slot if type(slot) is int else 0


def _measured_ns(entries: Sequence[FrameInfo], plan: CredPlan | None) -> int:
    frames = [FrameRecord.of(_slot(entry), entry, 0) for entry in entries]
    rising = [frame for k, frame in enumerate(frames) if k == 0 or frame.slot > frames[k - 1].slot]
    return max(1, ns(period_s(rising, ns(plan.exposure_s if plan else 1.0))))


def _grid(run: CredData, records: Sequence[Record], period_ns: int) -> SlotGrid:
    """Where the slots really begin: by the first frame, or by the first snapshot where there is no frame."""
    collected = run.collected
    if collected.frames:
        first = collected.frames[0]
        return SlotGrid(first.start_ns - first.late_ns, period_ns, first.slot)
    for record in records:
        if _on_grid(record):
            return SlotGrid(record["planned_ns"], period_ns, record["slot"])
    return SlotGrid(0, period_ns)


def _placed(
    entries: Sequence[FrameInfo], records: Sequence[Record], period_ns: int, collected: Collected, lead_ns: int = 0
) -> list[FrameRecord]:
    """The frames with how late they began, by the plan in the trace, or by the grid where the trace does not go so far.

    What the trace has as planned is when a frame was to be asked for: `lead_ns` before it was to begin.

    A frame that is on neither began a part of its own: then the word of a lengthened period was lost. Without a period
    (0) nothing tells, and frames count as on time.
    """
    planned = {
        record["slot"]: record["planned_ns"] + lead_ns
        for record in records
        if record["kind"] == "step" and record["name"] == "frame" and _integers(record["slot"], record["planned_ns"])
    }
    stretched = {
        record["slot"]: (record["start_ns"] + lead_ns, record["period_ns"])
        for record in records
        if record["kind"] == "slot"
        and record["name"] == "stretched"
        and _integers(record["slot"], record.get("start_ns"), record.get("period_ns"))
        and record["period_ns"] > 0
    }
    grid: SlotGrid | None = None
    placed: list[FrameRecord] = []
    for entry in entries:
        at = _slot(entry)
        if not period_ns:
            placed.append(FrameRecord.of(at, entry, 0))
            continue
        for slot in sorted(slot for slot in stretched if slot <= at):
            start_ns, length_ns = stretched.pop(slot)
            grid = SlotGrid(start_ns, length_ns, slot)
        expected_ns = grid.start_ns(at) if grid else None
        planned_ns = planned.get(at)
        if planned_ns is None:
            late_ns = entry.start_ns - expected_ns if expected_ns is not None else 0
            on_grid = -lead_ns <= late_ns <= LATE_MARGIN * LATE_SHARE * (grid.period_ns if grid else period_ns)
            planned_ns = expected_ns if on_grid and expected_ns is not None else entry.start_ns
        if grid is None or planned_ns != expected_ns:
            if grid is not None:
                collected.stretched_slots.append(at)
            grid = SlotGrid(planned_ns, grid.period_ns if grid else period_ns, at)
        placed.append(FrameRecord.of(at, entry, entry.start_ns - planned_ns))
    collected.stretched_slots = sorted(set(collected.stretched_slots))
    return placed


def _take_notes(run: CredData, records: Sequence[Record]) -> None:
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
            collected.doubt = _doubt(record)


def _doubt(record: Record) -> Doubt | None:
    from_ns, off_deg = record.get("doubtful_from_ns"), record.get("off_deg")
    if type(from_ns) is not int or type(off_deg) is not float or not (_integers(from_ns) and off_deg >= 0.0):
        return None
    return Doubt(from_ns, off_deg)


def _name_unwritten(run: CredData, remains: Remains) -> None:
    """Name the slots whose exposure the trace tells of and whose frame is not on disk."""
    collected = run.collected
    for lost in remains.lost:
        slot = lost.columns.get("slot")
        if type(slot) is not int:
            continue
        if lost.torn:
            run.in_flight.add(slot)
        else:
            run.lost_reasons[slot] = lost.reason
    held = {frame.slot for frame in collected.frames} | {shot.slot for shot in collected.snapshots}
    for record in remains.records:
        slot = record.get("slot")
        if type(slot) is not int or slot in held or slot in run.lost_reasons:
            continue
        if record["kind"] == "frame" or (record["kind"] == "step" and "end_ns" in record and record["name"] == "frame"):
            run.lost_reasons[slot] = "the camera delivered it, and it did not reach the disk"
            if (record["kind"], record["name"]) == ("frame", "diffraction"):
                collected.lost_slots.append(slot)


def _missing(run: CredData, states: Sequence[str]) -> dict[int, str]:
    """The slots without a frame and why, with the one that was in flight. states: none if the run had ended."""
    frames = {frame.slot for frame in run.collected.frames}
    snapshots = {shot.slot for shot in run.collected.snapshots}
    reasons = dict(run.lost_reasons)
    for slot in run.in_flight - frames - snapshots:
        reasons[slot] = "it was being written when the program ended"
    if states[-1:] and states[-1] in EXPOSING and not run.in_flight:
        last = max(frames | snapshots | set(reasons), default=0)
        cycle = run.slots.snapshot_slots or 1 if last in snapshots else 1
        reasons[last + cycle] = "it was in flight when the program ended, or had not begun"
    return missing_slots(frames, snapshots, reasons, run.slots.snapshot_slots)


def _slack(records: Sequence[Record], pace: SlotTimes, period_ns: int) -> list[int]:
    """What was left of each slot: from a frame's arrival, or a lens settled, to the boundary that came next."""
    slack: list[int] = []
    grid: SlotGrid | None = None
    settled: tuple[int, int] | None = None
    for record in records:
        if (record["kind"], record["name"]) == ("slot", "stretched"):
            grid = SlotGrid(record["start_ns"], record["period_ns"], record["slot"])
        elif record["kind"] == "step":
            slot, planned_ns, end_ns = record["slot"], record["planned_ns"], record.get("end_ns")
            if grid is None and _on_grid(record):
                grid = SlotGrid(planned_ns, period_ns, slot)
            if type(end_ns) is not int or not _integers(slot, planned_ns, end_ns):
                continue
            if record["name"] == "frame" and grid:
                slack.append(grid.start_ns(slot + 1) - end_ns)
            elif record["name"] == "refocus":
                settled = slot, end_ns + ns(pace.settling_s)
        elif record["kind"] == "state" and record["trigger"] == "settled" and settled and grid:
            slot, settled_ns = settled
            slack.append(grid.start_ns(slot + (pace.snapshot_slots or 1)) - settled_ns)
            settled = None
    return slack


def _on_grid(record: Record) -> bool:
    """Whether a record is of a step that was planned on the boundary of a slot."""
    step = record["kind"] == "step" and record["name"] in ("frame", "defocus")
    return step and _integers(record["slot"], record["planned_ns"])


def _integers(*values: object) -> bool:
    return all(type(value) is int and abs(value) < 2**62 for value in values)
