"""Pictures for runs by the hundred: snapshots as ever, and diffraction pictures without spots whose counts have the
right sum, so that what is told from snapshots and from total intensities can be tried without computing patterns.
"""

import math

import numpy as np
from numpy.typing import NDArray

from drivers.facts import Geometry
from drivers.simulated.aperture import WHOLE
from drivers.simulated.crystal import Crystal
from drivers.simulated.damage import undamaged
from drivers.simulated.latency import generator
from drivers.simulated.pictures import Picture, PictureMaker
from drivers.simulated.picturesettings import PictureSettings
from drivers.simulated.snapshotscene import SnapshotScene

SCATTERED = 1e-3
"""Share of the primary beam that all spots together have on average; that of mordenite in `PictureMaker`."""
VARIES, PERIODS_DEG = 0.5, (3.0, 7.0, 17.0)
"""By how much it comes and goes as the crystal turns (standard deviation, a share), and how fast."""
USUAL_PER_A = np.array([0.5])
"""Of spots that carry most of the sum, for damage by the beam."""
SERIES, LEAP = 100_003, 7919
"""Of noise: how many more numbers than a picture has pixels, and how far from one picture's to the next one's."""
RING = (0.5, 0.18)
"""Where spots lie: middle and width of a ring, in units of half the picture's smaller side."""


class CheapMaker(PictureMaker):
    """A `PictureMaker` of no crystal in particular. scene: as there; without one, a brick."""

    def __init__(self, geometry: Geometry, settings: PictureSettings, scene: SnapshotScene | None) -> None:
        super().__init__(_bare(), geometry, settings, scene=scene)
        seed = scene.seed if scene is not None else 0
        self._phases = generator(seed, "total intensity").uniform(-math.pi, math.pi, len(PERIODS_DEG))
        half_px = min(settings.physical_px) / 2.0
        x, y = (
            (edges[:-1] + edges[1:]) / 2.0 - beam
            for edges, beam in ((self._columns_px, geometry.beam_fast_px), (self._rows_px, geometry.beam_slow_px))
        )
        ring = self._area * np.exp(-0.5 * ((np.hypot(x[None, :], y[:, None]) / half_px - RING[0]) / RING[1]) ** 2)
        self._small_response = self._response.astype(np.float32)
        self._noise = generator(seed, "noise").standard_normal(ring.size + SERIES, np.float32)
        self._ring_s = ring * (SCATTERED * settings.flux_s / ring.sum())

    def expected(
        self,
        start_deg: float,
        end_deg: float,
        exposure_s: float,
        beam_shift_px: tuple[float, float] = (0.0, 0.0),
        blur_px: float = 0.0,
        scale: float = 1.0,
        length_mm: float = 0.0,
        ellipse: tuple[float, float] | None = None,
        crystal_nm: tuple[float, float] | None = None,
        irradiated_s: float = 0.0,
    ) -> NDArray[np.float64]:
        """See `PictureMaker.expected`; camera length and ellipse change nothing."""
        tilt_deg = (start_deg + end_deg) / 2
        light = WHOLE if crystal_nm is None else self.aperture.light(crystal_nm, tilt_deg)
        focused = beam_shift_px == (0.0, 0.0) and blur_px == 0.0
        rate_s = self._background_s if focused else self._background(beam_shift_px, blur_px)
        turned = math.radians(360.0 * tilt_deg)
        waves = sum(math.sin(turned / period + at) for period, at in zip(PERIODS_DEG, self._phases, strict=True))
        strength = math.exp(VARIES * math.sqrt(2.0 / len(PERIODS_DEG)) * waves)
        dose_e_A2 = irradiated_s * self.settings.flux_e_A2_s
        strength *= float(undamaged(USUAL_PER_A, dose_e_A2, self.settings)[0])
        share = scale * strength * sum(share for _, share in light.grains)
        return np.asarray(rate_s * (light.beam * exposure_s) + self._ring_s * (share * exposure_s))

    def _detected(self, electrons: NDArray[np.float64], noise_seed: int, exposure_s: float) -> Picture:
        if self.hidden is not None or electrons.mean() < 30.0:
            return super()._detected(electrons, noise_seed, exposure_s)
        # With counts enough a normal distribution is as good as Poisson's, and a place in a long series of such noise,
        # other for each picture, as good as noise of its own, in a tenth of the time.
        first = noise_seed * LEAP % (len(self._noise) - electrons.size)
        seen = np.asarray(self._turn.turned(electrons), np.float32) * self._small_response
        seen += np.sqrt(seen) * self._noise[first : first + electrons.size].reshape(seen.shape)
        return np.asarray(np.clip(seen + np.float32(0.5), 0.0, self.settings.saturation), np.uint16)


def _bare() -> Crystal:
    """A crystal without reflections; a brick of 500 nm."""
    cell = (10.0, 10.0, 10.0, 90.0, 90.0, 90.0)
    return Crystal("none", cell, np.eye(3), np.eye(3) / 10.0, np.empty((0, 3), np.int32), np.empty(0), 0.8, 500.0)
