"""The camera of a recorded microscope: its calls as any part's, its frames each at the instant at which it arrived.

Pictures are those of the run folder where it still has them; else placeholders that carry the recorded checksum.
"""

import re
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.contract import Detector
from drivers.facts import DetectorFacts
from drivers.replayed.pictures import StoredPictures
from drivers.replayed.player import Player
from drivers.replayed.recording import NEVER_NS, Recording
from engine.clock import Clock
from engine.errors import DataError
from engine.frame import NOT_GIVEN, Bounds, Frame, Picture, picture_type
from engine.record.trace import Record

REFUSED_TYPE = re.compile(r"[<>|](b1|[iu][1248]|f(2|4|8|16)|c(8|16|32))")


class RecordedCamera(Player):
    """Implements `drivers.contract.Detector`. pictures: of the run folder; None where there is none."""

    def __init__(
        self, clock: Clock, recording: Recording, facts: DetectorFacts, pictures: StoredPictures | None
    ) -> None:
        self._clock = clock
        self._pictures = pictures
        self._shape = facts.known_shape
        self._pixel = picture_type(facts.dtype or recording.dtype) or np.dtype(np.uint16)
        self.flatfield: NDArray[np.float32] | None = np.ones((1, 1), np.float32) if facts.flatfield else None
        super().__init__(recording, "detector", Detector, facts)

    async def frames(self) -> AsyncIterator[Frame]:
        """See `Detector.frames`; each at the instant at which it arrived then."""
        while True:
            try:
                record = await self._recording.next_frame()
            except StopAsyncIteration:  # no generator may raise it: the series ended, and so does this
                return
            yield self._frame(record)

    def _frame(self, record: Record) -> Frame:
        stored = self._pictures.find(record) if self._pictures is not None else None
        if stored is None:
            # Of the right shape and type, and of no size in memory.
            counts: Picture = np.broadcast_to(np.zeros((), self._pixel_of(record)), record.get("shape", self._shape))
            crc = record["crc"]
        else:
            counts, crc = stored.astype(stored.dtype.newbyteorder(self._pixel.byteorder), copy=False), None
        return Frame(
            counts,
            record["number"],
            record["start_ns"],
            record["end_ns"],
            crc,
            _bounds(record, "start_bounds_ns"),
            _bounds(record, "end_bounds_ns"),
        )

    def _pixel_of(self, record: Record) -> "np.dtype[Any]":
        """The type of a frame: as all have it, but for one that was refused for its type."""
        name = str(record.get("dtype", ""))
        return np.dtype(name) if REFUSED_TYPE.fullmatch(name) else self._pixel

    async def disarm(self) -> None:
        """See `Detector.disarm`."""
        if self._pictures is not None:
            self._pictures.close()
        await self.answer("disarm")


def _bounds(record: Record, name: str) -> Bounds:
    """Between which instants a begin or end was certain to lie; not given where the record does not tell."""
    told = record.get(name)
    if told is None:
        return NOT_GIVEN
    if len(told) != 2 or any(type(t_ns) is not int or abs(t_ns) >= NEVER_NS for t_ns in told):
        raise DataError(f"trace: record {record['seq']} holds no {name}; the file was damaged or edited.")
    return told[0], told[1]
