"""The settings of a simulated instrument, from the options of its driver, and its facts, which follow from them.

Read by `drivers.simulated.microscope`, which switches the instrument on, and by a plan, which does not.
"""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from drivers.calibration.imagefacts import ImageFacts, ImageScale
from drivers.calibration.trackingfacts import TrackingFacts
from drivers.declared import Declared
from drivers.facts import Geometry, Timing
from drivers.options import no_such_key, note_asked
from drivers.parts import OPTIONAL_PARTS, Deflector, OpticalMode
from drivers.simulated.column import FULL_DEFOCUS, LensSettings
from drivers.simulated.crystalmotion import MotionSettings
from drivers.simulated.deflectors import DeflectorSettings
from drivers.simulated.detector import DetectorSettings
from drivers.simulated.goniometer import GoniometerSettings
from drivers.simulated.gridsettings import GridSettings
from drivers.simulated.illumination import IlluminationSettings
from drivers.simulated.imaging import nominal_pixel_nm
from drivers.simulated.latency import worst_s
from drivers.simulated.lensmode import ModeSettings
from drivers.simulated.phases import load_phase
from drivers.simulated.picturesettings import NOTHING, RENDERED, SNAPSHOTS, PictureSettings
from drivers.simulated.shots import OF_A_TABLE_OF_ITS_OWN, CrystalSource
from drivers.simulated.stagexyz import StageXYZSettings
from drivers.turn import Turn
from engine.errors import Refused, shown

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Settings = TypeVar("Settings", bound="DataclassInstance")

# JEOL JEM-2100 at 200 kV with a Timepix (Cichocka et al., 2018). The axis is the one DIALS assumes for that
# instrument, (0.7826, -0.6226, 0); the beam is a little off the middle of the 516 x 516 grid, as on a real one.
GEOMETRY = Geometry(
    wavelength_A=0.02508,
    camera_length_mm=250.0,
    pixel_size_mm=0.055,
    rotation_axis_deg=-38.505,
    beam_fast_px=261.3,
    beam_slow_px=255.1,
)
API_CALL_S = 0.035
TOLD_WHEN_HIDDEN = frozenset(("wavelength_A", "camera_length_mm", "pixel_size_mm"))
LARGEST = 1e12
"""No setting is as large; what is (or is no number at all) has a slip in it."""
# Pictures that nobody looks at: small, so that runs for their timing take as long as their timing does.
PLACEHOLDERS = PictureSettings(rendered=NOTHING, shape=(32, 32), wide_cross=False)
# Small ones for runs by the hundred, of the same light and the same aperture.
SMALL = PictureSettings(rendered=SNAPSHOTS, shape=(128, 128), wide_cross=False, disc_radius_px=40.0, beam_sigma_px=0.7)
SMALL_GEOMETRY = dataclasses.replace(GEOMETRY, pixel_size_mm=0.22, beam_fast_px=64.3, beam_slow_px=63.1)
FLAGS = ("beam_on", "hidden", "spread")
KNOWN = frozenset(
    (
        *("start_deg", "beam_on", "hidden", "spread", "api_call_s", "api_jitter", "register", "left_as", "crystal"),
        "geometry",
        *("grid", "stage", "lens", "detector", "pictures", "motion", *OPTIONAL_PARTS),
    )
)
"""The options."""
# What is else than usual where the specimen is a grid of crystals, unless the options say so. The paper's images at
# 2500x show 5.95 um with 512 pixels of 55 um (Cichocka et al., 2018, section 4): 11.6 nm each, where the magnification
# says 22. A stage comes back to a place within 1 um: two standard deviations of 0.5 um. What a beam shift leaves behind
# after a change of direction, and by how much it moves the pattern, are chosen here: 27 nm, and 5 px at 3 um.
WITH_GRID: Mapping[str, Mapping[str, Any]] = {
    "pictures": {"magnified": 1.893},
    "stagexyz": {"reproducibility_nm": 500.0, "overshoot_nm": 150.0, "settling_s": 0.15},
    "deflectors": {"lag": (30.0, 0.0, 0.0, 0.0), "beam_shift_pattern_px": (0.0015, -0.0003, 0.0003, 0.0015)},
    "mode": {"magnification": 2500.0},
    "illumination": {"current_s": 6.0e8},
}


@dataclasses.dataclass(frozen=True, slots=True)
class InstrumentSettings:
    """All that a simulated instrument is. has_pictures: whether the camera shows anything. hidden: what it truly is, is
    drawn from the seed (`hiddeninstrument`, `hiddencamera`), and what is told of it is nominal. spread: its operator
    has spread the beam over the camera.
    """

    geometry: Geometry
    pictures: PictureSettings
    has_pictures: bool
    source: CrystalSource
    api_call_s: float
    api_jitter: float
    start_deg: float
    beam_on: bool
    stage: GoniometerSettings
    lens: LensSettings
    detector: DetectorSettings
    stagexyz: StageXYZSettings
    deflectors: DeflectorSettings
    mode: ModeSettings
    illumination: IlluminationSettings
    motion: MotionSettings
    hidden: bool
    given: frozenset[str]
    """Figures of the geometry that the options say."""
    spread: bool

    @classmethod
    def read(cls, driver: str, has_pictures: bool, options: Mapping[str, Any]) -> "InstrumentSettings":
        """Raises Refused for an option that is not known and for a value that cannot be used."""
        if unknown := sorted(set(options) - KNOWN):
            raise no_such_key(driver, unknown[0], KNOWN, "option")
        grid = read_grid(options)
        if grid is not None:
            options = usual_with_grid(options)
        asked = options.get("pictures", {})
        rendered = asked.get("rendered") if isinstance(asked, Mapping) else None
        usual, place = (PictureSettings(), GEOMETRY) if has_pictures else (PLACEHOLDERS, GEOMETRY)
        if rendered == SNAPSHOTS:
            usual, place = SMALL, SMALL_GEOMETRY
        geometry = configure(place, "geometry", options)
        pictures = configure(usual, "pictures", options)
        if pictures.rendered not in RENDERED:
            raise Refused(
                f"devices: [pictures] rendered = {shown(repr(pictures.rendered))} is not one of {', '.join(RENDERED)}; "
                "nothing was started."
            )
        has_pictures = pictures.rendered != NOTHING
        source = dataclasses.replace(configure(CrystalSource(), "crystal", options), grid=grid)
        source.draw_scene()
        rows, columns = pictures.shape
        if has_pictures and not (0 < geometry.beam_slow_px < rows and 0 < geometry.beam_fast_px < columns):
            raise Refused(
                f"devices: the primary beam (geometry.beam_fast_px = {geometry.beam_fast_px:g}, beam_slow_px = "
                f"{geometry.beam_slow_px:g}) is not on a picture of {rows} x {columns}; nothing was started. "
                "Where a simulated beam falls is for its driver to know: write beam_fast_px and beam_slow_px under its "
                "own table, [microscope.geometry]; [geometry] says what frames are taken to be."
            )
        if pictures.turn.rot90 % 2 and rows != columns:
            raise Refused(
                f"devices: [pictures] rot90 = {pictures.rot90}: a camera of {rows} x {columns} pixels is turned by "
                "whole halves only; nothing was started. Write rot90 = 0 or 2."
            )
        motion = configure(MotionSettings(), "motion", options)
        if (wrong := motion.cannot_be) is not None:
            raise Refused(f"devices: [motion] {wrong}; nothing was started. Write one that is.")
        api_call_s = number(options, "api_call_s", API_CALL_S)
        if not api_call_s > 0:
            raise Refused(f"devices: api_call_s = {api_call_s:g}: give a positive time; nothing was started.")
        for flag in FLAGS:
            note_asked(flag, False, "true or false")
        return cls(
            geometry=geometry,
            pictures=pictures,
            has_pictures=has_pictures,
            source=source,
            api_call_s=api_call_s,
            api_jitter=number(options, "api_jitter", 1.0),
            start_deg=number(options, "start_deg", 0.0),
            beam_on=bool(options.get("beam_on", False)),
            hidden=bool(options.get("hidden", False)),
            given=frozenset(options.get("geometry", {})),
            spread=bool(options.get("spread", False)),
            stage=configure(GoniometerSettings(stage_read_s=api_call_s), "stage", options),
            lens=configure(LensSettings(), "lens", options),
            detector=configure(DetectorSettings(), "detector", options),
            stagexyz=configure(StageXYZSettings(), "stagexyz", options),
            deflectors=configure(DeflectorSettings(), "deflectors", options),
            mode=configure(ModeSettings(camera_length_mm=geometry.camera_length_mm), "mode", options),
            illumination=configure(IlluminationSettings(), "illumination", options),
            motion=motion,
        )

    @property
    def knows_flatfield(self) -> bool:
        """Whether the camera brings its response along."""
        is_made = self.has_pictures or self.source.cif is not None
        return is_made and not self.is_hidden

    @property
    def told_geometry(self) -> Mapping[str, float]:
        """What it tells: all of it; of a hidden one what a microscope tells of itself, and what the options say."""
        known = self.geometry.known()
        return {key: known[key] for key in known if key in TOLD_WHEN_HIDDEN | self.given} if self.is_hidden else known

    @property
    def is_hidden(self) -> bool:
        """Whether nobody knows what it is, from the beginning."""
        return self.hidden or self.pictures.hidden_seed >= 0

    def hidden_seed(self, seed: int) -> int:
        """From which seed it is drawn what is hidden. seed: of the connection."""
        return self.pictures.hidden_seed if self.pictures.hidden_seed >= 0 else seed

    @property
    def timing(self) -> Timing:
        """Of the one interface that all calls go through."""
        return Timing(self.api_call_s, worst_s(self.api_call_s, self.api_jitter), self.stage.stage_read_s)

    @property
    def declared(self) -> Declared:
        """All that there is to know of it. Raises Refused for settings that a part cannot have, and for a bad CIF."""
        if self.source.cif is not None:
            self.source.load()
        pictures, flatfield = self.pictures, self.knows_flatfield
        return Declared(
            stage=self.stage.facts,
            beam=True,
            optics=self.lens.facts,
            detector=self.detector.facts(
                pictures.shape, pictures.saturation, pictures.wide_cross, self.has_pictures, flatfield
            ),
            geometry=self.told_geometry,
            timing=self.timing,
            stagexyz=self.stagexyz.facts,
            deflectors=self.deflectors.facts,
            mode=self.mode.facts,
            illumination=self.illumination.facts,
            tracking=self.tracking,
            images=self.images,
        )

    @property
    def images(self) -> ImageFacts | None:
        """How stage and beam shift stand to images, of an instrument with a grid of crystals that hides nothing."""
        if self.source.grid is None or self.is_hidden or self.pictures.turn != Turn():
            return None
        pixel_size_mm = self.geometry.pixel_size_mm / self.pictures.magnified
        (fast_x, fast_y, slow_x, slow_y), scales = self.deflectors.beam_shift_nm, []
        for magnification in self.mode.facts.magnifications[OpticalMode.IMAGING]:
            nm = nominal_pixel_nm(pixel_size_mm, magnification)
            shift_px = fast_x / nm, fast_y / nm, slow_x / nm, slow_y / nm
            scales.append(ImageScale(magnification, (1 / nm, 0.0, 0.0, -1 / nm), shift_px))
        lag = self.deflectors.lag_of(Deflector.BEAM_SHIFT)
        return ImageFacts(tuple(scales), lag, self.stagexyz.reproducibility_nm)

    @property
    def tracking(self) -> TrackingFacts | None:
        """How snapshots and deflectors stand to the specimen, of an instrument that hides nothing."""
        if self.is_hidden or self.pictures.turn != Turn():
            return None
        pictures, coils = self.pictures, self.deflectors
        radius_px = pictures.disc_radius_px / FULL_DEFOCUS
        a, b, c, d = (2 * radius_px / pictures.aperture_nm * number for number in pictures.snapshot)
        by_image, by_beam = (
            (fast_x, fast_y, -slow_x, -slow_y)  # the stage's y is up in an image that is not turned
            for fast_x, fast_y, slow_x, slow_y in (coils.image_shift_nm, coils.beam_shift_nm)
        )
        return TrackingFacts(
            (a, b, c, d),
            pictures.aperture_nm,
            radius_px,
            image_shift_nm=by_image,
            image_shift_px=coils.image_shift_pattern_px,
            diffraction_shift_px=coils.diffraction_shift_px,
            beam_shift_nm=by_beam,
            beam_shift_px=coils.beam_shift_pattern_px,
            stage_repeatability_nm=self.stagexyz.reproducibility_nm,
            probe_selects=pictures.probe_selects,
        )


def read_grid(options: Mapping[str, Any]) -> GridSettings | None:
    """The grid of the table `grid`; None where there is no such table. Raises Refused for a grid that cannot be."""
    grid = configure(GridSettings(), "grid", options)
    if "grid" not in options:
        return None
    if (why := grid.cannot_be) is not None:
        raise Refused(f"devices: [grid] {why}; nothing was started. Write one that is.")
    grid = dataclasses.replace(grid, seed=int(grid.seed))
    for phase_number, words in enumerate((grid.phase, grid.second_phase, grid.third_phase)):
        if words:
            load_phase(words, grid.seed, phase_number)
    return grid


def usual_with_grid(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options with what is usual for a grid of crystals (`WITH_GRID`), where they do not say it themselves."""
    merged = dict(options)
    for table, usual in (*WITH_GRID.items(), ("pictures", _probe_of(options))):
        given = options.get(table, {})
        if isinstance(given, Mapping):
            merged[table] = {**usual, **merged.get(table, {}), **given}
    return merged


def _probe_of(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the probe of a grid makes of snapshots: it selects, and its disc is as large as it is."""
    grid = configure(GridSettings(), "grid", options)
    return {"probe_selects": True, "aperture_nm": grid.probe_nm}


def number(options: Mapping[str, Any], key: str, default: float) -> float:
    """One option that is a number."""
    note_asked(key, default, "a number")
    value = options.get(key, default)
    if not _like(0.0, value):
        raise Refused(f"devices: {key} = {shown(repr(value))} is not a number; nothing was started.")
    return float(value)


def configure(defaults: Settings, table: str, options: Mapping[str, Any]) -> Settings:
    """The settings with the values given in one table of the options."""
    of_table = [field for field in dataclasses.fields(defaults) if field.metadata != OF_A_TABLE_OF_ITS_OWN]
    for field in of_table:
        default = getattr(defaults, field.name)
        note_asked(f"{table}.{field.name}", default, _wanted(default))
    given = options.get(table, {})
    if not isinstance(given, Mapping):
        raise Refused(
            f"devices: {table} = {shown(repr(given))} is not a table; nothing was started. Write {table}.key = value."
        )
    fields = {field.name for field in of_table}
    if unknown := sorted(set(given) - fields):
        raise no_such_key(f"[{table}]", unknown[0], fields)
    for key, value in given.items():
        default = getattr(defaults, key)
        if not _like(default, value):
            written = shown(repr(value))
            raise Refused(f"devices: [{table}] {key} = {written} is not {_wanted(default)}; nothing was started.")
    whole = {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
    return dataclasses.replace(defaults, **whole)


def _wanted(default: object) -> str:
    """In words, what is of the kind of the default."""
    if isinstance(default, tuple):
        return f"like {list(default)!r}"
    return {bool: "true or false", str: "a text"}.get(type(default), "a text" if default is None else "a number")


def _like(default: object, value: object) -> bool:
    """Whether a value is of the kind of the default; where that is None, anything is."""
    if isinstance(default, tuple):
        alike = isinstance(value, tuple | list) and all(_like(0.0, item) for item in value)
        return alike and len(value) == (len(default) or len(value))  # type: ignore[arg-type]
    if isinstance(default, bool) or not isinstance(default, int | float):
        return default is None or isinstance(value, type(default))
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST < value < LARGEST
