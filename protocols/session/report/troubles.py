"""What went wrong in a session, in plain words, for the top of its report."""

from collections import Counter
from collections.abc import Iterator

from engine.errors import shown
from protocols.products.troubles import told_after, told_before
from protocols.session.night import COLLECTED
from protocols.session.report.source import SessionSource

LETTERS = 300
SEVERAL = 3
"""Reasons that each stand in a line of their own; the rest is counted."""


def session_troubles(source: SessionSource) -> Iterator[str]:
    """One line each. How the session ended is not among them: that is said above them, once."""
    night = source.night
    yield from told_before(source.document)
    for fault in source.faults:
        if fault.get("how") == "began":
            yield f"device fault: {shown(fault.get('device', ''))}: {shown(fault.get('reason', ''), LETTERS)}"
    if night.waited_s > 0:
        yield f"{night.waited_s / 60:.1f} min went in waiting for devices"
    aside = Counter(
        f"at {over.stage}: {shown(over.reason, LETTERS)}" for over in night.over.values() if over.how != COLLECTED
    )
    yield from _counted("crystal", "set aside", aside)
    yield from _counted("data set", "of no phase", Counter(shown(why, LETTERS) for why in source.unplaced.values()))
    damaged = sum(each.damage == "damage" for each in source.sets)
    if damaged:
        yield f"{damaged} crystals were damaged by the beam while they turned"
    for phase in source.phases:
        name = f"phase {phase['number']}"
        for doubt in phase.get("doubts") or ():
            yield f"{name}: {shown(doubt, LETTERS)}"
        for each in phase.get("left_out") or ():
            yield f"{name}: data set {each['number']} was not merged: {shown(each['why'], LETTERS)}"
    if night.beam_untold:
        yield f"{night.beam_untold} children did not tell how long the beam was on: its time is a lower limit"
    for line in source.lost:
        yield f"not readable: {shown(line, LETTERS)}"
    if source.document.continued:
        yield "this session goes on from an earlier one: times of crystals and of work are of this one alone"
    yield from told_after(source.document)


def _counted(what: str, how: str, reasons: Counter[str]) -> Iterator[str]:
    common = reasons.most_common(SEVERAL)
    for reason, count in common:
        yield f"{count} {what}{'s' if count > 1 else ''} {how}: {reason}"
    if rest := sum(reasons.values()) - sum(count for _, count in common):
        yield f"{rest} more {what}s {how}, for {len(reasons) - len(common)} other reasons: in the tables below"
