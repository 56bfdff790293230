"""What a trace may hold: the kinds of records and their fields. docs/trace-format.md says what each means.

`problem` is the one check of a record. Kinds and fields that are not named here are let through: a protocol of a lab
may record its own, and a later version may add some without a new schema.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

NS_LIMIT = 2**63
"""Instants and counts lie within 64 bits: anything else is damage, and would overflow in arithmetic."""

SLOT_LIMIT = 10_000_000
"""No run has so many slots; a larger number is damage, and nobody shall count up to it."""

INSTANT_LIMIT_NS = 2**53
"""A run of 104 days: up to here an event loop, whose time is a float, tells nanoseconds apart."""

INTEGER = "integer"
INSTANT = "instant"
COUNT = "count of 31 bits"
CHECKSUM = "checksum of 32 bits"
INTEGER_OR_NULL = "integer or null"
INSTANT_OR_NULL = "instant or null"
SLOT = "slot"
SLOT_OR_NULL = "slot or null"
NUMBER_OR_NULL = "number or null"
TEXT = "text"
TEXT_OR_NULL = "text or null"
BOOLEAN = "true or false"
LIST = "list"
OBJECT = "object"
OBJECT_OR_NULL = "object or null"
ANYTHING = "anything"

Fields = Mapping[str, str]
Test = Callable[[object], bool]


def _whole(lowest: int, beyond: int) -> Test:
    return lambda value: type(value) is int and lowest <= value < beyond


def _of(kind: type) -> Test:
    return lambda value: type(value) is kind


def _or_null(test: Test) -> Test:
    return lambda value: value is None or test(value)


_INTEGER = _whole(1 - NS_LIMIT, NS_LIMIT)
_NOT_NULL: Mapping[str, Test] = {
    INTEGER: _INTEGER,
    INSTANT: _whole(1 - INSTANT_LIMIT_NS, INSTANT_LIMIT_NS),
    COUNT: _whole(0, 2**31),
    CHECKSUM: _whole(0, 2**32),
    SLOT: _whole(0, SLOT_LIMIT),
    "number": lambda value: type(value) is float or _INTEGER(value),
    TEXT: _of(str),
    BOOLEAN: _of(bool),
    LIST: _of(list),
    OBJECT: _of(dict),
    ANYTHING: lambda _: True,
}
TESTS = {**_NOT_NULL, **{f"{name} or null": _or_null(test) for name, test in _NOT_NULL.items()}}
"""Whether a value is of a type. Made once: a check looks at ten fields of each of some hundred thousand records."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of record: fields that it always has, and fields that it may have, each with its type."""

    required: Fields = field(default_factory=lambda: MappingProxyType({}))
    optional: Fields = field(default_factory=lambda: MappingProxyType({}))


BASE: Fields = {"seq": INTEGER, "t_ns": INTEGER_OR_NULL, "kind": TEXT, "name": TEXT}

KINDS: Mapping[str, Kind] = {
    "header": Kind(
        {"schema": INTEGER},
        {
            "version": TEXT_OR_NULL,
            "protocol": TEXT_OR_NULL,
            "plan": OBJECT_OR_NULL,
            "digest": TEXT_OR_NULL,
            "devices": TEXT_OR_NULL,
            "clock": TEXT_OR_NULL,
            "seed": INTEGER_OR_NULL,
            "instrument": OBJECT_OR_NULL,
            "watched": LIST,
            "look": OBJECT,
            "continued": OBJECT,
            "source": TEXT,
            "origin": OBJECT,
        },
    ),
    "state": Kind({"trigger": TEXT}),
    "call": Kind(
        {"args": LIST, "begin_ns": INTEGER_OR_NULL, "end_ns": INTEGER_OR_NULL},
        {"result": ANYTHING, "error": TEXT, "text": TEXT, "given_up": BOOLEAN, "foreign": BOOLEAN},
    ),
    "computation": Kind(
        {
            "number": INTEGER,
            "arguments": OBJECT,
            "pictures": LIST,
            "asked_ns": INTEGER,
            "begin_ns": INTEGER_OR_NULL,
            "end_ns": INTEGER,
            "verdict": TEXT,
        },
        {"result": ANYTHING, "error": TEXT, "bulk": OBJECT, "earlier": INTEGER},
    ),
    "step": Kind(
        {"slot": SLOT_OR_NULL, "planned_ns": INTEGER_OR_NULL, "slack_ns": INTEGER_OR_NULL, "verdict": TEXT},
        {"start_ns": INTEGER_OR_NULL, "end_ns": INTEGER_OR_NULL, "left_ns": INTEGER_OR_NULL},
    ),
    "frame": Kind(  # and the columns of its kind that are known on arrival, as the protocol names them
        optional={
            "slot": SLOT_OR_NULL,
            "number": INTEGER_OR_NULL,
            "start_ns": INTEGER_OR_NULL,
            "end_ns": INTEGER_OR_NULL,
            "arrived_ns": INTEGER_OR_NULL,
            "angle_deg": NUMBER_OR_NULL,
            "start_bounds_ns": LIST,
            "end_bounds_ns": LIST,
            "index": INTEGER_OR_NULL,
            "crc": INTEGER_OR_NULL,
            "exposure_s": NUMBER_OR_NULL,
        },
    ),
    "refused": Kind(  # and the same columns
        {
            "reason": TEXT,
            "number": INTEGER_OR_NULL,
            "start_ns": INTEGER_OR_NULL,
            "end_ns": INTEGER_OR_NULL,
            "arrived_ns": INTEGER_OR_NULL,
            "shape": LIST,
            "crc": INTEGER_OR_NULL,
        },
        {"slot": SLOT_OR_NULL, "dtype": TEXT},  # and the columns of its kind, as a frame has them
    ),
    "slot": Kind({"slot": SLOT_OR_NULL}, {"reason": TEXT, "start_ns": INTEGER_OR_NULL, "period_ns": INTEGER_OR_NULL}),
    "wake": Kind({"deadline_ns": INTEGER, "woke_ns": INTEGER}, {"given_up": BOOLEAN}),
    "command": Kind({"reason": TEXT}, {"source": TEXT, "by": TEXT}),
    "child": Kind(
        {"event": TEXT, "protocol": TEXT, "digest": TEXT},
        {
            "begin_ns": INTEGER_OR_NULL,
            "end_ns": INTEGER_OR_NULL,
            "status": TEXT,
            "reason": TEXT,
            "alarms": LIST,
            "warnings": LIST,
            "result": OBJECT,
        },
    ),
    "injected": Kind({"fault": TEXT}),
    "fault": Kind({"reason": TEXT}, {"alarm": TEXT}),
    "note": Kind(),
}


REPLAYED: Mapping[str, Fields] = {
    "header": {"protocol": TEXT, "plan": OBJECT, "instrument": OBJECT},
    "call": {"begin_ns": INSTANT, "end_ns": INSTANT},
    "computation": {"number": COUNT, "asked_ns": INSTANT, "begin_ns": INSTANT_OR_NULL, "end_ns": INSTANT},
    "frame": {"number": COUNT, "start_ns": INSTANT, "end_ns": INSTANT, "arrived_ns": INSTANT, "crc": CHECKSUM},
    "refused": {"number": INTEGER, "start_ns": INSTANT, "end_ns": INSTANT, "arrived_ns": INSTANT, "crc": INTEGER},
    "wake": {"deadline_ns": INSTANT, "woke_ns": INSTANT},
}
"""What must be known of the events that entered a run for it to be made again from its trace."""


def gap(record: Mapping[str, object]) -> str | None:
    """What a replay misses in a record of which `problem` says nothing; None when it misses nothing."""
    kind = str(record["kind"])
    needed = {"t_ns": INSTANT, **REPLAYED.get(kind, {})}
    if kind == "child" and record.get("event") == "end":
        needed |= {"end_ns": INSTANT, "status": TEXT, "reason": TEXT, "alarms": LIST, "result": OBJECT}
    if kind == "call":
        needed |= {"error": TEXT, "text": TEXT, "foreign": BOOLEAN} if "error" in record else {"result": ANYTHING}
    for name, kind_of_value in needed.items():
        if name not in record or not TESTS[kind_of_value](record[name]):
            return f"does not tell {name!r}, or tells what cannot be"
    return None


def problem(record: object) -> str | None:
    """What is wrong with a record, for the end of a sentence; None when nothing is."""
    if type(record) is not dict:
        return "holds no JSON object"
    for name, kind_of_value in BASE.items():
        if name not in record:
            return f"lacks {name!r}"
        if not TESTS[kind_of_value](record[name]):
            return f"has a {name!r} that is no {kind_of_value}"
    kind = KINDS.get(record["kind"])
    if kind is None:
        return None
    for name, kind_of_value in kind.required.items():
        if name not in record:
            return f"lacks {name!r}, which a record of kind {record['kind']!r} has"
        if not TESTS[kind_of_value](record[name]):
            return f"has a {name!r} that is no {kind_of_value}"
    for name, kind_of_value in kind.optional.items():
        if name in record and not TESTS[kind_of_value](record[name]):
            return f"has a {name!r} that is no {kind_of_value}"
    return None
