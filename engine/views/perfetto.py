"""A trace as Chrome trace-event JSON, which the Perfetto viewer (ui.perfetto.dev) and chrome://tracing open.

One track for states, slots, steps and exposures each, one for every device; slack and what was left of a budget as
counters; lost slots, faults, commands and late wakes as marks. Streams: the memory does not grow with the trace.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping

from engine.clock import NS_PER_MS
from engine.record.jsonobject import JsonDict
from engine.record.trace import Record
from engine.views.lines import between

Event = JsonDict

PROCESS = 1
FIRST_TRACKS = ("states", "slots", "steps", "exposures", "marks")
NS_PER_US = 1000


class Perfetto:
    """Makes the events of one trace. `untimed` counts what had no instant and could not be placed."""

    def __init__(self, header: Record) -> None:
        self.untimed = 0
        self._header = header
        self._origin_ns: int = header["t_ns"] or 0
        self._tracks: dict[tuple[str, int], int] = {}
        self._free_ns: dict[str, list[int]] = {}
        self._state_now: Record | None = None
        self._slot_now: tuple[int, int] | None = None
        self._step_end_ns = self._last_ns = self._origin_ns
        self._makers: Mapping[str, Callable[[Record], Iterator[Event]]] = {
            "state": self._state,
            "step": self._step,
            "call": self._call,
            "frame": self._frame,
            "slot": self._slot,
            "wake": self._wake,
            "command": self._told,
            "fault": self._told,
            "note": self._told,
        }

    def events(self, records: Iterable[Record]) -> Iterator[Event]:
        """The events of the records after the header; names of process and tracks among them."""
        yield self._meta("process_name", 0, {"name": f"credline {self._header.get('protocol') or 'run'}"})
        for track in FIRST_TRACKS:
            yield from self._named(track, 0)
        for record in records:
            if record["t_ns"] is not None:
                self._last_ns = max(self._last_ns, record["t_ns"])
            if (make := self._makers.get(record["kind"])) is not None:
                yield from make(record)
        yield from self._state_ends(self._last_ns)
        yield from self._slot_ends(None, self._step_end_ns)

    def _us(self, t_ns: int) -> float:
        return (t_ns - self._origin_ns) / NS_PER_US

    def _meta(self, name: str, tid: int, args: Mapping[str, object]) -> Event:
        return {"ph": "M", "pid": PROCESS, "tid": tid, "ts": 0, "name": name, "args": dict(args)}

    def _named(self, track: str, lane: int) -> Iterator[Event]:
        """Begin a track: number it in order of appearance, and name it."""
        tid = len(self._tracks) + 1
        self._tracks[track, lane] = tid
        yield self._meta("thread_name", tid, {"name": track if lane == 0 else f"{track} ({lane + 1})"})
        yield self._meta("thread_sort_index", tid, {"sort_index": tid})

    def _slice(self, track: str, name: str, begin_ns: int, end_ns: int, args: Mapping[str, object]) -> Iterator[Event]:
        """A slice on the first lane of a track that is free by then: slices of one lane must not overlap."""
        free_ns = self._free_ns.setdefault(track, [])
        lane = next((k for k, free in enumerate(free_ns) if free <= begin_ns), len(free_ns))
        if lane == len(free_ns):
            free_ns.append(end_ns)
        free_ns[lane] = end_ns
        if (track, lane) not in self._tracks:
            yield from self._named(track, lane)
        event = self._event("X", track, name, begin_ns, args, lane)
        yield {**event, "dur": max(0, end_ns - begin_ns) / NS_PER_US}

    def _event(self, phase: str, track: str, name: str, t_ns: int, args: Mapping[str, object], lane: int = 0) -> Event:
        tid = self._tracks[track, lane]
        return {"ph": phase, "pid": PROCESS, "tid": tid, "ts": self._us(t_ns), "name": name, "cat": track, "args": args}

    def _counter(self, name: str, t_ns: int, value_ns: int | None) -> Iterator[Event]:
        if value_ns is not None:
            args = {"ms": value_ns / NS_PER_MS}
            yield {"ph": "C", "pid": PROCESS, "tid": 0, "ts": self._us(t_ns), "name": name, "args": args}

    def _mark(self, name: str, record: Record, args: Mapping[str, object]) -> Iterator[Event]:
        if record["t_ns"] is None:
            self.untimed += 1
        else:
            yield {**self._event("i", "marks", name, record["t_ns"], args), "s": "p"}

    def _state(self, record: Record) -> Iterator[Event]:
        if record["t_ns"] is None:
            self.untimed += 1
            return
        yield from self._state_ends(record["t_ns"])
        self._state_now = record

    def _state_ends(self, end_ns: int) -> Iterator[Event]:
        if (state := self._state_now) is not None:
            yield from self._slice("states", state["name"], state["t_ns"], end_ns, {"trigger": state["trigger"]})

    def _slot_begins(self, slot: int, planned_ns: int) -> Iterator[Event]:
        if self._slot_now is None or slot > self._slot_now[0]:
            yield from self._slot_ends(slot, planned_ns)
            self._slot_now = (slot, planned_ns)

    def _slot_ends(self, following: int | None, end_ns: int) -> Iterator[Event]:
        """The slot under way, and those after it that began no step of their own, up to the following."""
        if self._slot_now is not None:
            slot, begin_ns = self._slot_now
            last = slot if following is None else following - 1
            name = f"slot {slot}" if last == slot else f"slots {slot}-{last}"
            yield from self._slice("slots", name, begin_ns, end_ns, {"first": slot, "last": last})

    def _step(self, record: Record) -> Iterator[Event]:
        name, slot, planned_ns = record["name"], record["slot"], record["planned_ns"]
        if slot is not None and planned_ns is not None:
            yield from self._slot_begins(slot, planned_ns)
        facts = {
            "slot": slot,
            "verdict": record["verdict"],
            "late_ms": _ms(between(record, "planned_ns", "start_ns")),
            "slack_ms": _ms(record["slack_ns"]),
            "left_ms": _ms(record.get("left_ns")),
        }
        start_ns, end_ns = record.get("start_ns"), record.get("end_ns")
        if record["verdict"] == "underflow":
            yield from self._mark(f"underflow: {name}, slot {slot}", record, facts)
        elif start_ns is None or end_ns is None:
            self.untimed += 1
        else:
            for event in self._slice("steps", name, start_ns, end_ns, facts):
                # Trace viewers have a few reserved colours; this one is red.
                yield {**event, "cname": "terrible"} if event["ph"] == "X" and record["verdict"] == "over" else event
            yield from self._counter(f"left of budget, {name}", end_ns, record.get("left_ns"))
            self._step_end_ns = max(self._step_end_ns, end_ns)
        at_ns = start_ns if start_ns is not None else planned_ns
        if at_ns is not None:
            yield from self._counter(f"slack, {name}", at_ns, record["slack_ns"])

    def _call(self, record: Record) -> Iterator[Event]:
        begin_ns, end_ns = record["begin_ns"], record["end_ns"]
        if begin_ns is None or end_ns is None:
            self.untimed += 1
            return
        device, _, method = record["name"].partition(".")
        facts: Event = {key: json.dumps(record[key]) for key in ("args", "result", "error", "text") if key in record}
        yield from self._slice(device, method or device, begin_ns, end_ns, facts)

    def _frame(self, record: Record) -> Iterator[Event]:
        angle = record.get("angle_deg")
        angle_deg = angle if angle is not None and math.isfinite(angle) else None
        facts = {"slot": record.get("slot"), "angle_deg": angle_deg, "index": record.get("index")}
        start_ns, end_ns, arrived_ns = (record.get(key) for key in ("start_ns", "end_ns", "arrived_ns"))
        if start_ns is not None and end_ns is not None:
            yield from self._slice("exposures", record["name"], start_ns, end_ns, facts)
        elif arrived_ns is not None:
            yield {**self._event("i", "exposures", f"{record['name']} arrived", arrived_ns, facts), "s": "t"}
        else:
            self.untimed += 1

    def _slot(self, record: Record) -> Iterator[Event]:
        yield from self._mark(f"slot {record['slot']} {record['name']}", record, {"reason": record.get("reason")})

    def _wake(self, record: Record) -> Iterator[Event]:
        late_ms = (record["woke_ns"] - record["deadline_ns"]) / NS_PER_MS
        what = "given up" if record.get("given_up") else "late"
        yield {
            **self._event("i", "marks", f"{what}: {record['name']}", record["woke_ns"], {"late_ms": late_ms}),
            "s": "t",
        }

    def _told(self, record: Record) -> Iterator[Event]:
        facts = {key: value for key, value in record.items() if key not in ("seq", "t_ns", "kind", "name")}
        yield from self._mark(f"{record['kind']}: {record['name']}", record, {"text": json.dumps(facts)})


def _ms(duration_ns: int | None) -> float | None:
    return None if duration_ns is None else duration_ns / NS_PER_MS


def perfetto_text(perfetto: Perfetto, records: Iterable[Record]) -> Iterator[str]:
    """The trace-event file, one event a line."""
    yield '{"displayTimeUnit":"ms","traceEvents":[\n'
    for k, event in enumerate(perfetto.events(records)):
        yield (",\n" if k else "") + json.dumps(event, separators=(",", ":"))
    yield "\n]}\n"
