"""The rotation axis of the stage from one cRED run of any crystal: its direction in the picture, its hand, its lean.

First the direction, of which nothing need be known: only about the right axis do reflections of one lattice, turned
back by the angles at which they were seen, lie at repeated distances, so the differences between near ones heap up in
few places (as edtools and PETS look for sharp projections, but in three dimensions). Then the lattice, found without a
cell, and with it a fit of lattice, axis, lean, beam and ellipse together (`protocols.lattice.rotationfit`).

The hand: an axis turned round (by 180 deg) turns angles round, and on a flat Ewald sphere the mirrored crystal would
look the same. Only the curvature tells, which at 2 A is 0.003 1/A at 200 kV, ten times what angles are uncertain. So
both hands are fitted, and it is told when FEWEST_BEYOND reflections lie beyond 2 A and the better fit is better by
HAND_SIGMAS standard deviations of the difference, reflection by reflection. Where it is not told the direction is one
of two, and the one nearer to what the instrument says is given.

A camera that is mounted mirrored turns the hand over with the picture: both are of this camera as it stands. Figures
are in docs/benchmarks.md, by benchmarks/rotation_axis.py.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError
from protocols.lattice.cell import Cell
from protocols.lattice.rotationfit import UNKNOWN_ELLIPSE, Observed, RotationFit, fit_rotation, pulls_of
from protocols.lattice.rotationgeometry import RotationGeometry
from protocols.lattice.search import find_lattice

Array = NDArray[np.float64]

FEWEST = 30
"""Whole reflections of which an axis can be said."""
SMALLEST_RANGE_DEG = 10.0
"""Over less the axis and the orientation of the crystal are hardly told apart."""
FEWEST_BEYOND, BEYOND_A = 30, 2.0
"""So many reflections of so small a spacing tell the hand."""
HAND_SIGMAS = 4.0
LARGEST_SQUARE = 25.0
"""Of a deviation in standard deviations, so that no single one decides."""
COARSE_STEP_DEG, FINE_STEP_DEG = 1.0, 0.2
COARSE_VOXEL_PER_A, FINE_VOXEL_PER_A = 0.012, 0.006
"""Sides of the boxes in which differences heap up; an axis that is COARSE_STEP_DEG off smears by as much."""
PAIRS = 8000
"""So many of the shortest differences are looked at."""
SHARP_PER_A, SHARP_FEWEST, SHARP_POINTS = 0.6, 200, 500
"""Of reflections up to so far from the beam, farther ones where these are few, and the strongest so many."""
TRIED = 4
"""Directions from which a lattice is looked for, the sharpest first."""
APART_DEG = 6.0
BEAM_OFF_PX = tuple((2.5 * x, 2.5 * y) for x in (-1, 0, 1) for y in (-1, 0, 1) if x or y)
"""Where else the beam may be: from 2 px off on, a crystal of 20 A shows no lattice, or a wrong one."""
LARGEST_NOISE_PX, LARGEST_NOISE_DEG = 0.4, 0.2
"""Reflections that deviate by more from a lattice are not of it."""
LEAST_SHARE = 0.5
"""Of the reflections must be of the lattice."""


@dataclass(frozen=True, slots=True, eq=False)
class RotationAxis:
    """The axis as one run tells it.

    rotation_axis_deg: as `drivers.facts.Geometry` has it, -180 to 180; its sigma. out_of_plane_deg: > 0 leans towards
    the source. hand_told: whether the hand is told; else the axis may be the one turned round by 180 deg, and with it
    the sign of out_of_plane_deg. hand_sigmas: by how much the one hand is better; infinite where the other explains
    nothing. reflections: fitted; beyond: those of them beyond BEYOND_A. share: of the whole reflections of the run that
    are of the lattice. beam_*: fitted. fit: all of it.
    """

    rotation_axis_deg: float
    sigma_deg: float
    out_of_plane_deg: float
    out_of_plane_sigma_deg: float
    hand_told: bool
    hand_sigmas: float
    reflections: int
    beyond: int
    share: float
    beam_fast_px: float
    beam_slow_px: float
    beam_sigma_px: float
    cell: Cell
    fit: RotationFit


def rotation_axis(
    observed: Observed,
    intensity: Array,
    geometry: RotationGeometry,
    axis_known_to_deg: float = 180.0,
    ellipse_known_to: float = UNKNOWN_ELLIPSE,
    length_known_to: float = 0.0,
) -> RotationAxis:
    """The axis from (n,) whole reflections of a rotation and their intensities.

    geometry: what is known; of the axis in it only that it is right, or wrong by 180 deg, to `axis_known_to_deg`. The
    beam may be a few px off. ellipse_known_to: standard deviation of its strain and shear. By default the ellipse is
    fitted, which costs most of the precision: over 60 deg a shear of 0.001 is nearly a turn of the axis by 0.03 deg.
    length_known_to: of the camera length, a share of it; 0 where it is right. Off by 6 %, it pretends a lean of 0.03
    deg. DataError, with the remedy, where the reflections tell no axis.
    """
    range_deg = float(np.ptp(observed.angle_deg)) if len(observed) else 0.0
    if len(observed) < FEWEST or range_deg < SMALLEST_RANGE_DEG:
        raise DataError(
            f"rotation axis: {len(observed)} whole reflections over {range_deg:.1f} deg; at least {FEWEST} over "
            f"{SMALLEST_RANGE_DEG:g} deg are needed. Nothing was changed. Record a longer run of a better crystal"
        )
    best: list[RotationFit] = []
    directions = _directions(observed, intensity, geometry, axis_known_to_deg)
    tried = [(axis_deg, (0.0, 0.0)) for axis_deg in directions]
    tried += [(directions[0], beam_off_px) for beam_off_px in BEAM_OFF_PX]
    for axis_deg, (fast_px, slow_px) in tried:
        start = replace(
            geometry,
            axis_deg=axis_deg,
            out_of_plane_deg=0.0,
            beam_fast_px=geometry.beam_fast_px + fast_px,
            beam_slow_px=geometry.beam_slow_px + slow_px,
        )
        fits = _both_hands(observed, start, ellipse_known_to)
        if fits and _credible(fits[0]) and (not best or fits[0].used.sum() > best[0].used.sum()):
            best = fits
        if best and best[0].used.mean() > LEAST_SHARE:
            break
    if not best or best[0].used.mean() < LEAST_SHARE:
        part = f"only {best[0].used.mean():.0%} are of one lattice" if best else "no lattice was found"
        raise DataError(
            f"rotation axis: of {len(observed)} reflections {part}; nothing was changed. Record a run of another, "
            "single crystal, and check camera length, beam centre and the stage's angles"
        )
    return _told(observed, geometry, best, ellipse_known_to, length_known_to)


def _credible(fit: RotationFit) -> bool:
    """Whether the reflections agree with the lattice, and not any reflections with any lattice."""
    return fit.noise[0] < LARGEST_NOISE_PX and fit.noise[1] < LARGEST_NOISE_DEG


def _both_hands(observed: Observed, start: RotationGeometry, ellipse_known_to: float) -> list[RotationFit]:
    """Fits that begin with this axis and with the opposite one, the better first; none, or one, where that fails."""
    starts = [start, replace(start, axis_deg=start.axis_deg + 180)]
    points = [observed.crystal(each) for each in starts]
    found = [find_lattice(each) for each in points]
    best = max((each for each in found if each is not None), key=lambda each: each.share, default=None)
    if best is None:
        return []
    fits = []
    for each, its_points in zip(starts, points, strict=True):
        # The mirrored crystal has the same indices.
        ub: Array = np.asarray(np.linalg.lstsq(best.hkl[best.indexed], its_points[best.indexed])[0].T, np.float64)
        fit = fit_rotation(observed, each, ub, ellipse_known_to)
        fits += [] if fit is None else [fit]
    if len(fits) == 2 and _difference(observed, fits[0], fits[1]) < 0:
        fits.reverse()
    return fits


def _directions(observed: Observed, intensity: Array, geometry: RotationGeometry, known_to_deg: float) -> list[float]:
    """Directions of the axis about which reflections make a lattice, the likeliest first, modulo 180 deg."""
    from scipy.spatial.distance import pdist

    q = np.linalg.norm(geometry.lab(observed.fast_px, observed.slow_px), axis=1)
    near = np.flatnonzero(q <= max(SHARP_PER_A, float(np.sort(q)[:SHARP_FEWEST][-1])))
    some = near[np.argsort(-intensity[near])[:SHARP_POINTS]]
    fast, slow, angle = observed.fast_px[some], observed.slow_px[some], observed.angle_deg[some]

    apart = pdist(geometry.crystal(fast, slow, angle))
    longest = float(np.partition(apart, min(PAIRS, len(apart) - 1))[min(PAIRS, len(apart) - 1)])

    def sharp(axis_deg: float, voxel_per_A: float) -> float:
        return _sharpness(replace(geometry, axis_deg=axis_deg).crystal(fast, slow, angle), longest, voxel_per_A)

    reach = min(known_to_deg, 90.0)
    trials = geometry.axis_deg + np.arange(-reach, reach + COARSE_STEP_DEG / 2, COARSE_STEP_DEG)
    values = np.array([sharp(trial, COARSE_VOXEL_PER_A) for trial in trials])
    found: list[float] = []
    for number in np.argsort(-values).tolist():
        others = [abs((trials[number] - other + 90) % 180 - 90) for other in found]
        if min(others, default=180.0) > APART_DEG:
            found.append(float(trials[number]))
        if len(found) == TRIED:
            break
    return [_finer(lambda axis_deg: sharp(axis_deg, FINE_VOXEL_PER_A), direction) for direction in found]


def _finer(sharp: Callable[[float], float], direction: float) -> float:
    steps = np.arange(-1.2 * COARSE_STEP_DEG, 1.21 * COARSE_STEP_DEG, FINE_STEP_DEG)
    return float(direction + steps[int(np.argmax([sharp(direction + step) for step in steps]))])


def _sharpness(points: Array, longest_per_A: float, voxel_per_A: float) -> float:
    """How many pairs of differences between near points fall into one box, per difference."""
    from scipy.spatial import cKDTree

    pairs = cKDTree(points).query_pairs(longest_per_A, output_type="ndarray")
    if len(pairs) < FEWEST:
        return 0.0
    apart = points[pairs[:, 0]] - points[pairs[:, 1]]
    apart *= np.where(apart @ np.array([0.6, 0.64, 0.48]) < 0, -1.0, 1.0)[:, None]
    box = np.floor(apart / voxel_per_A).astype(np.int64) + 1000
    _, count = np.unique((box[:, 0] * 2000 + box[:, 1]) * 2000 + box[:, 2], return_counts=True)
    return float((count * (count - 1)).sum() / len(pairs))


def _told(
    observed: Observed,
    known: RotationGeometry,
    fits: list[RotationFit],
    ellipse_known_to: float,
    length_known_to: float,
) -> RotationAxis:
    """The better of the hands; where it is not told, the one that is nearer to what is known.

    The camera length is not fitted before: a wrong hand would explain itself by a wrong one.
    """
    best = fits[0]
    sigmas = _difference(observed, *fits) if len(fits) == 2 else math.inf
    spacing_A = 1 / np.linalg.norm(best.hkl[best.used] @ best.ub.T, axis=1)
    beyond = int(np.count_nonzero(spacing_A < BEYOND_A))
    is_told = beyond >= FEWEST_BEYOND and sigmas >= HAND_SIGMAS
    if not is_told:
        best = min(fits, key=lambda fit: abs((fit.geometry.axis_deg - known.axis_deg + 180) % 360 - 180))
    if length_known_to > 0:
        start = replace(best.geometry, strain=known.strain, shear=known.shear)
        best = fit_rotation(observed, start, best.ub, ellipse_known_to, length_known_to) or best
    return RotationAxis(
        rotation_axis_deg=(best.geometry.axis_deg + 180) % 360 - 180,
        sigma_deg=best.sigma("axis_deg"),
        out_of_plane_deg=best.geometry.out_of_plane_deg,
        out_of_plane_sigma_deg=best.sigma("out_of_plane_deg"),
        hand_told=is_told,
        hand_sigmas=sigmas,
        reflections=int(best.used.sum()),
        beyond=beyond,
        share=float(best.used.mean()),
        beam_fast_px=best.geometry.beam_fast_px,
        beam_slow_px=best.geometry.beam_slow_px,
        beam_sigma_px=max(best.sigma("beam_fast_px"), best.sigma("beam_slow_px")),
        cell=Cell.from_reciprocal_metric(best.ub.T @ best.ub),
        fit=best,
    )


def _difference(observed: Observed, one: RotationFit, other: RotationFit) -> float:
    """By how many standard deviations `one` explains the reflections better, each compared with itself.

    Both are judged by the smaller noise, for a wrong hand explains itself by noise.
    """
    places, angles, place_factor, angle_factor = (min(pair) for pair in zip(one.noise, other.noise, strict=True))
    noise = places, angles, place_factor, angle_factor
    squares = [
        np.minimum(pulls_of(fit, observed, noise) ** 2, LARGEST_SQUARE).sum(axis=1)[one.used | other.used]
        for fit in (one, other)
    ]
    gained = squares[1] - squares[0]
    return float(gained.sum() / max(gained.std() * math.sqrt(len(gained)), 1e-9))
