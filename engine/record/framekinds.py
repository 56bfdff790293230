"""What a protocol declares of its frames: their kinds, and the columns that each kind has in the table of frames.h5.

A column is known when a frame arrives (then it stands in the spool and in the frame's record in the trace), or is
computed at the end. The engine knows no kind; the standard columns are those that every frame of any kind has.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.record.spoolformat import FrameInfo

IN_RECORDS = {"seq", "t_ns", "kind", "name", "arrived_ns", "crc", "shape", "reason", "start_bounds_ns", "end_bounds_ns"}
"""What the record of a frame in the trace says beside its columns."""

SHOWN_ONLY = "shown, not kept"
"""Why a frame of a live view is not kept: it was for the eyes, and the next one is as good."""

TYPE_SEEN = "type of counts"
"""The note of a run whose camera had not declared `Detector.dtype`: the type of its first frame, as `dtype`."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table of frames. dtype: of numpy, a number or `S<n>`. text: what it means, with its unit."""

    name: str
    dtype: str
    text: str


STANDARD = (
    Column("index", "<i8", "place in the spool, as in the trace; -1 where it is not known"),
    Column("number", "<i8", "the camera's own count; -1 where it is not known"),
    Column("start_ns", "<i8", "begin of the exposure"),
    Column("end_ns", "<i8", "end of the exposure"),
    Column("start_min_ns", "<i8", "earliest instant at which it can have begun"),
    Column("start_max_ns", "<i8", "latest instant at which it can have begun"),
    Column("end_min_ns", "<i8", "earliest instant at which it can have ended"),
    Column("end_max_ns", "<i8", "latest instant at which it can have ended"),
)


@dataclass(frozen=True, slots=True)
class FrameKind:
    """A kind of frame. name: an identifier, and the group in frames.h5.

    arrival: columns known when a frame arrives. final: columns computed at the end. expects: whether there should be
    light on the camera; frames of a kind that expects either are watched (`engine.run.framewatch`). words: of a kind
    that expects light, `module:function`, called in a worker with a picture (rows, columns) that is light: what is
    wrong with it as one sentence, or an empty text.

    Raises ValueError for a name that is none, a column that is declared twice, is a standard one or a field of its
    record, and a type that a table cannot hold.
    """

    name: str
    arrival: tuple[Column, ...]
    final: tuple[Column, ...] = ()
    expects: Literal["light", "dark", "anything"] = "anything"
    words: str = ""

    def __post_init__(self) -> None:
        """Refuse what could not be written at the end, when the protocol is loaded."""
        columns = (*STANDARD, *self.arrival, *self.final)
        names = [column.name for column in columns]
        if not self.name.isidentifier() or not all(name.isidentifier() for name in names):
            raise ValueError(f"frames of kind {self.name!r}: kinds and columns are named by identifiers")
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"frames of kind {self.name!r}: column {min(twice)!r} is there twice")
        if taken := IN_RECORDS.intersection(column.name for column in self.arrival):
            raise ValueError(f"frames of kind {self.name!r}: column {min(taken)!r} is a field of every frame's record")
        for column in columns:
            if np.dtype(column.dtype).kind not in "iufS":
                raise ValueError(f"frames of kind {self.name!r}: column {column.name!r} is no number and no S<n>")

    @property
    def row(self) -> "np.dtype[np.void]":
        """The type of a row: standard columns, those known on arrival, those computed at the end."""
        return np.dtype([(column.name, column.dtype) for column in (*STANDARD, *self.arrival, *self.final)])

    def table(self, frames: Sequence[FrameInfo], final: Mapping[str, ArrayLike] | None = None) -> NDArray[np.void]:
        """One row for each frame, in this order, for `engine.record.frametable.write_frames`.

        final: the values of each final column, one a frame. Raises KeyError for a column that was declared and is not
        there: on arrival in a frame, or in `final`.
        """
        rows = np.zeros(len(frames), self.row)
        rows["index"] = [frame.index for frame in frames]
        rows["number"] = [frame.number for frame in frames]
        rows["start_ns"] = [frame.start_ns for frame in frames]
        rows["end_ns"] = [frame.end_ns for frame in frames]
        for side, bounds in (
            ("start", [frame.start_bounds_ns for frame in frames]),
            ("end", [frame.end_bounds_ns for frame in frames]),
        ):
            rows[f"{side}_min_ns"] = [earliest for earliest, _ in bounds]
            rows[f"{side}_max_ns"] = [latest for _, latest in bounds]
        for column in self.arrival:
            values = [frame.columns[column.name] for frame in frames]
            floating = np.dtype(column.dtype).kind == "f"
            rows[column.name] = [np.nan if value is None and floating else value for value in values]
        for column in self.final:
            rows[column.name] = (final or {})[column.name]
        return rows
