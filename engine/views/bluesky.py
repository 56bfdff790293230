"""A trace as Bluesky's event-model documents, for labs that keep their data in that world.

One JSON array `[name, document]` a line, as suitcase-jsonl writes them: start, a descriptor before the first event
of each stream, the events, stop. The same trace gives the same documents, unique identifiers included. Nothing of
Bluesky is needed to write them; the tests validate them with the `event-model` package.
"""

import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from uuid import NAMESPACE_URL, UUID, uuid5

from engine.clock import NS_PER_MS, NS_PER_S
from engine.errors import DataError
from engine.record.document import RunDocument
from engine.record.jsonobject import JsonDict
from engine.record.schema import NS_LIMIT
from engine.record.trace import Record
from engine.views.lines import between

LARGEST = sys.float_info.max

Document = tuple[str, JsonDict]

ENDS = {"done": "success", "stopped": "success", "aborted": "abort", "failed": "fail"}
"""Final states and what Bluesky calls them; a trace without one of them is of a failed run."""


@dataclass(frozen=True, slots=True)
class Key:
    """One data key: its JSON type, unit and the device it comes from."""

    dtype: str
    source: str
    units: str | None = None


FRAME_KEYS: Mapping[str, Key] = {
    "slot": Key("integer", "engine"),
    "start_s": Key("number", "detector", "s"),
    "end_s": Key("number", "detector", "s"),
    "angle_deg": Key("number", "stage", "deg"),
    "frame_index": Key("integer", "detector"),
}
"""Of the streams of frames: `primary` for the kind that comes first, for each other kind its own, named after it."""

STREAMS: Mapping[str, Mapping[str, Key]] = {
    "primary": FRAME_KEYS,
    "stage": {
        "angle_deg": Key("number", "stage", "deg"),
        "before_s": Key("number", "stage", "s"),
        "after_s": Key("number", "stage", "s"),
    },
    "calls": {
        "call": Key("string", "engine"),
        "duration_ms": Key("number", "engine", "ms"),
        "error": Key("string", "engine"),
    },
    "steps": {
        "step": Key("string", "engine"),
        "slot": Key("integer", "engine"),
        "late_ms": Key("number", "engine", "ms"),
        "slack_ms": Key("number", "engine", "ms"),
        "left_ms": Key("number", "engine", "ms"),
        "verdict": Key("string", "engine"),
    },
    "states": {"state": Key("string", "engine"), "trigger": Key("string", "engine")},
    "lost_slots": {"slot": Key("integer", "engine"), "reason": Key("string", "engine")},
}


@dataclass(frozen=True, slots=True)
class WallTime:
    """What an instant of a run was by the wall clock. known: False when times merely count from 1970."""

    epoch_s: float
    at_ns: int
    known: bool

    @classmethod
    def of_run(cls, run: Path, header: Record) -> "WallTime":
        """From run.json beside the trace, which tells the wall time at 0; without it, the header counts as second 0."""
        folder = run if run.is_dir() else run.parent
        try:
            created_at = RunDocument.read(folder).created_at or ""
            return cls(datetime.fromisoformat(created_at).timestamp(), 0, True)
        except (DataError, OSError, ValueError):
            return cls(0.0, header["t_ns"] or 0, False)

    def epoch(self, t_ns: int) -> float:
        """Seconds since 1970 of an instant of the run."""
        return self.epoch_s + (t_ns - self.at_ns) / NS_PER_S


@dataclass(slots=True)
class Documents:
    """The documents of one trace. `untimed` counts records that had no instant and could not become events."""

    header: Record
    wall: WallTime
    untimed: int = 0
    _counts: dict[str, int] = field(default_factory=dict)
    _last_ns: int = 0
    _first_kind: str | None = None
    _end: tuple[str, str] = ("fail", "the trace ends before the run did")
    _namespace: UUID = field(init=False)

    def __post_init__(self) -> None:
        # The same for the same trace at the same wall time, and for no other.
        identity = sha256(json.dumps([self.header, self.wall.epoch_s]).encode()).hexdigest()
        self._namespace = uuid5(NAMESPACE_URL, f"credline:{identity}")

    def make(self, records: Iterable[Record]) -> Iterator[Document]:
        """All documents, from the records after the header."""
        self._last_ns = self.header["t_ns"] or 0
        yield "start", self._start()
        for record in records:
            self._last_ns = max(self._last_ns, record["t_ns"] or 0)
            yield from self._events(record)
        status, reason = self._end
        yield (
            "stop",
            {
                "uid": self._uid("stop"),
                "run_start": self._uid("start"),
                "time": self.wall.epoch(self._last_ns),
                "exit_status": status,
                "reason": reason,
                "num_events": dict(self._counts),
            },
        )

    def _uid(self, what: str) -> str:
        return str(uuid5(self._namespace, what))

    def _start(self) -> JsonDict:
        header = self.header
        plan = header.get("plan") or {}
        facts = {
            "plan_name": header.get("protocol"),
            "plan_type": "credline protocol",
            "plan_args": plan,
            "sample_name": plan.get("sample"),
            "seed": header.get("seed"),
            "clock": header.get("clock"),
            "devices": header.get("devices"),
            "instrument": header.get("instrument"),
            "origin": header.get("origin"),
            "versions": {"credline": header.get("version")},
            "time_known": self.wall.known,
        }
        known = {key: _keyed(value) for key, value in facts.items() if value is not None}
        return {"uid": self._uid("start"), "time": self.wall.epoch(header["t_ns"] or 0), **known}

    def _events(self, record: Record) -> Iterator[Document]:
        if record["kind"] == "state" and record["name"] in ENDS:
            # A run that ended well needs no reason; the last fault or command gave one to the others.
            status = ENDS[record["name"]]
            self._end = (status, "" if record["name"] == "done" else self._end[1])
        elif record["kind"] in ("fault", "command"):
            self._end = (self._end[0], record["reason"])
        found = self._event(record)
        if found is None:
            return
        stream, t_ns, data = found
        if t_ns is None:
            self.untimed += 1
            return
        count = self._counts.get(stream, 0) + 1
        self._counts[stream] = count
        epoch = self.wall.epoch(t_ns)
        if count == 1:
            yield "descriptor", self._descriptor(stream, epoch)
        yield (
            "event",
            {
                "uid": self._uid(f"{stream} {count}"),
                "descriptor": self._uid(stream),
                "seq_num": count,
                "time": epoch,
                "data": data,
                "timestamps": dict.fromkeys(data, epoch),
                "filled": {},
            },
        )

    def _descriptor(self, stream: str, epoch: float) -> JsonDict:
        keys = STREAMS.get(stream, FRAME_KEYS)
        objects: dict[str, list[str]] = {}
        for name, key in keys.items():
            objects.setdefault(key.source, []).append(name)
        return {
            "uid": self._uid(stream),
            "run_start": self._uid("start"),
            "time": epoch,
            "name": stream,
            "data_keys": {
                name: {
                    "dtype": key.dtype,
                    "shape": [],
                    "source": f"credline:{key.source}",
                    "units": key.units,
                    "object_name": key.source,
                }
                for name, key in keys.items()
            },
            "object_keys": objects,
            "configuration": {},
            "hints": {},
        }

    def _event(self, record: Record) -> tuple[str, int | None, JsonDict] | None:
        """Stream, instant and data of a record; None for what becomes no event."""
        name, t_ns = record["name"], record["t_ns"]
        match record["kind"]:
            case "frame":
                data = {
                    "slot": record.get("slot"),
                    "start_s": self._since_start(record.get("start_ns")),
                    "end_s": self._since_start(record.get("end_ns")),
                    "angle_deg": _finite(record.get("angle_deg")),
                    "frame_index": record.get("index"),
                }
                began_ns = record.get("start_ns")
                return self._stream_of(name), t_ns if began_ns is None else began_ns, data
            case "call" if name == "stage.angle" and isinstance(record.get("result"), dict):
                reading = record["result"]
                before_ns, after_ns = (_instant(reading.get(key)) for key in ("t_before_ns", "t_after_ns"))
                data = {
                    "angle_deg": _finite(reading.get("value")),
                    "before_s": self._since_start(before_ns),
                    "after_s": self._since_start(after_ns),
                }
                return "stage", record["end_ns"], data
            case "call":
                duration_ms = _ms(between(record, "begin_ns", "end_ns"))
                data = {"call": name, "duration_ms": duration_ms, "error": record.get("error", "")}
                return "calls", record["end_ns"], data
            case "step":
                data = {
                    "step": name,
                    "slot": record["slot"],
                    "late_ms": _ms(between(record, "planned_ns", "start_ns")),
                    "slack_ms": _ms(record["slack_ns"]),
                    "left_ms": _ms(record.get("left_ns")),
                    "verdict": record["verdict"],
                }
                return "steps", t_ns, data
            case "state":
                return "states", t_ns, {"state": name, "trigger": record["trigger"]}
            case "slot" if name == "lost":
                return "lost_slots", t_ns, {"slot": record["slot"], "reason": record.get("reason", "")}
        return None

    def _stream_of(self, kind: str) -> str:
        """The stream of a kind of frames: `primary` for the first kind, else one named after it."""
        self._first_kind = self._first_kind or kind
        if kind == self._first_kind:
            return "primary"
        return f"{kind}_frames" if f"{kind}s" in STREAMS else f"{kind}s"

    def _since_start(self, t_ns: int | None) -> float | None:
        return None if t_ns is None else (t_ns - (self.header["t_ns"] or 0)) / NS_PER_S


def _ms(duration_ns: int | None) -> float | None:
    return None if duration_ns is None else duration_ns / NS_PER_MS


def _instant(value: object) -> int | None:
    return value if type(value) is int and -NS_LIMIT < value < NS_LIMIT else None


def _finite(value: object) -> float | None:
    if not isinstance(value, int | float) or not -LARGEST <= value <= LARGEST:  # nan is neither, an int may be larger
        return None
    return float(value)


def _keyed(value: object) -> object:
    """Metadata with keys as event-model wants them: without dots and slashes."""
    if isinstance(value, Mapping):
        return {str(key).replace(".", "_").replace("/", "_"): _keyed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_keyed(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def bluesky_text(documents: Documents, records: Iterable[Record]) -> Iterator[str]:
    """The file line by line; see `Documents`."""
    for document in documents.make(records):
        yield json.dumps(document, separators=(",", ":")) + "\n"
