"""What went wrong in a serial run, in words for the top of its report: all of it was recorded, nothing is found out."""

from collections import Counter
from collections.abc import Iterator, Mapping

from engine.errors import shown
from protocols.products.troubles import TEXT_LETTERS, told_after, told_before
from protocols.serialed.results.source import SerialSource

EXPECTED = ("", "visited", "no crystals", "barren", "hole", "bar", "asked")
"""How a field may end with nothing wrong."""


def serial_troubles(source: SerialSource) -> Iterator[str]:
    """One line each. How the run ended is not among them: that is said above them, once."""
    yield from told_before(source.document)
    ends = Counter(how for how in (*(row.how for row in source.tables.fields), *source.tables.left_out.values()))
    for how, count in sorted(ends.items()):
        if how not in EXPECTED:
            yield f"{count} fields were left out: {shown(how, TEXT_LETTERS)}"
    yield from _counted("field", Counter(row.note for row in source.tables.fields if row.note))
    why = Counter(row.why_not for row in source.tables.crystals if row.pattern >= 0 and row.why_not)
    yield from _counted("pattern", why)
    for note in source.tables.notes:
        yield f"scores: {shown(note, TEXT_LETTERS)}"
    refused = Counter(str(record.get("reason", "")) for record in source.records if record["kind"] == "refused")
    for reason, count in refused.items():
        yield f"{count} frames were not kept: {shown(reason, TEXT_LETTERS)}"
    late = Counter(
        record["name"] for record in source.records if record["kind"] == "step" and record.get("verdict") == "over"
    )
    for name, count in late.items():
        yield f"{count} times {name} took longer than its budget"
    for line in source.lost:
        yield f"not readable: {shown(line, TEXT_LETTERS)}"
    if source.document.continued:
        yield "this run goes on from an earlier one, whose fields and crystals are in that one's folder"
    yield from told_after(source.document)


def _counted(what: str, notes: Mapping[str, int]) -> Iterator[str]:
    for note, count in sorted(notes.items(), key=lambda each: -each[1]):
        yield f"{count} {what}{'s' if count > 1 else ''}: {shown(note, TEXT_LETTERS)}"
