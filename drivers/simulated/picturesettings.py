"""What the simulated pictures look like: the camera, the illumination, the widths of spots and beam.

Apart from `pictures`, which computes them, so that a program that only starts the process in which pictures are made
need not load what computing them needs.
"""

import math
from dataclasses import dataclass

from drivers.turn import Turn

ALL, SNAPSHOTS, NOTHING = RENDERED = ("all", "snapshots", "nothing")
A_PER_NM = 10.0


@dataclass(frozen=True, slots=True)
class PictureSettings:
    """The camera and the illumination. Fluxes are electrons per second, one count each on a perfect pixel.

    rendered: all; or snapshots, with diffraction pictures that have no spots but counts in the right number
        (`cheappictures`); or nothing: pictures are black but for their number.
    shape: rows and columns of a raw picture. wide_cross: whether the two middle rows and columns are 3x wide.
    pixel_response_sigma, response_seed: pixels differ in sensitivity by this relative standard deviation.
    flux_s: primary beam through the selected-area aperture. diffracting_share: the part of it that diffracts as
        kinematic theory says, for the crystal fills a fraction of the aperture, absorbs, and scatters more than
        once; chosen so that strong reflections of 500 nm of mordenite collect a few thousand counts in a frame of
        0.5 s and 0.23 deg. Spots scale with wavelength^2 * thickness / cell volume^2, so other crystals follow.
    blocks_nm: thickness of the perfect blocks in which strong beams lose to the primary one; 0: kinematic.
        scattered_twice: share of the diffracted electrons that are diffracted once more. Both see `manybeams`.
    rocking_sigma_invA, mosaicity_deg: the rocking curve, see `pattern.spots`.
    axis_out_of_plane_deg: how far the tilt axis leans out of the picture towards the source, which no plan and no
        header knows.
    spot_sigma_px, beam_sigma_px: widths of a spot and of the focused primary beam.
    halo: inelastic background around the primary beam, as Gaussians (share of the flux, sigma in px).
    constant_s: background per physical pixel and second. dark_s: false counts with the beam off, likewise.
    aperture_nm: diameter of the selected-area aperture on the specimen; disc_radius_px: its radius in a snapshot
        at full defocus. probe_selects: there is no aperture, and a small probe lights so much of the specimen: what
        diffracts is moved by the beam shift, which moves the disc of a snapshot, and not by the image shift.
    lit_nm: diameter of what the beam lights of the specimen around the aperture, moved by the beam shift; 0: all of it.
    transmission: of the crystal in a snapshot. snapshot: what x and y of the stage are along (fast, slow) of a snapshot
        before its scale: fast of x, fast of y, slow of x, slow of y. disc_follows: whether the disc of a snapshot lies
        where lens and deflectors have moved the beam, or always in the same place.
    half_dose_e_A2, half_dose_power: the beam damages the crystal, and halves a reflection of spacing d (in A) with
        every half_dose_e_A2 * d^half_dose_power electrons per A^2; 0: it does not. Power 1 is the rule that the dose
        which a detail stands is in proportion to its size, 10 MGy per A (Howells et al., J. Electron Spectrosc. 170,
        4-12, 2009), some 2.7 electrons per A^2 for 1 A at 200 kV in organic matter; power 2 a Debye-Waller factor that
        grows with the dose. The flux is flux_s over the aperture's area; it counts while the beam is on the crystal,
        during snapshots and between exposures as well.
    hidden_seed: what nobody but the truth knows of camera, beam and instrument is drawn from it (`hiddencamera`,
        `hiddeninstrument`); -1: nothing is hidden, or it is drawn from the seed of the run. spread_s: electrons per
        pixel and second in the middle of a beam that the operator has spread over the camera. spread_drift: how many
        times as fast as drawn it drifts.
    grid_seed, grid_pitch_nm, grid_bar_nm, crystals_um2, film_unevenness: of the grid that images show, see
        `specimengrid.SpecimenGrid`; a mesh of 400 to the inch.
    magnified: how many times as large images are on this camera as the magnification says, which is told of another
        plane.
    rot90, flipud: how the camera is mounted (`drivers.turn`): its pictures are those of the column turned so. Geometry
        and matrices of the settings are the column's own, before the turn.
    """

    rendered: str = ALL
    shape: tuple[int, int] = (512, 512)
    wide_cross: bool = True
    saturation: int = 11810
    pixel_response_sigma: float = 0.03
    response_seed: int = 0
    flux_s: float = 1.0e7
    diffracting_share: float = 1.0e-3
    blocks_nm: float = 0.0
    scattered_twice: float = 0.0
    rocking_sigma_invA: float = 2.0e-4
    mosaicity_deg: float = 0.08
    axis_out_of_plane_deg: float = 0.0
    spot_sigma_px: float = 0.85
    beam_sigma_px: float = 1.3
    halo: tuple[tuple[float, float], ...] = ((0.03, 9.0), (0.02, 32.0), (0.015, 110.0))
    constant_s: float = 0.2
    dark_s: float = 2.0e-5
    aperture_nm: float = 1500.0
    disc_radius_px: float = 80.0
    probe_selects: bool = False
    lit_nm: float = 0.0
    transmission: float = 0.3
    snapshot: tuple[float, float, float, float] = (1.0, 0.0, 0.0, -1.0)
    disc_follows: bool = False
    half_dose_e_A2: float = 0.0
    half_dose_power: float = 1.0
    hidden_seed: int = -1
    spread_s: float = 400.0
    spread_drift: float = 1.0
    grid_seed: int = 0
    grid_pitch_nm: float = 62_000.0
    grid_bar_nm: float = 25_000.0
    crystals_um2: float = 0.2
    film_unevenness: float = 0.05
    magnified: float = 1.0
    rot90: int = 0
    flipud: bool = False

    @property
    def flux_e_A2_s(self) -> float:
        """Electrons per A^2 and second on the crystal, as the operator left the panel; in the stage's own nm."""
        fast_x, fast_y, slow_x, slow_y = self.snapshot
        area_A2 = math.pi * (A_PER_NM * self.aperture_nm / 2) ** 2 / abs(fast_x * slow_y - fast_y * slow_x)
        return self.flux_s / area_A2

    @property
    def turn(self) -> Turn:
        """How the camera is mounted."""
        return Turn(round(self.rot90) % 4, self.flipud)

    @property
    def physical_px(self) -> tuple[int, int]:
        """Rows and columns of equal pixels: a wide cross adds two to each side of the middle."""
        rows, columns = self.shape
        more = 4 if self.wide_cross else 0
        return rows + more, columns + more
