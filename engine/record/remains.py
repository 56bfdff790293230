"""What there is of a run at its end, or of one that was cut off, for the protocol's `finish`: records and frames.

A run that just ended, its replay and its recovery all make this same object; what they then make of it is the same.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from engine.record.jsonobject import JsonDict, JsonObject
from engine.record.spoolformat import Columns, FrameInfo
from engine.record.trace import Record

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True)
class LostFrame:
    """A frame that is not whole on disk. torn: it was being written when the program ended, so nothing is damaged."""

    kind: str
    columns: Columns
    reason: str
    torn: bool = False


@dataclass(frozen=True, slots=True)
class Remains:
    """A run as far as it is known. plan: as the header or run.json hold it. states: that trace or journal tell of.

    frames: those on disk, in the order of arrival. lost: what of the spool could not be read. cut_off: whether the
    program ended before the run did. watchdog: lines of the watchdog's own file.
    """

    header: Record
    plan: JsonObject
    records: Sequence[Record]
    frames: Sequence[FrameInfo]
    states: Sequence[str]
    lost: Sequence[LostFrame] = ()
    cut_off: bool = False
    data_written: bool = False
    """Whether the run had brought its data into their final form: then its instrument was safe before."""
    watchdog: Sequence[Mapping[str, object]] = ()

    def of_kind(self, kind: str) -> list[FrameInfo]:
        """The frames of one kind, in order."""
        return [frame for frame in self.frames if frame.kind == kind]


@dataclass(frozen=True, slots=True)
class RunEnd:
    """What a protocol makes of it. result: stands in run.json under `result`. sections: other parts of run.json.

    columns: for each kind the final columns, each a value a frame in the order of arrival. usable: whether products
    can be made, else why not. missing: what of the plan is not there, each with its reason, for who recovers.
    """

    result: JsonDict
    columns: "Mapping[str, Mapping[str, ArrayLike]]" = field(default_factory=dict)
    sections: JsonObject = field(default_factory=dict)
    unusable: str = ""
    missing: Sequence[JsonObject] = ()


def entries_of(records: Sequence[Record], columns: Callable[[str], Sequence[str]], written: int) -> list[FrameInfo]:
    """The frames that the trace tells of, as far as the spool holds them: the first `written`."""
    return [
        FrameInfo(
            record["index"],
            record["name"],
            {name: record.get(name) for name in columns(record["name"])},
            record["number"],
            record["start_ns"],
            record["end_ns"],
            _bounds(record, "start"),
            _bounds(record, "end"),
        )
        for record in records
        if record["kind"] == "frame" and record["index"] < written
    ]


def _bounds(record: Record, end: str) -> tuple[int, int]:
    """Between which instants an exposure began or ended; a record says so only where it is not known to the ns."""
    exact = record[f"{end}_ns"]
    earliest, latest = record.get(f"{end}_bounds_ns") or (exact, exact)
    return earliest, latest
