"""One calibrated value of an instrument: number, uncertainty, what it holds for, when and from which data it was made.

`KINDS` is the whole list of what can be calibrated, each with its unit and with what it holds for; every calibration
stores values of these names and nothing else, and every reader asks by them (`drivers.calibration.instrumentfile`).
"""

import math
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Number = Annotated[float, Field(allow_inf_nan=False)]
Sigma = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Matrix = tuple[Number, Number, Number, Number]
"""What a unit of x and of y does along the axes of the picture: fast of x, fast of y, slow of x, slow of y."""

NEAR_SHARE = 0.005
"""Two high tensions, nominal camera lengths or magnifications within this share are the same setting."""


class Holds(StrEnum):
    """What a kind of value holds for, beside the microscope and the camera."""

    INSTRUMENT = "the instrument"
    HIGH_TENSION = "one high tension"
    CAMERA_LENGTH = "one high tension and camera length"
    MAGNIFICATION = "one high tension and magnification"
    ILLUMINATION = "one high tension, spot size and brightness"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of calibrated value. fact: the figure of the instrument that it is (`geometry.x`, `timing.x`), where it is
    one.
    """

    unit: str
    holds: Holds
    fact: str = ""
    is_matrix: bool = False


def _geometry(name: str, unit: str) -> Kind:
    return Kind(unit, Holds.CAMERA_LENGTH, f"geometry.{name}")


KINDS = {
    # Of a diffraction pattern. camera_length_mm is the true one; the nominal one is what it holds for.
    "camera_length_mm": _geometry("camera_length_mm", "mm"),
    "rotation_axis_deg": _geometry("rotation_axis_deg", "deg"),
    "beam_fast_px": _geometry("beam_fast_px", "px"),
    "beam_slow_px": _geometry("beam_slow_px", "px"),
    "distortion_amplitude_percent": _geometry("distortion_amplitude_percent", "%"),
    "distortion_azimuth_deg": _geometry("distortion_azimuth_deg", "deg"),
    # Out of the plane of the image.
    "rotation_axis_tilt_deg": _geometry("rotation_axis_tilt_deg", "deg"),
    # Of an image.
    "pixel_size_nm": Kind("nm", Holds.MAGNIFICATION),
    # Matrices. A unit is the instrument's own, of the stage a nm.
    "beam_shift": Kind("px per unit", Holds.MAGNIFICATION, is_matrix=True),
    "image_shift": Kind("px per unit", Holds.MAGNIFICATION, is_matrix=True),
    "diffraction_shift": Kind("px per unit", Holds.CAMERA_LENGTH, is_matrix=True),
    # What the image shift moves of the diffraction pattern, which the diffraction shift is to take back.
    "pattern_shift": Kind("px per unit", Holds.CAMERA_LENGTH, is_matrix=True),
    "stage": Kind("px per nm", Holds.MAGNIFICATION, is_matrix=True),
    # What deflectors and stage stay behind after a change of direction, and where the stage lands: standard deviation.
    "beam_shift_hysteresis": Kind("units", Holds.INSTRUMENT),
    "image_shift_hysteresis": Kind("units", Holds.INSTRUMENT),
    "diffraction_shift_hysteresis": Kind("units", Holds.INSTRUMENT),
    "stage_backlash_nm": Kind("nm", Holds.INSTRUMENT),
    "stage_repeatability_nm": Kind("nm", Holds.INSTRUMENT),
    # 1 where pictures show the specimen as seen from the source, -1 where they are mirrored.
    "camera_hand": Kind("1", Holds.INSTRUMENT),
    # The stage in the defocused disc: times the defocus, with its sign, what a nm of x and y moves at no tilt.
    "snapshot": Kind("px per nm and unit of defocus", Holds.CAMERA_LENGTH, is_matrix=True),
    "aperture_nm": Kind("nm", Holds.INSTRUMENT),
    # The lens. The disc's radius is its slope times the distance from where it has none. Settling: after 1500 units,
    # until the pattern is within 0.2 px of its place. Hysteresis: how far the beam lay off before the first relax
    # cycle, and what a cycle leaves of it.
    "disc_radius_px": Kind("px per unit of defocus", Holds.CAMERA_LENGTH),
    "disc_zero_defocus": Kind("units of defocus", Holds.CAMERA_LENGTH),
    "lens_settling_s": Kind("s", Holds.INSTRUMENT),
    "lens_time_constant_s": Kind("s", Holds.INSTRUMENT),
    "lens_hysteresis_px": Kind("px", Holds.CAMERA_LENGTH),
    "lens_hysteresis_left": Kind("1", Holds.INSTRUMENT),
    # Electrons at the specimen.
    "flux_e_A2_s": Kind("electrons per A^2 and s", Holds.ILLUMINATION),
    # The stage's rotation. run_in_s: lost to its beginning, from the return of the call that told it to turn.
    # read_delay_s: from when a reading is asked for until the angle that it tells is the true one.
    "rotation_speed_share": Kind("1", Holds.INSTRUMENT),
    "run_in_s": Kind("s", Holds.INSTRUMENT),
    "backlash_deg": Kind("deg", Holds.INSTRUMENT),
    "read_delay_s": Kind("s", Holds.INSTRUMENT),
    # Calls.
    "api_call_s": Kind("s", Holds.INSTRUMENT, "timing.api_call_s"),
    "api_call_worst_s": Kind("s", Holds.INSTRUMENT, "timing.api_call_worst_s"),
    "stage_read_s": Kind("s", Holds.INSTRUMENT, "timing.stage_read_s"),
    # The camera. Its arrays are in drivers.calibration.calibrationarrays.
    "gain_counts_per_electron": Kind("counts per electron", Holds.HIGH_TENSION, "detector.gain_counts_per_electron"),
    "dark_counts_s": Kind("counts per s", Holds.INSTRUMENT),
    "bad_pixels": Kind("pixels", Holds.HIGH_TENSION),
    "flatfield_accuracy": Kind("1", Holds.HIGH_TENSION),
}  # fmt: skip


class CalibratedValue(BaseModel):
    """One value as the instrument file holds it. What it holds for is given as the microscope names it (nominal).

    sigma: standard uncertainty, of a matrix of each number; its covariance has rows and columns in the order of its
    numbers. data: the name of the run folder that it was made from. Raises ValueError for a name that there is not, or
    what does not fit it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    value: Number | Matrix
    sigma: Sigma | tuple[Sigma, Sigma, Sigma, Sigma]
    unit: str
    covariance: tuple[Matrix, Matrix, Matrix, Matrix] | None = None
    high_tension_kV: Positive | None = None
    camera_length_mm: Positive | None = None
    magnification: Positive | None = None
    spot_size: int | None = None
    brightness: Number | None = None
    made_on: date = Field(alias="date")
    data: str
    program: str

    @model_validator(mode="after")
    def _fits_its_name(self) -> Self:
        kind = KINDS.get(self.name)
        if kind is None:
            raise ValueError(f"{self.name!r} is none of {', '.join(KINDS)}")
        if self.unit != kind.unit:
            raise ValueError(f"{self.name} is in {kind.unit!r}, not {self.unit!r}")
        is_matrix = isinstance(self.value, tuple)
        if is_matrix is not kind.is_matrix or isinstance(self.sigma, tuple) is not kind.is_matrix:
            raise ValueError(f"{self.name}: value and sigma are {'four numbers each' if kind.is_matrix else 'numbers'}")
        if is_matrix is not (self.covariance is not None):
            raise ValueError(f"{self.name}: a covariance belongs to a matrix, and to nothing else")
        needed = {
            "high_tension_kV": kind.holds is not Holds.INSTRUMENT,
            "camera_length_mm": kind.holds is Holds.CAMERA_LENGTH,
            "magnification": kind.holds is Holds.MAGNIFICATION,
            "spot_size": kind.holds is Holds.ILLUMINATION,
            "brightness": kind.holds is Holds.ILLUMINATION,
        }
        for condition, is_needed in needed.items():
            if (getattr(self, condition) is not None) is not is_needed:
                raise ValueError(f"{self.name} holds for {kind.holds}: {condition} is {self._wrong(is_needed)}")
        return self

    @staticmethod
    def _wrong(is_needed: bool) -> str:
        return "missing" if is_needed else "to be left out"

    @property
    def kind(self) -> Kind:
        """What is known of all values of this name."""
        return KINDS[self.name]

    def replaces(self, other: "CalibratedValue") -> bool:
        """Whether the other is an earlier value of the same thing."""
        return (self.name, self.spot_size) == (other.name, other.spot_size) and all(
            near(getattr(self, condition), getattr(other, condition))
            for condition in ("high_tension_kV", "camera_length_mm", "magnification", "brightness")
        )


def near(one: float | None, other: float | None) -> bool:
    """Whether two settings are the same one; one that is not known is like any."""
    return one is None or other is None or math.isclose(one, other, rel_tol=NEAR_SHARE)
