"""A whole simulated microscope: stage, column and camera put together, with the truth of what happened.

`SIMULATED` computes diffraction patterns, `SIMULATED_TIMING` keeps the timing and leaves the pictures empty.
"""

import dataclasses
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from drivers.contract import OPTIONAL_PARTS, Parts, SecondConnection
from drivers.facts import Geometry, Timing
from drivers.simulated.column import Blanker, Lens, LensSettings
from drivers.simulated.deflectors import Coils, DeflectorSettings
from drivers.simulated.detector import DetectorSettings, Timepix
from drivers.simulated.goniometer import Goniometer, GoniometerSettings
from drivers.simulated.illumination import Condenser, IlluminationSettings
from drivers.simulated.latency import Interface
from drivers.simulated.lensmode import LensMode, ModeSettings
from drivers.simulated.picturesettings import PictureSettings
from drivers.simulated.register import Register, blank_beam
from drivers.simulated.shots import CheapStudio, CrystalSource, LocalStudio, Studio, WorkerStudio
from drivers.simulated.stagexyz import StageXYZSettings, Translation
from drivers.simulated.truthfile import write_truth
from drivers.simulated.view import SimulatedView
from engine.clock import Clock
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
LARGEST = 1e12
"""No setting is as large; what is (or is no number at all) has a slip in it."""
# Pictures that nobody looks at: small, so that runs for their timing take as long as their timing does.
PLACEHOLDERS = PictureSettings(shape=(32, 32), wide_cross=False)

TOLD = ("start_deg", "beam_on", "crystal")
"""What a plan may say of a simulation."""


class SimulatedSpecimen:
    """Implements `drivers.parts.Specimen`.

    blanker: None where it is an instrument of its own, which stays as it was left. said: what the devices file says
    already, so that no plan says otherwise.
    """

    def __init__(
        self,
        source: CrystalSource,
        seed: int,
        goniometer: Goniometer,
        blanker: Blanker | None,
        studio: Studio,
        said: frozenset[str],
    ) -> None:
        self.source = source
        self._seed, self._goniometer, self._blanker, self._studio = seed, goniometer, blanker, studio
        self._said = said
        self.shown_by = [studio]

    def set(self, told: Mapping[str, object], child: Sequence[int] = ()) -> None:
        """See `Specimen.set`."""
        if unknown := sorted(set(told) - set(TOLD)):
            raise Refused(
                f"devices: a plan may say {', '.join(TOLD)} of a simulation, not {shown(unknown[0])!r}; nothing was "
                "started."
            )
        new = {key: value for key, value in told.items() if key not in self._said}
        source = configure(CrystalSource(), "crystal", new) if "crystal" in new else self.source
        if child and "crystal" not in self._said:
            entropy = (source.orientation_seed, self._seed, *child)
            drawn = int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0])
            source = dataclasses.replace(source, orientation_seed=drawn >> 1)
        start_deg = number(new, "start_deg", 0.0)
        if source != self.source:
            for studio in self.shown_by:
                studio.show(source)
            self.source = source
        if child:
            return
        if "start_deg" in new:
            self._goniometer.leave(start_deg)
        if "beam_on" in new and self._blanker is not None:
            self._blanker.leave(beam_on=bool(new["beam_on"]))

    def hand_over(self, other: "SimulatedSpecimen") -> None:
        """The camera looks at another specimen, and from now on shows what that is."""
        if other.source != self.source:
            self._studio.show(other.source)
            self.source = other.source
        other.shown_by.append(self._studio)
        self.shown_by = []


@dataclasses.dataclass(frozen=True, slots=True)
class SimulatedTruth:
    """Implements `drivers.contract.Truth`."""

    goniometer: Goniometer
    lens: Lens
    blanker: Blanker
    view: SimulatedView
    specimen: SimulatedSpecimen

    def angle_deg(self, t_ns: int) -> float:
        """See `Truth.angle_deg`."""
        return self.goniometer.angle_deg(t_ns)

    def is_rotating(self, t_ns: int) -> bool:
        """See `Truth.is_rotating`."""
        return self.goniometer.is_rotating(t_ns)

    def is_blanked(self) -> bool:
        """See `Truth.is_blanked`."""
        return self.blanker.closed

    def is_in_focus(self) -> bool:
        """See `Truth.is_in_focus`."""
        return self.lens.is_in_focus

    def defocus(self, t_ns: int) -> float:
        """See `Truth.defocus`."""
        return self.lens.defocus_at(t_ns)

    def exposures(self) -> Sequence[tuple[int, int]]:
        """See `Truth.exposures`."""
        return self.view.seen_by.read_out

    def disturb_stage(self, kind: str, value: float) -> bool:
        """See `Truth.disturb_stage`."""
        return self.goniometer.disturb(kind, value)

    def write(self, path: Path, slots: Sequence[int], intervals_ns: Sequence[tuple[int, int]]) -> None:
        """See `Truth.write`."""
        angles = [[self.angle_deg(begin), self.angle_deg(end)] for begin, end in intervals_ns]
        write_truth(path, self.specimen.source.load(), slots, np.array(angles, np.float64).reshape(-1, 2))


@dataclasses.dataclass(frozen=True, slots=True)
class SimulatedMicroscope:
    """The entry in the register of drivers. `pictures`: whether diffraction patterns are computed."""

    name: str
    pictures: bool
    takes_plan_options: bool = True  # the specimen, and how the operator left stage and beam, come with the plan

    def address(self, options: Mapping[str, Any]) -> str | None:
        """The instrument that a register stands for; without one nobody else can reach it."""
        path = register_path(options)
        return None if path is None else f"simulated instrument {path}"

    @asynccontextmanager
    async def connect(self, clock: Clock, seed: int, options: Mapping[str, Any]) -> AsyncIterator[Parts]:
        """Switch the instrument on. Raises Refused for an option it does not know or a value it cannot use.

        options: `start_deg` and `beam_on` (as the operator left stage and blanker), `api_call_s` and `api_jitter` (see
        `latency`), `register` (a file that keeps the blanker when the program ends, see `register`), and the tables
        `crystal`, `geometry`, `stage`, `lens`, `detector`, `pictures`, `stagexyz`, `deflectors`, `mode` and
        `illumination` with the fields of the settings classes.
        """
        known = {
            "start_deg",
            "beam_on",
            "api_call_s",
            "api_jitter",
            "register",
            "crystal",
            "geometry",
            "stage",
            "lens",
            "detector",
            "pictures",
            *OPTIONAL_PARTS,
        }
        if unknown := sorted(set(options) - known):
            raise Refused(
                f"devices: {self.name} has no option {shown(unknown[0])!r}; nothing was started. "
                f"Options are {', '.join(sorted(known))}."
            )
        geometry = configure(GEOMETRY, "geometry", options)
        pictures = configure(PictureSettings() if self.pictures else PLACEHOLDERS, "pictures", options)
        rows, columns = pictures.shape
        if self.pictures and not (0 < geometry.beam_slow_px < rows and 0 < geometry.beam_fast_px < columns):
            raise Refused(
                f"devices: the primary beam (geometry.beam_fast_px = {geometry.beam_fast_px:g}, beam_slow_px = "
                f"{geometry.beam_slow_px:g}) is not on a picture of {rows} x {columns}; nothing was started."
            )
        source = configure(CrystalSource(), "crystal", options)
        api_call_s = number(options, "api_call_s", API_CALL_S)
        if not api_call_s > 0:
            raise Refused(f"devices: api_call_s = {api_call_s:g}: give a positive time; nothing was started.")
        interface = Interface(clock, seed, api_call_s, number(options, "api_jitter", 1.0))
        stage_settings = configure(GoniometerSettings(stage_read_s=api_call_s), "stage", options)
        goniometer = Goniometer(clock, interface, seed, stage_settings, number(options, "start_deg", 0.0))
        lens_settings = configure(LensSettings(), "lens", options)
        beam_on = bool(options.get("beam_on", False))
        register, second, is_new = None, None, True
        if (path := register_path(options)) is not None:
            register = Register(path)
            is_new = register.switch_on(blanked=not beam_on)
            second = SecondConnection(f"{blank_beam.__module__}:{blank_beam.__name__}", {"path": str(path)})
        lens = Lens(clock, interface, lens_settings)
        blanker = Blanker(clock, interface, beam_on=beam_on, register=register)
        translation_settings = configure(StageXYZSettings(), "stagexyz", options)
        mode_settings = configure(ModeSettings(camera_length_mm=geometry.camera_length_mm), "mode", options)

        studio: Studio = CheapStudio(pictures)
        flatfield = None
        if self.pictures or source.cif is not None:  # a bad CIF is refused now, not in the middle of a run
            from drivers.simulated.pictures import PictureMaker  # costs 0.1 s and more: not for a run of timing alone

            maker = PictureMaker(source.load(), geometry, pictures)
            flatfield = maker.flatfield
        if self.pictures:
            studio = LocalStudio(maker) if clock.is_virtual else WorkerStudio(source, geometry, pictures)
        said = frozenset(options) & set(TOLD)
        specimen = SimulatedSpecimen(source, seed, goniometer, blanker if is_new else None, studio, said)
        view = SimulatedView(seed, goniometer, lens, blanker, specimen)
        detector = view.camera = Timepix(
            clock,
            seed,
            configure(DetectorSettings(), "detector", options),
            studio,
            view.shot,
            pictures.shape,
            pictures.saturation,
            pictures.wide_cross,
            flatfield,
            self.pictures,
        )
        try:
            yield Parts(
                stage=goniometer,
                beam=blanker,
                optics=lens,
                detector=detector,
                geometry=dataclasses.asdict(geometry),
                timing=Timing(api_call_s, interface.worst_s, stage_settings.stage_read_s),
                truth=SimulatedTruth(goniometer, lens, blanker, view, specimen),
                second_connection=second,
                specimen=specimen,
                view=view,
                stagexyz=Translation(
                    clock, interface, seed, translation_settings, stage_settings.stage_read_s, goniometer.is_rotating
                ),
                deflectors=Coils(clock, interface, configure(DeflectorSettings(), "deflectors", options)),
                mode=LensMode(interface, mode_settings),
                illumination=Condenser(interface, configure(IlluminationSettings(), "illumination", options)),
            )
        finally:
            await detector.disarm()
            detector.close()


def register_path(options: Mapping[str, Any]) -> Path | None:
    """The file of the option `register`; None without it."""
    given = options.get("register")
    if given is None:
        return None
    if not isinstance(given, str) or not given:
        raise Refused(
            f"devices: register = {shown(repr(given))} is no file name; nothing was started. Write register = 'FILE'."
        )
    try:
        path = Path(given).resolve()
        found = path.parent.is_dir()
    except (OSError, ValueError):  # a name that no file can have
        found = False
    if not found:
        raise Refused(f"devices: register = {shown(repr(given))}: its folder does not exist; nothing was started.")
    return path


def number(options: Mapping[str, Any], key: str, default: float) -> float:
    """One option that is a number."""
    value = options.get(key, default)
    if not _like(0.0, value):
        raise Refused(f"devices: {key} = {shown(repr(value))} is not a number; nothing was started.")
    return float(value)


def configure(defaults: Settings, table: str, options: Mapping[str, Any]) -> Settings:
    """The settings with the values given in one table of the options."""
    given = options.get(table, {})
    if not isinstance(given, Mapping):
        raise Refused(
            f"devices: {table} = {shown(repr(given))} is not a table; nothing was started. Write {table}.key = value."
        )
    fields = {field.name for field in dataclasses.fields(defaults)}
    if unknown := sorted(set(given) - fields):
        raise Refused(
            f"devices: [{table}] has no key {shown(unknown[0])!r}; nothing was started. "
            f"Keys are {', '.join(sorted(fields))}."
        )
    for key, value in given.items():
        default = getattr(defaults, key)
        if not _like(default, value):
            wanted = f"like {list(default)!r}" if isinstance(default, tuple) else "a number"
            wanted = "true or false" if isinstance(default, bool) else wanted
            wanted = "a text" if isinstance(default, str) else wanted
            raise Refused(f"devices: [{table}] {key} = {shown(repr(value))} is not {wanted}; nothing was started.")
    whole = {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
    return dataclasses.replace(defaults, **whole)


def _like(default: object, value: object) -> bool:
    """Whether a value is of the kind of the default; where that is None, anything is."""
    if isinstance(default, tuple):
        alike = isinstance(value, tuple | list) and all(_like(0.0, item) for item in value)
        return alike and len(value) == (len(default) or len(value))  # type: ignore[arg-type]
    if isinstance(default, bool) or not isinstance(default, int | float):
        return default is None or isinstance(value, type(default))
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST < value < LARGEST


SIMULATED = SimulatedMicroscope("simulated", pictures=True)
SIMULATED_TIMING = SimulatedMicroscope("simulated-timing", pictures=False)
