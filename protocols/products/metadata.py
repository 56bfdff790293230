"""What every exported picture says about itself, whatever its format: one record per slot."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from protocols.products.rotation import Rotation, rotation
from protocols.products.source import RunInfo
from protocols.products.survey import FrameSurvey


@dataclass(frozen=True, slots=True)
class RunHeader:
    """The part of a picture's header that is the same for a whole run; small, and travels to worker processes.

    shape: (rows, columns) of the corrected pictures. beam_fast_px, beam_slow_px: the run's primary beam; pixel i covers
    [i, i + 1). beam_told: how it is known, in words; frame_beams: where it was seen in a frame (fast, slow), by slot,
    of those in which it surely was. shadowed: slots whose frames are in a shadow, ascending. timepix_516: whether
    DIALS' own class for this detector may read the files.
    """

    run_id: str
    sample: str
    detector: str
    program: str
    shape: tuple[int, int]
    wavelength_A: float
    camera_length_mm: float
    pixel_size_mm: float
    angstrom_per_px: float
    beam_fast_px: float
    beam_slow_px: float
    exposure_s: float
    saturation: int
    rotation: Rotation
    timepix_516: bool
    beam_told: str = ""
    frame_beams: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    shadowed: tuple[int, ...] = ()

    def measured(self, info: RunInfo) -> list[int]:
        """Slots of the frames that are in no shadow, ascending."""
        return [slot for slot in info.slot.tolist() if slot not in self.shadowed]

    def without_data(self, info: RunInfo) -> tuple[int, ...]:
        """Slots that no program is to measure, ascending: gaps, and what is in a shadow."""
        return tuple(sorted({*info.gaps, *self.shadowed}))


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """The part of a picture's header that is its own.

    slot: number of the picture, in every file name too. stage_start_deg, stage_end_deg: the goniometer at the
    begin and the end of the exposure; for a placeholder of a gap, of the slot. started_at: wall time at the begin
    of the exposure. clipped: pixels whose count did not fit into 16 bits. placeholder: no frame, all zeros.
    lowest, highest, mean: of its counts.
    """

    slot: int
    stage_start_deg: float
    stage_end_deg: float
    started_at: datetime
    clipped: int = 0
    placeholder: bool = False
    lowest: int = 0
    highest: int = 0
    mean: float = 0.0


def hand_words(info: RunInfo) -> str:
    """What the camera's mounting means for the absolute structure; empty where it was not measured.

    Axis and rotation are those of the pictures as they are, so a mirrored camera gives the mirror image of a crystal,
    and nothing in the diffraction tells.
    """
    if info.camera_hand is None:
        return ""
    if info.camera_hand < 0:
        return "mirrored: the structure comes out as its mirror image, so invert it for the absolute structure"
    return "not mirrored: the absolute structure is as it comes out"


def run_header(
    info: RunInfo,
    beam_px: tuple[float, float],
    beam_told: str = "",
    frame_beams: Mapping[int, tuple[float, float]] | None = None,
    shadowed: tuple[int, ...] = (),
) -> RunHeader:
    """The run's header with the primary beam (fast, slow) that all files have."""
    return RunHeader(
        run_id=info.run_id,
        sample=info.sample,
        detector=info.detector,
        program=f"credline {info.version}",
        shape=info.shape,
        wavelength_A=info.wavelength_A,
        camera_length_mm=info.camera_length_mm,
        pixel_size_mm=info.pixel_size_mm,
        angstrom_per_px=info.angstrom_per_px,
        beam_fast_px=beam_px[0],
        beam_slow_px=beam_px[1],
        exposure_s=info.exposure_s,
        saturation=info.overload,
        rotation=rotation(info),
        timepix_516=info.wide_cross and info.shape == (516, 516),
        beam_told=beam_told,
        frame_beams=frame_beams or {},
        shadowed=shadowed,
    )


def frame_header(info: RunInfo, index: int, seen: FrameSurvey) -> FrameHeader:
    """The header of kept frame `index` (0 .. n-1), with what was seen in it."""
    rows, columns = info.shape
    return FrameHeader(
        slot=int(info.slot[index]),
        stage_start_deg=float(info.frame_start_deg[index]),
        stage_end_deg=float(info.frame_end_deg[index]),
        started_at=info.wall_time(int(info.frame_start_ns[index])),
        clipped=seen.clipped.total,
        lowest=seen.minimum,
        highest=seen.maximum,
        mean=seen.total / (rows * columns),
    )


def placeholder_header(info: RunInfo, slot: int) -> FrameHeader:
    """The header of the all-zero picture that stands for a gap; its time follows the grid of slots."""
    before = int((info.slot < slot).sum()) - 1
    elapsed_ns = int(info.frame_start_ns[before] + (slot - info.slot[before]) * info.period_s * 1e9)
    return FrameHeader(
        slot=slot,
        stage_start_deg=info.slot_start_deg(slot),
        stage_end_deg=info.slot_start_deg(slot + 1),
        started_at=info.wall_time(elapsed_ns),
        placeholder=True,
    )
