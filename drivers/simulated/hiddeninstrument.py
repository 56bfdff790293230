"""What a simulated instrument hides beside its camera: how the camera is mounted, the true camera lengths, axis, beam,
ellipse, and what its deflectors do.

All of it is drawn from a seed and told to nobody but the truth, for calibrations to be judged by. What the driver tells
stays what it is: the nominal figures, off by as much as on a real microscope. Pure functions.
"""

import cmath
import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from drivers.calibration.calibratedvalue import near
from drivers.facts import Geometry
from drivers.parts import Deflector
from drivers.simulated.hiddenparts import HiddenParts
from drivers.simulated.latency import generator
from drivers.turn import Turn

if TYPE_CHECKING:
    from drivers.simulated.settings import InstrumentSettings

Array = NDArray[np.float64]
Four = tuple[float, float, float, float]

LENGTHS_OFF = 0.06
"""All true camera lengths are longer or shorter than the nominal ones by up to this share, ..."""
STEP_OFF = 0.01
"""... each by so much more or less (standard deviation)."""
STEP_ELLIPSE_PERCENT = 0.3
"""By how much each of the two components of the ellipse differs at another camera length (standard deviation)."""
BEAM_OFF_PX = 6.0
MOST_ELLIPSE_PERCENT = 2.5
MOST_LEAN_DEG = 1.0
SCALE_OFF, SHEAR = 0.2, 0.06
"""By how much a deflector's two axes differ from what the settings say in length, and from a right angle (rad)."""


@dataclasses.dataclass(frozen=True, slots=True)
class HiddenInstrument:
    """turn: how the camera is mounted; angles, beam and matrices are those before it, as the column's own.

    length_share: true camera lengths over nominal ones. nominal_mm: at which the ellipse is that of ellipse_percent and
    ellipse_azimuth_deg. lean_deg: of the tilt axis towards the source. deflectors:
    what a unit of each pair does, in the units of `DeflectorSettings`; beside_px: what a unit of the image shift does
    to the pattern. parts: lens, disc, goniometer and flux.
    """

    seed: int
    turn: Turn
    length_share: float
    axis_deg: float
    lean_deg: float
    beam_off_px: tuple[float, float]
    ellipse_percent: float
    ellipse_azimuth_deg: float
    nominal_mm: float
    deflectors: Mapping[Deflector, Four]
    beside_px: Four
    parts: HiddenParts

    @classmethod
    def draw(cls, seed: int, settings: "InstrumentSettings") -> "HiddenInstrument":
        """The instrument of this seed, about what the settings say it nominally is."""
        rng = generator(seed, "hidden instrument")
        rows, columns = settings.pictures.shape
        quarters = int(rng.integers(4))
        return cls(
            seed=seed,
            turn=Turn(quarters if rows == columns else quarters // 2 * 2, bool(rng.integers(2))),
            length_share=1.0 + rng.uniform(-LENGTHS_OFF, LENGTHS_OFF),
            axis_deg=rng.uniform(-180.0, 180.0),
            lean_deg=rng.uniform(-MOST_LEAN_DEG, MOST_LEAN_DEG),
            beam_off_px=(rng.uniform(-BEAM_OFF_PX, BEAM_OFF_PX), rng.uniform(-BEAM_OFF_PX, BEAM_OFF_PX)),
            ellipse_percent=rng.uniform(0.0, MOST_ELLIPSE_PERCENT),
            ellipse_azimuth_deg=rng.uniform(0.0, 180.0),
            nominal_mm=settings.mode.camera_length_mm,
            deflectors={which: _changed(settings.deflectors.matrix(which), rng) for which in Deflector},
            beside_px=_changed(settings.deflectors.image_shift_pattern_px, generator(seed, "hidden image shift")),
            parts=HiddenParts.draw(seed, settings),
        )

    def length_mm(self, nominal_mm: float) -> float:
        """The true camera length of a nominal one."""
        step = generator(self.seed, f"camera length {nominal_mm:g}").standard_normal()
        return nominal_mm * self.length_share * (1.0 + STEP_OFF * float(step))

    def ellipse(self, nominal_mm: float) -> tuple[float, float]:
        """Amplitude (percent) and azimuth (deg) of the true ellipse at a nominal camera length, before the turn: the
        lenses below the first one are excited in another way at each, and so are their errors.
        """
        if near(nominal_mm, self.nominal_mm):
            return self.ellipse_percent, self.ellipse_azimuth_deg
        step = generator(self.seed, f"ellipse {nominal_mm:g}").standard_normal(2) * STEP_ELLIPSE_PERCENT
        seen = self.ellipse_percent * cmath.exp(2j * math.radians(self.ellipse_azimuth_deg)) + complex(*step)
        return abs(seen), math.degrees(cmath.phase(seen)) / 2 % 180.0

    def instrument(self, told: "InstrumentSettings") -> "InstrumentSettings":
        """What the instrument truly is, where its driver tells `told`."""
        geometry = dataclasses.replace(
            told.geometry,
            camera_length_mm=self.length_mm(told.geometry.camera_length_mm),
            rotation_axis_deg=self.axis_deg,
            rotation_axis_tilt_deg=0.0,  # in `pictures`
            beam_fast_px=told.geometry.beam_fast_px + self.beam_off_px[0],
            beam_slow_px=told.geometry.beam_slow_px + self.beam_off_px[1],
            distortion_amplitude_percent=self.ellipse_percent,
            distortion_azimuth_deg=self.ellipse_azimuth_deg,
        )
        pictures = dataclasses.replace(
            told.pictures,
            hidden_seed=self.seed,
            axis_out_of_plane_deg=self.lean_deg,
            rot90=self.turn.rot90,
            flipud=self.turn.flipud,
        )
        deflectors = dataclasses.replace(
            told.deflectors,
            beam_shift_nm=self.deflectors[Deflector.BEAM_SHIFT],
            beam_tilt_mrad=self.deflectors[Deflector.BEAM_TILT],
            image_shift_nm=self.deflectors[Deflector.IMAGE_SHIFT],
            diffraction_shift_px=self.deflectors[Deflector.DIFFRACTION_SHIFT],
            image_shift_pattern_px=self.beside_px,
        )
        true = dataclasses.replace(told, geometry=geometry, pictures=pictures, deflectors=deflectors)
        return self.parts.instrument(true)

    def truth(self, told: "InstrumentSettings") -> dict[str, float | Four]:
        """What calibrations would find, by the names of `drivers.calibration.calibratedvalue.KINDS`: of the pictures as
        they come, at the nominal camera length that the settings say; camera length and ellipse also at all others.
        """
        geometry = seen_geometry(self.instrument(told).geometry, self.turn, told.pictures.physical_px)
        lengths = told.mode.facts.camera_lengths_mm
        return {
            **{f"camera_length_mm at {nominal_mm:g} mm": self.length_mm(nominal_mm) for nominal_mm in lengths},
            **self._ellipses(told, lengths),
            "camera_length_mm": geometry.camera_length_mm,
            "rotation_axis_deg": geometry.rotation_axis_deg,
            "rotation_axis_tilt_deg": -self.lean_deg if self.turn.flipud else self.lean_deg,
            "beam_fast_px": geometry.beam_fast_px,
            "beam_slow_px": geometry.beam_slow_px,
            "distortion_amplitude_percent": geometry.distortion_amplitude_percent,
            "distortion_azimuth_deg": geometry.distortion_azimuth_deg,
            "diffraction_shift": seen_matrix(self.deflectors[Deflector.DIFFRACTION_SHIFT], self.turn),
            "pattern_shift": seen_matrix(self.beside_px, self.turn),
            "snapshot": seen_matrix(self.parts.snapshot_px, self.turn),
            **self.parts.truth(told),
        }

    def _ellipses(self, told: "InstrumentSettings", lengths_mm: Sequence[float]) -> dict[str, float]:
        found: dict[str, float] = {}
        for nominal_mm in lengths_mm:
            amplitude, azimuth = self.ellipse(nominal_mm)
            true = dataclasses.replace(told.geometry, distortion_azimuth_deg=azimuth)
            seen = seen_geometry(true, self.turn, told.pictures.physical_px)
            found[f"distortion_amplitude_percent at {nominal_mm:g} mm"] = amplitude
            found[f"distortion_azimuth_deg at {nominal_mm:g} mm"] = seen.distortion_azimuth_deg
        return found


def turn_matrix(turn: Turn) -> Array:
    """(2, 2) what a turn does to a vector (fast, slow) of the picture."""
    quarter = np.array([[0.0, 1.0], [-1.0, 0.0]])  # fast goes up, against the rows
    flip = np.diag([1.0, -1.0 if turn.flipud else 1.0])
    return np.asarray(np.linalg.matrix_power(quarter, turn.rot90 % 4) @ flip)


def seen_matrix(matrix: Four, turn: Turn) -> Four:
    """What a deflector does in the turned picture."""
    (a, b), (c, d) = (turn_matrix(turn) @ np.reshape(matrix, (2, 2))).tolist()
    return a, b, c, d


def seen_geometry(geometry: Geometry, turn: Turn, physical_px: tuple[int, int]) -> Geometry:
    """The geometry of turned pictures. physical_px: rows and columns before the turn, of equal pixels.

    In a mirrored picture a stage turns the other way round, so that an axis that turns right-handed points to the other
    side. And what leans towards the source leans away from it along that side.
    """
    rows, columns = physical_px
    middle = np.array([columns / 2, rows / 2])
    turned_middle = middle[::-1] if turn.rot90 % 2 else middle
    to_seen = turn_matrix(turn)
    beam = to_seen @ (np.array([geometry.beam_fast_px, geometry.beam_slow_px]) - middle) + turned_middle

    def direction(angle_deg: float) -> float:
        fast, slow = to_seen @ [math.cos(math.radians(angle_deg)), -math.sin(math.radians(angle_deg))]
        return math.degrees(math.atan2(-slow, fast))

    axis_deg = direction(geometry.rotation_axis_deg) + (180.0 if turn.flipud else 0.0)
    return dataclasses.replace(
        geometry,
        rotation_axis_deg=(axis_deg + 180.0) % 360.0 - 180.0,
        beam_fast_px=float(beam[0]),
        beam_slow_px=float(beam[1]),
        distortion_azimuth_deg=direction(geometry.distortion_azimuth_deg) % 180.0,
    )


def _changed(matrix: Four, rng: np.random.Generator) -> Four:
    """A matrix turned by any angle, its axes stretched by themselves and no longer at right angles."""
    turned, shear = rng.uniform(-math.pi, math.pi), rng.uniform(-SHEAR, SHEAR)
    x, y = 1.0 + rng.uniform(-SCALE_OFF, SCALE_OFF, 2)
    rotation = np.array([[math.cos(turned), -math.sin(turned)], [math.sin(turned), math.cos(turned)]])
    (a, b), (c, d) = (rotation @ np.reshape(matrix, (2, 2)) @ np.array([[x, shear * y], [0.0, y]])).tolist()
    return a, b, c, d
