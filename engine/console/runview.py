"""What a page shows of a run besides its pictures, made from its records one after the other. Pure, and bounded.

The summary is sent whole when it has changed; what is drawn over time (strip, lateness, course) is sent as it comes.
"""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Generic, TypeVar

from engine.clock import NS_PER_MS, NS_PER_S
from engine.commands.liveline import warning_of
from engine.console.panelview import PanelView
from engine.errors import shown
from engine.record.document import RunDocument
from engine.record.jsonobject import JsonDict, JsonObject
from engine.record.trace import Record
from engine.record.warned import LOOKED_AGAIN, WARNING
from engine.run.contract import AnyExperiment
from engine.run.machine import FINISH, StrictMachine

DRAWN_MOST = 4000
"""Bars, and points of a curve, that are kept for who comes later: some ten minutes of a run."""
WARNINGS_MOST = 50
PACE_NS = 60 * NS_PER_S
"""The time left is told by the pace of the last minute."""

LETTERS_MOST = 2000

T = TypeVar("T")

Bar = tuple[str, float, float, str, str]
"""Row, begin and duration in seconds, class, what it is in words."""


def said(text: object) -> str:
    """What a run says, for a page, which shows it as text whatever it is; no more than a person reads."""
    return shown(text, LETTERS_MOST)


class Growing(Generic[T]):
    """A list of which the last are kept, and whoever has seen some is given the others."""

    def __init__(self) -> None:
        self._kept: deque[T] = deque(maxlen=DRAWN_MOST)
        self.number = 0

    def add(self, item: T) -> None:
        """One more."""
        self._kept.append(item)
        self.number += 1

    def after(self, seen: int) -> list[T]:
        """Those after the first `seen`, as far as they are kept."""
        new = min(self.number - seen, len(self._kept))
        return [self._kept[k] for k in range(len(self._kept) - new, len(self._kept))] if new > 0 else []


@dataclass
class _Now:
    """The figures of the moment."""

    t_ns: int = 0
    state: str = ""
    since_ns: int = 0
    done: int = 0
    note: str = ""
    operator: str = ""
    lost: int = 0
    safe: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    spent_s: Counter[str] = field(default_factory=Counter)


class RunView:
    """One run for a page. total: in the experiment's unit; 0 where nobody knows. zero_ns: when the run began; a page
    counts its seconds from there. facts: of the instrument, as the header of the trace has them.
    """

    def __init__(
        self,
        name: str,
        kind: AnyExperiment | None,
        document: RunDocument,
        total: int = 0,
        zero_ns: int = 0,
        facts: JsonObject | None = None,
    ) -> None:
        self._name, self._kind, self._total, self._zero_ns = name, kind, total, zero_ns
        self._facts = facts or {}
        self._now = _Now()
        self._late_ms: deque[float] = deque(maxlen=DRAWN_MOST)
        self._slack_ms: deque[float] = deque(maxlen=DRAWN_MOST)
        self._warned: set[str] = set()
        self._warnings: list[str] = []
        self._pace: deque[tuple[int, int]] = deque()
        self._course_from: list[float] | None = None
        self.bars = Growing[Bar]()
        self.late, self.course = Growing[list[float | int | None]](), Growing[list[float]]()
        self.changed = 0
        """Counted up with whatever the summary says."""
        self._machine = None if kind is None else machine_told(kind.machine())
        self.document = document
        self.panels = PanelView(kind, document)

    def read_document(self, document: RunDocument) -> None:
        """run.json says something new."""
        if document != self.document:
            self.document = self.panels.document = document
            self.changed += 1

    def take(self, record: Record) -> None:
        """One record of the trace, checked."""
        now, kind, name = self._now, record["kind"], said(str(record["name"]))
        now.t_ns = max(now.t_ns, record["t_ns"])
        self.changed += 1
        at_s = self._s(record["t_ns"])
        if kind == "state":
            if now.state:
                now.spent_s[now.state] += (record["t_ns"] - now.since_ns) / NS_PER_S
                self._bar("state", now.since_ns, record["t_ns"], "state", now.state)
            now.state, now.since_ns = name, record["t_ns"]
        elif kind == "call":
            failed = "error" in record
            words = f"{name}: {said(str(record.get('text') or record['error']))}" if failed else name
            self._bar(name.partition(".")[0], record["begin_ns"], record["end_ns"], "bad" if failed else "call", words)
        elif kind == "computation":
            self._bar("computations", record.get("begin_ns"), record.get("end_ns"), "computation", name)
        elif kind == "step":
            self._step(record, name)
        elif kind == "frame":
            now.counts[name] += 1
            self._bar("camera", record["start_ns"], record["end_ns"], "frame", name)
        elif kind == "refused":
            self._bar("camera", record["start_ns"], record["end_ns"], "frame", said(str(record["reason"])))
        elif kind == "note" and record["name"] == "operator":
            now.operator = said(str(record.get("text", "")))
        elif kind == "note" and record["name"] == "safe state":
            now.safe = True
            self.bars.add(("marks", at_s, 0.0, "mark", "safe state"))
        elif kind == "command":
            if name == "told" and self._kind is not None and self._kind.gives_way:
                now.operator = ""  # what was said of the words before is read by then
            self.bars.add(("marks", at_s, 0.0, "mark", said(f"{name}: {record.get('reason', '')}")))
        elif kind == "slot" and name == "lost":
            now.lost += 1
            self.bars.add(("marks", at_s, 0.0, "bad", f"slot {record.get('slot')} lost"))
        self._warn(record)
        self._of_protocol(record)
        self.panels.take(record)

    def _s(self, instant_ns: int) -> float:
        """Seconds since the run began."""
        return (instant_ns - self._zero_ns) / NS_PER_S

    def _bar(self, row: str, begin_ns: int | None, end_ns: int | None, of: str, words: str) -> None:
        if begin_ns is None or end_ns is None:  # what was given up before it had begun
            return
        begin_s = round(self._s(begin_ns), 4)
        self.bars.add((row, begin_s, round((end_ns - begin_ns) / NS_PER_S, 4), of, words))

    def _step(self, record: Record, name: str) -> None:
        """How late a step began, how much earlier it could have begun, and whether it kept its budget."""
        begin_ns = record.get("start_ns")
        slot = record.get("slot")
        if begin_ns is None:  # it was not done
            self.bars.add(("steps", self._s(record["t_ns"]), 0.0, "bad", f"{name}, slot {slot}: too late, not done"))
            return
        verdict = "step" if record.get("verdict") == "ok" else "bad"
        words = f"{name}, slot {slot}" + ("" if verdict == "step" else ": over its budget")
        self._bar("steps", begin_ns, record["end_ns"], verdict, words)
        late_ms: float = (begin_ns - record["planned_ns"]) / NS_PER_MS
        slack_ms = record["slack_ns"] / NS_PER_MS
        self._late_ms.append(late_ms)
        self._slack_ms.append(slack_ms)
        self.late.add([round(self._s(begin_ns), 4), round(late_ms, 4), round(slack_ms, 3), slot])

    def _warn(self, record: Record) -> None:
        """What the operator is to know, each cause once, in plain words."""
        kind = record["kind"]
        told = warning_of(record)
        cause, text = ("", "") if told is None else told
        if kind == "note" and record["name"] in (WARNING, LOOKED_AGAIN):
            cause = text = str(record.get("text", ""))
        elif kind == "fault":
            cause = text = f"{record['name']}: {record.get('reason', '')}"
        if text and cause not in self._warned and len(self._warnings) < WARNINGS_MOST:
            self._warned.add(cause)
            self._warnings.append(said(text))

    def _of_protocol(self, record: Record) -> None:
        """What the protocol alone can read in a record; one that fails at that is asked no more."""
        if self._kind is None:
            return
        now = self._now
        try:
            progress, read = self._kind.progress(record), self._kind.course_read(record)
        except Exception:  # somebody's protocol, or an older trace
            self._kind = None
            return
        if progress is not None:
            now.done, now.note = progress.done, said(progress.note)
            self._pace.append((record["t_ns"], progress.done))
            while record["t_ns"] - self._pace[0][0] > PACE_NS:
                self._pace.popleft()
        if read is not None:
            told = next(key for key in ("begin_ns", "start_ns", "t_ns") if key in record)
            begin_s = self._s(record[told])
            self.course.add([round(begin_s, 3), round(read, 4)])
            kinds = [each.name for each in self._kind.frame_kinds]
            if record["kind"] == "frame" and record["name"] in kinds[:1] and self._course_from is None:
                self._course_from = [begin_s, read]

    def summary(self) -> JsonDict:
        """All but what is drawn over time."""
        now, document = self._now, self.document
        known = self._machine or {"states": [], "final": [], "edges": [], "finalizing": ""}
        spent = dict(now.spent_s)
        return {
            "name": self._name,
            "label": said(document.label or ""),
            "protocol": said(document.protocol),
            "status": said(document.status),
            "reason": said(document.reason),
            "created_at": said(document.created_at or ""),
            "devices": said(document.devices or ""),
            "clock": document.clock,
            "parent": document.parent,
            "machine": known,
            "state": now.state,
            "state_since_s": self._s(now.since_ns),
            "spent_s": {name: round(seconds, 1) for name, seconds in spent.items()},
            "t_s": self._s(max(now.t_ns, self._zero_ns)),
            "done": now.done,
            "total": self._total,
            "unit": "" if self._kind is None else self._kind.unit,
            "note": now.note,
            "left_s": self._left_s(),
            "lost": now.lost,
            "safe": now.safe,
            "late_ms": _spread(self._late_ms),
            "slack_ms": _spread([-slack for slack in self._slack_ms], -1.0),
            "counts": dict(now.counts),
            "operator": now.operator,
            "warnings": [*self._warnings, *map(said, document.warnings)] if document.has_ended else self._warnings,
            "alarms": [said(alarm) for alarm in document.alarms],
            "remarks": [said(remark) for remark in document.remarks],
            "told": self._told(),
            "shown": self._shown(),
            "buttons": self._buttons(),
            "course": self._course(),
            "keeps": "" if self._kind is None else said(self._kind.keeps),
            "panels": self.panels.panels,
            "hourly": self.panels.hourly(now.t_ns),
        }

    def _left_s(self) -> float | None:
        """At the pace of the last minute; None where nobody can tell."""
        if not self._total or len(self._pace) < 2 or self.document.has_ended:
            return None
        (first_ns, before), (last_ns, done) = self._pace[0], self._pace[-1]
        if done <= before:
            return None
        return round(max(0, self._total - done) * (last_ns - first_ns) / NS_PER_S / (done - before), 1)

    def _told(self) -> list[tuple[str, str]]:
        """The result in words, when there is one."""
        if self._kind is None or not self.document.has_ended:
            return []
        try:
            return [(said(name), said(text)) for name, text in self._kind.told(self.document.result)]
        except Exception:  # an older result, or one that was edited
            return []

    def _shown(self) -> list[JsonDict]:
        if self._kind is None:
            return []
        try:
            return [
                {
                    "kind": each.kind,
                    "title": each.title,
                    "centre": each.centre_px,
                    "rings": rings_told(each.rings),
                }
                for each in self._kind.shown(self.document)
            ]
        except Exception:
            return []

    def _buttons(self) -> list[JsonDict]:
        if self._kind is None or self.document.has_ended:
            return []
        try:
            whole = replace(self.document, instrument={**self._facts, **self.document.instrument})
            return [asdict(each) for each in self._kind.buttons(whole)]
        except Exception:
            return []

    def _course(self) -> JsonDict | None:
        if self._kind is None:
            return None
        try:
            course = self._kind.course(self.document.plan)
        except Exception:
            return None
        if course is None:
            return None
        told = {"name": course.name, "unit": course.unit, "begin": course.begin, "end": course.end}
        return {**told, "rate": course.rate, "from": self._course_from}


def rings_told(rings: Sequence[tuple[float, str]]) -> list[list[object]]:
    """Rings for a page that draws them."""
    return [[round(radius, 2), said(words)] for radius, words in rings]


def machine_told(machine: StrictMachine) -> JsonDict:
    """A machine for a page that draws it: states in order, and the ways between the working ones."""
    finalizing = machine.finalizing
    return {
        "states": [str(state.value) for state in machine.states],
        "final": [str(state.value) for state in machine.states if state in machine.final],
        "finalizing": str(finalizing.value),
        "edges": [
            [str(source.value), str(way.dest.value)]
            for way in machine.transitions
            for source in way.sources
            if way.trigger != FINISH and source is not finalizing
        ],
    }


def _spread(values: Sequence[float], sign: float = 1.0) -> JsonDict | None:
    """Last, median, p99 and most of a figure; of one that is turned round, its least stands for the most."""
    if not values:
        return None
    ordered = sorted(values)
    place = min(len(ordered) - 1, round(0.99 * (len(ordered) - 1)))
    last, middle = values[-1], ordered[len(ordered) // 2]
    told = {"last": last, "median": middle, "p99": ordered[place], "most": ordered[-1]}
    return {name: round(sign * value, 3) for name, value in told.items()}
