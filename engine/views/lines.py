"""A trace for people: one line a record, chosen by state, device, slot and kind.

Everything streams: a trace of any length is read with the memory of one record.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.clock import NS_PER_MS, NS_PER_S
from engine.errors import shown
from engine.record.trace import Record, read_trace

VALUE_WIDTH = 60
NAMES_SHOWN = 12
NAME_WIDTH = 40


@dataclass(frozen=True, slots=True)
class Selection:
    """Which records to show; what is empty or None does not restrict. slots: first and last."""

    states: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    slots: tuple[int, int] | None = None


def with_states(records: Iterable[Record]) -> Iterator[tuple[str, Record]]:
    """Each record with the state in which it was made; a record of kind state begins its own."""
    state = ""
    for record in records:
        if record["kind"] == "state":
            state = record["name"]
        yield state, record


def device_of(record: Record) -> str | None:
    """The device that a call or frame belongs to."""
    if record["kind"] == "frame":
        return "detector"
    return str(record["name"]).split(".")[0] if record["kind"] == "call" else None


def view(run: Path, selection: Selection, none_chosen: Callable[[str], None] = lambda _: None) -> Iterator[str]:
    """The chosen records of a run as lines. none_chosen: told what there is, where nothing of what was asked for is."""
    window = _slot_window(run, selection.slots) if selection.slots else None
    origin_ns: int | None = None
    shown = 0
    states: dict[str, None] = {}
    devices: dict[str, None] = {}
    kinds: dict[str, None] = {}
    for state, record in with_states(read_trace(run)):
        if record["kind"] == "header":
            origin_ns = record["t_ns"]
        device = device_of(record)
        for names, name in ((states, state), (devices, device), (kinds, record["kind"])):
            if name and len(names) < NAMES_SHOWN:
                names[name] = None
        if selection.states and state not in selection.states:
            continue
        if selection.devices and device not in selection.devices:
            continue
        if selection.kinds and record["kind"] not in selection.kinds:
            continue
        if selection.slots and not _in_slots(record, selection.slots, window):
            continue
        shown += 1
        yield line(state, record, origin_ns or 0)
    if not shown:
        none_chosen(
            f"{run}: nothing in it is what was asked for. Its states: {_listed(states)}; devices: {_listed(devices)}; "
            f"kinds: {_listed(kinds)}."
        )


def _listed(names: Iterable[str]) -> str:
    found = [shown(name, NAME_WIDTH) for name in names]
    return (", ".join(found) or "none") + (", ..." if len(found) == NAMES_SHOWN else "")


def _slot_window(run: Path, slots: tuple[int, int]) -> tuple[int, int] | None:
    """From the planned start of the first of these slots to that of the slot after them; None without any instant."""
    first, last = slots
    begin_ns: int | None = None
    end_ns: int | None = None
    for record in read_trace(run):
        slot, planned_ns = record.get("slot"), record.get("planned_ns")
        if record["kind"] != "step" or type(slot) is not int or planned_ns is None:
            continue
        if first <= slot <= last and begin_ns is None:
            begin_ns = planned_ns
        if slot > last:
            end_ns = planned_ns
            break
    return None if begin_ns is None else (begin_ns, end_ns if end_ns is not None else 2**63)


def _in_slots(record: Record, slots: tuple[int, int], window: tuple[int, int] | None) -> bool:
    slot = record.get("slot")
    if type(slot) is int:
        return slots[0] <= slot <= slots[1]
    began_ns = record.get("begin_ns", record["t_ns"])
    return window is not None and type(began_ns) is int and window[0] <= began_ns < window[1]


def line(state: str, record: Record, origin_ns: int) -> str:
    """One record as a line: seconds since the header, state, kind, what."""
    t_ns = record["t_ns"]
    when = f"{'?':>12}" if t_ns is None else f"{(t_ns - origin_ns) / NS_PER_S:12.6f}"
    describe = DESCRIPTIONS.get(record["kind"], _other)
    return f"{when} s  {plain(state):<17} {plain(record['kind']):<7} {plain(describe(record))}".rstrip()


def ms(duration_ns: int | None) -> str:
    """A duration as text; '?' when it is not known."""
    return "? ms" if duration_ns is None else f"{duration_ns / NS_PER_MS:.3f} ms"


def between(record: Record, first: str, last: str) -> int | None:
    """The time from one instant of a record to another, when both are known."""
    begin_ns, end_ns = record.get(first), record.get(last)
    return None if begin_ns is None or end_ns is None else int(end_ns - begin_ns)


def plain(text: str) -> str:
    """Text without anything that a terminal would obey: a log from elsewhere may hold it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def value_text(value: object) -> str:
    """A value, shortened, as JSON."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text if len(text) <= VALUE_WIDTH else text[: VALUE_WIDTH - 3] + "..."


def _header(record: Record) -> str:
    plan = record.get("plan") or {}
    origin = record.get("origin") or {}
    facts = [
        ("protocol", record.get("protocol")),
        ("sample", plan.get("sample")),
        ("clock", record.get("clock")),
        ("seed", record.get("seed")),
        ("devices", record.get("devices")),
        ("schema", record["schema"]),
        ("written by", record.get("version")),
        ("origin", origin.get("program") or record.get("source")),
    ]
    return ", ".join(f"{name} {value}" for name, value in facts if value is not None)


def _call(record: Record) -> str:
    args = ", ".join(value_text(arg) for arg in record["args"])
    what = f"{record['name']}({args}) {ms(between(record, 'begin_ns', 'end_ns'))}"
    if "error" in record:
        return f"{what} FAILED: {record['error']}: {record.get('text', '')}"
    result = record.get("result")
    if isinstance(result, dict) and isinstance(result.get("value"), float):
        return f"{what} -> {result['value']:.4f}"
    return what if result is None else f"{what} -> {value_text(result)}"


def _step(record: Record) -> str:
    what = f"{record['name']} slot {record['slot']}: slack {ms(record['slack_ns'])}"
    if record["verdict"] == "underflow":
        return f"{what}, NOT DONE (underflow)"
    late = between(record, "planned_ns", "start_ns")
    what += f", late {ms(late)}" if late else ""
    over = " OVER BUDGET" if record["verdict"] == "over" else ""
    return f"{what}, took {ms(between(record, 'start_ns', 'end_ns'))}, left {ms(record.get('left_ns'))}{over}"


def _frame(record: Record) -> str:
    exposed_ns = between(record, "start_ns", "end_ns")
    exposed = None if exposed_ns is None else ms(exposed_ns)
    facts = [
        ("slot", record.get("slot"), ""),
        ("exposed", exposed, ""),
        ("exposure", record.get("exposure_s"), " s"),
        ("at", record.get("angle_deg"), " deg"),
    ]
    known = [f"{name} {value}{unit}" for name, value, unit in facts if value is not None]
    return ", ".join([record["name"], *known]) if known else f"{record['name']}, nothing known"


def _computation(record: Record) -> str:
    """Its inputs are in the trace; here stands how it ended, and what it found."""
    pictures = f" of {value_text(record['pictures'])}" if record["pictures"] else ""
    what = f"{record['name']} {record['number']}{pictures}: {record['verdict']}"
    if record["begin_ns"] is not None:
        what += f", took {ms(between(record, 'begin_ns', 'end_ns'))}"
    if "error" in record:
        return f"{what}, FAILED: {record['error']}"
    result = record.get("result")
    return what if result is None else f"{what} -> {value_text(result)}"


def _slot(record: Record) -> str:
    if record["name"] == "lost":
        return f"slot {record['slot']} LOST: {record.get('reason', 'no reason given')}"
    return f"slot {record['slot']} {record['name']}: period {ms(record.get('period_ns'))}"


def _wake(record: Record) -> str:
    late = ms(between(record, "deadline_ns", "woke_ns"))
    return f"{record['name']}: {f'given up when {late} overdue' if record.get('given_up') else f'{late} late'}"


def _reasoned(record: Record) -> str:
    alarm = f" ALARM: {record['alarm']}" if record.get("alarm") else ""
    return f"{record['name']}: {record['reason']}{alarm}"


def _state(record: Record) -> str:
    return f"{record['name']} begins" + (f" ({record['trigger']})" if record["trigger"] else "")


def _other(record: Record) -> str:
    rest = {key: value for key, value in record.items() if key not in ("seq", "t_ns", "kind", "name", "source")}
    return " ".join([record["name"], *(f"{key}={_short(value)}" for key, value in rest.items())])


def _short(value: object) -> str:
    return value if isinstance(value, str) else value_text(value)


DESCRIPTIONS: Mapping[str, Callable[[Record], str]] = {
    "header": _header,
    "state": _state,
    "call": _call,
    "step": _step,
    "frame": _frame,
    "computation": _computation,
    "slot": _slot,
    "wake": _wake,
    "command": _reasoned,
    "fault": _reasoned,
}
