"""What a simulated instrument hides of its images: their true scale and turn, the stage's own axes, its play and
scatter, the lag of the deflectors, and what the condenser lights.

Drawn from a seed and told to nobody but the truth, as `hiddeninstrument` is. Pure functions.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from drivers.parts import Deflector, OpticalMode
from drivers.simulated.hiddeninstrument import Four, seen_matrix
from drivers.simulated.imaging import ImageScale, nominal_pixel_nm
from drivers.simulated.latency import generator
from drivers.turn import Turn

if TYPE_CHECKING:
    from drivers.simulated.settings import InstrumentSettings

SIZE_OFF, STEP_OFF = 0.1, 0.01
"""Pixels of all images of a mode are larger or smaller than nominal by up to the first share, those of each
magnification by so much more or less (standard deviation)."""
STAGE_SCALE, STAGE_SHEAR = 0.005, 0.005
"""How far a nm of each axis of the stage is off, as a share, and how far the two are off a right angle, in rad."""
LAG_UNITS = (4.0, 30.0)
PLAY_SHARE, SCATTER_SHARE = (0.4, 0.9), (0.5, 1.5)
"""Of the play that the stage tells, and of the scatter that the settings say."""
CROSSOVER_OFF, LIT_OFF, DISC_OFF_NM = 2000.0, 0.2, 100.0


@dataclasses.dataclass(frozen=True, slots=True)
class HiddenImages:
    """seed: of it all. turn: how the camera is mounted. pixel_size_mm: of the camera. turned_deg, size_share: of the
    images of each mode. stage: what a nm of its x and y truly is along exact axes. settings: what the parts truly are.
    """

    seed: int
    turn: Turn
    pixel_size_mm: float
    turned_deg: Mapping[OpticalMode, float]
    size_share: Mapping[OpticalMode, float]
    stage: Four
    settings: "InstrumentSettings"

    @classmethod
    def draw(cls, seed: int, true: "InstrumentSettings") -> "HiddenImages":
        """The images of this seed. true: what the instrument is otherwise."""
        rng = generator(seed, "hidden images")
        modes = (OpticalMode.LOW_MAG, OpticalMode.IMAGING)
        x, y = 1.0 + STAGE_SCALE * rng.standard_normal(2)
        stage, lit = true.stagexyz, true.illumination
        middle = rng.uniform(-DISC_OFF_NM, DISC_OFF_NM, 2)
        return cls(
            seed=seed,
            turn=true.pictures.turn,
            pixel_size_mm=true.geometry.pixel_size_mm / true.pictures.magnified,
            turned_deg={mode: rng.uniform(-180.0, 180.0) for mode in modes},
            size_share={mode: 1.0 + rng.uniform(-SIZE_OFF, SIZE_OFF) for mode in modes},
            stage=(x, STAGE_SHEAR * rng.standard_normal(), 0.0, y),
            settings=dataclasses.replace(
                true,
                deflectors=dataclasses.replace(true.deflectors, lag=tuple(rng.uniform(*LAG_UNITS, 4).tolist())),
                stagexyz=dataclasses.replace(
                    stage,
                    backlash_nm=stage.backlash_nm * rng.uniform(*PLAY_SHARE),
                    reproducibility_nm=stage.reproducibility_nm * rng.uniform(*SCATTER_SHARE),
                ),
                illumination=dataclasses.replace(
                    lit,
                    crossover=lit.crossover + rng.uniform(-CROSSOVER_OFF, CROSSOVER_OFF),
                    nm_per_unit=lit.nm_per_unit * (1.0 + rng.uniform(-LIT_OFF, LIT_OFF)),
                    per_spot=lit.per_spot * rng.uniform(1 - LIT_OFF, 1 + LIT_OFF),
                    disc_nm=(lit.disc_nm[0] + float(middle[0]), lit.disc_nm[1] + float(middle[1])),
                ),
            ),
        )

    def scale(self, mode: OpticalMode, magnification: float) -> ImageScale:
        """How the image of a mode and nominal magnification truly stands to the specimen."""
        step = 1.0 + STEP_OFF * float(generator(self.seed, f"magnification {magnification:g}").standard_normal())
        turned = _rotation(self.turned_deg[mode] - self.turned_deg[OpticalMode.IMAGING])
        axes = _rotation(self.turned_deg[mode]) @ np.diag([1.0, -1.0]) @ np.reshape(self.stage, (2, 2))
        nominal_nm = nominal_pixel_nm(self.pixel_size_mm, magnification)
        return ImageScale(nominal_nm * self.size_share[mode] * step, _four(axes), _four(turned))

    def truth(self, mode: OpticalMode, magnification: float) -> dict[str, float | Four]:
        """What calibrations would find of an image, by the names of `drivers.calibration.calibratedvalue.KINDS`: of
        pictures as they come.
        """
        scale = self.scale(mode, magnification)
        per_px = np.reshape(scale.turned, (2, 2)) / scale.pixel_nm

        def seen(matrix: Four) -> Four:
            return seen_matrix(_four(per_px @ np.reshape(matrix, (2, 2))), self.turn)

        return {
            "pixel_size_nm": scale.pixel_nm,
            "stage": seen_matrix(_four(np.reshape(scale.stage_axes, (2, 2)) / scale.pixel_nm), self.turn),
            "beam_shift": seen(self.settings.deflectors.beam_shift_nm),
            "image_shift": seen(self.settings.deflectors.image_shift_nm),
        }

    def truth_of_parts(self) -> dict[str, float | Four]:
        """What holds for all images."""
        lags, stage = self.settings.deflectors, self.settings.stagexyz
        measured = (Deflector.BEAM_SHIFT, Deflector.IMAGE_SHIFT, Deflector.DIFFRACTION_SHIFT)
        return {
            **{f"{which}_hysteresis": lags.lag_of(which) for which in measured},
            "stage_backlash_nm": stage.backlash_nm,
            "stage_repeatability_nm": stage.reproducibility_nm,
            "camera_hand": -1.0 if self.turn.flipud else 1.0,
        }


def _rotation(angle_deg: float) -> np.ndarray:
    cos, sin = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    return np.array([[cos, -sin], [sin, cos]])


def _four(matrix: np.ndarray) -> Four:
    (a, b), (c, d) = matrix.tolist()
    return a, b, c, d
