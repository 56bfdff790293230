"""What an instrument tells without a call: `describe` writes it into the header of a trace, `InstrumentFacts` reads it.

The engine calls `describe` before a run; the recorded and the what-if microscope are made from what it wrote.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from drivers.contract import Detector, Geometry, Microscope
from engine.errors import DataError

SAME_S = 1e-9

Finite = Annotated[float, Field(allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
Pixels = Annotated[int, Field(ge=1, le=100_000)]


def describe(microscope: Microscope, exposures_s: Sequence[float], lens_change: int) -> dict[str, Any]:
    """What the parts of an instrument tell without a call, those that are there: for the header of a trace.

    exposures_s, lens_change: those that the plan makes, for cycle and settling may depend on them.
    """
    told: dict[str, Any] = {"geometry": asdict(microscope.geometry), "timing": asdict(microscope.timing)}
    if (stage := microscope.stage) is not None:
        told["stage"] = {"limits_deg": list(stage.limits_deg), "backlash_deg": stage.backlash_deg}
    if (optics := microscope.optics) is not None:
        told["optics"] = {"settling_s": optics.settling_s(lens_change)}
    if (detector := microscope.detector) is not None:
        told["detector"] = _describe_detector(detector, exposures_s)
    return told


def _describe_detector(detector: Detector, exposures_s: Sequence[float]) -> dict[str, Any]:
    dead_times_s = [(exposure_s, detector.cycle_s(exposure_s) - exposure_s) for exposure_s in exposures_s]
    dead_time_s = dead_times_s[0][1]
    others = [list(each) for each in dead_times_s if abs(each[1] - dead_time_s) > SAME_S]
    return {
        "shape": list(detector.shape),
        "dtype": detector.dtype,
        "saturation": detector.saturation,
        "wide_cross": detector.wide_cross,
        "has_pictures": detector.has_pictures,
        "flatfield": detector.flatfield is not None,
        "exposure_limits_s": list(detector.exposure_limits_s),
        "dead_time_s": dead_time_s,
        **({"dead_times_s": others} if others else {}),
    }


class StageFacts(BaseModel):
    """What a plan needs to know of a stage."""

    limits_deg: tuple[Finite, Finite]
    backlash_deg: Finite


class OpticsFacts(BaseModel):
    """What a plan needs to know of the lens: its settling after the plan's change."""

    settling_s: Seconds


class DetectorFacts(BaseModel):
    """What a plan needs to know of a camera. dead_times_s: exposures whose dead time is another, each with its own."""

    shape: tuple[Pixels, Pixels]
    dtype: Annotated[str, Field(pattern=r"^([<>|]([iu][1248]|f4))?$")] | None = None
    """`Detector.dtype`; None in a trace of a version that did not record it."""
    saturation: int
    wide_cross: bool
    flatfield: bool = False
    exposure_limits_s: tuple[Seconds, Seconds]
    dead_time_s: Seconds
    dead_times_s: tuple[tuple[Seconds, Seconds], ...] = ()

    def cycle_s(self, exposure_s: float) -> float:
        """From one start to the next, for an exposure of the plan."""
        others = (dead_s for each_s, dead_s in self.dead_times_s if each_s == exposure_s)
        return exposure_s + next(others, self.dead_time_s)


class TimingFacts(BaseModel):
    """The fields of `Timing`."""

    api_call_s: Seconds
    api_call_worst_s: Seconds
    stage_read_s: Seconds


class InstrumentFacts(BaseModel):
    """What `describe` wrote, read again from a header; None for a part that was not there. Fields that a later version
    adds are let through.
    """

    geometry: Geometry
    timing: TimingFacts
    stage: StageFacts | None = None
    optics: OpticsFacts | None = None
    detector: DetectorFacts | None = None

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> "InstrumentFacts":
        """The facts, checked. Raises DataError for a header that was damaged, or tells too little."""
        try:
            return cls.model_validate(facts)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(("instrument", *(str(part) for part in first["loc"])))
            raise DataError(
                f"trace: its header does not describe an instrument ({where}: {first['msg']}), so nothing can answer "
                "for it; nothing was changed. Take a copy of the trace from elsewhere if there is one."
            ) from error
