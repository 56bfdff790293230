"""What is in the beam of one pattern, and how long it is exposed so that the rules give it the label that was drawn.

Exposures are electrons of the primary beam, over three orders of magnitude. Of those at which the rules say what is
wanted one is taken by lot; where there is none, the crystal is turned anew, and after some turns another is taken.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from drivers.facts import Geometry
from drivers.simulated.pattern import distortion_matrix
from protocols.screening.generation.background import GLASSY_ICE, Radial, carbon, ice
from protocols.screening.generation.cameras import Camera
from protocols.screening.generation.rules import APART_SIGMA, SECOND_DEG, Counted, TrueSpots, counted
from protocols.screening.generation.shadows import BEAM_STOP, CLIPPED, DEAD, bar_edge, beam_stop, clipped, dead_pixels
from protocols.screening.generation.specimen import FRAME_PX, PATTERNS_EACH, VOLUMES_A3, Specimen, specimen
from protocols.screening.generation.spotkinds import (
    NO_SPOTS,
    SpotList,
    bent,
    crystal_spots,
    grains,
    joined,
    random_turn,
    streaked,
    turned_away,
    zone_turn,
)
from protocols.screening.labels import Kind, Label, Verdict

Array = NDArray[np.float64]
Picture = NDArray[np.float32]
Mask = NDArray[np.bool_]

ELECTRONS = np.logspace(4.3, 7.3, 25)
"""Of the primary beam in one exposure."""
TURNS, OTHERS, MOST_TRIES = 10, 1_000_000, 600
"""So many turns of a specimen are tried; then those with numbers from OTHERS on, which nobody else has."""
FEWEST_IN_RINGS = 25
"""Visible spots of spotty rings; with fewer they are smooth."""
FEWEST_SMEARED = 12
"""Spots of a bent or streaked crystal that were visible if it was not."""
POWDER_A3 = (150.0, 800.0)
"""Powders have cells no larger than something between these: the rings of larger ones run together."""
PIXEL_MM = 0.055


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """All that a camera needs: spots and background as shares of the beam, electrons, shadows, and the truth.

    shade: (rows, columns) transmission, None where nothing is before the camera.
    """

    geometry: Geometry
    per_px_A: float
    radial: Radial
    spots: SpotList
    sigma_px: float
    electrons: float
    shade: Picture | None
    dead: Mask | None
    label: Label


def scene(
    seed: int,
    number: int,
    kind: Kind,
    verdict: Verdict,
    camera: Camera,
    shape: tuple[int, int],
    rng: np.random.Generator,
) -> Scene:
    """The scene of pattern `number`, of this kind. shape: rows and columns."""
    crystal = number // PATTERNS_EACH
    powder = kind in (Kind.SPOTTY_RINGS, Kind.POWDER_RINGS)
    for attempt in range(MOST_TRIES):
        other = attempt // TURNS
        if other or powder:
            largest_A3 = rng.uniform(*POWDER_A3) if powder else VOLUMES_A3[1]
            of = specimen(seed, OTHERS + number * (MOST_TRIES // TURNS) + other, largest_A3)
        else:
            of = specimen(seed, crystal)
        if found := _trial(of, kind, verdict, camera, shape, crystal, rng):
            return found
    raise RuntimeError(f"pattern {number} of seed {seed}: no {verdict} {kind} in {MOST_TRIES} tries")


def _trial(
    of: Specimen,
    kind: Kind,
    verdict: Verdict,
    camera: Camera,
    shape: tuple[int, int],
    crystal: int,
    rng: np.random.Generator,
) -> Scene | None:
    size = min(shape) / FRAME_PX
    geometry, per_px_A = _geometry(of, shape, rng)
    beam = geometry.beam_fast_px, geometry.beam_slow_px
    sigma_px = max(0.5, of.spot_sigma * size * rng.uniform(0.85, 1.2))
    radial = _background(of, kind, geometry, shape, size, per_px_A, rng)
    shade = _shade(kind, shape, beam, rng)
    dead = dead_pixels(shape, rng) if rng.random() < DEAD else None
    points, drawn = _spots(of, kind, verdict, geometry, size, rng)
    true = _true(points, geometry, radial, sigma_px, shape, shade, dead)
    at = counted(true, ELECTRONS, camera.dark, camera.readout)
    possible = np.flatnonzero(_as_wanted(kind, verdict, at))
    if not len(possible):
        return None
    which = int(rng.choice(possible))
    pointlike = kind not in (Kind.STREAKS, Kind.BENT, Kind.SPOTTY_RINGS)
    d_min_A = float(at.d_min_A[which])
    label = Label(
        kind, verdict, d_min_A if pointlike and np.isfinite(d_min_A) else None, int(at.lattices[which]), crystal
    )
    electrons = 0.0 if kind is Kind.BLANK else float(ELECTRONS[which])
    return Scene(geometry, per_px_A, radial, drawn, sigma_px, electrons, shade, dead, label)


def _as_wanted(kind: Kind, verdict: Verdict, at: Counted) -> Mask:
    """(e,) exposures at which the rules say this."""
    wanted = at.few
    if verdict is Verdict.GOOD:
        wanted = at.good
    elif kind is Kind.ONE_LATTICE:
        wanted = at.between & (at.lattices == 1)
    elif kind is Kind.SEVERAL_CRYSTALS:
        wanted = at.several if verdict is Verdict.BAD else at.between & (at.lattices > 1)
    elif kind is Kind.TOO_FEW:
        wanted = at.few & (at.visible > 0)
    elif kind is Kind.SPOTTY_RINGS:
        wanted = at.visible >= FEWEST_IN_RINGS
    elif kind in (Kind.STREAKS, Kind.BENT):
        wanted = at.visible >= FEWEST_SMEARED
    return np.asarray(wanted)


def _geometry(of: Specimen, shape: tuple[int, int], rng: np.random.Generator) -> tuple[Geometry, float]:
    """Camera length, ellipse and where the beam is: mostly near the middle, one in eight far off."""
    rows, columns = shape
    per_px_A = of.per_frame_A / min(shape)
    size = min(shape) / FRAME_PX
    off = 10 * size * rng.standard_normal(2) if rng.random() < 0.88 else 150 * size * rng.uniform(-1, 1, 2)
    return Geometry(
        wavelength_A=of.wavelength_A,
        camera_length_mm=PIXEL_MM / (of.wavelength_A * per_px_A),
        pixel_size_mm=PIXEL_MM,
        rotation_axis_deg=of.axis_deg,
        beam_fast_px=float(columns / 2 + off[0]),
        beam_slow_px=float(rows / 2 + off[1]),
        distortion_amplitude_percent=of.ellipse_percent,
        distortion_azimuth_deg=of.ellipse_deg,
    ), per_px_A


def _background(
    of: Specimen,
    kind: Kind,
    geometry: Geometry,
    shape: tuple[int, int],
    size: float,
    per_px_A: float,
    rng: np.random.Generator,
) -> Radial:
    def between(low: float, high: float) -> float:
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))

    rows, columns = shape
    farthest = np.hypot(
        max(geometry.beam_fast_px, columns - geometry.beam_fast_px),
        max(geometry.beam_slow_px, rows - geometry.beam_slow_px),
    )
    radial = Radial(float(farthest) * 1.06, 1 / per_px_A)
    stopped = between(1e-4, 0.05) if kind is Kind.GRID_BAR else 1.0
    flat_px = rng.uniform(1, 7) * size if rng.random() < 0.3 else 0.0
    radial.beam(stopped, between(1.2, 3.0) * size, flat_px)
    thin = kind is Kind.VACUUM
    radial.halo(between(0.005, 0.03) if thin else between(0.02, 0.3), between(5, 18) * size)
    radial.halo(between(0.001, 0.01) if thin else between(0.01, 0.15), between(30, 110) * size)
    film = between(0.05, 0.4) if kind is Kind.AMORPHOUS else between(0.003, 0.05)
    glassy = rng.random() < (0.4 if kind is Kind.AMORPHOUS else 0.15)
    if not thin and (kind in (Kind.AMORPHOUS, Kind.EMPTY_FILM) or rng.random() < 0.75):
        radial.rings(np.array(GLASSY_ICE) if glassy else carbon(film, rng), film)
    if kind is Kind.ICE_RINGS:
        radial.rings(ice(between(0.002, 0.008), rng), between(0.02, 0.3))
    elif kind is Kind.ONE_LATTICE and rng.random() < 0.06:
        radial.rings(ice(between(0.003, 0.01), rng), between(0.002, 0.01))
    if kind is Kind.POWDER_RINGS:
        d_star = np.linalg.norm(of.crystal.hkl @ of.crystal.ub.T, axis=1)
        radial.powder(d_star, of.crystal.intensity / d_star, between(0.002, 0.015), between(0.02, 0.3))
    return radial


def _shade(kind: Kind, shape: tuple[int, int], beam: tuple[float, float], rng: np.random.Generator) -> Picture | None:
    shade: Picture | None = None
    if kind is Kind.GRID_BAR and rng.random() < 0.7:
        shade = bar_edge(shape, beam, rng)
    for share, shadow in ((BEAM_STOP, beam_stop), (CLIPPED, clipped)):
        if rng.random() < share:
            more = shadow(shape, beam, rng)
            shade = more if shade is None else shade * more
    return shade


def _spots(
    of: Specimen, kind: Kind, verdict: Verdict, geometry: Geometry, size: float, rng: np.random.Generator
) -> tuple[SpotList, SpotList]:
    """Spots as points, which are counted, and spots as they are drawn."""

    def between(low: float, high: float) -> float:
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))

    rocking = between(0.0007, 0.006)
    if kind is Kind.SPOTTY_RINGS:
        d_star = np.linalg.norm(of.crystal.hkl @ of.crystal.ub.T, axis=1)
        wanted = between(80, 1500)
        number = int(np.clip(wanted / float((2 * rocking / d_star).sum()), 15, 400))
        points = grains(of, geometry, number, between(0.02, 0.3), rocking, rng)
        return points, points
    if kind in (Kind.GRID_BAR, Kind.ICE_RINGS):
        if rng.random() < 0.5:
            return NO_SPOTS, NO_SPOTS
    elif kind not in (Kind.ONE_LATTICE, Kind.SEVERAL_CRYSTALS, Kind.TOO_FEW, Kind.STREAKS, Kind.BENT):
        return NO_SPOTS, NO_SPOTS
    strength = between(0.004, 0.2)
    if kind in (Kind.TOO_FEW, Kind.GRID_BAR, Kind.ICE_RINGS):
        strength = between(0.0003, 0.05)
    mosaicity = between(0.02, 0.3)
    turn_deg = 0.0 if rng.random() < 0.7 else rng.uniform(0.1, 0.6)
    if kind is Kind.BENT:
        turn_deg = rng.uniform(0.5, 3.0)

    def of_crystal(orientation: Array, strength: float, lattice: int = 0) -> SpotList:
        return crystal_spots(
            of, geometry, orientation, strength=strength, rocking_per_A=rocking, mosaicity_deg=mosaicity,
            turn_deg=turn_deg, lattice=lattice,
        )  # fmt: skip

    orientation = random_turn(rng) if rng.random() < 0.65 else zone_turn(of, 3.0, rng)
    first = of_crystal(orientation, strength)
    if kind is Kind.SEVERAL_CRYSTALS:
        both = [first]
        more = 1 if verdict is Verdict.BORDERLINE else 1 + int(rng.choice(4, p=[0.55, 0.25, 0.12, 0.08]))
        for lattice in range(1, more + 1):
            if verdict is Verdict.BORDERLINE:
                weak = between(0.005, 0.3)
                turned = (
                    random_turn(rng) if rng.random() < 0.7 else turned_away(orientation, rng.uniform(0.4, 1.9), rng)
                )
            else:
                weak = between(0.12, 1.0)
                near = rng.random() < 0.3
                turned = turned_away(orientation, rng.uniform(SECOND_DEG, 15.0), rng) if near else random_turn(rng)
            both.append(of_crystal(turned, strength * weak, lattice))
        points = joined(both)
        return points, points
    if kind is Kind.BENT:
        return first, bent(first, geometry, rng.uniform(4.0, 14.0), rng)
    if kind is Kind.STREAKS:
        along = rng.uniform(0, np.pi)
        direction = float(np.cos(along)), float(np.sin(along))
        return first, streaked(first, direction, rng.uniform(12, 70) * size, rng.uniform(0.4, 0.9), rng)
    return first, first


def _true(
    spots: SpotList,
    geometry: Geometry,
    radial: Radial,
    sigma_px: float,
    shape: tuple[int, int],
    shade: Picture | None,
    dead: Mask | None,
) -> TrueSpots:
    """Those in the frame, before nothing that hides them, and what is below them."""
    rows, columns = shape
    inside = (spots.fast_px >= 0) & (spots.fast_px < columns) & (spots.slow_px >= 0) & (spots.slow_px < rows)
    spots = spots.only(inside)
    where = spots.slow_px.astype(np.int64), spots.fast_px.astype(np.int64)
    open_share = np.ones(len(spots.share)) if shade is None else shade[where].astype(np.float64)
    seen = open_share > 0.5
    if dead is not None:
        seen &= ~dead[where]
    spots, open_share = spots.only(seen), open_share[seen]
    away = np.stack([spots.fast_px - geometry.beam_fast_px, spots.slow_px - geometry.beam_slow_px])
    ideal = np.hypot(*(np.linalg.inv(distortion_matrix(geometry)) @ away))
    strongest, lattice = _strongest_first(spots)
    own = np.ones(len(lattice), dtype=bool)
    if (lattice > 0).any() and strongest.any():
        places = np.stack([spots.fast_px, spots.slow_px], axis=1)
        distance, _ = cKDTree(places[strongest]).query(places[~strongest])
        own[~strongest] = distance >= APART_SIGMA * sigma_px
    return TrueSpots(
        spots.share * open_share, radial.below(ideal) * open_share, spots.d_star_per_A, lattice, own, sigma_px
    )


def _strongest_first(spots: SpotList) -> tuple[Mask, NDArray[np.int64]]:
    """Which spots are of the strongest crystal, and the numbers of all crystals, with that as 0."""
    if not len(spots.share):
        return np.zeros(0, dtype=bool), spots.lattice
    light = np.bincount(spots.lattice, spots.share)
    rank = np.empty(len(light), dtype=np.int64)
    rank[np.argsort(-light, kind="stable")] = np.arange(len(light))
    lattice = rank[spots.lattice]
    return lattice == 0, lattice
