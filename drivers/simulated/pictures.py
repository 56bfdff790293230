"""Pictures as the simulated camera delivers them: diffraction, defocused snapshots and the blanked beam.

Pure functions of their arguments, no clock and no device: the same arguments give the same array, in any process.
A Timepix is four modules of 256 x 256 pixels; the pixels along the seams are three times as wide (at the centre
three times in both directions). So a raw picture of 512 x 512 stands on a *physical* grid of 516 x 516 equal pixels:
raw 255 covers physical 255..257, raw 256 covers 258..260, the ones after that are shifted by 4. Counts are computed
by integrating over each raw pixel's true extent; positions are always in physical pixels.
"""

from dataclasses import replace
from math import isclose
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from drivers.facts import Geometry
from drivers.parts import OpticalMode
from drivers.simulated.aperture import WHOLE, Aperture
from drivers.simulated.crystal import Crystal
from drivers.simulated.damage import undamaged
from drivers.simulated.film import make_film
from drivers.simulated.hiddencamera import HiddenCamera, SpreadBeam, SpreadState
from drivers.simulated.imaging import Grid, electrons_s, shown, vector
from drivers.simulated.manybeams import TwiceScattered, two_beam
from drivers.simulated.pattern import Spots, project, spots
from drivers.simulated.picturesettings import PictureSettings
from drivers.simulated.scenedrawing import brick_scene
from drivers.simulated.shots import ColumnState
from drivers.simulated.snapshotdisc import disc_light
from drivers.simulated.snapshotscene import SnapshotScene
from drivers.simulated.specimengrid import SpecimenGrid

Picture = NDArray[np.uint16]


def pixel_edges_px(pixels: int, wide_cross: bool) -> NDArray[np.float64]:
    """(pixels + 1,) borders of the raw pixels of one axis on the physical grid, from 0."""
    widths = np.ones(pixels)
    if wide_cross:
        widths[pixels // 2 - 1 : pixels // 2 + 1] = 3.0
    return np.concatenate([[0.0], np.cumsum(widths)])


class PictureMaker:
    """Computes raw pictures (rows, columns) of one crystal on one instrument. May be sent to another process.

    film: in words, where there is one in the place of the crystal (`film.make_film`). scene: what lies in the aperture
    beside the crystal, and how that looks; without one there is nothing else, and it is a brick.
    """

    def __init__(
        self,
        crystal: Crystal,
        geometry: Geometry,
        settings: PictureSettings,
        film: str = "",
        scene: SnapshotScene | None = None,
    ) -> None:
        if settings.wide_cross and any(n % 2 for n in settings.shape):
            raise ValueError(f"a camera with a wide cross has even numbers of pixels, not {settings.shape}")
        self.crystal, self.geometry, self.settings, self.film = crystal, geometry, settings, film
        self.scene = scene
        self._rows_px, self._columns_px = (pixel_edges_px(n, settings.wide_cross) for n in settings.shape)
        self._area = np.outer(np.diff(self._rows_px), np.diff(self._columns_px))
        deviates = np.random.Generator(np.random.PCG64(settings.response_seed)).standard_normal(settings.shape)
        self._response = np.maximum(1.0 + settings.pixel_response_sigma * deviates, 0.1)
        self.hidden: HiddenCamera | None = None
        if settings.hidden_seed >= 0:
            self.hidden = HiddenCamera.draw(settings.hidden_seed, settings.shape, settings.dark_s)
        self._turn = settings.turn
        self._spread = SpreadBeam.draw(max(settings.hidden_seed, 0))
        self.aperture = Aperture(settings, brick_scene(crystal) if scene is None else scene)
        self._scattering: list[tuple[Crystal, TwiceScattered | None]] = []
        for grain in self.aperture.grains(crystal):
            points = two_beam(grain, geometry.wavelength_A, settings.blocks_nm)
            twice = TwiceScattered(points, settings.scattered_twice) if settings.scattered_twice > 0 else None
            self._scattering.append((points, twice))
        self._background_s = self._background((0.0, 0.0), 0.0)
        self._grid: Grid = SpecimenGrid(
            round(settings.grid_seed),
            settings.grid_pitch_nm,
            settings.grid_bar_nm,
            settings.crystals_um2,
            settings.film_unevenness,
        )
        self._film = make_film(film, geometry.wavelength_A, settings.hidden_seed) if film else None
        self._film_seen: tuple[object, NDArray[np.float64]] = (None, np.empty(0))

    @property
    def flatfield(self) -> NDArray[np.float32]:
        """(rows, columns) relative response, mean 1, as the mean of many evenly lit pictures would give it.

        Pixels of the wide cross stand at ~3, the four in the centre at ~9, for they collect that much more. A
        picture divided by it is therefore counts *per equal area*: going to the physical grid, its wide pixels are
        then to be copied, not shared out; or shared out if the flatfield's own cross was divided by 3 and 9 first.
        """
        collected = self._area * self._response
        return np.asarray(collected / collected.mean(), dtype=np.float32)

    def expected(
        self,
        start_deg: float,
        end_deg: float,
        exposure_s: float,
        beam_shift_px: tuple[float, float] = (0.0, 0.0),
        blur_px: float = 0.0,
        scale: float = 1.0,
        length_mm: float = 0.0,
        ellipse: tuple[float, float] | None = None,
        crystal_nm: tuple[float, float] | None = None,
        irradiated_s: float = 0.0,
    ) -> NDArray[np.float64]:
        """Electrons expected on each raw pixel, before its response and noise; arguments as for `diffraction`."""
        setting, geometry, crystal = self.settings, self.geometry, self.crystal
        longer = length_mm / geometry.camera_length_mm if length_mm > 0 else 1.0
        if isclose(longer, 1.0, rel_tol=1e-9):
            longer = 1.0
        else:
            geometry = replace(geometry, camera_length_mm=length_mm)
        if ellipse is not None:
            geometry = replace(geometry, distortion_amplitude_percent=ellipse[0], distortion_azimuth_deg=ellipse[1])
        if self._film is not None:
            seen_as = beam_shift_px, blur_px, longer, ellipse
            if self._film_seen[0] != seen_as:
                self._film_seen = seen_as, self._rings(geometry, beam_shift_px, blur_px, longer)
            return self._film_seen[1] * exposure_s
        nominal = beam_shift_px == (0.0, 0.0) and blur_px == 0.0 and longer == 1.0
        background_s = self._background_s if nominal else self._background(beam_shift_px, blur_px, longer)
        light = WHOLE if crystal_nm is None else self.aperture.light(crystal_nm, (start_deg + end_deg) / 2)
        electrons = background_s * exposure_s
        if light.beam != 1.0:
            electrons -= self._area * (setting.constant_s * exposure_s)
            electrons = electrons * light.beam + self._area * (setting.constant_s * exposure_s)
        # Kinematic theory: intensity scattered per incident electron = wavelength^2 thickness |F|^2 / volume^2
        # times the rocking curve normalised over s (thickness in A).
        per_rate = geometry.wavelength_A**2 * (10.0 * crystal.size_nm) / crystal.volume_A3**2
        sigma_px = float(np.hypot(setting.spot_sigma_px, blur_px))
        for grain, share in light.grains:
            excited = self._excited(grain, geometry, start_deg, end_deg, scale * share)
            counts_s = excited.rate * (per_rate * setting.flux_s * setting.diffracting_share)
            if setting.half_dose_e_A2:
                points, twice = self._scattering[grain]
                points = points if twice is None else twice.points
                d_star = np.linalg.norm(points.hkl[excited.index] @ points.ub.T, axis=1)
                counts_s = counts_s * undamaged(d_star, irradiated_s * setting.flux_e_A2_s, setting)
            seen = counts_s > 1e-3
            fast_px, slow_px = excited.fast_px[seen] + beam_shift_px[0], excited.slow_px[seen] + beam_shift_px[1]
            add_gaussians(
                electrons, self._rows_px, self._columns_px, slow_px, fast_px, sigma_px, counts_s[seen] * exposure_s
            )
        return electrons

    def _excited(self, grain: int, geometry: Geometry, start_deg: float, end_deg: float, scale: float) -> Spots:
        setting = self.settings
        points, twice = self._scattering[grain]
        excited = spots(
            points if twice is None else twice.points,
            *(geometry, start_deg, end_deg, setting.rocking_sigma_invA, scale, setting.mosaicity_deg),
            out_of_plane_deg=setting.axis_out_of_plane_deg + geometry.rotation_axis_tilt_deg,
        )
        return excited if twice is None else twice.scattered(excited)

    def diffraction(
        self,
        start_deg: float,
        end_deg: float,
        exposure_s: float,
        beam_shift_px: tuple[float, float] = (0.0, 0.0),
        blur_px: float = 0.0,
        *,
        noise_seed: int,
        scale: float = 1.0,
        length_mm: float = 0.0,
        ellipse: tuple[float, float] | None = None,
        crystal_nm: tuple[float, float] | None = None,
        irradiated_s: float = 0.0,
        on_grid_nm: tuple[float, float] | None = None,
        lit_radius_nm: float = 0.0,
    ) -> Picture:
        """A diffraction picture while the stage turns from `start_deg` to `end_deg` at constant speed.

        beam_shift_px: (fast, slow) displacement of the whole pattern. blur_px: sigma of a Gaussian by which spots,
        beam and halo are widened (a lens that has not settled). scale: share of the crystal that is lit.
        length_mm: the true camera length, where it is another than the geometry's: patterns and halo scale with it;
        ellipse: amplitude (percent) and azimuth (deg) of the distortion there.
        crystal_nm: as for `snapshot`, of a crystal that leaves the aperture: its spots fade as it does, those of its
        neighbours come, and behind a bar of the grid everything is dark. None: all of it is in the aperture.
        irradiated_s: of the usual flux that the crystal has had by then. on_grid_nm, lit_radius_nm: of a grid
        of crystals (`gridpictures`), which this is not.
        """
        seen = beam_shift_px, blur_px, scale, length_mm, ellipse, crystal_nm, irradiated_s
        electrons = self.expected(start_deg, end_deg, exposure_s, *seen)
        return self._detected(electrons, noise_seed, exposure_s)

    def spread(
        self, state: SpreadState, column: ColumnState, tilt_deg: float, exposure_s: float, *, noise_seed: int
    ) -> Picture:
        """A picture of the beam that the operator has spread over the camera; with the specimen in the image modes."""
        rng = np.random.Generator(np.random.PCG64([noise_seed, 1]))
        size = max(self._rows_px[-1], self._columns_px[-1])
        x, y = (((edges[:-1] + edges[1:]) / 2 - edges[-1] / 2) / size for edges in (self._columns_px, self._rows_px))
        light = self._spread.light(x, y, state, rng, self.settings.spread_drift)
        through = self._area
        if column.mode is not OpticalMode.DIFFRACTION:
            seen = column.specimen_nm, tilt_deg, column.image_shift_nm
            through = self._to_raw(shown(self._grid, column.scale, self.settings.physical_px, *seen))
        return self._detected(through * light * (self.settings.spread_s * exposure_s), noise_seed, exposure_s)

    def image(self, column: ColumnState, tilt_deg: float, exposure_s: float, *, noise_seed: int) -> Picture:
        """The specimen as the image modes show it, at the middle of an exposure; `imaging.electrons_s`."""
        lit = electrons_s(
            self._grid,
            column.scale,
            column.disc,
            self.settings.physical_px,
            column.specimen_nm,
            tilt_deg,
            column.beam_shift_nm,
            column.image_shift_nm,
        )
        lit += self.settings.dark_s
        return self._detected(self._to_raw(lit * exposure_s), noise_seed, exposure_s)

    def snapshot(
        self,
        defocus_fraction: float,
        exposure_s: float,
        crystal_nm: tuple[float, float] = (0.0, 0.0),
        beam_shift_px: tuple[float, float] = (0.0, 0.0),
        tilt_deg: float = 0.0,
        probe_nm: tuple[float, float] = (0.0, 0.0),
        beam_off_nm: tuple[float, float] = (0.0, 0.0),
        *,
        noise_seed: int,
        on_grid_nm: tuple[float, float] | None = None,
        lit_radius_nm: float = 0.0,
    ) -> Picture:
        """The defocused primary beam: the aperture's disc with the dark silhouette of the crystal in it, or its scene.

        defocus_fraction: 1 at the full defocus of a run, at which the disc has `disc_radius_px`; its radius is
        proportional to it and the flux in it constant. 0 is the focused beam. Behind the crossover, where it is
        negative, the shadow stands on its head. crystal_nm: from the middle of the aperture, in x and y of the stage.
        beam_shift_px: of the disc, where it follows the beam. probe_nm: by which the beam shift has moved a probe over
        the specimen, in x and y of the stage: away from focus the disc is its shadow and moves with it. beam_off_nm:
        from the middle of the aperture to that of what the beam lights of it, where that is not all. on_grid_nm,
        lit_radius_nm: as for `diffraction`.
        """
        setting, geometry = self.settings, self.geometry
        beam_px = geometry.beam_fast_px, geometry.beam_slow_px
        if setting.disc_follows:
            beam_px = beam_px[0] + beam_shift_px[0], beam_px[1] + beam_shift_px[1]
        if probe_nm != (0.0, 0.0):
            per_nm = 2.0 * defocus_fraction * setting.disc_radius_px / setting.aperture_nm
            moved_px = vector(setting.snapshot, probe_nm)
            beam_px = beam_px[0] + per_nm * moved_px[0], beam_px[1] + per_nm * moved_px[1]
        seen = crystal_nm, tilt_deg
        light = disc_light(
            setting, self.crystal if self.scene is None else self.scene, defocus_fraction, beam_px, *seen, beam_off_nm
        )
        light *= setting.flux_s * exposure_s
        light += setting.constant_s * exposure_s
        return self._detected(self._to_raw(light), noise_seed, exposure_s)

    def blank(self, *, noise_seed: int, exposure_s: float = 0.5) -> Picture:
        """A picture with the beam off: a few false counts."""
        electrons = self._area * (self.settings.dark_s * exposure_s)
        if self.hidden is not None:  # what it counts without light is its own
            electrons = np.zeros_like(electrons)
        return self._detected(electrons, noise_seed, exposure_s)

    def write_camera(self, path: Path) -> None:
        """Write what the camera hides as truth.h5; nothing where nothing is hidden."""
        if self.hidden is not None:
            self.hidden.write(path, self._area)

    def _detected(self, electrons: NDArray[np.float64], noise_seed: int, exposure_s: float) -> Picture:
        """Response of each pixel, counting statistics, saturation."""
        rng = np.random.Generator(np.random.PCG64(noise_seed))
        electrons = np.asarray(self._turn.turned(electrons), np.float64)
        if self.hidden is not None:
            seen = self.hidden.detected(electrons, exposure_s, self._area, rng)
            return np.minimum(seen, self.settings.saturation).astype(np.uint16)
        electrons *= self._response
        counts = rng.poisson(electrons)
        return np.minimum(counts, self.settings.saturation).astype(np.uint16)

    def _to_raw(self, physical: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum physical pixels (516, 516) into the raw ones (512, 512) that cover them; counts are conserved."""
        rows, columns = self._rows_px[:-1].astype(np.intp), self._columns_px[:-1].astype(np.intp)
        return np.add.reduceat(np.add.reduceat(physical, rows, axis=0), columns, axis=1)

    def _rings(
        self, geometry: Geometry, beam_shift_px: tuple[float, float], blur_px: float, longer: float
    ) -> NDArray[np.float64]:
        """Electrons per second on each raw pixel from a film, its carbon and what is there without it."""
        film, setting = self._film, self.settings
        rate_s = self._background(beam_shift_px, blur_px, longer)
        if film is None or not len(film.share):
            return rate_s
        k = 1.0 / geometry.wavelength_A

        def places(d_star_per_A: NDArray[np.float64], azimuth: NDArray[np.float64]) -> NDArray[np.float64]:
            """(2, n) fast and slow of what is scattered by 2 theta, sin theta = d* / 2k."""
            z = d_star_per_A**2 / (2 * k)
            across = np.sqrt(d_star_per_A**2 - z**2)
            points = np.stack([across * np.cos(azimuth), across * np.sin(azimuth), z], axis=1)
            fast, slow = project(points, geometry)
            return np.stack([fast + beam_shift_px[0], slow + beam_shift_px[1]])

        per_A_px = geometry.camera_length_mm * geometry.wavelength_A / geometry.pixel_size_mm
        sigma_px = float(np.hypot(np.hypot(setting.spot_sigma_px, film.width_per_A * per_A_px), blur_px))
        fast_px, slow_px = places(film.d_star_per_A, film.azimuth)
        add_gaussians(rate_s, self._rows_px, self._columns_px, slow_px, fast_px, sigma_px, film.share * setting.flux_s)
        x, y = (
            (edges[:-1] + edges[1:]) / 2 - beam - by
            for edges, beam, by in (
                (self._columns_px, geometry.beam_fast_px, beam_shift_px[0]),
                (self._rows_px, geometry.beam_slow_px, beam_shift_px[1]),
            )
        )
        away_per_A = np.hypot(x[None, :], y[:, None]) / per_A_px
        for middle, width, share in film.carbon:  # so broad that neither ellipse nor curvature is seen
            ring = np.exp(-0.5 * ((away_per_A - middle) / width) ** 2)
            whole = 2 * np.pi * middle * width * np.sqrt(2 * np.pi) * per_A_px**2
            rate_s += self._area * ring * (share * setting.flux_s / whole)
        return rate_s

    def _background(
        self, beam_shift_px: tuple[float, float], blur_px: float, longer: float = 1.0
    ) -> NDArray[np.float64]:
        """Electrons per second on each raw pixel from the primary beam, its halo and the constant. longer: the camera
        length over that of the geometry.
        """
        setting = self.settings
        rate_s = self._area * setting.constant_s
        focused = 1.0 - sum(share for share, _ in setting.halo)
        halo = [(share, sigma_px * longer) for share, sigma_px in setting.halo]
        for share, sigma_px in ((focused, setting.beam_sigma_px), *halo):
            width_px = np.hypot(sigma_px, blur_px)
            along = [
                np.diff(ndtr((edges - beam) / width_px))
                for edges, beam in (
                    (self._rows_px, self.geometry.beam_slow_px + beam_shift_px[1]),
                    (self._columns_px, self.geometry.beam_fast_px + beam_shift_px[0]),
                )
            ]
            rate_s += np.multiply.outer(along[0] * (share * setting.flux_s), along[1])
        return rate_s


def add_gaussians(
    picture: NDArray[np.float64] | NDArray[np.float32],
    rows_px: NDArray[np.float64],
    columns_px: NDArray[np.float64],
    slow_px: NDArray[np.float64],
    fast_px: NDArray[np.float64],
    sigma_px: float,
    counts: NDArray[np.float64],
) -> None:
    """Add spots to a picture in place, each integrated over the extent of the pixels within 5 sigma of it."""
    reach = int(np.ceil(5.0 * sigma_px)) + 1
    inside = (slow_px > rows_px[0] - reach) & (slow_px < rows_px[-1] + reach)
    inside &= (fast_px > columns_px[0] - reach) & (fast_px < columns_px[-1] + reach)
    along = []
    for edges, position in ((rows_px, slow_px[inside]), (columns_px, fast_px[inside])):
        # Pixels of width 1 beyond both borders, so that a window never leaves the array.
        margin = np.arange(1.0, 2 * reach + 2)
        wide = np.concatenate([edges[0] - margin[::-1], edges, edges[-1] + margin])
        first = np.searchsorted(wide, position, side="right") - 1 - reach
        window = first[:, None] + np.arange(2 * reach + 2)
        share = np.diff(ndtr((wide[window] - position[:, None]) / sigma_px), axis=1)
        pixel = window[:, :-1] - len(margin)
        share[(pixel < 0) | (pixel >= len(edges) - 1)] = 0.0
        along.append((np.clip(pixel, 0, len(edges) - 2), share))
    (row, row_share), (column, column_share) = along
    where = row[:, :, None] * picture.shape[1] + column[:, None, :]
    stamps = (counts[inside, None] * row_share)[:, :, None] * column_share[:, None, :]
    np.add.at(picture.reshape(-1), where.ravel(), stamps.ravel().astype(picture.dtype, copy=False))
