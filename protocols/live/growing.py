"""A rotation as it grows: searched frames one after the other, and at any instant a look at all so far."""

import numpy as np
from numpy.typing import NDArray

from protocols.lattice.rotationfit import RotationFit
from protocols.live.frames import SeriesFrames
from protocols.live.look import Look, Setting, look
from protocols.live.rings import Profile, Rings, rings_of
from protocols.spots.joining import Joining, Reflections
from protocols.spots.seriespeaks import FrameSpots
from protocols.spots.shadow import shadowed, shadows

Array = NDArray[np.float64]


class Growing:
    """The state that grows with each frame: 0.1 ms of processor time a frame, 0.1 s and more a look."""

    def __init__(self) -> None:
        self._joining = Joining()
        self._profile: Profile | None = None
        self._angles_deg: tuple[list[float], list[float]] = [], []
        self._light: list[float] = []

    def add(self, spots: FrameSpots, slot: int, start_deg: float, end_deg: float, light: float) -> None:
        """The next frame; slots ascend, angles are those of the stage. light: all its counts."""
        self._joining.add(spots, slot, start_deg, end_deg)
        for angles_deg, angle_deg in zip(self._angles_deg, (start_deg, end_deg), strict=True):
            angles_deg.append(angle_deg)
        self._light.append(light)

    @property
    def reflections(self) -> Reflections:
        """Of all frames so far."""
        return self._joining.reflections()

    def add_profile(self, profile: Profile) -> None:
        """Of the frames that are added, or some of them."""
        known = self._profile
        # Annuli about a beam that is known better by now are other ones.
        same = known is not None and len(known.level) == len(profile.level)
        self._profile = known + profile if same and known is not None else profile

    def look(self, setting: Setting, before: RotationFit | None, angles_deg: tuple[Array, Array] | None = None) -> Look:
        """All that is told so far. before: of the look before. angles_deg: begin and end of all frames, where they are
        known better by now.
        """
        start_deg, end_deg = angles_deg or (None, None)
        starts, ends = angles_deg or self._angles_deg
        whole = (float(starts[0]), float(ends[-1])) if len(starts) else (0.0, 0.0)
        dark = shadows(starts, ends, shadowed(self._light))
        found = look(self._joining.reflections(start_deg, end_deg), whole, setting, before, dark)
        rings = Rings((), False) if self._profile is None else rings_of(self._profile, setting.geometry)
        told = {"frames": len(self._light), "rings_A": list(rings.spacings_A), "ice": rings.ice}
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
