"""Whether the files of a cRED run tell the same story: the engine's check, and the counts, slots and snapshots."""

import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from engine.record.agreement import RunFiles, check, read_folder
from engine.record.document import RunDocument
from engine.record.spool import SPOOL_FILE
from protocols.cred.finish import pace_of
from protocols.cred.missing import NO_WORD, missing_slots
from protocols.cred.results import snapshot_file


def check_run(folder: Path) -> list[str]:
    """Where the files of a cRED run disagree, one line each; nothing when they tell the same story.

    For a run that has ended or was recovered. Raises nothing for what is wrong with the files: the lines say it.
    """
    files = read_folder(folder)
    document = files.document
    if document is None or not document.result or not document.has_ended:
        return check(files)
    return [*check(files), *_counts(files, document), *_slots(files, document), *_snapshots(files, document)]


def _counts(files: RunFiles, document: RunDocument) -> Iterator[str]:
    """run.json counts what is on disk."""
    result = document.result
    frames = [item for item in files.stored if item.kind == "diffraction"]
    counted = result["frames"] + result["frames_not_kept"]
    if counted != len(frames) and not files.disk_failed:
        yield f"run.json: counts {counted} frames, {len(frames)} are on disk"
    if result["snapshots"] != len(document.own.get("snapshots", ())):
        yield f"run.json: counts {result['snapshots']} snapshots and lists {len(document.own.get('snapshots', ()))}"
    if result["lost_slots"] != len(result["lost_slot_numbers"]):
        yield f"run.json: counts {result['lost_slots']} lost slots and lists {len(result['lost_slot_numbers'])}"
    named = {record["slot"] for record in files.of("slot", "lost")}
    unnamed = set(result["lost_slot_numbers"]) - named - files.excused
    unlisted = {slot for slot in named if slot <= result["slots"]} - set(result["lost_slot_numbers"])
    if (unnamed or unlisted) and not files.disk_failed:
        yield f"lost slots: {sorted(unnamed)} only in run.json, {sorted(unlisted)} only in the trace"


def _slots(files: RunFiles, document: RunDocument) -> Iterator[str]:
    """Every slot up to the last holds a frame or a snapshot, or its loss has a name; none holds two things."""
    frames = {item.slot for item in files.stored if item.kind == "diffraction" and item.slot is not None}
    snapshots = {shot["slot"] for shot in document.own.get("snapshots", ())}
    lost = {record["slot"]: record.get("reason", "") for record in files.of("slot", "lost")}
    for slot in sorted(frames & snapshots):
        yield f"slot {slot}: holds a frame and a snapshot"
    for slot in sorted((frames | snapshots) & set(lost)):
        yield f"slot {slot}: counts as lost and is on disk"
    if files.disk_failed:
        return
    known = lost | dict.fromkeys(files.excused, "named by the recovery")
    slots_taken = pace_of(document.plan, files.records[0] if files.records else {}).snapshot_slots
    for slot, reason in missing_slots(frames, snapshots, known, slots_taken).items():
        if reason == NO_WORD:
            yield f"slot {slot}: no frame, no snapshot, and nobody says why"
    delivered = {r["slot"] for r in files.of("step", "frame") if r["verdict"] != "underflow"}
    for slot in sorted(delivered - frames - files.excused):
        yield f"slot {slot}: the camera delivered a frame that is not on disk"


def _snapshots(files: RunFiles, document: RunDocument) -> Iterator[str]:
    """Every snapshot of the trace is a file with the counts that the camera delivered, or excused by name."""
    from fabio import open as open_image

    if (files.folder / SPOOL_FILE).exists():
        return  # they are in there still, and the engine's check has seen them
    listed = {shot["slot"]: shot for shot in document.own.get("snapshots", ())}
    for record in files.of("frame", "snapshot"):
        slot = record["slot"]
        path = files.folder / snapshot_file(slot)
        if not path.exists():
            if slot not in files.excused and not files.disk_failed:
                yield f"slot {slot}: its snapshot is in the trace and not on disk"
            continue
        counts = np.ascontiguousarray(open_image(str(path)).data)
        if record.get("crc") not in (zlib.crc32(counts.data), zlib.crc32(counts.byteswap().data)):
            yield f"slot {slot}: its snapshot on disk is not what the camera delivered (CRC-32)"
        if slot not in listed or listed[slot]["start_ns"] != record.get("start_ns"):
            yield f"slot {slot}: its snapshot is in the trace, and not the same in run.json"
