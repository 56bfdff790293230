"""The frames of a rotation in a folder, searched one after the other, and at any instant a look at all so far."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from protocols.live.frames import SeriesFrames
from protocols.live.framevalues import FrameSearch
from protocols.live.growing import Growing
from protocols.live.look import Look, Setting
from protocols.live.phases import Phase
from protocols.spots.joining import Reflections


class LookedFrames:
    """Some 5 ms of processor time a frame of 512 x 512, 0.1 s and more a look, which goes on from the one before."""

    def __init__(self, frames: SeriesFrames, phases: Sequence[Phase] = ()) -> None:
        self._frames = frames
        self._setting = Setting(frames.geometry, frames.shape, frames.frame_deg, phases=phases)
        self._search = FrameSearch(frames.shape, frames.made_up, frames.beam_px, frames.geometry)
        self._growing = Growing()
        self._last: Look | None = None

    @property
    def reflections(self) -> Reflections:
        """Of all frames so far."""
        return self._growing.reflections

    def add(self, index: int, counts: NDArray[Any]) -> None:
        """The next frame. index: of it among the frames."""
        found, frames = self._search(counts), self._frames
        angles_deg = float(frames.start_deg[index]), float(frames.end_deg[index])
        self._growing.add(found.spots, int(frames.slot[index]), *angles_deg, found.values.light)
        self._growing.add_profile(found.profile)

    def look(self) -> Look:
        """All that is told so far."""
        before = self._last.fit if self._last is not None else None
        self._last = self._growing.look(self._setting, before)
        return self._last
