"""From the state of the instrument during an exposure to its picture: in this process, or in another one.

On the real clock pictures are computed in a process of their own from the moment the shutter opens (the motion is
known ahead), so that the engine's timing is what is measured and not the making of pictures. Under virtual time
they are computed in place, while time stands still.
"""

import asyncio
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from drivers.facts import Geometry
from drivers.parts import OpticalMode
from drivers.simulated.aperture import lit_share
from drivers.simulated.crystal import Crystal, load_crystal
from drivers.simulated.gridsettings import GridSettings
from drivers.simulated.imaging import NOTHING_LIT, PLAIN, ImageScale, LitDisc
from drivers.simulated.picturesettings import SNAPSHOTS, PictureSettings
from engine.worker import WORKERS, begin_worker

if TYPE_CHECKING:  # loaded where pictures are made: in the process of their own, on the real clock
    from drivers.simulated.hiddencamera import SpreadState
    from drivers.simulated.pictures import PictureMaker
    from drivers.simulated.snapshotscene import SnapshotScene

# A defocus beyond this share of the focus-to-snapshot distance shows the crystal, less shows a diffraction pattern.
SNAPSHOT_FRACTION = 0.3
# Gaussian blur of spots per unit of defocus fraction, in pixels: a lens that has not quite returned.
BLUR_PX = 12.0
OF_A_TABLE_OF_ITS_OWN = {"table": True}
"""Marks what is no key of the table that a class of settings stands for."""


@dataclass(frozen=True, slots=True)
class CrystalSource:
    """What lies in the beam: a crystal, by its CIF (None = mordenite) and the seed of its orientation; or, where it is
    not empty, a film of a powder standard, as `film.make_film` has it in words. scene: how the crystal looks in
    snapshots and what is beside it, as `scenedrawing.draw_scene` has it in words, from the same seed; a brick alone
    where it is empty. grid: a grid with thousands of crystals instead of all that.
    """

    cif: Path | None = None
    orientation_seed: int = 0
    film: str = ""
    scene: str = ""
    grid: GridSettings | None = field(default=None, metadata=OF_A_TABLE_OF_ITS_OWN)

    def load(self) -> Crystal:
        """Read the CIF and compute its structure factors. Raises Refused for a CIF that is none."""
        return load_crystal(self.cif, self.orientation_seed)

    def draw_scene(self) -> "SnapshotScene | None":
        """What is around the crystal; None where that is nothing. Raises Refused for words that are none."""
        if not self.scene:
            return None
        from drivers.simulated.scenedrawing import draw_scene

        return draw_scene(self.scene, self.orientation_seed)

    def maker(self, geometry: Geometry, settings: PictureSettings) -> "PictureMaker":
        """What makes pictures of it. Raises Refused as `load` and `draw_scene`. Loads what computing pictures needs."""
        if self.grid is not None:
            from drivers.simulated.gridpictures import GridMaker

            return GridMaker(self.grid, geometry, settings)
        if settings.rendered == SNAPSHOTS:
            from drivers.simulated.cheappictures import CheapMaker

            return CheapMaker(geometry, settings, self.draw_scene())
        from drivers.simulated.pictures import PictureMaker

        return PictureMaker(self.load(), geometry, settings, self.film, self.draw_scene())


@dataclass(frozen=True, slots=True)
class ColumnState:
    """How the column was set during an exposure, and where the specimen lay.

    magnification: of the image modes; camera_length_mm: of diffraction, the nominal one;
    true_length_mm: what that truly is; ellipse: amplitude (percent) and azimuth (deg) of the pattern's, None for
    that of the geometry. specimen_nm: x, y, z of the stage, as it truly stood. beam_shift_nm, image_shift_nm: what the
    deflectors did, (fast, slow) on the specimen.
    scale, disc: of an image, how it stands to the specimen and what of that is lit.
    crystal_nm: how far the crystal lies from the middle of the beam, seen along it, in x and y of the stage; can_leave:
    whether what is outside of the aperture diffracts no more.
    flux_share: electrons per area and second, 1 as the operator left the panel. probe_nm: where a probe selects, how
    far the beam shift has moved it over the specimen, in x and y of the stage. beam_off_nm: where the beam lights less
    than all, how far its middle lies from that of what the aperture selects. on_grid_nm: where the middle of the beam
    is on a grid of crystals; None where the specimen is none; lit_radius_nm: and how far around that it lights it.
    """

    mode: OpticalMode = OpticalMode.DIFFRACTION
    magnification: float = 0.0
    camera_length_mm: float = 0.0
    true_length_mm: float = 0.0
    ellipse: tuple[float, float] | None = None
    specimen_nm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    beam_shift_nm: tuple[float, float] = (0.0, 0.0)
    image_shift_nm: tuple[float, float] = (0.0, 0.0)
    spot_size: int = 1
    brightness: float = 0.0
    scale: ImageScale = PLAIN
    disc: LitDisc = NOTHING_LIT
    crystal_nm: tuple[float, float] = (0.0, 0.0)
    can_leave: bool = False
    flux_share: float = 1.0
    probe_nm: tuple[float, float] = (0.0, 0.0)
    beam_off_nm: tuple[float, float] = (0.0, 0.0)
    on_grid_nm: tuple[float, float] | None = None
    lit_radius_nm: float = 0.0


@dataclass(frozen=True, slots=True)
class Shot:
    """What the instrument did during one exposure. beam_share: fraction of it with the beam on the crystal.
    beam_shift_px: (fast, slow) displacement of the whole pattern, by lens and deflectors. column: how it was set.
    spread: where the beam was that the operator has spread over the camera; None where it was not spread.
    irradiated_s: of the usual flux that the crystal has had, at the middle of the exposure.
    """

    number: int
    start_deg: float
    end_deg: float
    exposure_s: float
    beam_share: float
    defocus_fraction: float
    beam_shift_px: tuple[float, float]
    noise_seed: int
    column: ColumnState = ColumnState()
    spread: "SpreadState | None" = None
    irradiated_s: float = 0.0


class Studio(Protocol):
    """Makes the picture of a shot."""

    async def open(self) -> None:
        """Get ready; may take seconds the first time."""
        ...

    async def picture(self, shot: Shot) -> NDArray[np.uint16]:
        """The raw counts of a shot."""
        ...

    def foresee(self, shot: Shot) -> None:
        """Told of what is likely to be asked for next. Whether it is asked for or not, no picture is another one."""
        ...

    def show(self, source: CrystalSource) -> None:
        """Another crystal from now on. Raises Refused for a CIF that is none."""
        ...

    def equip(self, geometry: Geometry, settings: PictureSettings) -> None:
        """Another instrument from now on: what its geometry truly is, its camera and its light."""
        ...

    def close(self) -> None:
        """Let processes go. Harmless when not open."""
        ...


def develop(maker: "PictureMaker", shot: Shot) -> NDArray[np.uint16]:
    """Choose between a dark picture, an image, a snapshot of the crystal and a diffraction pattern."""
    if shot.beam_share <= 0.0:
        return maker.blank(noise_seed=shot.noise_seed, exposure_s=shot.exposure_s)
    lit_s = shot.exposure_s * shot.beam_share
    if shot.column.mode is not OpticalMode.DIFFRACTION and shot.spread is None:  # its disc tells how bright it is
        tilt_deg = (shot.start_deg + shot.end_deg) / 2
        return maker.image(shot.column, tilt_deg, lit_s, noise_seed=shot.noise_seed)
    lit_s *= shot.column.flux_share
    if shot.spread is not None:
        tilt_deg = (shot.start_deg + shot.end_deg) / 2
        return maker.spread(shot.spread, shot.column, tilt_deg, lit_s, noise_seed=shot.noise_seed)
    if abs(shot.defocus_fraction) > SNAPSHOT_FRACTION:
        return maker.snapshot(
            shot.defocus_fraction,
            lit_s,
            crystal_nm=shot.column.crystal_nm,
            beam_shift_px=shot.beam_shift_px,
            tilt_deg=(shot.start_deg + shot.end_deg) / 2,
            probe_nm=shot.column.probe_nm,
            beam_off_nm=shot.column.beam_off_nm,
            noise_seed=shot.noise_seed,
            on_grid_nm=shot.column.on_grid_nm,
            lit_radius_nm=shot.column.lit_radius_nm,
        )
    return maker.diffraction(
        shot.start_deg,
        shot.end_deg,
        lit_s * lit_share(maker.settings, shot.column.beam_off_nm),
        beam_shift_px=shot.beam_shift_px,
        blur_px=BLUR_PX * abs(shot.defocus_fraction),
        noise_seed=shot.noise_seed,
        length_mm=shot.column.true_length_mm,
        ellipse=shot.column.ellipse,
        crystal_nm=shot.column.crystal_nm if shot.column.can_leave else None,
        irradiated_s=shot.irradiated_s,
        on_grid_nm=shot.column.on_grid_nm,
        lit_radius_nm=shot.column.lit_radius_nm,
    )


class LocalStudio:
    """Makes pictures in this process; for virtual time. maker: of this source.

    What is foreseen is made in a thread while the loop does something else: most of a picture is made without the
    interpreter. The thread and the loop never use the maker at once.
    """

    def __init__(self, maker: "PictureMaker", source: CrystalSource) -> None:
        self._maker, self._source = maker, source
        self._thread: ThreadPoolExecutor | None = None
        self._foreseen: tuple[Shot, Future[NDArray[np.uint16]]] | None = None

    def foresee(self, shot: Shot) -> None:
        """See `Studio.foresee`."""
        self._forget()
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="pictures")
        self._foreseen = shot, self._thread.submit(develop, self._maker, shot)

    def _forget(self) -> None:
        """What was foreseen and has not come; ends when nothing is made any more."""
        if self._foreseen is not None:
            _, made = self._foreseen
            if not made.cancel():
                wait([made])
            self._foreseen = None

    def show(self, source: CrystalSource) -> None:
        """See `Studio.show`."""
        self._forget()
        self._maker, self._source = source.maker(self._maker.geometry, self._maker.settings), source

    def equip(self, geometry: Geometry, settings: PictureSettings) -> None:
        """See `Studio.equip`."""
        self._forget()
        self._maker = self._source.maker(geometry, settings)

    async def open(self) -> None:
        """Nothing to do."""

    async def picture(self, shot: Shot) -> NDArray[np.uint16]:
        """See `Studio.picture`."""
        if self._foreseen is not None and self._foreseen[0] == shot:
            _, made = self._foreseen
            self._foreseen = None
            return made.result()
        self._forget()
        return develop(self._maker, shot)

    def close(self) -> None:
        """End the thread."""
        self._forget()
        if self._thread is not None:
            self._thread.shutdown(wait=True)
            self._thread = None


_maker: "PictureMaker | None" = None  # in the worker process only


def _begin_worker(source: CrystalSource, geometry: Geometry, settings: PictureSettings) -> None:
    global _maker
    begin_worker()
    _maker = source.maker(geometry, settings)


def _work(shot: Shot | None) -> NDArray[np.uint16] | None:
    return develop(_maker, shot) if _maker is not None and shot is not None else None


class WorkerStudio:
    """Makes pictures in a process of its own; for the real clock."""

    def __init__(self, source: CrystalSource, geometry: Geometry, settings: PictureSettings) -> None:
        self._arguments = (source, geometry, settings)
        self._pool: ProcessPoolExecutor | None = None

    def show(self, source: CrystalSource) -> None:
        """See `Studio.show`: the process that has the old one is let go, the next series starts another."""
        source.load()
        source.draw_scene()
        self.close()
        self._arguments = (source, *self._arguments[1:])

    def equip(self, geometry: Geometry, settings: PictureSettings) -> None:
        """See `Studio.equip`: as with another crystal."""
        self.close()
        self._arguments = (self._arguments[0], geometry, settings)

    async def open(self) -> None:
        """Start the process and wait until it is ready (1-2 s the first time)."""
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                1,
                mp_context=WORKERS,
                initializer=_begin_worker,
                initargs=self._arguments,
            )
        await asyncio.get_running_loop().run_in_executor(self._pool, _work, None)

    async def picture(self, shot: Shot) -> NDArray[np.uint16]:
        """See `Studio.picture`."""
        picture = await asyncio.get_running_loop().run_in_executor(self._pool, _work, shot)
        if picture is None:
            raise RuntimeError("the picture process was asked before it was opened")
        return picture

    def foresee(self, shot: Shot) -> None:
        """Nothing to do: all are asked for when the shutter opens."""

    def close(self) -> None:
        """End the process."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None


class CheapStudio:
    """Where nothing is rendered: small pictures with the frame number in the first pixel and nothing else."""

    def __init__(self, settings: PictureSettings) -> None:
        self._shape = settings.shape

    def show(self, source: CrystalSource) -> None:
        """See `Studio.show`; nobody sees it, but what is no CIF is refused all the same."""
        if source.cif is not None:
            source.load()
        source.draw_scene()

    def equip(self, geometry: Geometry, settings: PictureSettings) -> None:
        """Nothing to do: nobody sees it."""

    async def open(self) -> None:
        """Nothing to do."""

    async def picture(self, shot: Shot) -> NDArray[np.uint16]:
        """See `Studio.picture`."""
        picture = np.zeros(self._shape, np.uint16)
        picture[0, 0] = shot.number % 65536
        return picture

    def foresee(self, shot: Shot) -> None:
        """Nothing to do: it takes no time."""

    def close(self) -> None:
        """Nothing to do."""
