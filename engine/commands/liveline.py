"""The live lines of a run as text, for terminals of any width, and which records are a warning to the operator.

Pure: `engine.commands.display` decides when to draw. On a narrow terminal the bar gives way first; a line that is too
long even so is folded, and no figure is lost.
"""

from dataclasses import dataclass
from typing import NamedTuple

from engine.clock import NS_PER_S
from engine.record.framekinds import SHOWN_ONLY
from engine.record.trace import Record

STATE_LETTERS = 17
LONGEST_BAR = 30
SHORTEST_BAR = 5


@dataclass(slots=True)
class Figures:
    """What is shown of a run under way. total: 0 where nobody knows. left_s: None where nobody can tell."""

    state: str = ""
    done: int = 0
    total: int = 0
    note: str = ""
    late_ms: float | None = None
    lost: int = 0
    left_s: float | None = None
    elapsed_s: float | None = None


def live_text(figures: Figures, width: int) -> str:
    """State, bar, how much of how much and time left; below it how it goes. Not wider than `width` where that is 60."""
    count = f"{figures.done}/{figures.total}" if figures.total else f"{figures.done}"
    left = "" if figures.left_s is None else f"{_clock(figures.left_s)} left"
    ends = "  ".join(part for part in (count, left) if part)
    room = min(width - STATE_LETTERS - len(ends) - 2, LONGEST_BAR)
    bar = f"{_bar(figures, room)} " if figures.total and room >= SHORTEST_BAR else ""
    below = (
        figures.note,
        "" if figures.late_ms is None else f"late {figures.late_ms:.2f} ms",
        f"{figures.lost} lost" if figures.lost else "",
        "" if figures.elapsed_s is None else f"{_clock(figures.elapsed_s)} since the start",
    )
    lines = [f"{figures.state:<{STATE_LETTERS}} {bar}{ends}", "  ".join(part for part in below if part)]
    return "\n".join(line for line in lines if line)


def _bar(figures: Figures, width: int) -> str:
    full = round(width * min(figures.done / figures.total, 1.0))
    return "#" * full + "." * (width - full)


def _clock(seconds: float) -> str:
    """1:05, or 1:01:05."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


class Warned(NamedTuple):
    """A warning. cause: the same for all that are told once."""

    cause: str
    text: str


def warning_of(record: Record) -> Warned | None:
    """What a record warns the operator of; None for what is in order, and for what ends the run: that is told then."""
    kind, name = record["kind"], record["name"]
    slot = record.get("slot")
    if (kind, name) == ("slot", "lost"):
        reason = record.get("reason", "")
        return Warned(f"lost {reason}", f"slot {slot} is lost: {reason}")
    if (kind, name) == ("slot", "stretched"):
        longer = record.get("period_ns")
        period = f": {longer / NS_PER_S:.4f} s" if longer else ""
        return Warned("stretched", f"from slot {slot} on slots are longer than planned{period}")
    if kind == "refused" and record["reason"] != SHOWN_ONLY:
        return Warned(f"refused {record['reason']}", f"a frame was not kept: {record['reason']}")
    return None
