"""What a simulated camera looks at: stage, lens and blanker of its own instrument, or of another simulated one.

A devices file may take the camera from one simulation and the stage from another. Such a camera sees the stage that
moves, the blanker that opens and the crystal that lies there, not those of an instrument that nobody drives.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from drivers.ongrid import SeenOnGrid
from drivers.parts import Deflector, OpticalMode, View
from drivers.simulated.aperture import Aperture, lit_share
from drivers.simulated.column import FULL_DEFOCUS, Blanker, Lens
from drivers.simulated.crystalplace import CrystalPlace
from drivers.simulated.deflectors import Coils
from drivers.simulated.detector import Timepix
from drivers.simulated.goniometer import Goniometer
from drivers.simulated.gridplace import GridPlace
from drivers.simulated.gridsettings import GridSettings
from drivers.simulated.hiddencamera import SpreadState
from drivers.simulated.illumination import Condenser
from drivers.simulated.imaging import NOTHING_LIT, PLAIN, ImageScale, image_on_grid, lab_on_grid, vector
from drivers.simulated.lensmode import LensMode
from drivers.simulated.picturesettings import PictureSettings
from drivers.simulated.shots import ColumnState, CrystalSource, Shot
from drivers.simulated.stagexyz import Translation
from engine.clock import NS_PER_S

if TYPE_CHECKING:
    from drivers.simulated.microscope import SimulatedSpecimen

Pair = tuple[float, float]


class SimulatedView:
    """Implements `drivers.parts.View`. camera: whose exposures are made of what is seen; set once it is there."""

    camera: Timepix

    def __init__(
        self,
        seed: int,
        goniometer: Goniometer,
        lens: Lens,
        blanker: Blanker,
        specimen: "SimulatedSpecimen",
        deflectors: Coils,
        translation: Translation,
        mode: LensMode,
        illumination: Condenser,
        place: CrystalPlace,
        pictures: PictureSettings,
    ) -> None:
        self.goniometer, self.lens, self.blanker, self.specimen = goniometer, lens, blanker, specimen
        self.deflectors, self.translation = deflectors, translation
        self.mode, self.illumination = mode, illumination
        self.place = place
        self.pictures = pictures
        """What they truly are."""
        self._aperture_of: tuple[CrystalSource, PictureSettings] | None = None
        self._last_aperture: Aperture
        _, _, self._usual_length_mm = mode.state
        self.hidden: Mapping[str, float | tuple[float, ...]] = {}
        """What nobody but the truth knows of this instrument, by its names; empty where nothing is hidden."""
        self.length_mm: Callable[[float], float] = lambda nominal_mm: nominal_mm
        """The true camera length of a nominal one."""
        self.ellipse: Callable[[float], Pair | None] = lambda nominal_mm: None
        """Of the nominal camera length: see `ColumnState.ellipse`."""
        self.scale: Callable[[OpticalMode, float], ImageScale] = lambda mode, magnification: PLAIN
        """How the image of a mode and nominal magnification stands to the specimen."""
        self.image_truth: Callable[[OpticalMode, float], Mapping[str, float | tuple[float, ...]]] = lambda mode, m: {}
        """What nobody but the truth knows of such an image."""
        self.images_seen: dict[float, OpticalMode] = {}
        """The magnifications at which images were taken."""
        self._seed = seed
        self.began_ns = 0
        """Since when the beam drifts."""
        self.seen_on_grid: list[SeenOnGrid] = []
        """Where each exposure looked, where the specimen is a grid of crystals."""
        self._grid_place: tuple[GridSettings, GridPlace] | None = None
        self._dosed_since_ns = 0
        self.other_camera: Timepix | None = None
        """The one that looks at this instrument in the place of its own."""

    @property
    def seen_by(self) -> Timepix:
        """The camera that looks at this instrument."""
        return self.other_camera or self.camera

    def truth(self) -> dict[str, float | tuple[float, ...]]:
        """All that is hidden; of images at the one magnification at which some were taken, or `NAME at 5000x` where
        there were several.
        """
        told = dict(self.hidden)
        for magnification, mode in self.images_seen.items():
            at = f" at {magnification:g}x" if len(self.images_seen) > 1 else ""
            told |= {f"{name}{at}": value for name, value in self.image_truth(mode, magnification).items()}
        return told

    def look_at(self, owners: Mapping[str, View]) -> None:
        """See `View.look_at`."""
        for name, owner in owners.items():
            if owner is self or not isinstance(owner, SimulatedView):
                continue
            owner.other_camera = self.camera
            if name == "stage":
                self.goniometer, self.place = owner.goniometer, owner.place
                self.seen_on_grid = owner.seen_on_grid
                self.specimen.hand_over(owner.specimen)
            elif name == "optics":
                self.lens = owner.lens
            elif name == "beam":
                self.blanker = owner.blanker
            elif name == "deflectors":
                self.deflectors = owner.deflectors
            elif name == "stagexyz":
                self.translation = owner.translation
            elif name == "mode":
                self.mode = owner.mode
            elif name == "illumination":
                self.illumination = owner.illumination

    def shot(self, number: int, begin_ns: int, end_ns: int, exposure_s: float) -> Shot:
        """What the instrument does during one exposure, as far as it is known at this instant."""
        middle_ns = (begin_ns + end_ns) // 2
        self._note_setting()
        column = self._column(middle_ns, begin_ns)
        if column.on_grid_nm is not None:
            self._dosed_since_ns = self._dosed_since(column.on_grid_nm)
            self.seen_on_grid.append(self._sight(column, begin_ns, end_ns))
        return self._shot(column, number, begin_ns, end_ns, exposure_s, self._dosed_since_ns)

    def likely_shot(self, number: int, begin_ns: int, end_ns: int, exposure_s: float) -> Shot | None:
        """What `shot` will say at the end of a diffraction exposure that begins now, if nobody does anything meanwhile.
        Takes note of nothing. None of images, and where another program has a hand on the blanker.
        """
        if self.mode.state[0] is not OpticalMode.DIFFRACTION or self.blanker.is_shared:
            return None
        column = self._column((begin_ns + end_ns) // 2, begin_ns)
        since_ns = self._dosed_since(column.on_grid_nm)
        return self._shot(column, number, begin_ns, end_ns, exposure_s, since_ns)

    def _note_setting(self) -> None:
        """For the truth: with what pictures were taken."""
        mode, magnification, _ = self.mode.state
        if mode is not OpticalMode.DIFFRACTION:
            self.images_seen[magnification] = mode
        self.illumination.note_used()

    def _shot(
        self, column: ColumnState, number: int, begin_ns: int, end_ns: int, exposure_s: float, dosed_since_ns: int
    ) -> Shot:
        middle_ns, spread = (begin_ns + end_ns) // 2, None
        if self.specimen.is_spread:
            spread = SpreadState(middle_ns / NS_PER_S, column.beam_shift_nm)
        return Shot(
            number,
            self.goniometer.angle_deg(begin_ns),
            self.goniometer.angle_deg(end_ns),
            exposure_s,
            self.blanker.share_on(begin_ns, end_ns),
            self.lens.defocus_at(middle_ns) / FULL_DEFOCUS,
            self._pattern_shift_px(begin_ns, end_ns),
            noise_seed=self._seed * 1_000_003 + number,
            column=column,
            spread=spread,
            irradiated_s=self._irradiated_s(dosed_since_ns, middle_ns),
        )

    def irradiated_s(self, t_ns: int) -> float:
        """Seconds of the usual flux that this crystal has had until then; of the flux as it is set now."""
        return self._irradiated_s(self._dosed_since_ns, t_ns)

    def _irradiated_s(self, since_ns: int, t_ns: int) -> float:
        since_ns = max(self.specimen.since_ns, since_ns)
        return self.blanker.on_ns(since_ns, t_ns) / NS_PER_S * self.illumination.flux_share

    def _column(self, t_ns: int, begin_ns: int) -> ColumnState:
        mode, magnification, length_mm = self.mode.state
        spot_size, brightness = self.illumination.state
        scale, disc = PLAIN, NOTHING_LIT
        if mode is not OpticalMode.DIFFRACTION:
            scale, disc = self.scale(mode, magnification), self.illumination.disc(mode)
        return ColumnState(
            mode,
            magnification,
            length_mm,
            self.length_mm(length_mm),
            self.ellipse(length_mm),
            self._specimen_nm(t_ns),
            vector(scale.turned, self._beam_nm(t_ns)),
            vector(scale.turned, self.deflectors.effect_at(Deflector.IMAGE_SHIFT, t_ns)),
            spot_size,
            brightness,
            scale,
            disc,
            self._crystal_nm(t_ns, begin_ns),
            self.can_leave,
            self.illumination.flux_share,
            self._lab_probe_nm(t_ns) if self.pictures.probe_selects else (0.0, 0.0),
            self._beam_off_nm(t_ns),
            None if self.specimen.source.grid is None else self._on_grid_nm(t_ns),
            self._lit_radius_nm,
        )

    def _beam_nm(self, t_ns: int) -> Pair:
        """Where beam shift and drift have moved the beam, along (fast, slow) of the imaging mode."""
        shift_nm, drift_nm = (
            self.deflectors.effect_at(Deflector.BEAM_SHIFT, t_ns),
            self.illumination.drifted_nm((t_ns - self.began_ns) / NS_PER_S),
        )
        return shift_nm[0] + drift_nm[0], shift_nm[1] + drift_nm[1]

    def _on_grid_nm(self, t_ns: int) -> Pair:
        """Where the middle of the beam is on a grid, as `imaging.electrons_s` has it."""
        tilt = math.radians(self.goniometer.angle_deg(t_ns))
        return lab_on_grid(self._lab_beam_nm(t_ns), tilt, self._specimen_nm(t_ns))

    def _lab_beam_nm(self, t_ns: int) -> Pair:
        """Where the middle of the beam is from the axis of the column, along x and y of the stage."""
        (beam_x, beam_y), disc_nm = self._beam_nm(t_ns), self.illumination.disc(OpticalMode.IMAGING).middle_nm
        return self._along_stage((beam_x + disc_nm[0], beam_y + disc_nm[1]))

    def _lab_probe_nm(self, t_ns: int) -> Pair:
        """By how much the disc of a snapshot is moved over the specimen where a probe makes it."""
        return self._probe_nm(t_ns) if self.specimen.source.grid is None else self._lab_beam_nm(t_ns)

    def _specimen_nm(self, t_ns: int) -> tuple[float, float, float]:
        """Where the specimen is by the stage; and a grid of crystals by what the goniometer does to it as well."""
        stage_nm, grid = self.translation.specimen_nm(t_ns), self.specimen.source.grid
        if grid is None:
            return stage_nm
        if self._grid_place is None or self._grid_place[0] != grid:
            self._grid_place = grid, GridPlace(grid, self.place.asked)
        tilt_deg = self.goniometer.angle_deg(t_ns)
        return self._grid_place[1].specimen_nm(stage_nm, tilt_deg, self.translation.stood_s(t_ns))

    def _dosed_since(self, beam_nm: Pair | None) -> int:
        """Since when a crystal has had its dose, in an exposure with the beam there: one to which it has gone from
        another begins its own.
        """
        if beam_nm is None or not self.seen_on_grid:
            return self._dosed_since_ns
        last = self.seen_on_grid[-1]
        return last.end_ns if math.dist(beam_nm, last.beam_nm) > self.pictures.aperture_nm else self._dosed_since_ns

    def _sight(self, column: ColumnState, begin_ns: int, end_ns: int) -> SeenOnGrid:
        tilt_deg = self.goniometer.angle_deg((begin_ns + end_ns) // 2)
        is_image = column.mode is not OpticalMode.DIFFRACTION
        field_nm, per_px = (math.nan, math.nan), (math.nan,) * 4
        if is_image:
            field_nm, per_px = image_on_grid(column.scale, column.specimen_nm, tilt_deg, column.image_shift_nm)
        return SeenOnGrid(
            *(begin_ns, end_ns, is_image, tilt_deg, column.on_grid_nm or (math.nan, math.nan), field_nm, per_px),
            self.pictures.physical_px,
            self.blanker.share_on(begin_ns, end_ns),
            column.lit_radius_nm,
        )

    @property
    def _lit_radius_nm(self) -> float:
        """Of what is lit of a grid in diffraction: the probe, or less where the condenser makes a narrower beam."""
        grid = self.specimen.source.grid
        if grid is None:
            return 0.0
        return min(grid.probe_nm / 2.0, self.illumination.disc(OpticalMode.IMAGING).radius_nm)

    @property
    def can_leave(self) -> bool:
        """Whether the crystal can leave the aperture."""
        return self.place.can_leave or bool(self.specimen.source.scene)

    def crystal_share(self, begin_ns: int, end_ns: int) -> float:
        """Which share of the crystal was lit during an exposure, past or present."""
        if not self.can_leave:
            return 1.0
        of_aperture = lit_share(self.pictures, self._beam_off_nm((begin_ns + end_ns) // 2))
        tilt_deg = (self.goniometer.angle_deg(begin_ns) + self.goniometer.angle_deg(end_ns)) / 2
        return of_aperture * self._aperture.light(self.crystal_nm(begin_ns, end_ns), tilt_deg).crystal

    @property
    def _aperture(self) -> Aperture:
        of = self.specimen.source, self.pictures
        if self._aperture_of != of:
            from drivers.simulated.scenedrawing import brick_scene

            scene = of[0].draw_scene()
            self._aperture_of, self._last_aperture = of, Aperture(of[1], scene or brick_scene(of[0].load()))
        return self._last_aperture

    def centre_crystal(self, t_ns: int, child: Sequence[int]) -> None:
        """An operator has centred a crystal; see `CrystalPlace.centre`."""
        if self.can_leave:
            stage_nm, image_nm = self.translation.moved_nm(t_ns), self._image_nm(t_ns)
            self.place.centre(self.goniometer.angle_deg(t_ns), t_ns, stage_nm, image_nm, child)

    def crystal_nm(self, begin_ns: int, end_ns: int) -> tuple[float, float]:
        """Where the crystal was seen in the aperture during an exposure, past or present; see `ColumnState`."""
        return self._crystal_nm((begin_ns + end_ns) // 2, begin_ns)

    def _crystal_nm(self, t_ns: int, begin_ns: int) -> tuple[float, float]:
        tilt_deg = self.goniometer.angle_deg(begin_ns)
        return self.place.seen_nm(tilt_deg, t_ns, self.translation.moved_nm(t_ns), self._image_nm(t_ns))

    def _image_nm(self, t_ns: int) -> tuple[float, float]:
        """By how much the image shift has moved the image over the aperture, along x and y of the stage; where a probe
        selects, the beam shift the specimen under it, which is the other way.
        """
        if self.pictures.probe_selects:
            x_nm, y_nm = self._probe_nm(t_ns)
            return -x_nm, -y_nm
        return self._shift_nm(Deflector.IMAGE_SHIFT, t_ns)

    def _probe_nm(self, t_ns: int) -> tuple[float, float]:
        """By how much the beam shift has moved the probe over the specimen, along x and y of the stage."""
        return self._shift_nm(Deflector.BEAM_SHIFT, t_ns)

    def _beam_off_nm(self, t_ns: int) -> tuple[float, float]:
        """How far the beam's middle lies from what the aperture selects, along x and y of the stage; 0 where it lights
        everything.
        """
        if not self.pictures.lit_nm:
            return 0.0, 0.0
        (x_nm, y_nm), (image_x_nm, image_y_nm) = self._probe_nm(t_ns), self._image_nm(t_ns)
        return x_nm + image_x_nm, y_nm + image_y_nm

    def _shift_nm(self, which: Deflector, t_ns: int) -> tuple[float, float]:
        """What a pair did at the specimen, along x and y of the stage."""
        return self._along_stage(self.deflectors.effect_at(which, t_ns))

    def _along_stage(self, shift_nm: Pair) -> Pair:
        """What is so far along (fast, slow) of the imaging mode, along x and y of the stage."""
        if shift_nm == (0.0, 0.0):
            return shift_nm
        (fast_x, fast_y, slow_x, slow_y) = self.scale(OpticalMode.IMAGING, 1.0).stage_axes
        along = 1.0 / (fast_x * slow_y - fast_y * slow_x)
        return vector((along * slow_y, -along * fast_y, -along * slow_x, along * fast_x), shift_nm)

    def _pattern_shift_px(self, begin_ns: int, end_ns: int) -> tuple[float, float]:
        """By the lens, and by the deflectors: of these at the camera length that the settings say, and in proportion
        at others.
        """
        lens_px = self.lens.beam_shift_px(begin_ns, end_ns)
        coils_px = self.deflectors.pattern_px((begin_ns + end_ns) // 2)
        if coils_px == (0.0, 0.0):
            return lens_px
        longer = self.mode.state[2] / self._usual_length_mm
        return lens_px[0] + longer * coils_px[0], lens_px[1] + longer * coils_px[1]
