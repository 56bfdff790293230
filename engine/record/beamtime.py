"""How long the beam was on in a run, by the calls to its blanker as the trace has them. Pure."""

from collections.abc import Sequence

from engine.clock import NS_PER_S
from engine.record.trace import Record

UNBLANK, BLANK = "beam.unblank", "beam.blank"


def beam_on_s(records: Sequence[Record]) -> float:
    """Seconds from when the blanker was told to open until it had answered that it is closed: the longest that the beam
    can have been on. A beam that was on before the first call is not counted; one that nobody is known to have blanked
    counts to the last record.
    """
    on_ns: int | None = None
    total_ns = last_ns = 0
    for record in records:
        last_ns = max(last_ns, record["t_ns"])
        if record["kind"] != "call" or record["name"] not in (UNBLANK, BLANK):
            continue
        if record["name"] == UNBLANK:
            on_ns = record["begin_ns"] if on_ns is None else on_ns
        elif on_ns is not None and "error" not in record and not record.get("given_up"):
            total_ns += record["end_ns"] - on_ns
            on_ns = None
    return (total_ns + (0 if on_ns is None else last_ns - on_ns)) / NS_PER_S
