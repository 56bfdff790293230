"""Where the crystal is seen in what selects it at an instant: by what the goniometer does to it, where the stage has
been moved, and where the image shift has moved the image over the aperture, or the beam shift the probe.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from drivers.simulated.crystalmotion import MotionSettings, Pair, moved_nm
from engine.clock import NS_PER_S

Triple = tuple[float, float, float]


class CrystalPlace:
    """Of one instrument. can_leave: whether its crystals move by themselves; else, where there is no scene either, one
    is in the aperture whatever happens, and snapshots alone show where it is.
    """

    def __init__(self, motion: MotionSettings, tilt_deg: float, t_ns: int) -> None:
        self.asked = motion
        self._motion = motion.meant
        self.can_leave = motion.moves
        self._centred_deg, self._centred_ns = tilt_deg, t_ns
        self._stage_nm: Triple = (0.0, 0.0, 0.0)
        self._image_nm: Pair = (0.0, 0.0)

    def centre(self, tilt_deg: float, t_ns: int, stage_nm: Triple, image_nm: Pair, child: Sequence[int] = ()) -> None:
        """An operator has centred a crystal. stage_nm: how far the stage had moved; image_nm: and the image, along the
        stage's axes, or the specimen under a probe. child: numbers of the run within runs that this is; where motions
        are drawn, another crystal's is.
        """
        self._centred_deg, self._centred_ns = tilt_deg, t_ns
        self._stage_nm, self._image_nm = stage_nm, image_nm
        if self.asked.drawn_seed >= 0:
            drawn = round(self.asked.drawn_seed)
            if child:
                drawn = int(np.random.SeedSequence((drawn, *child)).generate_state(1)[0])
            self._motion = dataclasses.replace(self.asked, drawn_seed=drawn).meant

    def seen_nm(self, tilt_deg: float, t_ns: int, stage_nm: Triple, image_nm: Pair) -> Pair:
        """The crystal's middle from that of the aperture, in x and y of the stage seen along the beam."""
        tilt = math.radians(tilt_deg)
        x_nm, y_nm, z_nm = (now - then for now, then in zip(stage_nm, self._stage_nm, strict=True))
        seen = x_nm, y_nm * math.cos(tilt) - z_nm * math.sin(tilt)  # x is along the tilt axis
        if not self.can_leave and image_nm == self._image_nm:
            return seen
        since_s = (t_ns - self._centred_ns) / NS_PER_S
        by_itself = moved_nm(self._motion, tilt_deg, self._centred_deg, since_s)
        return (
            seen[0] + by_itself[0] + image_nm[0] - self._image_nm[0],
            seen[1] + by_itself[1] + image_nm[1] - self._image_nm[1],
        )
