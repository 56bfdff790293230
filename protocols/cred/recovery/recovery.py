"""A cRED run whose program was cut off: brought into the form that the run itself would have given it.

Four steps, each whole or not at all, so that recovery may be cut off and repeated at any point: the data (frames.h5,
snapshots) are written beside the spool; run.json says what they hold, and what is missing; the spool goes; the
products are made, and run.json says so.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from engine.errors import CredlineError, DataError, StorageError
from engine.record.endings import Status
from engine.record.folder import to_disk, write_json
from engine.record.lock import alone_in
from engine.record.salvage import nothing_began, protocol_of, whole_frames
from engine.record.spool import SpooledFrame
from protocols.cred.machine import State
from protocols.cred.recovery.lastwords import LastWords, last_words
from protocols.cred.recovery.missing import missing_slots
from protocols.cred.recovery.remains import SPOOL_FILE, RecoveredRun, Remains, fits, pace_of, put_together, read_remains
from protocols.cred.results import data_files, reading_list, result_of, snapshot_list, write_data

DAMAGED_SPOOL_FILE = "frames.damaged.spool"
OTHER_SPOOL_FILE = "frames.other.spool"
RUNNING = "running"
# What run.json says under `recovered: products` until they are made.
PENDING = "pending"
# In these states a frame is being exposed, or has arrived and is not written yet.
EXPOSING = (State.EXPOSE.value, State.DEFOCUS_SNAPSHOT.value, State.FINALIZE.value)


def recover_run(folder: Path, *, draw: bool = False) -> Sequence[str]:
    """Write what the run could not; lines for a person. May be repeated, and cut off, at any point.

    draw: whether the timing strip is drawn too (half a second of another process). Raises DataError for a folder that
    holds no run, and for one at which a program is still at work; StorageError when the disk fails or is full. What
    could not be read stays as it is.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: is no folder; give the folder of a run.")
    try:
        if protocol_of(folder) is None:
            return nothing_began(folder)
        with alone_in(folder):
            return [f"{folder}: {line}" if k == 0 else line for k, line in enumerate(_recover(folder, draw))]
    except OSError as error:
        raise StorageError(
            f"{folder}: could not be recovered ({error.strerror or error}); the spool is kept as it is. See to the "
            "disk, then repeat the command."
        ) from error


def _recover(folder: Path, draw: bool) -> Iterator[str]:
    remains = read_remains(folder)
    spool = (folder / SPOOL_FILE).exists()
    document = remains.document if remains.document is not None else _document_from(remains)
    if remains.document is not None and not spool and _is_over(remains, document):
        reason = document.get("reason") or "no reason"
        yield _sentence(f"nothing to recover; its status is {document['status']!r}: {reason}")
        return
    _clear_up(folder)
    if spool or document["status"] == RUNNING:
        _recover_data(remains, document)
    yield from _told(document, pace_of(remains.header).snapshot_slots)
    yield _make_products(remains, document)
    if draw:
        _draw(folder)


def _is_over(remains: Remains, document: dict[str, Any]) -> bool:
    """Whether the run, or its recovery, came to its end: then there is nothing to do."""
    if document["status"] == RUNNING:
        return False
    recovered = document.get("recovered")
    if isinstance(recovered, dict):
        return recovered.get("products") != PENDING
    return remains.states[-1:] == [document["status"]] or not remains.states


def _clear_up(folder: Path) -> None:
    """Remove what was being written when the program ended: such files are made anew."""
    for path in [*folder.glob(".*.new"), *folder.rglob(".*.part*")]:
        with suppress(FileNotFoundError):
            path.unlink()


def _document_from(remains: Remains) -> dict[str, Any]:
    """What the header of the trace knows of a lost run.json; wall time and host nobody knows any more."""
    header = remains.header or {}
    instrument = header.get("instrument") or {}
    return {
        "schema": 1,
        "program": "credline",
        "version": header.get("version"),
        "protocol": header.get("protocol"),
        "run_id": remains.folder.name,
        "sample": (header.get("plan") or {}).get("sample"),
        "created_at": None,
        "clock": header.get("clock"),
        "seed": header.get("seed"),
        "devices": header.get("devices"),
        "plan": header.get("plan"),
        "status": RUNNING,
        "reason": "",
        "alarms": [],
        "geometry": instrument.get("geometry"),
        "detector": instrument.get("detector"),
    }


def _recover_data(remains: Remains, document: dict[str, Any]) -> None:
    """frames.h5 and snapshots from the spool, if it is there still; then run.json; then the spool may go."""
    folder, spool = remains.folder, remains.folder / SPOOL_FILE
    run = put_together(remains)
    durable = document.get("clock") != "virtual"
    if spool.exists():
        keep = fits(run)

        def read(path: Path, kind: str) -> Iterator[SpooledFrame]:
            return whole_frames(path, kind, keep if kind != "flatfield" else lambda _: True)

        write_data(run, folder, read)
    snapshots = [shot for shot in snapshot_list(run.collected, run.slots) if (folder / shot["file"]).exists()]
    before = document.get("recovered")  # a recovery that was cut off itself has said already how the run ended
    cut_off = before.get("cut_off") is True if isinstance(before, dict) else document["status"] == RUNNING
    over = remains.data_whole or not cut_off
    words = last_words(remains.records, remains.states, remains.plan, remains.watchdog, over=over)
    missing = _missing(run, [] if over else remains.states)
    run.collected.lost_slots = list(missing)
    if document["status"] == RUNNING:
        document |= {"status": Status.FAILED.value, "reason": _reason(remains, run, words)}
        known = alarms if isinstance(alarms := document.get("alarms"), list) else []
        document["alarms"] = known + [alarm for alarm in words.alarms if alarm not in known]
    result, written = result_of(run), document.get("result")
    written = written if isinstance(written, dict) else {}
    if written.get("slots") == result["slots"] and written.get("frames") == result["frames"]:
        result["slack_ms"] = written.get("slack_ms")  # known to the run alone; it stands in no other file
    document |= {
        "result": result,
        "snapshots": snapshots,
        "stage_readings": reading_list(run.collected, run.slots),
        "recovered": {
            "state": remains.states[-1] if remains.states else None,
            "instrument": [*words.alarms, *words.notes],
            "missing": [{"slot": slot, "reason": reason} for slot, reason in missing.items()],
            "lost_records": [*remains.lost, *_lost_files(remains, run)],
            "cut_off": cut_off,
            "products": PENDING,
        },
    }
    if durable:
        to_disk(folder, data_files(run, folder))
    write_json(folder / "run.json", document, durable=durable)
    if durable:
        to_disk(folder)
    if spool.exists():
        if run.damaged:
            spool.replace(folder / DAMAGED_SPOOL_FILE)
        elif run.unlike:
            spool.replace(folder / OTHER_SPOOL_FILE)
        else:
            spool.unlink()


def _missing(run: RecoveredRun, states: Sequence[str]) -> dict[int, str]:
    """The slots without a frame and why, with the one that was in flight. states: none if the run had ended."""
    frames = {frame.slot for frame in run.collected.frames}
    snapshots = {shot.slot for shot in run.collected.snapshots}
    reasons = dict(run.lost_reasons)
    for slot in run.in_flight - frames - snapshots:
        reasons[slot] = "it was being written when the program ended"
    if states[-1:] and states[-1] in EXPOSING and not run.in_flight:
        last = max(frames | snapshots | set(reasons), default=0)
        cycle = run.snapshot_slots or 1 if last in snapshots else 1
        reasons[last + cycle] = "it was in flight when the program ended, or had not begun"
    return missing_slots(frames, snapshots, reasons, run.snapshot_slots)


def _lost_files(remains: Remains, run: RecoveredRun) -> list[str]:
    lost = []
    if not (remains.folder / SPOOL_FILE).exists() and not remains.data_whole:
        lost.append(f"{SPOOL_FILE}: is missing")
    if run.damaged:
        lost.append(f"{SPOOL_FILE}: parts of it are damaged; it is kept as {DAMAGED_SPOOL_FILE}")
    elif run.unlike:
        lost.append(f"{SPOOL_FILE}: holds frames of another type or shape too; it is kept as {OTHER_SPOOL_FILE}")
    if remains.plan is not None and remains.plan.truth and not (remains.folder / "truth.h5").exists():
        lost.append("truth.h5: was not written any more; only the simulation knew what stands in it")
    return lost


def _reason(remains: Remains, run: RecoveredRun, words: LastWords) -> str:
    taken = [frame.slot for frame in run.collected.frames] + [shot.slot for shot in run.collected.snapshots]
    state = f"in state {remains.states[-1]!r}" if remains.states else "before its first state"
    after = f", after slot {max(taken)}" if taken else ", before the first frame"
    beam = "; " + "; ".join(words.alarms) if words.alarms else ""
    return f"the program ended {state}{after}; recovered from the spool{beam}"


def _told(document: dict[str, Any], snapshot_slots: int | None) -> Iterator[str]:
    """What the run holds, what it does not, and what to look after, for a person.

    snapshot_slots: how many one snapshot takes, where that is known.
    """
    result, recovered = document["result"], document.get("recovered") or {}
    frames = result["frames"] + result["frames_not_kept"]
    spare = f" ({result['frames_not_kept']} of them not kept)" if result["frames_not_kept"] else ""
    each = f"; a snapshot takes {snapshot_slots} of them" if result["snapshots"] and snapshot_slots else ""
    yield f"{frames} frames{spare} and {result['snapshots']} snapshots in {result['slots']} slots{each}."
    yield _sentence(f"Status {document['status']}: {document['reason']}")
    missing = recovered.get("missing", [])
    by_reason: dict[str, list[int]] = {}
    for gap in missing:
        by_reason.setdefault(gap["reason"], []).append(gap["slot"])
    for reason, slots in by_reason.items():
        yield _sentence(f"Missing: slot{'s' if len(slots) > 1 else ''} {_ranges(slots)}: {reason}")
    for line in recovered.get("lost_records", []):
        yield _sentence(f"Lost: {line}")
    for line in recovered.get("instrument", []):
        yield _sentence(f"Instrument: {line}")
    if result["oscillation_deg"] is None and frames:
        yield "The frames have no angles: no stage reading of this run is left."


def _sentence(text: str) -> str:
    """With one full stop at its end: what others said, as a reason, may bring its own."""
    return text if text.endswith(".") else f"{text}."


def _ranges(slots: Sequence[int]) -> str:
    """7, 9-12: consecutive slots joined."""
    words: list[str] = []
    begin = 0
    for k, slot in enumerate(slots):
        if k + 1 == len(slots) or slots[k + 1] != slot + 1:
            words.append(f"{slots[begin]}-{slot}" if k > begin else f"{slot}")
            begin = k + 1
    return ", ".join(words)


def _make_products(remains: Remains, document: dict[str, Any]) -> str:
    """What the run itself would have made at its end; what became of it, for a person, stands in run.json too."""
    made = _products(remains, document)
    recovered = document.get("recovered")
    document["recovered"] = {**(recovered if isinstance(recovered, dict) else {}), "products": made}
    write_json(remains.folder / "run.json", document, durable=document.get("clock") != "virtual")
    return _sentence(f"Products: {made}")


def _products(remains: Remains, document: dict[str, Any]) -> str:
    from protocols.cred.experiment import CRED

    plan, detector, result = remains.plan, document.get("detector") or {}, document["result"]
    aborted = document["status"] == Status.ABORTED.value or any(
        record["kind"] == "command" and record["name"] == Status.ABORTED.value for record in remains.records
    )
    if plan is None or not plan.formats:
        return "none were asked for"
    if not detector.get("has_pictures"):
        return "none; the camera delivered no pictures" if "has_pictures" in detector else "none; run.json was lost"
    if aborted:
        return "none; the run had been aborted"
    if not result["frames"]:
        return "none; no frame was kept"
    if result["oscillation_deg"] is None:
        return "none; the frames have no angles"
    try:
        return "; ".join(CRED.export(remains.folder, plan.formats, lambda done, total: None))
    except CredlineError as error:
        return f"none; {error}"


def _draw(folder: Path) -> None:
    """The timing strip, as a run draws it at its end."""
    from engine.views.strip import StripProcess

    picture = folder / "report" / "timing.png"
    if picture.exists():
        return
    strip = StripProcess()
    try:
        strip.draw(folder / "trace.jsonl", picture)
    finally:
        strip.close()
