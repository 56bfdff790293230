"""What a simulated instrument hides of lens, defocused disc, goniometer and flux: drawn from a seed, told to the truth.

Part of `hiddeninstrument`, with generators of its own, so that what is drawn here changes nothing that is drawn there.
"""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from drivers.simulated.column import FULL_DEFOCUS, LensSettings
from drivers.simulated.goniometer import GoniometerSettings
from drivers.simulated.latency import generator

if TYPE_CHECKING:
    from drivers.simulated.settings import InstrumentSettings

Four = tuple[float, float, float, float]

LARGER = 0.15
"""By how much disc and aperture are larger or smaller than the settings say, at most."""
STRETCHED, SHEARED = 0.03, 0.03
"""By how much the stage's axes differ in the disc, in length and from a right angle (rad), at most."""
STILL_PX = 0.2
"""A pattern counts as standing still within this of its place."""
A2_PER_NM2 = 100.0


@dataclass(frozen=True, slots=True)
class HiddenParts:
    """lens, stage: what they truly are. sampled_at: the share of a reading's call that is over when the
    angle is taken. snapshot, disc_radius_px, aperture_nm, flux_s: as in `PictureSettings`, before the camera's turn.
    """

    lens: LensSettings
    stage: GoniometerSettings
    sampled_at: float
    snapshot: Four
    disc_radius_px: float
    aperture_nm: float
    flux_s: float

    @classmethod
    def draw(cls, seed: int, settings: "InstrumentSettings") -> "HiddenParts":
        """The parts of this seed, about what the settings say they nominally are."""
        rng = generator(seed, "hidden parts")
        lens, pictures = settings.lens, settings.pictures
        away_px, left_px = math.hypot(*lens.shift_px), math.hypot(*lens.hysteresis_px)
        axis, other = rng.uniform(-math.pi, math.pi), rng.uniform(-math.pi, math.pi)
        away_px, left_px = away_px * rng.uniform(0.8, 1.4), left_px * rng.uniform(0.5, 1.6)
        turned, sheared = rng.uniform(-math.pi, math.pi), rng.uniform(-SHEARED, SHEARED)
        x, y = 1.0 + rng.uniform(-STRETCHED, STRETCHED, 2)
        rotation = np.array([[math.cos(turned), -math.sin(turned)], [math.sin(turned), math.cos(turned)]])
        stage = np.reshape(pictures.snapshot, (2, 2)) @ np.array([[x, sheared * y], [0.0, y]])
        (a, b), (c, d) = (rotation @ stage).tolist()
        return cls(
            lens=replace(
                lens,
                shift_px=(away_px * math.cos(axis), away_px * math.sin(axis)),
                slow_s=lens.slow_s * rng.uniform(0.6, 1.6),
                slow_share=lens.slow_share * rng.uniform(0.7, 1.5),
                hysteresis_px=(left_px * math.cos(other), left_px * math.sin(other)),
                hysteresis_left=rng.uniform(0.2, 0.5),
            ),
            stage=replace(
                settings.stage,
                speed_share=settings.stage.speed_share * rng.uniform(0.97, 1.03),
                acceleration_s=settings.stage.acceleration_s * rng.uniform(0.5, 2.5),
                backlash_deg=settings.stage.backlash_deg * rng.uniform(0.5, 3.0),
            ),
            sampled_at=rng.uniform(0.2, 0.8),
            snapshot=(a, b, c, d),
            disc_radius_px=pictures.disc_radius_px * rng.uniform(1 - LARGER, 1 + LARGER),
            aperture_nm=pictures.aperture_nm * rng.uniform(1 - LARGER, 1 + LARGER),
            flux_s=pictures.flux_s * math.exp(rng.uniform(-0.7, 0.5)),
        )

    def instrument(self, told: "InstrumentSettings") -> "InstrumentSettings":
        """What the instrument truly is, where its driver tells `told`."""
        pictures = replace(
            told.pictures,
            snapshot=self.snapshot,
            disc_radius_px=self.disc_radius_px,
            aperture_nm=self.aperture_nm,
            flux_s=self.flux_s,
            disc_follows=True,
        )
        return replace(told, pictures=pictures, lens=self.lens, stage=self.stage)

    @property
    def snapshot_px(self) -> Four:
        """What a nm of the stage moves in the disc per unit of defocus, before the camera's turn."""
        a, b, c, d = (2 * self.disc_radius_px / self.aperture_nm / FULL_DEFOCUS * number for number in self.snapshot)
        return a, b, c, d

    def truth(self, told: "InstrumentSettings") -> dict[str, float]:
        """What calibrations would find, but for what the camera's turn changes; of the goniometer's speed the part that
        is hidden. aperture_nm: of a disc of the same area in the stage's own nm, whose axes are stretched.
        flux_e_A2_s: as the operator left the panel. lens_settling_s: from the return of a typical call.
        """
        lens, stage, call_s = self.lens, self.stage, told.api_call_s
        seen_nm = self.aperture_nm / math.sqrt(abs(np.linalg.det(np.reshape(self.snapshot, (2, 2)))))
        slow_px = math.hypot(*lens.shift_px) / 1000 * FULL_DEFOCUS * lens.slow_share
        left_px = math.hypot(*lens.hysteresis_px)
        return {
            "disc_radius_px": self.disc_radius_px / FULL_DEFOCUS,
            "disc_zero_defocus": 0.0,
            "aperture_nm": seen_nm,
            "lens_time_constant_s": lens.slow_s,
            "lens_settling_s": lens.slow_s * math.log(slow_px / STILL_PX) - call_s / 2,
            "lens_hysteresis_px": left_px,
            "lens_hysteresis_left": lens.hysteresis_left,
            "rotation_speed_share": stage.speed_share,
            "backlash_deg": stage.backlash_deg,
            "read_delay_s": self.sampled_at * stage.stage_read_s,
            "run_in_s": stage.acceleration_s / 2 - (self.sampled_at - 0.5) * stage.stage_read_s,
            "flux_e_A2_s": self.flux_s / (math.pi * (seen_nm / 2) ** 2 * A2_PER_NM2),
        }
