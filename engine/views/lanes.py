"""What a timing strip shows: the records of a trace sorted into rows of bars and marks over time.

Without a plotting library: `engine.views.strip` draws what comes out of here, `engine.views.zoom` lets a browser do it.
One row for each state, step, kind of frame, device and computation, and one for each kind of trouble, so that a row's
name says what a bar is, however short. Instants are seconds since the trace's header.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from pathlib import Path

from engine.clock import NS_PER_S
from engine.errors import shown
from engine.record.trace import Record, read_trace

Bar = tuple[float, float]
"""Begin and duration in seconds."""

RECORDS_READ = 50_000
"""A run of ten minutes has some 5000; a picture of more shows nothing, and this bounds its memory."""
ROWS_OF_A_GROUP = 12
"""More states, steps, devices or kinds than these share the last row of their group."""
NAME_LETTERS = 24
ELSE = "others"
DURATIONS = ("slack_ns", "left_ns", "period_ns")
GROUPS = ("states", "steps", "frames", "calls", "computations", "children", "marks")
CLOSE_UP_SLOTS = 12
MARKS: Mapping[tuple[str, str], str] = {
    ("slot", "lost"): "lost slots",
    ("slot", "stretched"): "longer period",
    ("fault", ""): "faults",
    ("command", ""): "commands",
    ("refused", ""): "refused frames",
    ("injected", ""): "injected faults",
    ("wake", ""): "late wakes",
    ("note", ""): "notes",
}
"""Rows of marks by kind and name of their records (an empty name: all of the kind)."""
ALARMING = ("lost slots", "faults", "commands", "refused frames")
"""Rows whose marks are seen from all others."""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time in seconds, with what stands above its picture."""

    title: str
    begin_s: float
    end_s: float

    def shows(self, bar: Bar) -> bool:
        """Whether some of this bar lies in it."""
        begin_s, length_s = bar
        return begin_s <= self.end_s and begin_s + length_s >= self.begin_s


@dataclass(frozen=True, slots=True)
class Lane:
    """One row. bars: what has a begin and an end. marks: what has one instant (a lost slot, an arrival, a step that was
    not begun). left: what was left of each budget, behind its bar. over: bars of steps over their budget. budget_ends:
    where the budgets of those ended.
    """

    group: str
    name: str
    bars: tuple[Bar, ...] = ()
    marks: tuple[float, ...] = ()
    left: tuple[Bar, ...] = ()
    over: tuple[Bar, ...] = ()
    budget_ends: tuple[float, ...] = ()

    @property
    def events(self) -> int:
        """How many events stand in this row."""
        return len(self.bars) + len(self.marks)

    def is_seen(self, window: Window) -> bool:
        """Whether a window shows any of them."""
        return any(map(window.shows, self.bars)) or any(window.shows((at_s, 0.0)) for at_s in self.marks)


@dataclass(frozen=True, slots=True)
class Rows:
    """A whole strip. records: as `from_header` makes them. whole: the run. near: what is worth a look from nearby."""

    records: list[Record]
    lanes: list[Lane]
    whole: Window
    near: list[Window]


def read_rows(trace: Path) -> Rows:
    """The strip of a run folder or trace file; of a very long one the first RECORDS_READ records, which it says.

    Raises DataError as `read_trace` does.
    """
    reading = read_trace(trace)
    records = list(islice(reading, RECORDS_READ))
    cut_off = next(reading, None) is not None
    origin_ns = records[0]["t_ns"] or 0
    records = [from_header(record, origin_ns) for record in records]
    first_s, last_s = span(records)
    title = f"the first {RECORDS_READ} records" if cut_off else "whole run"
    return Rows(records, lanes_of(records, last_s), Window(title, first_s, last_s), close_ups(records))


def from_header(record: Record, origin_ns: int) -> Record:
    """The record with its instants counted from the header, and without those that are not known."""
    return {
        key: value - origin_ns if key.endswith("_ns") and key not in DURATIONS and type(value) is int else value
        for key, value in record.items()
        if value is not None or not key.endswith("_ns")
    }


def lanes_of(records: Sequence[Record], last_s: float) -> list[Lane]:
    """The rows of records that `from_header` made, by groups. A state lasts until the next, the last to last_s."""
    found: list[Lane] = []
    for group, kind in zip(GROUPS, ("state", "step", "frame", "call", "computation", "child"), strict=False):
        chosen = [record for record in records if record["kind"] == kind]
        if kind == "state":
            chosen = list(_with_ends(chosen, last_s))
        elif kind == "call":
            chosen = [{**record, "name": str(record["name"]).split(".")[0]} for record in chosen]
        elif kind == "child":
            chosen = [{**record, "name": record.get("protocol") or ELSE} for record in chosen if "end_ns" in record]
        found += [_lane(group, name, part) for name, part in _by_name(chosen)]
    for name in dict.fromkeys(MARKS.values()):
        instants = tuple(_instant(record) for record in records if mark_of(record) == name and "t_ns" in record)
        if instants:
            found.append(Lane(GROUPS[-1], name, marks=instants))
    return found


def mark_of(record: Record) -> str | None:
    """The row of marks that a record belongs to."""
    return MARKS.get((record["kind"], record["name"])) or MARKS.get((record["kind"], ""))


def is_alarm(lane: Lane) -> bool:
    """Whether its marks go through all rows: lost slots, faults, commands, and steps that were not begun."""
    return lane.group == "steps" or (lane.group == GROUPS[-1] and lane.name in ALARMING)


def span(records: Iterable[Record]) -> tuple[float, float]:
    """First and last instant in seconds; at least a millisecond apart."""
    times = [record["t_ns"] / NS_PER_S for record in records if "t_ns" in record]
    first_s, last_s = (min(times), max(times)) if times else (0.0, 1.0)
    return first_s, max(last_s, first_s + 0.001)


def visible(bars: Iterable[Bar], shortest_s: float) -> list[Bar]:
    """The bars as a picture can show them: none shorter than `shortest_s`, and what then touches joined.

    No event vanishes for being short, and a row of thousands is few bars to draw.
    """
    joined: list[Bar] = []
    for begin_s, length_s in sorted(bars):
        end_s = begin_s + max(length_s, shortest_s)
        if joined and begin_s - (joined[-1][0] + joined[-1][1]) < shortest_s / 4:
            first_s = joined[-1][0]
            joined[-1] = (first_s, max(joined[-1][1], end_s - first_s))
        else:
            joined.append((begin_s, end_s - begin_s))
    return joined


def close_ups(records: Sequence[Record]) -> list[Window]:
    """What is worth a look from nearby: where frames of one kind first give way to another kind (the first frames when
    all are of one kind), and the first thing that went wrong.
    """
    frames = [record for record in records if record["kind"] == "frame" and "start_ns" in record]
    intervals_ns = [b["start_ns"] - a["start_ns"] for a, b in pairwise(frames)]
    slot_ns = min((interval for interval in intervals_ns if interval > 0), default=NS_PER_S)
    reach_s = CLOSE_UP_SLOTS * int(slot_ns) / NS_PER_S / 2
    found = []
    if frames:
        other = next((r for r in frames if r["name"] != frames[0]["name"]), None)
        mark = frames[0] if other is None else other
        title = "around the first frame" if other is None else f"around the first {shown(other['name'], NAME_LETTERS)}"
        found.append(_around(title, mark["start_ns"], reach_s))
    for record in records:
        if (what := trouble(record)) and (at_ns := record.get("start_ns", record.get("t_ns"))) is not None:
            if found and found[0].shows((at_ns / NS_PER_S, 0.0)):  # one picture for both
                return [replace(found[0], title=f"{found[0].title}; first trouble: {what}")]
            return [*found, _around(f"around the first trouble: {what}", at_ns, reach_s)]
    return found


def trouble(record: Record) -> str | None:
    """What went wrong, if this record says that something did."""
    slot = f", slot {record['slot']}" if record.get("slot") is not None else ""
    name = shown(record["name"], NAME_LETTERS)
    if record["kind"] == "step" and record["verdict"] != "ok":
        return f"{name} {'over its budget' if record['verdict'] == 'over' else 'not begun'}{slot}"
    if (record["kind"], record["name"]) == ("slot", "lost"):
        return f"lost{slot}"
    return f"{record['kind']}: {name}{slot}" if record["kind"] in ("fault", "refused") else None


def _around(title: str, at_ns: int, reach_s: float) -> Window:
    return Window(title, at_ns / NS_PER_S - reach_s, at_ns / NS_PER_S + reach_s)


def _with_ends(states: Sequence[Record], last_s: float) -> Iterator[Record]:
    """The states with `start_ns` and `end_ns`."""
    known = [state for state in states if "t_ns" in state]
    for k, state in enumerate(known):
        end_ns = known[k + 1]["t_ns"] if k + 1 < len(known) else max(state["t_ns"], round(last_s * NS_PER_S))
        yield {**state, "start_ns": state["t_ns"], "end_ns": end_ns}


def _by_name(records: Sequence[Record]) -> Iterator[tuple[str, list[Record]]]:
    """The records of each name, in order of first appearance; those of too many names together at the end."""
    parts: dict[str, list[Record]] = {}
    for record in records:
        parts.setdefault(shown(record["name"], NAME_LETTERS), []).append(record)
    names = list(parts)
    if len(names) > ROWS_OF_A_GROUP:
        rest = names[ROWS_OF_A_GROUP - 1 :]
        parts = {name: parts[name] for name in names[: ROWS_OF_A_GROUP - 1]} | {
            ELSE: [record for name in rest for record in parts[name]]
        }
    yield from parts.items()


def _lane(group: str, name: str, records: Sequence[Record]) -> Lane:
    ended = [(record, bar) for record in records if (bar := _bar(record)) is not None]
    over = [(record, bar) for record, bar in ended if record.get("verdict") == "over"]
    return Lane(
        group,
        name,
        bars=tuple(bar for _, bar in ended),
        marks=tuple(_marks(records)),
        left=tuple(
            (record["end_ns"] / NS_PER_S, record["left_ns"] / NS_PER_S)
            for record, _ in ended
            if record.get("left_ns", 0) > 0
        ),
        over=tuple(bar for _, bar in over),
        budget_ends=tuple((record["end_ns"] + record.get("left_ns", 0)) / NS_PER_S for record, _ in over),
    )


def _marks(records: Iterable[Record]) -> Iterator[float]:
    """Arrivals of frames whose exposure is not known, and steps that were not begun."""
    for record in records:
        if record["kind"] == "frame" and "start_ns" not in record and "arrived_ns" in record:
            yield record["arrived_ns"] / NS_PER_S
        elif record.get("verdict") == "underflow" and "t_ns" in record:
            yield record["t_ns"] / NS_PER_S


def _bar(record: Record) -> Bar | None:
    """Where both its ends are known."""
    begin_ns, end_ns = record.get("start_ns", record.get("begin_ns")), record.get("end_ns")
    return None if begin_ns is None or end_ns is None else (begin_ns / NS_PER_S, (end_ns - begin_ns) / NS_PER_S)


def _instant(record: Record) -> float:
    instant_ns: int = record["woke_ns"] if "woke_ns" in record else record["t_ns"]
    return instant_ns / NS_PER_S
