"""A whole simulated microscope: stage, column and camera put together, with the truth of what happened.

`SIMULATED` computes diffraction patterns, `SIMULATED_TIMING` keeps the timing and leaves the pictures empty; both but
where the option `pictures.rendered` says otherwise.
"""

import dataclasses
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np

from drivers.contract import Parts, SecondConnection
from drivers.declared import Declared
from drivers.ongrid import LitOnGrid, SeenOnGrid
from drivers.options import note_asked
from drivers.parts import Deflector, OpticalMode
from drivers.simulated.column import Blanker, Lens
from drivers.simulated.crystalplace import CrystalPlace
from drivers.simulated.deflectors import Coils
from drivers.simulated.detector import Timepix
from drivers.simulated.film import lattice_off_percent
from drivers.simulated.goniometer import Goniometer
from drivers.simulated.hiddenimages import HiddenImages
from drivers.simulated.hiddeninstrument import HiddenInstrument
from drivers.simulated.illumination import Condenser
from drivers.simulated.imaging import ImageScale, nominal_pixel_nm
from drivers.simulated.latency import Interface
from drivers.simulated.leftas import LeftAs
from drivers.simulated.lensmode import LensMode
from drivers.simulated.register import Register, blank_beam
from drivers.simulated.settings import InstrumentSettings, configure, number, read_grid, usual_with_grid
from drivers.simulated.shots import CheapStudio, CrystalSource, LocalStudio, Studio, WorkerStudio
from drivers.simulated.stagexyz import Translation
from drivers.simulated.truthfile import add_damage, add_exposures, add_hidden, add_places, write_truth
from drivers.simulated.view import SimulatedView
from engine.clock import Clock
from engine.errors import Refused, shown

TOLD = ("start_deg", "beam_on", "crystal", "grid", "hidden", "spread")
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
        now_ns: Callable[[], int],
    ) -> None:
        self.source, self._now_ns = source, now_ns
        self._seed, self._goniometer, self._blanker, self._studio = seed, goniometer, blanker, studio
        self._said = said
        self.shown_by = [studio]
        self.since_ns = 0
        """When the crystal came into the beam; one that is shown anew has had no dose."""
        self.hidden_seed = -1
        """From which it is drawn what is hidden of a film."""
        self.is_spread = False
        """Whether the operator has spread the beam over the camera."""
        self.centre: Callable[[Sequence[int]], None] = lambda child: None
        """An operator, or the run around the one with these numbers, has centred a crystal in the aperture."""
        self.hide: Callable[[], None] = lambda: None
        """Makes the instrument one of which nobody knows what it is (`hiddeninstrument`)."""
        self.lay_grid: Callable[[bool], None] = lambda there: None
        """Makes stage, light and images those that are usual with a grid of crystals (`settings.WITH_GRID`), or without
        one."""

    def set(self, told: Mapping[str, object], child: Sequence[int] = ()) -> None:
        """See `Specimen.set`."""
        if unknown := sorted(set(told) - set(TOLD)):
            raise Refused(
                f"devices: a plan may say {', '.join(TOLD)} of a simulation, not {shown(unknown[0])!r}; nothing was "
                "started."
            )
        new = {key: value for key, value in told.items() if key not in self._said}
        source = configure(CrystalSource(), "crystal", new) if "crystal" in new else self.source
        keeps = child or "grid" in self._said
        grid = read_grid(new) if "grid" in new else self.source.grid if keeps else None
        source = dataclasses.replace(source, grid=grid)
        if child and "crystal" not in self._said:
            entropy = (source.orientation_seed, self._seed, *child)
            drawn = int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0])
            source = dataclasses.replace(source, orientation_seed=drawn >> 1)
        start_deg = number(new, "start_deg", 0.0)
        if (source.grid is None) != (self.source.grid is None):
            self.lay_grid(source.grid is not None)
        if source != self.source:
            for studio in self.shown_by:
                studio.show(source)
            self.source = source
            self.since_ns = self._now_ns()
        if child:
            self.centre(child)
            return
        if new.get("hidden"):
            self.hide()
        self.is_spread = bool(new.get("spread", False)) or ("spread" in self._said and self.is_spread)
        if "start_deg" in new:
            self._goniometer.leave(start_deg)
        if "beam_on" in new and self._blanker is not None:
            self._blanker.leave(beam_on=bool(new["beam_on"]))
        self.centre(child)

    def hand_over(self, other: "SimulatedSpecimen") -> None:
        """The camera looks at another specimen, and from now on shows what that is."""
        if other.source != self.source:
            if (other.source.grid is None) != (self.source.grid is None):
                self.lay_grid(other.source.grid is not None)
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
    deflectors: Coils

    def angle_deg(self, t_ns: int) -> float:
        """See `Truth.angle_deg`."""
        return self.goniometer.angle_deg(t_ns)

    def is_rotating(self, t_ns: int) -> bool:
        """See `Truth.is_rotating`."""
        return self.goniometer.is_rotating(t_ns)

    def is_moving(self, t_ns: int) -> bool:
        """See `Truth.is_moving`."""
        return self.view.translation.moves(t_ns)

    def is_blanked(self) -> bool:
        """See `Truth.is_blanked`."""
        return self.blanker.closed

    def is_in_focus(self) -> bool:
        """See `Truth.is_in_focus`."""
        return self.lens.is_in_focus

    def defocus(self, t_ns: int) -> float:
        """See `Truth.defocus`."""
        return self.lens.defocus_at(t_ns)

    def crystal_nm(self, begin_ns: int, end_ns: int) -> tuple[float, float]:
        """See `Truth.crystal_nm`."""
        return self.view.crystal_nm(begin_ns, end_ns)

    def crystal_share(self, begin_ns: int, end_ns: int) -> float:
        """See `Truth.crystal_share`."""
        return self.view.crystal_share(begin_ns, end_ns)

    def shifts_moved(self) -> Sequence[Deflector]:
        """The pairs of deflectors that stand otherwise than they were found."""
        return self.deflectors.moved()

    def exposures(self) -> Sequence[tuple[int, int]]:
        """See `Truth.exposures`."""
        return self.view.seen_by.read_out

    def disturb_stage(self, kind: str, value: float) -> bool:
        """See `Truth.disturb_stage`."""
        return self.goniometer.disturb(kind, value)

    def hold_shutter(self, seconds: float) -> None:
        """See `Truth.hold_shutter`."""
        self.view.seen_by.hold_shutter(seconds)

    def write(self, path: Path, slots: Sequence[int], intervals_ns: Sequence[tuple[int, int]]) -> None:
        """See `Truth.write`."""
        angles = [[self.angle_deg(begin), self.angle_deg(end)] for begin, end in intervals_ns]
        source, frames_deg = self.specimen.source, np.array(angles, np.float64).reshape(-1, 2)
        if source.grid is None:
            write_truth(path, source.load(), slots, frames_deg)
        else:
            from drivers.simulated.gridtruth import write_turned

            write_turned(path, source.grid, slots, frames_deg, intervals_ns, self.seen_on_grid())
        irradiated_s = [[self.view.irradiated_s(t_ns) for t_ns in interval] for interval in intervals_ns]
        add_damage(path, np.array(irradiated_s, np.float64).reshape(-1, 2), self.view.pictures)
        if self.view.hidden:
            add_hidden(path, self.view.truth())
        if source.grid is None and self.view.can_leave:
            exposures = self.exposures()
            for name, intervals in (("frame", intervals_ns), ("exposure", exposures)):
                places = [self.crystal_nm(*interval) for interval in intervals]
                add_places(path, name, places, [self.crystal_share(*interval) for interval in intervals])
            add_exposures(path, exposures, [self.defocus((begin + end) // 2) for begin, end in exposures])

    def seen_on_grid(self) -> Sequence[SeenOnGrid]:
        """See `Truth.seen_on_grid`."""
        return self.view.seen_on_grid

    def lit_on_grid(self, seen: SeenOnGrid) -> LitOnGrid:
        """See `Truth.lit_on_grid`."""
        if (grid := self.specimen.source.grid) is None:
            return LitOnGrid((), (), (), (), ())
        from drivers.simulated.gridtruth import lit_on_grid

        return lit_on_grid(grid, seen)

    def write_grid(self, path: Path) -> None:
        """See `Truth.write_grid`."""
        if (grid := self.specimen.source.grid) is not None:
            from drivers.simulated.gridtruth import write_grid

            write_grid(path, grid, self.seen_on_grid())

    def write_hidden(self, path: Path) -> None:
        """See `Truth.write_hidden`."""
        self.view.seen_by.write_hidden(path)
        if self.view.hidden:
            flux = float(np.asarray(self.view.hidden["flux_e_A2_s"]))
            shares = self.view.illumination.flux_shares
            of_settings = {f"flux_e_A2_s at spot {s} {b:g}": flux * share for (s, b), share in shares.items()}
            add_hidden(path, {**self.view.truth(), **of_settings})
        if film := self.specimen.source.film:
            add_hidden(path, {"lattice_off_percent": lattice_off_percent(film, self.specimen.hidden_seed)})


@dataclasses.dataclass(frozen=True, slots=True)
class SimulatedMicroscope:
    """The entry in the register of drivers. `pictures`: whether patterns are computed where nothing is said."""

    name: str
    pictures: bool
    takes_plan_options: bool = True  # the specimen, and how the operator left stage and beam, come with the plan

    def address(self, options: Mapping[str, Any]) -> str | None:
        """The instrument that a register stands for; without one nobody else can reach it."""
        path = file_named("register", options)
        return None if path is None else f"simulated instrument {path}"

    def facts(self, options: Mapping[str, Any]) -> Declared:
        """What the instrument is before it is switched on, which is all of it. Raises Refused as `connect`."""
        file_named("register", options)
        file_named("left_as", options)
        return InstrumentSettings.read(self.name, self.pictures, options).declared

    @asynccontextmanager
    async def connect(self, clock: Clock, seed: int, options: Mapping[str, Any]) -> AsyncIterator[Parts]:
        """Switch the instrument on. Raises Refused for an option it does not know or a value it cannot use.

        options: `start_deg` and `beam_on` (as the operator left stage and blanker), `api_call_s` and `api_jitter` (see
        `latency`), `register` (a file that keeps the blanker when the program ends, see `register`), `left_as` (one
        that keeps where stage and lenses stand, see `leftas`), `hidden` and `spread` (see `settings`), and the tables
        `crystal`, `grid`, `geometry`, `stage`, `lens`, `detector`, `pictures`, `motion`, `stagexyz`, `deflectors`,
        `mode` and `illumination` with the fields of the settings classes.
        """
        settings = InstrumentSettings.read(self.name, self.pictures, options)
        geometry, pictures, source = settings.geometry, settings.pictures, settings.source
        interface = Interface(clock, seed, settings.api_call_s, settings.api_jitter)
        goniometer = Goniometer(clock, interface, seed, settings.stage, settings.start_deg)
        beam_on, lens = settings.beam_on, Lens(clock, interface, settings.lens)
        register, second, is_new = None, None, True
        if (path := file_named("register", options)) is not None:
            register = Register(path)
            is_new = register.switch_on(blanked=not beam_on)
            second = SecondConnection(f"{blank_beam.__module__}:{blank_beam.__name__}", {"path": str(path)})
        blanker = Blanker(clock, interface, beam_on=beam_on, register=register)

        studio: Studio = CheapStudio(pictures)
        flatfield = None
        if settings.has_pictures or source.cif is not None:  # a bad CIF is refused now, not in the middle of a run
            maker = source.maker(geometry, pictures)  # costs 0.1 s and more: not for a run of timing alone
            flatfield = maker.flatfield
        if settings.has_pictures:
            studio = LocalStudio(maker, source) if clock.is_virtual else WorkerStudio(source, geometry, pictures)
        said = frozenset(options) & set(TOLD)
        specimen = SimulatedSpecimen(source, seed, goniometer, blanker if is_new else None, studio, said, clock.now_ns)
        specimen.is_spread = settings.spread
        deflectors = Coils(clock, interface, settings.deflectors)
        translation = Translation(
            clock, interface, seed, settings.stagexyz, settings.stage.stage_read_s, goniometer.is_rotating
        )
        mode, illumination = LensMode(interface, settings.mode), Condenser(interface, settings.illumination)
        left = None
        if (kept := file_named("left_as", options)) is not None:
            left = LeftAs(kept, goniometer, translation, deflectors, mode, illumination)
            left.resume()
        view = SimulatedView(
            *(seed, goniometer, lens, blanker, specimen, deflectors, translation, mode, illumination),
            CrystalPlace(settings.motion, settings.start_deg, clock.now_ns()),
            pictures,
        )
        specimen.centre = lambda child: view.centre_crystal(clock.now_ns(), child)
        view.began_ns = clock.now_ns()
        view.scale = lambda mode, magnification: ImageScale(
            nominal_pixel_nm(geometry.pixel_size_mm / view.pictures.magnified, magnification)
        )
        told_share = geometry.camera_length_mm / settings.mode.camera_length_mm  # 1 but where both are given
        view.length_mm = lambda nominal_mm: nominal_mm * told_share
        detector = view.camera = Timepix(
            clock,
            seed,
            settings.detector,
            studio,
            view.shot,
            pictures.shape,
            pictures.saturation,
            pictures.wide_cross,
            flatfield,
            settings.has_pictures,
            view.likely_shot,
        )

        now = settings

        def hide() -> None:
            if view.hidden:
                return
            drawn = HiddenInstrument.draw(now.hidden_seed(seed), now)
            true = drawn.instrument(now)
            images = HiddenImages.draw(drawn.seed, true)
            view.hidden = drawn.truth(now) | images.truth_of_parts()
            view.pictures = true.pictures
            view.length_mm = lambda nominal_mm: drawn.length_mm(nominal_mm * told_share)
            view.ellipse = drawn.ellipse
            view.scale, view.image_truth = images.scale, images.truth
            specimen.hidden_seed = drawn.seed
            deflectors.hide(images.settings.deflectors)
            translation.hide(images.settings.stagexyz)
            illumination.hide(images.settings.illumination)
            lens.hide(true.lens)
            goniometer.hide(true.stage, drawn.parts.sampled_at)
            view.hidden = {**view.hidden, "rotation_speed_share": goniometer.speed_share}
            if settings.has_pictures:
                studio.equip(true.geometry, true.pictures)
                detector.hide(source.maker(true.geometry, true.pictures).write_camera)

        def lay_grid(there: bool) -> None:
            nonlocal now
            if view.hidden:
                return
            now = settings
            if there:
                now = InstrumentSettings.read(self.name, self.pictures, {**usual_with_grid(options), "grid": {}})
            view.pictures = dataclasses.replace(view.pictures, magnified=now.pictures.magnified)
            translation.hide(now.stagexyz)
            deflectors.hide(now.deflectors)
            illumination.hide(now.illumination)
            mode.leave_magnification(OpticalMode.IMAGING, now.mode.magnification)

        specimen.hide = hide
        specimen.lay_grid = lay_grid
        if settings.is_hidden:
            hide()
        try:
            yield Parts(
                stage=goniometer,
                beam=blanker,
                optics=lens,
                detector=detector,
                geometry=settings.told_geometry,
                timing=settings.timing,
                truth=SimulatedTruth(goniometer, lens, blanker, view, specimen, deflectors),
                second_connection=second,
                specimen=specimen,
                view=view,
                stagexyz=translation,
                deflectors=deflectors,
                mode=mode,
                illumination=illumination,
                tracking=settings.tracking,
                images=settings.images,
            )
        finally:
            await detector.disarm()
            detector.close()
            if left is not None:
                left.write(clock)


def file_named(option: str, options: Mapping[str, Any]) -> Path | None:
    """The file of an option; None without it."""
    note_asked(option, None, "the name of a file")
    given = options.get(option)
    if given is None:
        return None
    if not isinstance(given, str) or not given:
        raise Refused(
            f"devices: {option} = {shown(repr(given))} is no file name; nothing was started. Write {option} = 'FILE'."
        )
    try:
        path = Path(given).resolve()
        found = path.parent.is_dir()
    except (OSError, ValueError):  # a name that no file can have
        found = False
    if not found:
        raise Refused(f"devices: {option} = {shown(repr(given))}: its folder does not exist; nothing was started.")
    return path


SIMULATED = SimulatedMicroscope("simulated", pictures=True)
SIMULATED_TIMING = SimulatedMicroscope("simulated-timing", pictures=False)
