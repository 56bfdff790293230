"""The contract between experiments and hardware: four small protocols and the data that passes through them.

A microscope is a stage, a beam, optics and a detector. A driver for a vendor's interface implements one or more
of them; `Microscope` puts four together. What a part knows without a call is frozen data under its `facts`
(drivers/facts.py), and nowhere else. All calls are coroutines, none blocks the event loop longer than 2 ms,
every one may be cancelled (the device is then as the docstring says). Times are integer nanoseconds on the
engine's clock, angles degrees, lengths in the unit in the name.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from drivers.assembling import NOBODY_KNOWS, figures, middle_of, parts_of
from drivers.calibration.calibratedcamera import CalibratedCamera
from drivers.calibration.calibrationfacts import CalibrationFacts
from drivers.calibration.holding import Holding, holding, not_overruled
from drivers.calibration.imagefacts import ImageFacts
from drivers.calibration.trackingfacts import TrackingFacts
from drivers.facts import DetectorFacts, Facts, Geometry, OpticsFacts, StageFacts, Timing
from drivers.judged import cannot_be
from drivers.ongrid import LitOnGrid, SeenOnGrid
from drivers.origins import CALIBRATED, DEFAULT, TOLD, TYPED, Layers, by_precedence, disagreements
from drivers.parts import Deflectors, Illumination, Mode, Specimen, StageXYZ, View
from drivers.turn import Turn, refuse_other
from engine.errors import Refused
from engine.frame import Frame

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Reading:
    """A measured value, true at one unknown instant between `t_before_ns` and `t_after_ns`.

    A stage angle that took 277 ms to read is known to lie in that interval and no better.
    """

    value: float
    t_before_ns: int
    t_after_ns: int


class Stage(Protocol):
    """The goniometer's tilt axis."""

    @property
    def facts(self) -> StageFacts:
        """Limits, backlash and speeds."""
        ...

    async def angle(self) -> Reading:
        """Read the tilt angle in degrees. Takes one call (35-277 ms). Cancel: nothing happened."""
        ...

    async def rotate(self, target_deg: float, speed_deg_s: float) -> None:
        """Start a rotation towards `target_deg` and return when it was accepted (one call); motion goes on.

        Raises DeviceError for a target past the limits (nothing moves). Cancel: the motion may have started.
        """
        ...

    async def release_to_pedal(self, target_deg: float, speed_deg_s: float) -> None:
        """Leave the rotation to the operator, who is asked to hold the pedal until `target_deg`; returns at once.

        A driver that locks the pedals while it is connected frees them here; others have nothing to do. Whether
        and when the stage moves, only `angle` tells.
        """
        ...

    async def stop(self) -> None:
        """Stop the rotation; known to be stopping after return (one call). Harmless when nothing moves."""
        ...


class Beam(Protocol):
    """The beam blanker."""

    async def blank(self) -> None:
        """Take the beam off the crystal; off after return (one call). Harmless when blanked."""
        ...

    async def unblank(self) -> None:
        """Put the beam on the crystal; on after return (one call). Cancel: the beam may be on."""
        ...

    async def is_blanked(self) -> bool:
        """Whether the blanker is closed (one call)."""
        ...


class Optics(Protocol):
    """The diffraction lens (IL1, diffraction focus)."""

    @property
    def facts(self) -> OpticsFacts:
        """How it settles."""
        ...

    async def focus(self) -> int:
        """Read the lens value in the instrument's own units (one call)."""
        ...

    async def set_focus(self, value: int) -> None:
        """Set the lens value; the lens *starts* towards it when the call returns, and settles exponentially."""
        ...


class Detector(Protocol):
    """The camera: `arm -> (start -> next frame)* -> disarm`.

    After `arm`, each `start` begins one exposure at once and `frames` yields it when it was read out. The next
    `start` may follow `facts.cycle_s` later. A detector that paces itself is asked the same way; its driver takes the
    frame out of the running series that begins next.
    """

    @property
    def facts(self) -> DetectorFacts:
        """Its pictures and its pace. Arming may settle what nobody knew before: ask again after `arm`."""
        ...

    @property
    def flatfield(self) -> NDArray[np.float32] | None:
        """Relative response of each pixel, (rows, columns), mean 1; None where it was never collected."""
        ...

    async def arm(self, exposures_s: Sequence[float]) -> None:
        """Prepare a series of exposures, each of one of these lengths, in any order and number; may take long.

        Raises DeviceError for what it cannot do (nothing armed).
        """
        ...

    async def start(self, exposure_s: float) -> int:
        """Open the shutter now and return the instant in ns at which it opened; takes under 1 ms.

        exposure_s: one of the lengths that it was armed for.
        Raises DeviceBusy while an exposure is under way, DeviceError when not armed (no exposure either way).
        """
        ...

    def frames(self) -> AsyncIterator[Frame]:
        """The frames of this series in order, each (with its bounds) when it was read out; ends after `disarm`."""
        ...

    async def disarm(self) -> None:
        """End the series; an exposure under way is given up. Harmless when not armed."""
        ...


class PacedDetector(Detector, Protocol):
    """A camera that paces itself and knows when its parts begin (`PacedFacts.tells_begin`)."""

    async def part_begin_ns(self, at_ns: int) -> int:
        """When the first part begins that begins at `at_ns` or later, on the engine's clock. Takes under 1 ms.

        An exposure asked for at any instant in the part before begins with it. Raises DeviceError when not armed.
        """
        ...


@dataclass(frozen=True, slots=True)
class SecondConnection:
    """How another process takes the beam off the crystal when the program that drives the instrument cannot.

    function: `module:function`, a plain function that blocks; it connects anew, blanks the beam, reads the blanker back
    twice (one answer may be wrong) and returns whether it is known to be closed. It may raise what it likes, and is
    called again then. arguments: its keyword arguments, as JSON can hold them. limit_s: after this a call counts as
    failed, and another is begun beside it. It is called in an emergency only: an instrument that serves one client at a
    time well need not serve two. Its module is imported at the start of every run, so it should be a light one.
    docs/decisions/0008-watchdog.md.
    """

    function: str
    arguments: Mapping[str, Any]
    limit_s: float = 3.0


@dataclass(frozen=True, slots=True)
class Microscope:
    """Four devices that work together, with what is known of the instrument they make."""

    stage: Stage
    beam: Beam
    optics: Optics
    detector: Detector
    geometry: Geometry
    timing: Timing
    truth: "Truth | None" = None
    """Only from a simulation: what really happened, to check results against."""
    faults: Any = None
    """Only in a rehearsal of bad days: `drivers.faults.Faults`, to be begun with the run and ended after it."""
    second_connection: SecondConnection | None = None
    """For the watchdog; None where the instrument (or its interface) allows one program only."""
    stagexyz: StageXYZ | None = None
    deflectors: Deflectors | None = None
    mode: Mode | None = None
    illumination: Illumination | None = None
    """The optional parts (`drivers.parts`), each None where nobody has it."""
    specimens: tuple[Specimen, ...] = ()
    """Of the simulated parts, to be set before each run; none where all is real."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """Where each figure of the geometry is from (`drivers.origins`)."""
    disagreements: tuple[str, ...] = ()
    """Where two sources of such a figure say different things, in words."""
    calibration: CalibrationFacts | None = None
    """What of its instrument file holds."""
    tracking: TrackingFacts | None = None
    """What follows a crystal by snapshots; None where nobody knows."""
    images: ImageFacts | None = None
    """How stage and beam shift stand to images; None where nobody knows."""

    @property
    def facts(self) -> Facts:
        """What is known of the whole instrument without a call, as its parts say it now."""
        return Facts(
            self.geometry,
            self.timing,
            stage=None if self.stage is None else self.stage.facts,  # of a recorded instrument any part may be missing
            optics=None if self.optics is None else self.optics.facts,
            detector=None if self.detector is None else self.detector.facts,
            stagexyz=None if self.stagexyz is None else self.stagexyz.facts,
            deflectors=None if self.deflectors is None else self.deflectors.facts,
            mode=None if self.mode is None else self.mode.facts,
            illumination=None if self.illumination is None else self.illumination.facts,
            origins=self.origins,
            disagreements=self.disagreements,
            calibration=self.calibration,
            tracking=self.tracking,
            images=self.images,
        )


@dataclass(frozen=True, slots=True)
class Parts:
    """What one driver connects: some or all of the four devices, and what it knows of the instrument.

    geometry: figures of `Geometry` that it knows; the detector's go first. calibrated: those that somebody measured.
    per_px_A: of an unbinned pixel at the present camera length, in 1/A, by a calibration; turn: of the pictures for
    which that holds, and of a camera, how it turns them. binning: of the camera. tracking, images: what a simulated one
    tells.
    view: of a simulated one.
    """

    stage: Stage | None = None
    beam: Beam | None = None
    optics: Optics | None = None
    detector: Detector | None = None
    geometry: Mapping[str, float] = field(default_factory=dict)
    calibrated: Mapping[str, float] = field(default_factory=dict)
    per_px_A: float | None = None
    turn: Turn | None = None
    binning: int = 1
    timing: Timing | None = None
    truth: "Truth | None" = None
    second_connection: SecondConnection | None = None
    stagexyz: StageXYZ | None = None
    deflectors: Deflectors | None = None
    mode: Mode | None = None
    illumination: Illumination | None = None
    tracking: TrackingFacts | None = None
    images: ImageFacts | None = None
    specimen: Specimen | None = None
    view: View | None = None

    def assembled(
        self,
        others: Mapping[str, "Parts"] | None = None,
        geometry: Mapping[str, float] | None = None,
        timing: Mapping[str, float] | None = None,
        instrument: Path | None = None,
    ) -> Microscope:
        """A whole microscope from these parts, single ones taken from `others` (device name: who has it).

        geometry, timing: what the devices file says. instrument: the instrument file that it names. Raises Refused
        naming a part or a figure that nobody has, a figure that does not exist, or one that no instrument has
        (`drivers.judged`); DataError for calibrated pictures that cannot be read.
        """
        others = others or {}
        refuse_other(self.turn, ((camera := others.get("detector")) or self).turn)
        parts = parts_of(self, others)
        owners = {name: others.get(name, self).view for name in ("stage", "optics", "beam", "deflectors")}
        if (view := (camera or self).view) is not None:
            view.look_at({name: owner for name, owner in owners.items() if owner is not None})
        layers = self._layers(camera, geometry or {}, parts["detector"].facts)
        calibrated = self._calibrated(layers, instrument, parts["detector"].facts)
        layers[CALIBRATED] |= calibrated.geometry
        if calibrated.arrays is not None:
            parts["detector"] = CalibratedCamera(parts["detector"], calibrated.arrays)
        known, origins = by_precedence(layers)
        times = {name: getattr(self.timing, name) for name in Timing.__dataclass_fields__} if self.timing else {}
        microscope = Microscope(
            **parts,
            geometry=Geometry(**figures(Geometry, "geometry", known)),
            timing=Timing(**figures(Timing, "timing", {**times, **calibrated.timing, **(timing or {})})),
            truth=self.truth,
            second_connection=others.get("beam", self).second_connection,
            specimens=tuple(parts.specimen for parts in (self, *others.values()) if parts.specimen is not None),
            origins=origins,
            disagreements=tuple(disagreements(layers, calibrated.sigmas)),
            calibration=not_overruled(calibrated.facts, origins, CALIBRATED),
            tracking=calibrated.tracking or others.get("optics", self).tracking,
            images=calibrated.images or (camera or self).images,
        )
        if why := cannot_be(microscope.facts):
            raise Refused(f"devices: {why} Nothing was started; correct the devices file.")
        return microscope

    @staticmethod
    def _calibrated(layers: Layers, instrument: Path | None, camera: DetectorFacts) -> Holding:
        """What of the instrument file holds: nominal settings are those that are told, or else typed."""
        typed, told = layers[TYPED], layers[TOLD]
        wavelength_A = {**told, **typed}.get("wavelength_A")
        return holding(instrument, wavelength_A, {**typed, **told}.get("camera_length_mm"), camera.shape)

    def _layers(
        self, camera: "Parts | None", typed: Mapping[str, float], facts: DetectorFacts
    ) -> dict[str, dict[str, float]]:
        """What each source says of the geometry. camera: the parts of the camera, where the microscope is another's."""
        told = dict(self.geometry)
        if camera is not None:  # where the beam is on the microscope's own camera tells nothing of another one
            told = {name: value for name, value in told.items() if name not in ("beam_fast_px", "beam_slow_px")}
        layers = {
            TYPED: dict(typed),
            CALIBRATED: {**self.calibrated, **(camera.calibrated if camera else {})},
            TOLD: {**told, **(camera.geometry if camera else {})},
            DEFAULT: middle_of(facts) | NOBODY_KNOWS,
        }
        per_px_A = self.per_px_A or (camera.per_px_A if camera else None)
        values, _ = by_precedence(layers)
        if per_px_A and {"pixel_size_mm", "wavelength_A"} <= set(values):
            unbinned_mm = values["pixel_size_mm"] / (camera or self).binning
            length_mm = unbinned_mm / (values["wavelength_A"] * per_px_A)
            layers[CALIBRATED] = {"camera_length_mm": length_mm, **layers[CALIBRATED]}
        return layers


class Truth(Protocol):
    """What a simulated instrument knows and a real one does not."""

    def angle_deg(self, t_ns: int) -> float:
        """True tilt at an instant, past or present."""
        ...

    def is_rotating(self, t_ns: int) -> bool:
        """Whether the stage is moving at an instant, or will by itself later on."""
        ...

    def is_moving(self, t_ns: int) -> bool:
        """Whether the stage moves in x, y or z at an instant."""
        ...

    def is_blanked(self) -> bool:
        """Whether the beam is off the crystal now."""
        ...

    def is_in_focus(self) -> bool:
        """Whether the lens stands, or is on its way to, where the operator left it."""
        ...

    def defocus(self, t_ns: int) -> float:
        """How far the lens was from focus at an instant, in its own units."""
        ...

    def crystal_nm(self, begin_ns: int, end_ns: int) -> tuple[float, float]:
        """Where the crystal's middle was seen from that of the aperture during an exposure, past or present: in x and y
        of the stage seen along the beam, x along the tilt axis.
        """
        ...

    def crystal_share(self, begin_ns: int, end_ns: int) -> float:
        """Which share of the crystal was lit during an exposure, past or present: inside of the aperture, and behind no
        bar of the grid; 1 of a crystal that cannot leave it.
        """
        ...

    def exposures(self) -> Sequence[tuple[int, int]]:
        """Begin and end in ns of every exposure that the camera has read out, in order, over all series."""
        ...

    def disturb_stage(self, kind: str, value: float) -> bool:
        """A fault: the turning stage stops, reverses, jumps by `value` deg or slips for `value` s. False at rest."""
        ...

    def hold_shutter(self, seconds: float) -> None:
        """A fault: the shutter opens so much later than the camera tells, at the next exposure that is begun."""
        ...

    def write(self, path: Path, slots: Sequence[int], intervals_ns: Sequence[tuple[int, int]]) -> None:
        """Write truth.h5 for the kept frames: cell, orientation, angles, reflections with intensities; of a crystal
        that can leave the aperture also where it was, in these frames and in all exposures, snapshots among them.
        """
        ...

    def write_hidden(self, path: Path) -> None:
        """Write truth.h5 of what the instrument hides: `flatfield` and `bad` of its camera, attributes for other
        values (`drivers.calibration.calibratedvalue`); where it hides nothing, nothing.
        """
        ...

    def seen_on_grid(self) -> Sequence[SeenOnGrid]:
        """Where every exposure that was begun looked, in order; none where the specimen is no grid of crystals."""
        ...

    def lit_on_grid(self, seen: SeenOnGrid) -> LitOnGrid:
        """What the probe lit during a pattern; of a specimen that is a grid."""
        ...

    def write_grid(self, path: Path) -> None:
        """Write grid_truth.h5: tables `exposures`, `lit` and `crystals`, and the cells of the phases; nothing where the
        specimen is no grid.
        """
        ...
