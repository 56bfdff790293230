"""The experiments of a campaign: a crystal on its grid, a holder whose mechanics are not ideal, and where the rotation
begins. The same for whoever tracks.

Mechanics are those of `MotionSettings.drawn`, scenes those of `draw_scene("any", ...)`; both were there before any
model of tracking, and nothing of them is fitted here. Pure functions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from drivers.simulated.aperture import Aperture
from drivers.simulated.crystalmotion import MotionSettings, moved_nm
from drivers.simulated.latency import generator
from drivers.simulated.picturesettings import PictureSettings
from drivers.simulated.scenedrawing import draw_scene

SCENE = "any"
USUAL_DEG = 70.0
"""Assumed: an ordinary holder tilts so far either way before it meets the pole piece; Fig. 4 ends at about 140 deg."""
COLD_DEG = 42.0
"""Of a cooling or cryo-transfer holder: Cichocka et al. (2018), section 5.1."""
COLD_SHARE = 0.12
"""Of the experiments made in such a holder. Assumed: enough for a spike that can be seen; the paper gives no number."""
RUN_IN_DEG, RUN_OUT_DEG = 0.5, 2.0
"""Of the holder's range: what the rotation needs until the first slot begins, and after the last one."""
SPEED_DEG_S = 0.45
CLEAR = 0.95
"""An operator begins where so much of the aperture is clear of bars of the grid, or more."""
GONE_SHARE, GONE_S = 0.1, 5.0
"""A crystal is gone when less of it was lit for so long: its diffraction is seen no more. Of all ways to track."""
STEP_DEG = 0.5
FITS = 0.95
"""An operator takes no crystal of which less is in the aperture when he has centred it."""


@dataclass(frozen=True)
class Experiment:
    """One of a campaign. number: from 0. crystal_seed: of scene and mechanics. worse: mechanics so many times as bad.

    limit_deg: how far the holder tilts either way. start_deg: where the rotation begins. range_deg: how far it can go
    on from there until the holder's limit; its sign is the direction. allowed_deg: over how much of that a crystal that
    stays in the middle of the aperture is lit, no bar of the grid being in the way; without sign.
    """

    number: int
    crystal_seed: int
    worse: float
    limit_deg: float
    start_deg: float
    range_deg: float
    allowed_deg: float

    @property
    def direction(self) -> int:
        """+1 or -1."""
        return 1 if self.range_deg > 0 else -1

    @cached_property
    def motion(self) -> MotionSettings:
        """What the crystal does when nobody follows it."""
        return MotionSettings.drawn(self.crystal_seed, self.worse)

    @cached_property
    def aperture(self) -> Aperture:
        """The aperture over the crystal's scene."""
        return aperture_over(self.crystal_seed)

    def moved_nm(self, tilt_deg: float, since_s: float) -> tuple[float, float]:
        """Where the crystal is seen when nobody follows it."""
        return moved_nm(self.motion, tilt_deg, self.start_deg, since_s)

    def share(self, crystal_nm: tuple[float, float], tilt_deg: float) -> float:
        """Which share of the crystal is lit."""
        return self.aperture.light(crystal_nm, tilt_deg).crystal


def aperture_over(crystal_seed: int) -> Aperture:
    """The aperture of the simulated microscope over the scene of a seed."""
    return Aperture(PictureSettings(), draw_scene(SCENE, crystal_seed))


def experiment(seed: int, number: int, worse: float = 1.0) -> Experiment:
    """The number-th experiment of a campaign; some 20 ms."""
    rng = generator(seed, f"experiment {number}")
    limit_deg = COLD_DEG if rng.random() < COLD_SHARE else USUAL_DEG
    direction = 1 if rng.random() < 0.5 else -1
    travel_deg = 2 * limit_deg - RUN_IN_DEG - RUN_OUT_DEG
    turned_deg = np.arange(0.0, travel_deg + STEP_DEG / 2, STEP_DEG)
    tilts_deg = direction * (turned_deg - limit_deg)
    flat = int(np.argmin(abs(tilts_deg)))
    while True:
        crystal_seed = int(rng.integers(2**31))
        aperture = aperture_over(crystal_seed)
        centred = [aperture.light((0.0, 0.0), float(tilt_deg)) for tilt_deg in tilts_deg]
        first = next((k + 1 for k in range(flat, -1, -1) if centred[k].beam < CLEAR), 0)
        if centred[first].crystal >= FITS:
            break
    end = next((k for k in range(flat, len(centred)) if centred[k].crystal < GONE_SHARE), len(centred))
    begin_deg = float(turned_deg[first])
    return Experiment(
        number,
        crystal_seed,
        worse,
        limit_deg,
        float(tilts_deg[first]),
        direction * (travel_deg - begin_deg),
        max(float(turned_deg[end - 1]) - begin_deg, 0.0),
    )


def gone_at(turned_deg: list[float], t_s: list[float], share: Callable[[int], float]) -> float | None:
    """How far the stage had turned when the crystal was gone, None where it was not. t_s: ascending. share: of the
    crystal that was lit at each of these.
    """
    since: int | None = None
    for k, now_s in enumerate(t_s):
        if share(k) >= GONE_SHARE:
            since = None
            continue
        since = k if since is None else since
        if now_s - t_s[since] >= GONE_S:
            return turned_deg[since]
    return None
