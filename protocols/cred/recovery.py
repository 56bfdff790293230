"""A cRED run whose program was cut off: put together again from its spool and its trace.

The spool says which pictures are safe, the trace what was read from the stage and which slots were lost. What is
found becomes the same files that the run itself would have left.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drivers.base import Reading
from drivers.recorded import recorded_microscope
from engine.clock import ns
from engine.config import read_run_document
from engine.errors import DataError
from engine.experiment import Status
from engine.lock import drop_lock, take_lock
from engine.replay import load_run
from engine.spool import read_spool
from engine.storage import write_json
from engine.timeline import SlotGrid
from engine.trace import Record
from engine.virtual import VirtualClock, VirtualLoop
from protocols.cred.plan import CredPlan, SlotPlan
from protocols.cred.records import Collected, FrameRecord, Snapshot
from protocols.cred.results import reading_list, result_of, snapshot_list, write_data

CUT_OFF = "the program ended in the middle of the run; recovered from the spool"


@dataclass
class RecoveredRun:
    """Implements `protocols.cred.results.CredData`."""

    plan: CredPlan
    slots: SlotPlan
    collected: Collected
    grid: SlotGrid


def recover_run(folder: Path) -> Sequence[str]:
    """Write what the run could not; lines for a person.

    Raises DataError for a folder that holds no run, and for one at which a program is still at work.
    """
    read_run_document(folder)
    lock = take_lock(folder)
    if lock is None:
        raise DataError(f"{folder}: a program is still at work on this run; nothing was touched. Stop it first.")
    try:
        return _recover(folder)
    finally:
        drop_lock(folder, lock)


def _recover(folder: Path) -> Sequence[str]:
    document = read_run_document(folder)
    spool = folder / "frames.spool"
    if not spool.exists():
        if document["status"] != "running" or not (folder / "frames.h5").exists():
            return (f"{folder}: nothing to recover; its status is {document['status']!r}.",)
        # Cut off after frames.h5 was whole: run.json was written then, with everything but the ending.
        _save(folder, document)
        return (f"{folder}: frames.h5 was whole already.", "Make products with: credline export " + str(folder))
    records = load_run(folder)
    run = _collect(records, spool)
    rows, columns = records[0]["instrument"]["detector"]["shape"]
    write_data(run, folder, (rows, columns))
    document |= {
        "result": result_of(run),
        "snapshots": snapshot_list(run.collected, run.slots),
        "stage_readings": reading_list(run.collected, run.slots),
    }
    _save(folder, document)
    spool.unlink()
    result = document["result"]
    lines = [f"{folder}: {result['frames']} frames and {result['snapshots']} snapshots in {result['slots']} slots."]
    if result["oscillation_deg"] is None and result["frames"]:
        lines.append("No stage reading was recorded, so the frames have no angles.")
    if result["frames"]:
        lines.append("Make products with: credline export " + str(folder))
    return lines


def _save(folder: Path, document: dict[str, Any]) -> None:
    if document["status"] == "running":
        document |= {"status": Status.FAILED.value, "reason": CUT_OFF}
    write_json(folder / "run.json", document)


def _collect(records: Sequence[Record], spool: Path) -> RecoveredRun:
    header = records[0]
    if "instrument" not in header:
        raise DataError("trace.jsonl: its header does not describe the instrument; the spool is kept as it is.")
    plan = CredPlan.model_validate(header["plan"])
    loop = VirtualLoop()
    try:
        slots = SlotPlan(plan, recorded_microscope(VirtualClock(loop), header["instrument"], ()))
    finally:
        loop.close()
    collected = Collected()
    planned_ns = {r["slot"]: r["planned_ns"] for r in records if r["kind"] == "step" and r["name"] == "frame"}
    grid = SlotGrid(0, ns(slots.period_s))
    for frame in read_spool(spool):
        if frame.kind == "diffraction":
            # A frame whose step was not written any more began, as far as anyone knows, on time.
            late_ns = frame.start_ns - planned_ns.get(frame.slot, frame.start_ns)
            collected.frames.append(FrameRecord(frame.slot, frame.start_ns, frame.end_ns, late_ns))
        elif frame.kind == "snapshot":
            collected.snapshots.append(Snapshot(frame.slot, frame.start_ns, frame.end_ns))
    if collected.frames:
        first = collected.frames[0]
        grid = SlotGrid(first.start_ns - first.late_ns, grid.period_ns, first.slot)
    for record in records:
        if record["kind"] == "slot" and record["name"] == "lost":
            collected.lost_slots.append(record["slot"])
        elif record["kind"] == "slot" and record["name"] == "stretched":
            collected.stretched_slots.append(record["slot"])
        elif record["kind"] == "note" and record["name"] == "stage stopped":
            collected.stage_stopped_ns = record["kept_until_ns"]
        elif record["kind"] == "call" and record["name"] == "stage.angle" and "result" in record:
            reading = Reading(**record["result"])
            if collected.frames and reading.t_before_ns >= collected.frames[0].start_ns:
                collected.readings.append(reading)
    return RecoveredRun(plan, slots, collected, grid)
