"""The figures of a trace: how long calls took, how much slack steps had, how late waits ended, which slots were lost.

One pass, with a few bytes of memory for each call, step and wake. Instants that a trace does not know (an imported
log) are counted as unknown and take no part in the figures.
"""

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from engine.clock import NS_PER_MS, NS_PER_S
from engine.record.jsonobject import JsonDict
from engine.record.trace import Record
from engine.views.lines import between, with_states

LOST_KEPT = 10_000


def _numbers() -> "array[int]":
    return array("q")


@dataclass(slots=True)
class CallFigures:
    """Durations of one call of one device; calls without both instants, and those that failed, are counted."""

    durations_ns: "array[int]" = field(default_factory=_numbers)
    unknown: int = 0
    errors: int = 0


@dataclass(slots=True)
class StepFigures:
    """The steps of one name within one state."""

    slack_ns: "array[int]" = field(default_factory=_numbers)
    left_ns: "array[int]" = field(default_factory=_numbers)
    late_ns: "array[int]" = field(default_factory=_numbers)
    count: int = 0
    over: int = 0
    underflows: int = 0


class TraceStats:
    """The figures of one trace; `read` goes through the records once."""

    def __init__(self) -> None:
        self.header: Record = {}
        self.records = 0
        self.calls: dict[str, CallFigures] = {}
        self.steps: dict[tuple[str, str], StepFigures] = {}
        self.wakes: dict[str, array[int]] = {}
        self.frames: dict[str, int] = {}
        self.lost_slots: list[int] = []
        self.lost = 0
        self.stretched: list[int] = []
        self.faults = 0
        self.last_state = ""
        self._first_ns: int | None = None
        self._last_ns: int | None = None

    @classmethod
    def read(cls, records: Iterable[Record]) -> "TraceStats":
        """The figures of these records, header first."""
        stats = cls()
        for state, record in with_states(records):
            stats._add(state, record)
        return stats

    @property
    def elapsed_s(self) -> float | None:
        """From the first record to the last that bears a time."""
        if self._first_ns is None or self._last_ns is None:
            return None
        return (self._last_ns - self._first_ns) / NS_PER_S

    def latencies_ns(self) -> Mapping[str, "array[int]"]:
        """The durations of every call whose instants are known: a source of latencies for what-if."""
        return {name: figures.durations_ns for name, figures in self.calls.items() if figures.durations_ns}

    def _add(self, state: str, record: Record) -> None:
        self.records += 1
        self.last_state = state
        t_ns = record["t_ns"]
        if t_ns is not None:
            self._first_ns = t_ns if self._first_ns is None else self._first_ns
            self._last_ns = t_ns
        kind = record["kind"]
        if kind == "call":
            self._add_call(record)
        elif kind == "step":
            self._add_step(state, record)
        elif kind == "wake" and not record.get("given_up"):
            self.wakes.setdefault(record["name"], _numbers()).append(
                _bounded(record["woke_ns"] - record["deadline_ns"])
            )
        elif kind == "frame":
            self.frames[record["name"]] = self.frames.get(record["name"], 0) + 1
        elif kind == "slot" and record["slot"] is not None:
            if record["name"] == "lost":
                self.lost += 1
                if len(self.lost_slots) < LOST_KEPT:
                    self.lost_slots.append(record["slot"])
            elif record["name"] == "stretched":
                self.stretched.append(record["slot"])
        elif kind == "fault":
            self.faults += 1
        elif kind == "header":
            self.header = record

    def _add_call(self, record: Record) -> None:
        figures = self.calls.setdefault(record["name"], CallFigures())
        figures.errors += "error" in record
        duration_ns = between(record, "begin_ns", "end_ns")
        if duration_ns is None:
            figures.unknown += 1
        else:
            figures.durations_ns.append(_bounded(duration_ns))

    def _add_step(self, state: str, record: Record) -> None:
        figures = self.steps.setdefault((state, record["name"]), StepFigures())
        figures.count += 1
        figures.over += record["verdict"] == "over"
        figures.underflows += record["verdict"] == "underflow"
        late_ns = between(record, "planned_ns", "start_ns")
        for numbers, value in (
            (figures.slack_ns, record["slack_ns"]),
            (figures.left_ns, record.get("left_ns")),
            (figures.late_ns, late_ns),
        ):
            if value is not None:
                numbers.append(_bounded(value))

    def document(self) -> JsonDict:
        """All figures as one JSON object; what is not known is null."""
        origin = self.header.get("origin")
        return {
            "protocol": self.header.get("protocol"),
            "clock": self.header.get("clock"),
            "seed": self.header.get("seed"),
            "origin": origin.get("program") if isinstance(origin, dict) else None,
            "records": self.records,
            "elapsed_s": self.elapsed_s,
            "last_state": self.last_state,
            "faults": self.faults,
            "frames": self.frames,
            "lost_slots": self.lost_slots,
            "lost": self.lost,
            "stretched_at": self.stretched,
            "calls_ms": {
                name: {
                    "n": len(figures.durations_ns) + figures.unknown,
                    **spread_ms(figures.durations_ns, "p50", "p99", "max"),
                    "unknown": figures.unknown,
                    "errors": figures.errors,
                }
                for name, figures in sorted(self.calls.items())
            },
            "steps_ms": [
                {
                    "state": state,
                    "step": name,
                    "n": figures.count,
                    "slack": spread_ms(figures.slack_ns, "min", "p50"),
                    "left": spread_ms(figures.left_ns, "min", "p50"),
                    "late": spread_ms(figures.late_ns, "p50", "p99", "max"),
                    "over": figures.over,
                    "underflow": figures.underflows,
                }
                for (state, name), figures in self.steps.items()
            ],
            "wakes_ms": {
                name: {"n": len(late_ns), **spread_ms(late_ns, "p50", "p99", "max")}
                for name, late_ns in sorted(self.wakes.items())
            },
        }


def spread_ms(values_ns: "array[int]", *asked: str) -> dict[str, float | None]:
    """Figures of some times in milliseconds: min, p50, p99, max, as asked for; None without any time."""
    if not values_ns:
        return dict.fromkeys(asked)
    values = np.frombuffer(values_ns, np.int64) / NS_PER_MS
    percent = {"min": 0, "p50": 50, "p99": 99, "max": 100}
    return {name: round(float(np.percentile(values, percent[name])), 6) for name in asked}


def _bounded(value_ns: int) -> int:
    """Differences of two 64-bit instants may need 65 bits; such a trace is damaged, and its figures say as much."""
    return max(-(2**63), min(2**63 - 1, value_ns))
