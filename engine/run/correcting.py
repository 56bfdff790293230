"""A finished run with other values of its instrument than it was made with, or with files made in another way than its
plan says: run.json corrected, what it said kept.

For `credline export RUN --set`. The trace is never touched, so its header has what the run was made with; run.json has
the values that hold, and under `corrections` what each was, since when it is another, and by what.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from engine.clock import utc_now
from engine.errors import CredlineError, Refused, StorageError
from engine.record.document import RunDocument
from engine.record.endings import WORK_DONE, Status
from engine.record.jsonobject import JsonDict
from engine.record.spool import SPOOL_FILE
from engine.record.trace import Record, read_trace
from engine.run.commands import Wish
from engine.run.contract import AnyExperiment
from engine.run.planfile import parse_setting

BY = "credline export"


def correct(kind: AnyExperiment, folder: Path, words: Sequence[str]) -> tuple[str, ...]:
    """Put other values of the instrument, or of its plan, into a run's run.json; lines for a person about what is new.

    words: `table.key=value`, `key=value`. Raises Refused, nothing changed, for what cannot be corrected or cannot be;
    DataError for a folder that is no run's, StorageError when run.json cannot be written (it is as it was).
    """
    document = RunDocument.read(folder)
    if not document.has_ended:
        raise Refused(f"{folder}: the run has not ended; nothing was changed. Wait for its end, or recover it first.")
    settings: JsonDict = {}
    for word in words:
        keys, value = parse_setting(word)
        settings[".".join(keys)] = value
    now = kind.corrected(document, settings)
    changes = [_change(key, _at(document, key), _at(now, key)) for key in settings]
    changes = [change for change in changes if change["was"] != change["now"]]
    if changes:
        _write(folder, replace(now, corrections=(*document.corrections, *changes)))
    return tuple(f"{each['key']} was {_figure(each['was'])}, is now {_figure(each['now'])}" for each in changes)


def mend(kind: AnyExperiment, folder: Path) -> str:
    """Where a run failed for nothing but its products, and they have been made now: it is whole. A line that says so.

    Empty for a run that ended otherwise. Raises as `correct`.
    """
    document = RunDocument.read(folder)
    if document.status != Status.FAILED.value or document.recovered is not None or (folder / SPOOL_FILE).exists():
        return ""
    try:
        records = list(read_trace(folder))
    except CredlineError:  # nobody knows why it failed
        return ""
    if not _only_products_failed(records, str(kind.machine().finalizing.value), document.reason):
        return ""
    status, reason = _before_its_products(records)
    changes = (_change("status", document.status, status), _change("reason", document.reason, reason))
    _write(folder, replace(document, status=status, reason=reason, corrections=(*document.corrections, *changes)))
    return f"the run had failed because its files could not be made; they are made now, its status is {status!r}"


def _only_products_failed(records: Sequence[Record], finalizing: str, reason: str) -> bool:
    """Whether a run whose data are in their final form failed in its last state, after that: there only products are
    made.
    """
    state = ""
    for record in records:
        if record["kind"] == "state":
            state = record["name"]
        elif record["kind"] == "fault":
            return state == finalizing and record["reason"] == reason  # the first is why it failed
    return False


def _before_its_products(records: Sequence[Record]) -> tuple[str, str]:
    """How it would have ended: as its operator said, or done."""
    stop = next((r for r in records if (r["kind"], r["name"]) == ("command", Wish.STOP.value)), None)
    return (WORK_DONE.status.value, WORK_DONE.reason) if stop is None else (Status.STOPPED.value, stop["reason"])


def _change(key: str, was: object, now: object) -> JsonDict:
    return {"key": key, "was": was, "now": now, "at": utc_now().isoformat(timespec="seconds"), "by": BY}


def _figure(value: object) -> str:
    return f"{value:.10g}" if isinstance(value, int | float) else "not known" if value is None else str(value)


def _at(document: RunDocument, key: str) -> object:
    """Of the instrument, or of the plan: no key is in both."""
    found: object = {**document.plan, **document.instrument}
    for part in key.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _write(folder: Path, document: RunDocument) -> None:
    try:
        document.write(folder)
    except OSError as error:
        raise StorageError(
            f"{folder}: run.json cannot be written ({error.strerror}); it is as it was. See to the disk, then repeat "
            "the command."
        ) from error
