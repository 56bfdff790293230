"""What frames a protocol keeps, and what is known of each: kinds and their columns, declared once.

The engine knows no kind and no column of its own but the camera's number and the instants of the exposure. A column is
known when the frame arrives (then it stands in the spool and in the frame's record of the trace), or it is computed
at the end, by the protocol's `finish`.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Column:
    """One thing known of every frame of a kind. dtype: as numpy writes it, `<i4`. text: what it means, with its unit."""

    name: str
    dtype: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class FrameKind:
    """One kind of frame. arrival: its columns known on arrival. final: those that are computed at the end."""

    name: str
    arrival: tuple[Column, ...] = ()
    final: tuple[Column, ...] = ()
