"""A rotation as it grows: frames one after the other, and at any instant a look at all so far."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.lattice.rotationfit import RotationFit
from protocols.live.frames import SeriesFrames
from protocols.live.look import Look, Setting, look
from protocols.live.phases import Phase
from protocols.live.rings import Annuli
from protocols.spots.joining import Joining, Reflections
from protocols.spots.seriespeaks import SeriesPeaks

RINGS_EVERY = 5
"""Frames of which one is looked at for rings."""


class Growing:
    """The state that grows with each frame. Some 5 ms of processor time a frame of 512 x 512, 0.1 s and more a look."""

    def __init__(self, frames: SeriesFrames, phases: Sequence[Phase] = ()) -> None:
        self._setting = Setting(frames.geometry, frames.shape, frames.frame_deg, phases=phases)
        self._find = SeriesPeaks(frames.shape, frames.made_up, frames.beam_px)
        beam_px = frames.beam_px or (frames.geometry.beam_fast_px, frames.geometry.beam_slow_px)
        self._annuli = Annuli(frames.shape, frames.made_up, beam_px)
        self._joining = Joining()
        self._fit: RotationFit | None = None
        self._frames = 0
        self._start_deg = self._end_deg = 0.0

    def add(self, counts: NDArray[Any], slot: int, start_deg: float, end_deg: float) -> int:
        """The next frame: how many spots are in it."""
        spots = self._find(counts)
        self._joining.add(spots, slot, start_deg, end_deg)
        if self._frames % RINGS_EVERY == 0:
            self._annuli.add(counts)
        self._start_deg = self._start_deg if self._frames else start_deg
        self._end_deg = end_deg
        self._frames += 1
        return len(spots)

    @property
    def reflections(self) -> Reflections:
        """Of all frames so far."""
        return self._joining.reflections()

    def look(self) -> Look:
        """All that is told so far."""
        found = look(self.reflections, self._start_deg, self._end_deg, self._setting, self._fit)
        rings = self._annuli.rings(self._setting.geometry)
        self._fit = found.fit if found.fit is not None else self._fit
        told = {"frames": self._frames, "rings_A": list(rings.spacings_A), "ice": rings.ice}
        return Look(found.told | told, found.found)


def ends(frames: SeriesFrames, every_deg: float, until_deg: float | None) -> list[tuple[int, bool]]:
    """Indices of frames up to `until_deg` of rotation, and whether a look is due after each: one every so many degrees.

    After the last frame one is due in any case.
    """
    turned = np.abs(frames.end_deg - frames.start_deg[0])
    last = len(turned) if until_deg is None else max(1, int(np.searchsorted(turned, until_deg + 1e-6, side="right")))
    step = np.floor((turned[:last] + 1e-6) / every_deg)
    due = np.diff(np.concatenate([[0.0], step])) > 0
    due[-1] = True
    return list(zip(range(last), due.tolist(), strict=True))
