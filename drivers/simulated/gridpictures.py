"""Pictures of a grid with thousands of crystals: images of it, and the patterns of what its probe lights.

A `PictureMaker` whose specimen is a `CrystalGrid`: both come from the same particles. Cheap enough for runs of
thousands of patterns, and with small pictures for runs by the hundred.
"""

from dataclasses import replace
from math import isclose

import numpy as np
from numpy.typing import NDArray

from drivers.facts import Geometry
from drivers.simulated.crystalgrid import BEHIND_BAR, CrystalGrid
from drivers.simulated.damage import undamaged
from drivers.simulated.film import CARBON
from drivers.simulated.gridcrystals import AMORPHOUS
from drivers.simulated.gridpattern import TURNS_DEG, spots_of, turning_spots_of
from drivers.simulated.gridprobe import Lit, lit_by
from drivers.simulated.gridsettings import LACEY, GridSettings
from drivers.simulated.phases import load_phase
from drivers.simulated.pictures import Picture, PictureMaker, add_gaussians
from drivers.simulated.picturesettings import PictureSettings

Array = NDArray[np.float64]
Ring = tuple[float, float, float]

AMORPHOUS_RINGS = ((0.24, 0.05, 0.10), (0.52, 0.09, 0.03))
"""Of a particle that is no crystal, as `film.CARBON`; of one that is thick."""
AMORPHOUS_NM = 200.0
"""Such a particle is thick when it is thicker than this."""
STRAND_CARBON = 2.0
"""How many times as much carbon a strand of a net has as a film."""
INELASTIC_NM = 300.0
"""Mean way between losses of energy: of what is thicker, spots fade and a diffuse background grows."""
DIFFUSE = (0.0, 0.12, 0.3)
"""That background, as a ring: middle and width in 1/A, and share of what was lost that the camera sees."""
STEP_PER_A = 0.004
"""Between values of the rings' profile."""


class GridMaker(PictureMaker):
    """Computes raw pictures of a grid on one instrument. Raises Refused for a phase that is none."""

    def __init__(self, grid: GridSettings, geometry: Geometry, settings: PictureSettings) -> None:
        self.phases = [load_phase(each, grid.seed, number) for number, each in enumerate(grid.phases)]
        super().__init__(self.phases[0], geometry, settings)
        self._grid = self.grid = CrystalGrid(grid)
        self._places_seen: tuple[object, NDArray[np.int32]] = (None, np.empty((0, 0), np.int32))

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
        """See `PictureMaker.diffraction`; on_grid_nm: where on the grid the middle of the probe is; lit_radius_nm: how
        far around that it lights it, 0 for `GridSettings.probe_nm`.
        """
        where = (0.0, 0.0) if on_grid_nm is None else on_grid_nm
        radius_nm = lit_radius_nm or self.grid.settings.probe_nm / 2.0
        scale *= self._narrower(radius_nm) ** 2
        lit = lit_by(self.grid, where, radius_nm, (start_deg + end_deg) / 2.0)
        dose_e_A2 = irradiated_s * self.settings.flux_e_A2_s
        seen = beam_shift_px, blur_px, scale, length_mm, ellipse, dose_e_A2
        electrons = self.lit_s(lit, start_deg, end_deg, *seen) * exposure_s
        return self._detected(electrons, noise_seed, exposure_s)

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
        """See `PictureMaker.snapshot`: the disc is the shadow of what the probe lights, and fills it."""
        setting, shape = self.settings, self.settings.physical_px
        whole_px = max(abs(defocus_fraction) * setting.disc_radius_px, 1.0)
        radius_px = whole_px * (self._narrower(lit_radius_nm) if lit_radius_nm else 1.0)
        moved_px = beam_shift_px if setting.disc_follows else (0.0, 0.0)
        beam_px = np.array([self.geometry.beam_fast_px + moved_px[0], self.geometry.beam_slow_px + moved_px[1]])
        per_px = float(np.copysign(self.grid.settings.probe_nm / (2.0 * whole_px), defocus_fraction))
        to_px = np.reshape(setting.snapshot, (2, 2))
        beam_px = beam_px + to_px @ np.array(probe_nm) / per_px
        flat = np.diag([1.0, 1.0 / max(float(np.cos(np.deg2rad(tilt_deg))), 1e-3)])
        to_grid = flat @ np.linalg.inv(to_px) * per_px
        where = np.array((0.0, 0.0) if on_grid_nm is None else on_grid_nm)
        light = np.full(shape, setting.constant_s)
        low = np.maximum(np.floor(beam_px - radius_px - 1.0).astype(int), 0)
        high = np.minimum(np.ceil(beam_px + radius_px + 1.0).astype(int), shape[::-1])
        if np.all(high > low):
            x, y = (np.arange(first, last) + 0.5 - at for first, last, at in zip(low, high, beam_px, strict=True))
            disc = np.clip(radius_px - np.hypot(x[None, :], y[:, None]) + 0.5, 0.0, 1.0)
            disc *= setting.flux_s / (np.pi * whole_px**2)
            disc *= self.grid.let_through(to_grid, where + to_grid @ (low - beam_px), disc.shape, tilt_deg)
            light[low[1] : high[1], low[0] : high[0]] += disc
        return self._detected(self._to_raw(light * exposure_s), noise_seed, exposure_s)

    def _narrower(self, radius_nm: float) -> float:
        """A beam of this radius over the probe; of `PictureSettings.flux_s` it has the square of that."""
        return radius_nm / (self.grid.settings.probe_nm / 2.0)

    def lit_s(
        self,
        lit: Lit,
        start_deg: float,
        end_deg: float,
        beam_shift_px: tuple[float, float] = (0.0, 0.0),
        blur_px: float = 0.0,
        scale: float = 1.0,
        length_mm: float = 0.0,
        ellipse: tuple[float, float] | None = None,
        dose_e_A2: float = 0.0,
    ) -> Array:
        """(rows, columns) electrons per second expected on each raw pixel; arguments as for `diffraction`. dose_e_A2:
        that the crystals have had.
        """
        setting, grid, geometry = self.settings, self.grid.settings, self.geometry
        longer = length_mm / geometry.camera_length_mm if length_mm > 0 else 1.0
        if isclose(longer, 1.0, rel_tol=1e-9):
            longer = 1.0
        else:
            geometry = replace(geometry, camera_length_mm=length_mm)
        if ellipse is not None:
            geometry = replace(geometry, distortion_amplitude_percent=ellipse[0], distortion_azimuth_deg=ellipse[1])
        nominal = beam_shift_px == (0.0, 0.0) and blur_px == 0.0 and longer == 1.0
        rate_s = self._background_s if nominal else self._background(beam_shift_px, blur_px, longer)
        dark_s = self._area * setting.constant_s
        rate_s = (rate_s - dark_s) * (max(lit.open, BEHIND_BAR) * scale) + dark_s
        carbon = lit.film * (STRAND_CARBON if grid.film == LACEY else 1.0)
        rings: list[Ring] = [(middle, width, share * carbon) for middle, width, share in CARBON]
        sigma_px = float(np.hypot(setting.spot_sigma_px, blur_px))
        turns = abs(end_deg - start_deg) > TURNS_DEG
        tilt = np.deg2rad((start_deg + end_deg) / 2.0)
        cos, sin = max(float(np.cos(tilt)), 1e-2), abs(float(np.sin(tilt)))
        per_A_px = geometry.camera_length_mm * geometry.wavelength_A / geometry.pixel_size_mm
        for k, of_probe in enumerate(lit.of_probe.tolist()):
            thickness_nm = float(lit.crystals.thickness_nm[k])
            along_nm = min(thickness_nm / cos, float(lit.crystals.width_nm[k]) / max(sin, 1e-3))
            kept = float(np.exp(-along_nm / INELASTIC_NM))
            middle, width, share = DIFFUSE
            rings.append((middle, width, share * of_probe * (1.0 - kept)))
            if lit.crystals.phase[k] == AMORPHOUS:
                solid = of_probe * min(1.0, thickness_nm / AMORPHOUS_NM)
                rings.extend((middle, width, share * solid) for middle, width, share in AMORPHOUS_RINGS)
                continue
            fast_px, slow_px, part = (turning_spots_of if turns else spots_of)(
                self.phases[int(lit.crystals.phase[k])],
                lit.crystals.orientation[k],
                along_nm,
                geometry,
                start_deg,
                end_deg,
                grid.bent_deg,
                setting.axis_out_of_plane_deg + geometry.rotation_axis_tilt_deg,
                grid.diffracting_share,
            )
            counts_s = part * (setting.flux_s * scale * of_probe * kept)
            if setting.half_dose_e_A2:
                d_star = np.hypot(fast_px - geometry.beam_fast_px, slow_px - geometry.beam_slow_px) / per_A_px
                counts_s = counts_s * undamaged(d_star, dose_e_A2, setting)
            seen = counts_s > 1.0
            at = (slow_px[seen] + beam_shift_px[1], fast_px[seen] + beam_shift_px[0])
            add_gaussians(rate_s, self._rows_px, self._columns_px, *at, sigma_px, counts_s[seen])
        rate_s += self._rings_s(rings, geometry, beam_shift_px) * scale
        return rate_s

    def _rings_s(self, rings: list[Ring], geometry: Geometry, beam_shift_px: tuple[float, float]) -> Array:
        """(rows, columns) electrons per second of broad rings, so broad that no ellipse is seen."""
        per_A_px = geometry.camera_length_mm * geometry.wavelength_A / geometry.pixel_size_mm
        seen_as = per_A_px, beam_shift_px
        if self._places_seen[0] != seen_as:
            self._places_seen = seen_as, self._places(geometry, per_A_px * STEP_PER_A, beam_shift_px)
        at = self._places_seen[1]
        places = (np.arange(int(at[[0, 0, -1, -1], [0, -1, 0, -1]].max()) + 1) + 0.5) * STEP_PER_A
        profile = np.zeros(len(places))
        for middle, width, share in rings:
            ring = np.exp(-0.5 * ((places - middle) / width) ** 2)
            whole = float(np.sum(ring * places)) * STEP_PER_A * 2 * np.pi * per_A_px**2
            profile += ring * (share * self.settings.flux_s / whole)
        return np.asarray(self._area * profile[at])

    def _places(self, geometry: Geometry, step_px: float, beam_shift_px: tuple[float, float]) -> NDArray[np.int32]:
        """(rows, columns) how many steps each pixel is away from the beam."""
        x, y = (
            ((edges[:-1] + edges[1:]) / 2 - beam - by) / step_px
            for edges, beam, by in (
                (self._columns_px, geometry.beam_fast_px, beam_shift_px[0]),
                (self._rows_px, geometry.beam_slow_px, beam_shift_px[1]),
            )
        )
        return np.hypot(x[None, :], y[:, None]).astype(np.int32)
