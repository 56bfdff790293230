"""What is known of an instrument without asking it: frozen facts of its parts, and what follows from them.

Every part has its own under `facts` (those of the optional parts are in drivers/parts.py), and `Microscope.facts` puts
them together. A plan is prepared from these alone, and they are written whole into the header of a trace, so that
`plan`, a run, its replay and a what-if count with the same figures. All methods are pure, save that `questions` knows
which day it is; no fact holds a device.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field

from drivers.calibration.calibrationfacts import CalibrationFacts
from drivers.calibration.imagefacts import ImageFacts
from drivers.calibration.trackingfacts import TrackingFacts
from drivers.parts import DeflectorFacts, IlluminationFacts, ModeFacts, StageXYZFacts
from engine.clock import utc_now
from engine.errors import DataError, DeviceError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

# What a header may hold; a driver is trusted to know what it says.
Finite = Annotated[float, Field(allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
Pixels = Annotated[int, Field(ge=1, le=100_000)]
TypeOfCounts = Annotated[str, Field(pattern=r"^([<>|]([iu][1248]|f4))?$")]


def _told(value: Any) -> Any:
    """A header is of an instrument that was connected, and has told what only it can tell."""
    if value is None:
        raise ValueError("it was not told")
    return value


# An exposure longer than whole parts by less than this share of one is not worth another part.
PART_SHARE = 1e-6

SPEED_SHARE = 0.05
"""A rotation that is faster or slower than asked for by more than this share covers other angles than planned."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """The instrument as a crystallographer needs it, for headers and instruction files.

    rotation_axis_deg: direction of the stage's tilt axis in the image, from fast (+x) towards up (+y) with the
        image's rows running down: the axis is (cos, sin, 0) in a frame of fast = +x, slow = -y, beam towards -z.
        A positive stage angle is a right-handed rotation about it.
    beam_fast_px, beam_slow_px: nominal primary beam on the grid of equal pixels (516 x 516 for a 512 x 512
        Timepix, whose wide cross pixels count three times); pixel i covers [i, i+1).
    distortion_amplitude_percent, distortion_azimuth_deg: elliptical lens distortion, 0 where there is none.
    rotation_axis_tilt_deg: how far the axis leans out of the image towards the source; with it the axis is (cos w cos
        t, sin w cos t, sin t).
    What only the instrument itself tells is no number (NaN) until it is connected (`drivers.declared`).
    """

    wavelength_A: float
    camera_length_mm: float
    pixel_size_mm: float
    rotation_axis_deg: float
    beam_fast_px: float
    beam_slow_px: float
    distortion_amplitude_percent: float = 0.0
    distortion_azimuth_deg: float = 0.0
    rotation_axis_tilt_deg: float = 0.0

    def known(self) -> dict[str, float]:
        """The figures by their names, without a lean of the axis where none is known: headers had none before."""
        told: dict[str, float] = asdict(self)
        if self.rotation_axis_tilt_deg == 0:
            del told["rotation_axis_tilt_deg"]
        return told


@dataclass(frozen=True, slots=True)
class Timing:
    """How long this hardware takes, for plans: measured or declared by the driver, in seconds.

    api_call_s: typical time of one microscope call. api_call_worst_s: its 99th percentile.
    stage_read_s: typical time of a stage reading.
    """

    api_call_s: Seconds
    api_call_worst_s: Seconds
    stage_read_s: Seconds


@dataclass(frozen=True, slots=True)
class StageFacts:
    """The goniometer's tilt axis.

    limits_deg: lowest and highest tilt that the mounted holder allows. backlash_deg: lost motion after a change of
    direction, which a run-in must cover. can_rotate: whether `rotate` can be asked; False where nobody knows its
    speeds, and only the operator starts a rotation. speeds_deg_s: the only speeds there are, slowest first; empty for
    a stage that takes any, between speed_limits_deg_s where these are known. speed_settings: what its console calls
    speeds, as pairs (setting, deg/s); of a stage without steps two of them, with a straight line in between.
    """

    limits_deg: tuple[Finite, Finite]
    backlash_deg: Finite
    can_rotate: bool = True
    speeds_deg_s: tuple[Finite, ...] = ()
    speed_limits_deg_s: tuple[Finite, Finite] | None = None
    speed_settings: tuple[tuple[Finite, Finite], ...] = ()

    def setting_for(self, speed_deg_s: float) -> tuple[float, float] | None:
        """The setting whose speed is nearest to this one, and that speed; None where the settings are not known."""
        if not self.speed_settings:
            return None
        if self.speeds_deg_s or len(self.speed_settings) != 2:
            return min(self.speed_settings, key=lambda pair: abs(pair[1] - speed_deg_s))
        (low, slowest_deg_s), (high, fastest_deg_s) = self.speed_settings
        speed_deg_s = min(max(speed_deg_s, slowest_deg_s), fastest_deg_s)
        share = (speed_deg_s - slowest_deg_s) / (fastest_deg_s - slowest_deg_s) if fastest_deg_s > slowest_deg_s else 0
        return low + share * (high - low), speed_deg_s

    def no_speed(self, speed_deg_s: float) -> str | None:
        """In words, why a rotation at this speed cannot be asked for; None where it can, within 5 %."""
        if not self.can_rotate:
            return "what speeds this stage has is not known, so only the operator can start a rotation"
        nearest_deg_s = speed_deg_s
        if self.speeds_deg_s:
            nearest_deg_s = min(self.speeds_deg_s, key=lambda speed: abs(speed - speed_deg_s))
        elif self.speed_limits_deg_s is not None:
            slowest_deg_s, fastest_deg_s = self.speed_limits_deg_s
            nearest_deg_s = min(max(speed_deg_s, slowest_deg_s), fastest_deg_s)
        if abs(nearest_deg_s - speed_deg_s) <= SPEED_SHARE * speed_deg_s:
            return None
        return f"the stage cannot rotate at {speed_deg_s:g} deg/s, the nearest it can do is {nearest_deg_s:.4g} deg/s"


@dataclass(frozen=True, slots=True)
class OpticsFacts:
    """How the diffraction lens settles: exponentially, so that twice the defocus takes a constant time more.

    reference_settling_s: from the return from `reference_defocus` (in the lens's own units) until the pattern stands
    still. time_constant_s: of the approach; 0 where one figure holds for any defocus.
    """

    reference_settling_s: Seconds
    time_constant_s: Seconds = 0.0
    reference_defocus: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1500.0

    def settling_s(self, defocus: int) -> float:
        """Time to wait after returning from `defocus` to focus until the pattern stands still; 0 for none."""
        if defocus == 0:
            return 0.0
        more_s = self.time_constant_s * math.log(abs(defocus) / self.reference_defocus)
        return max(0.0, self.reference_settling_s + more_s)


@dataclass(frozen=True, slots=True)
class PacedFacts:
    """The running series of a camera that paces itself: parts of `part_s`, one every `period_s`.

    An exposure is made of whole parts, and `spare` more pass until the next may begin. saturation: the largest count of
    a part; None where that of a frame does not depend on its parts. tells_begin: whether it knows where among the parts
    an instant lies (`PacedDetector.part_begin_ns`).
    """

    part_s: Annotated[float, Field(ge=1e-6, le=1e6)]
    period_s: Seconds
    spare: Annotated[int, Field(ge=0, le=1_000_000)]
    saturation: int | None = None
    tells_begin: bool = False

    @property
    def lead_s(self) -> float:
        """So long before it is to begin an exposure is asked for: half a part, so that it begins with that part
        whether it is asked a little early or late. 0 where nobody knows when parts begin.
        """
        return self.period_s / 2 if self.tells_begin else 0.0

    def parts(self, exposure_s: float) -> int:
        """How many parts an exposure is made of."""
        return max(1, math.ceil(exposure_s / self.part_s - PART_SHARE))


@dataclass(frozen=True, slots=True)
class DetectorFacts:
    """The camera: its pictures, and how fast exposures may follow one another.

    shape: rows and columns of a picture. dtype: of its counts, as numpy writes it ("<u2"): integers of up to 64 bits or
        float32, in any order of bytes; settled when `arm` returns, empty where nobody knows before the first frame.
        saturation: the largest count that a frame can have, of any exposure. Shape and saturation of a camera that is
        connected are known; None only where it is not, and none but the camera tells them (`drivers.declared`).
    exposure_limits_s: shortest and longest exposure. readout_s, overhead_s: what one takes beyond itself, worst case.
    wide_cross: whether the pixels that join four modules are three times as wide (Timepix). has_pictures: False where
        counts are placeholders (a simulation of timing): then nothing is exported. flatfield: whether the detector
        brings its relative response along, as `Detector.flatfield`.
    dark_counts: what a pixel counts without light: 0 of a camera that counts electrons one by one; None where nobody
        knows, as of one with an offset. change_s: from `start` until the shutter opens, where the exposure is of
        another length than the one before it.
    paced: of a camera that paces itself. cycles_s: exposures whose cycle is another than the rest tells, each with its
        own: those that were measured.
    """

    shape: Annotated[tuple[Pixels, Pixels] | None, AfterValidator(_told)]
    dtype: TypeOfCounts
    saturation: Annotated[int | None, AfterValidator(_told)]
    exposure_limits_s: tuple[Seconds, Seconds]
    readout_s: Seconds = 0.0
    overhead_s: Seconds = 0.0
    wide_cross: bool = False
    has_pictures: bool = True
    flatfield: bool = False
    dark_counts: Finite | None = None
    paced: PacedFacts | None = None
    cycles_s: tuple[tuple[Seconds, Seconds], ...] = ()
    change_s: Seconds = 0.0

    @property
    def known_shape(self) -> tuple[int, int]:
        """Rows and columns, of a camera that is connected. Raises DeviceError for one that is not and tells nothing."""
        if self.shape is None:
            raise DeviceError(
                "camera: it was not asked how large its pictures are; nothing was done. Connect it: credline plan "
                "--connected."
            )
        return self.shape

    def cycle_s(self, exposure_s: float) -> float:
        """Shortest safe time from one start to the next: exposure, readout and overhead, worst case.

        Of a camera that paces itself whole parts, so that a grid of such periods keeps its place among them.
        """
        for known_s, cycle_s in self.cycles_s:
            if known_s == exposure_s:
                return cycle_s
        more_s = self.readout_s + self.overhead_s
        if self.paced is not None:
            parts = self.paced.parts(exposure_s) + self.paced.spare
            if self.paced.tells_begin:
                parts, more_s = parts + math.ceil(more_s / self.paced.period_s - PART_SHARE), 0.0
            exposure_s = parts * self.paced.period_s
        return exposure_s + more_s

    def saturation_of(self, exposure_s: float) -> int | None:
        """The largest count that a frame of this exposure can have; None where it is not known."""
        if self.saturation is None or self.paced is None or self.paced.saturation is None:
            return self.saturation
        return min(self.paced.parts(exposure_s) * self.paced.saturation, self.saturation)

    def cannot_expose(self, exposures_s: Sequence[float]) -> str | None:
        """In words, why a series cannot have these exposures; None where it can. No exposure makes no series."""
        shortest_s, longest_s = self.exposure_limits_s
        for exposure_s in exposures_s:
            if not shortest_s <= exposure_s <= longest_s:  # so it is with what is no number
                return f"cannot expose for {exposure_s:g} s, only for {shortest_s:g} to {longest_s:g} s"
        return None if exposures_s else "no exposure was asked for"

    @property
    def dead_time_s(self) -> float:
        """What an exposure takes beyond itself, or beyond its parts."""
        spare_s = 0.0 if self.paced is None else self.paced.spare * self.paced.period_s
        return spare_s + self.readout_s + self.overhead_s

    def with_dead_time(self, dead_time_s: float) -> "DetectorFacts":
        """The same camera with this dead time for every exposure, in one piece."""
        return replace(self, readout_s=dead_time_s, overhead_s=0.0, paced=None, cycles_s=())


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known of an instrument without a call; None for a part that it does not have.

    A blanker is not here: of that nothing is known without asking. origins: where each figure of the geometry is from
    (`drivers.origins`); empty where nobody kept that. disagreements: where two sources of one say different things.
    calibration: how sure and how old the calibrated figures are; None where no instrument file is named. tracking: what
    follows a crystal by snapshots, images: how stage and beam shift stand to images; None where nobody knows.
    """

    geometry: Geometry
    timing: Timing
    stage: StageFacts | None = None
    optics: OpticsFacts | None = None
    detector: DetectorFacts | None = None
    stagexyz: StageXYZFacts | None = None
    deflectors: DeflectorFacts | None = None
    mode: ModeFacts | None = None
    illumination: IlluminationFacts | None = None
    origins: Mapping[str, str] = field(default_factory=dict)
    disagreements: tuple[str, ...] = ()
    calibration: CalibrationFacts | None = None
    tracking: TrackingFacts | None = None
    images: ImageFacts | None = None

    @property
    def questions(self) -> tuple[str, ...]:
        """What to ask about this instrument before a run: what can be and is unusual, one line each."""
        from drivers.judged import questions

        calibration = () if self.calibration is None else self.calibration.questions(utc_now().date())
        return (*questions(self), *calibration)

    def as_dict(self) -> dict[str, Any]:
        """As JSON holds them, for the header of a trace; parts that there are not are left out."""
        told: dict[str, Any] = _reader().dump_python(self, mode="json", exclude_none=True)
        told["geometry"] = {name: told["geometry"][name] for name in self.geometry.known()}
        return told

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "Facts":
        """What `as_dict` wrote, read again from a header, also what earlier versions wrote. What a later version adds
        is let through. Raises DataError for a header that was damaged, or tells too little.
        """
        from pydantic import ValidationError

        try:
            return _reader().validate_python(upgraded(told))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(("instrument", *(str(part) for part in first["loc"])))
            raise DataError(
                f"trace: its header does not describe an instrument ({where}: {first['msg']}), so nothing can answer "
                "for it; nothing was changed. Take a copy of the trace from elsewhere if there is one."
            ) from error


@cache
def _reader() -> "TypeAdapter[Facts]":
    from pydantic import TypeAdapter

    return TypeAdapter(Facts)


def upgraded(told: Mapping[str, Any]) -> dict[str, Any]:
    """The `instrument` of a header in the words of today.

    Until facts were frozen data, a header told the settling for the plan's own defocus, the dead time of the plan's
    exposures (`dead_times_s`: of those for which it is another), and at first no type of counts: all were uint16.
    """
    now = dict(told)
    optics, detector = now.get("optics"), now.get("detector")
    if isinstance(optics, Mapping) and "settling_s" in optics:
        now["optics"] = {"reference_settling_s": optics["settling_s"]}
    if isinstance(detector, Mapping):
        now["detector"] = camera = dict(detector)
        if camera.get("dtype") is None:
            camera["dtype"] = "<u2"
    if isinstance(detector, Mapping) and "dead_time_s" in detector:
        camera["readout_s"] = camera.pop("dead_time_s")
        others = camera.pop("dead_times_s", [])
        try:
            camera["cycles_s"] = [(exposure_s, exposure_s + dead_s) for exposure_s, dead_s in others]
        except (TypeError, ValueError, OverflowError):  # damaged: who reads it says so
            camera["cycles_s"] = others
    return now
