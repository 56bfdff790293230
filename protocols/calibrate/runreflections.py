"""The reflections of a recorded cRED run: spots of its frames, joined over neighbouring ones by the fitted angles."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drivers.facts import Geometry
from protocols.lattice.rotationfit import Observed
from protocols.lattice.rotationgeometry import RotationGeometry
from protocols.products.corrections import Clipped, correction, untrusted
from protocols.products.runbeam import asked_beam, run_beam
from protocols.products.source import RunInfo, RunSource, open_run
from protocols.products.survey import FrameSurvey, survey
from protocols.spots.beam_centre import even_level
from protocols.spots.joining import Reflections, join
from protocols.spots.seriespeaks import FrameSpots, SeriesPeaks
from protocols.spots.standing import without_standing

SURE_SIGMAS = 4.0
BEAM_FRAMES = 15
"""Frames, evenly over the run, of which the primary beam is taken."""


@dataclass(frozen=True, slots=True, eq=False)
class RunReflections:
    """All reflections of a run, and the geometry that it was recorded with, its beam as the frames show it.

    is_falling: whether the stage angle falls during the run.
    """

    reflections: Reflections
    geometry: RotationGeometry
    is_falling: bool

    @property
    def whole(self) -> Reflections:
        """Those that no gap and no end of the run has cut."""
        return self.reflections.some(~self.reflections.cut)

    @property
    def sure(self) -> Reflections:
        """Those of them that are more than chance: seen in several frames, or SURE_SIGMAS above the background. Where a
        camera makes several counts of an electron, single electrons pass for spots.
        """
        whole = self.whole
        return whole.some((whole.last > whole.first) | (whole.intensity > SURE_SIGMAS * whole.intensity_sigma))


def observed(reflections: Reflections) -> Observed:
    """Reflections as a fit takes them."""
    return Observed(*(getattr(reflections, name) for name in Observed.__dataclass_fields__))


def run_reflections(folder: Path) -> RunReflections:
    """From the kept frames of a run folder, 20 ms each. DataError for a folder that is no finished run with frames."""
    with open_run(folder) as source:
        return reflections_of(source)


@dataclass(frozen=True, slots=True, eq=False)
class RunFrames:
    """The frames of an open run, corrected, with what a finder of spots must know of them.

    counts: of the frame with an index, (rows, columns). made_up: (rows, columns) True where counts mean nothing.
    """

    info: RunInfo
    counts: Callable[[int], NDArray[np.uint16]]
    made_up: NDArray[np.bool_]
    beam_px: tuple[float, float]
    geometry: RotationGeometry


def reflections_of(source: RunSource) -> RunReflections:
    """The same of an open run."""
    frames = frames_of(source)
    info = frames.info
    find = SeriesPeaks(info.shape, frames.made_up, frames.beam_px)
    spots: list[FrameSpots] = [find(frames.counts(index)) for index in range(len(info.slot))]
    reflections = join(without_standing(spots, info.shape), info.slot, info.frame_start_deg, info.frame_end_deg)
    return RunReflections(reflections, frames.geometry, info.oscillation_deg < 0)


def frames_of(source: RunSource) -> RunFrames:
    """The frames of an open run; the primary beam is taken from BEAM_FRAMES of them, a third of a second."""
    info = source.info
    apply = correction(source.flatfield(), info.wide_cross, info.saturation)
    made_up = untrusted(info.raw_shape, info.wide_cross, apply.dead)

    def frame(index: int) -> NDArray[np.uint16]:
        return apply.apply(source.raw(index))[0]

    some = np.unique(np.linspace(0, len(info.slot) - 1, BEAM_FRAMES).astype(np.intp)).tolist()
    beam_px = _beam(info, [_seen(info, int(info.slot[index]), frame(index)) for index in some])
    return RunFrames(info, frame, made_up, beam_px, _geometry(info, beam_px))


def _seen(info: RunInfo, slot: int, counts: NDArray[np.uint16]) -> FrameSurvey:
    nominal_px = (info.nominal_beam_fast_px, info.nominal_beam_slow_px)
    level = even_level(info.overload, info.wide_cross)
    return survey(slot, counts, Clipped(), nominal_px, None, level, look_for_spots=False)


def _beam(info: RunInfo, seen: list[FrameSurvey]) -> tuple[float, float]:
    """(fast, slow) of the primary beam, by the same rules as in the files of the run."""
    nominal_px = (info.nominal_beam_fast_px, info.nominal_beam_slow_px)
    return run_beam(seen, nominal_px, asked_beam(info.plan), info.shape, info.oscillation_deg).place_px


def _geometry(info: RunInfo, beam_px: tuple[float, float]) -> RotationGeometry:
    return RotationGeometry.of(
        Geometry(
            wavelength_A=info.wavelength_A,
            camera_length_mm=info.camera_length_mm,
            pixel_size_mm=info.pixel_size_mm,
            rotation_axis_deg=info.rotation_axis_deg,
            beam_fast_px=beam_px[0],
            beam_slow_px=beam_px[1],
            distortion_amplitude_percent=info.distortion_amplitude_percent,
            distortion_azimuth_deg=info.distortion_azimuth_deg,
            rotation_axis_tilt_deg=info.rotation_axis_tilt_deg,
        )
    )
