"""What went wrong in a run, in words for the top of its report: nothing here is found out, all of it was recorded."""

import re
from collections.abc import Iterator, Sequence
from itertools import islice

from engine.errors import CredlineError, shown
from engine.record.document import RunDocument
from engine.record.trace import Record, read_trace
from protocols.products.cred_log import slot_list
from protocols.products.source import RunInfo

RECORDS_READ = 1_000_000
"""Of a trace, for the reasons of its lost slots; a run of a day has fewer."""
TEXT_LETTERS = 400
OF_A_CHILD = re.compile(r"(\d+_[\w-]+): (.*)", re.DOTALL)
NAMED = 2
"""Of what more children than this warned in the same words, so many are named."""


def troubles(info: RunInfo, document: RunDocument) -> Iterator[str]:
    """One line each: alarms, warnings, what was unusual, what was corrected since, slots lost and why, frames that were
    not kept, what the disk or a crash did to the run.

    How it ended is not among them: that is said above them, once.
    """
    yield from told_before(document)
    for reason, slots in _lost(info).items():
        lost = f"{len(slots)} of {info.slots} slots lost: {slot_list(slots)}"
        yield f"{lost} ({reason})" if reason else lost
    not_kept, changes = (document.result.get(key) for key in ("frames_not_kept", "period_changes"))
    if not_kept:
        yield f"{not_kept} frames not kept: late on their slots, of another period, or without a known angle"
    if changes:
        yield f"the period was lengthened {changes} times: the camera took longer than it declares"
    yield from told_after(document)


def told_before(document: RunDocument) -> Iterator[str]:
    """Of any run: alarms, warnings, what was unusual, what was corrected since."""
    for alarm in document.alarms:
        yield f"ALARM: {shown(alarm, TEXT_LETTERS)}"
    for warning in _together(document.warnings):
        yield f"WARNING: {shown(warning, TEXT_LETTERS)}"
    for remark in document.remarks:
        yield f"said before the run: {shown(remark, TEXT_LETTERS)}"
    for each in document.corrections:
        key, was, now = (shown(each.get(name), TEXT_LETTERS) for name in ("key", "was", "now"))
        yield f"corrected after the run: {key} was {was}, is now {now}"


def _together(warnings: Sequence[str]) -> Iterator[str]:
    """What several children warned of in the same words (`12_recall: ...`) as one warning, where it was said first."""
    of_words: dict[str, list[str]] = {}
    for warning in warnings:
        of_child = OF_A_CHILD.fullmatch(warning)
        name, words = of_child.groups() if of_child else ("", warning)
        of_words.setdefault(words, []).append(name)
    for words, names in of_words.items():
        if len(names) <= NAMED:
            yield from (f"{name}: {words}" if name else words for name in names)
        else:
            who = "".join(f", {name}" for name in names[:NAMED] if name)
            yield f"{len(names)} times{who}{', ...' if who else ''}: {words}"


def told_after(document: RunDocument) -> Iterator[str]:
    """Of any run: what the disk or a crash did to it."""
    if document.disk_failed:
        yield f"the disk failed: {shown(document.disk_failed, TEXT_LETTERS)}"
    if document.trace_cut_off:
        yield f"the trace ends before the run: {shown(document.trace_cut_off, TEXT_LETTERS)}"
    if document.recovered:
        yield "the run was cut off, and put together again by `credline recover`"


def _lost(info: RunInfo) -> dict[str, tuple[int, ...]]:
    """The lost slots by the reason that the trace gives; an empty one where it gives none."""
    if not info.lost_slots:
        return {}
    reasons: dict[int, str] = {}
    try:
        for record in islice(read_trace(info.folder), RECORDS_READ):
            if (record["kind"], record["name"]) == ("slot", "lost") and record["slot"] is not None:
                reasons[record["slot"]] = shown(record.get("reason", ""), TEXT_LETTERS)
    except CredlineError:
        pass  # what can be read of a damaged trace is enough
    found: dict[str, tuple[int, ...]] = {}
    for slot in info.lost_slots:
        reason = reasons.get(slot, "")
        found[reason] = (*found.get(reason, ()), slot)
    return found


def header_of(info: RunInfo) -> Record:
    """The header of the run's trace; empty where there is none, or it cannot be read."""
    try:
        return next(read_trace(info.folder))
    except CredlineError:
        return {}
