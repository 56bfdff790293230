"""A crystal's lattice from the reflections of a rotation so far, and whether it is determined, or why not.

A lattice is looked for without knowledge (`protocols.lattice.search`), or goes on from the one before; it is fitted
with the geometry (`protocols.lattice.rotationfit`), and then doubted: may chance have made it; do the reflections that
are seen generate it, or one of half or a third of its volume; do those that it leaves out generate a larger one; are
its numbers known well enough. Where a doubt is left it is not determined, and the doubt is said.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from protocols.lattice.cell import Cell
from protocols.lattice.rotationfit import Observed, RotationFit, fit_rotation
from protocols.lattice.rotationgeometry import RotationGeometry
from protocols.lattice.search import LONGEST_A, find_lattice, reduced_ub
from protocols.live.cellsigma import CellSigma, cell_sigma

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]

FEWEST = 10
"""Reflections of a lattice that is said."""
FEWEST_FOR_STARTS = 30
"""With fewer no other axis or beam is tried: nearly any of them would explain so few."""
CHANCE_DIGITS = 8.0
"""Wrong lattices that index as much are rarer than one in 10 to the power of that."""
BOUND = 4
"""So many reflections are spent to fix lattice and geometry; the others must agree by themselves."""
LEAST_SHARE = 0.3
"""Of all reflections. A third of wrong spots is more than half of the reflections, for no two of them join to one."""
GEOMETRY_SIGMAS = 4.0
"""No instrument is farther from what is told, in its standard deviations: it is a wrong lattice that wants it so."""
GOOD_SHARE = 0.85
"""Where the lattice before has so many of the reflections, none is looked for."""
LARGEST_NOISE_PX, LARGEST_NOISE_DEG = 0.4, 0.2
"""Reflections that deviate by more from a lattice are not of it."""
RATIO_KNOWN_TO, ANGLE_KNOWN_TO_DEG = 0.01, 1.0
"""Standard deviations of axial ratios and angles of a lattice that is determined; they are told with it."""
OUTSIDE = 3
"""Fewer reflections outside of a part of the lattice that holds all the others may be wrong ones."""
PHASE = 0.08
"""How near to a whole number the phases of a reflection are that a larger cell would explain."""
LARGER_SHARE, LARGER_FEWEST = 0.04, 5
"""Of all reflections, explained by a cell that is larger by 2 or 3 and not by this one: then it is tried."""
GAINED = 0.3
"""Of the reflections that a lattice leaves out a larger cell must explain so many. A second crystal's lie now and then
on thirds and halves of the first one's."""
FEWER_SHARE, FEWER = 0.04, 2
"""Of two lattices that explain as many reflections, within these, the one of the smaller cell is taken."""
AXES_OFF_DEG = (-1.5, 1.5, -3.0, 3.0)
BEAM_OFF_PX = 2.5
SLOW_TIMES, PART_DEG = 3.0, 0.15
"""A reflection that passes so many times slower than one at right angles to the axis may be a part of one, which is as
far from its middle as that, times as many."""
SMALL_ANGLE_DEG = 10.0
"""A wrong axis does little harm to reflections over so small a range: in it other starts look for the lattice."""


@dataclass(frozen=True, slots=True)
class GeometryKnown:
    """How well an instrument is known before a run, standard deviations.

    camera_length, ellipse: relative. What a file of calibrations says better is given so.
    """

    axis_deg: float = 1.5
    out_of_plane_deg: float = 0.5
    beam_px: float = 1.5
    ellipse: float = 0.0005
    camera_length: float = 0.02

    def fit(self, observed: Observed, geometry: RotationGeometry, ub: Array) -> RotationFit | None:
        """Lattice and geometry to these, with `geometry` as what is told."""
        widths = (self.axis_deg, self.out_of_plane_deg, self.beam_px, self.beam_px)
        return fit_rotation(observed, geometry, ub, self.ellipse, self.camera_length, widths)


@dataclass(frozen=True, slots=True, eq=False)
class FoundCrystal:
    """A lattice with its fit. doubts: why it may be another lattice, in words. vague: whether its numbers are."""

    fit: RotationFit
    cell: Cell
    sigma: CellSigma
    doubts: tuple[str, ...]

    @property
    def vague(self) -> bool:
        """Whether its numbers are known so badly that no lattice is told by them."""
        return self.sigma.ratio > RATIO_KNOWN_TO or float(self.sigma.angles_deg.max()) > ANGLE_KNOWN_TO_DEG

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is not determined, in words; empty when it is."""
        words = f"axial ratios are known to {self.sigma.ratio:.1%}, angles to {self.sigma.angles_deg.max():.1f} deg"
        return (*self.doubts, words) if self.vague else self.doubts

    @property
    def determined(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.reasons

    @property
    def share(self) -> float:
        """Of all reflections that are of it."""
        return float(self.fit.used.mean())


def find_crystal(
    observed: Observed,
    geometry: RotationGeometry,
    known: GeometryKnown,
    before: RotationFit | None = None,
) -> FoundCrystal | None:
    """The lattice of most of the reflections; None where none is found. 0.4 to 1 s, 3 to 5 where nothing fits.

    geometry: as told. before: the fit to fewer reflections of the same rotation, which saves the search.
    """
    best: FoundCrystal | None = None
    if len(observed) < FEWEST:
        return None
    observed = less_of_slow(observed, geometry)
    for number, (start, ub) in enumerate(_starts(observed, geometry, before)):
        fit = _with_start(observed, geometry, known, start, ub)
        if fit is None:
            continue
        found = judged(observed, _generated(observed, geometry, known, fit), geometry, known)
        if best is None or _better(found, best):
            best = found
        if not best.doubts and (best.share > GOOD_SHARE or number > 0 or before is None):
            break
    return best


def less_of_slow(observed: Observed, geometry: RotationGeometry) -> Observed:
    """The same with larger uncertainties of the angles of reflections that pass the sphere slowly.

    Beside the axis a passage takes many frames; a weak one is seen in some of them, and comes as several reflections
    whose angles are those of its parts and not of its middle.
    """
    lab, axis = geometry.lab(observed.fast_px, observed.slow_px), geometry.axis
    moving = np.abs(axis[0] * lab[:, 1] - axis[1] * lab[:, 0])
    times = np.linalg.norm(lab, axis=1) / np.maximum(moving, 1e-6)
    part_deg = np.where(times > SLOW_TIMES, PART_DEG * times, 0.0)
    return replace(observed, angle_sigma_deg=np.hypot(observed.angle_sigma_deg, part_deg))


def _starts(
    observed: Observed, geometry: RotationGeometry, before: RotationFit | None
) -> Iterator[tuple[RotationGeometry, Array]]:
    """Pairs of a geometry and a lattice to begin with, the likeliest first; each is looked for when it is asked for."""
    if before is not None:
        yield before.geometry, before.ub
    lattice = find_lattice(observed.crystal(geometry))
    if lattice is not None:
        yield geometry, lattice.ub
    if len(observed) < FEWEST_FOR_STARTS:
        return
    near = np.abs(observed.angle_deg - np.median(observed.angle_deg)) < SMALL_ANGLE_DEG / 2
    few = _some(observed, near) if near.sum() >= 3 * FEWEST else observed
    tried = [replace(geometry, axis_deg=geometry.axis_deg + off) for off in AXES_OFF_DEG]
    tried += [
        replace(geometry, beam_fast_px=geometry.beam_fast_px + x, beam_slow_px=geometry.beam_slow_px + y)
        for x, y in ((BEAM_OFF_PX, 0), (-BEAM_OFF_PX, 0), (0, BEAM_OFF_PX), (0, -BEAM_OFF_PX))
    ]
    for each in tried:
        lattice = find_lattice(few.crystal(each))
        if lattice is not None:
            yield each, lattice.ub


def _some(observed: Observed, which: Mask) -> Observed:
    return Observed(*(getattr(observed, name)[which] for name in Observed.__dataclass_fields__))


def _with_start(
    observed: Observed, geometry: RotationGeometry, known: GeometryKnown, start: RotationGeometry, ub: Array
) -> RotationFit | None:
    """The fit from a start that may lie off what is told; then once more with what is told as that."""
    fit = known.fit(observed, start, ub)
    if fit is None or start == geometry:
        return fit
    return fit_from(observed, geometry, known, fit)


def fit_from(
    observed: Observed, geometry: RotationGeometry, known: GeometryKnown, fit: RotationFit
) -> RotationFit | None:
    """The same lattice fitted anew, where the geometry that is told is not the one that the fit began with."""
    widths = (known.axis_deg, known.out_of_plane_deg, known.beam_px, known.beam_px)
    return fit_rotation(observed, fit.geometry, fit.ub, known.ellipse, known.camera_length, widths, believed=geometry)


def _better(one: FoundCrystal, other: FoundCrystal) -> bool:
    if bool(one.doubts) != bool(other.doubts):
        return not one.doubts
    mine, others = int(one.fit.used.sum()), int(other.fit.used.sum())
    if abs(mine - others) > FEWER_SHARE * max(mine, others) + FEWER:
        return mine > others
    return one.cell.volume_A3 < 0.9 * other.cell.volume_A3


def _generated(observed: Observed, geometry: RotationGeometry, known: GeometryKnown, fit: RotationFit) -> RotationFit:
    """The fit with the lattice that the reflections generate: of half or a third of the volume, or of more of it."""
    for _ in range(4):
        other, least = _smaller(observed, fit), int(fit.used.sum()) - OUTSIDE
        if other is None:
            other, least = _larger(observed, fit), int(fit.used.sum() + GAINED * (~fit.used).sum())
        if other is None:
            return fit
        refitted = fit_from(observed, geometry, known, replace(fit, ub=reduced_ub(other)))
        if refitted is None or refitted.used.sum() < least:
            return fit
        fit = refitted
    return fit


def _parts(prime: int) -> list[Indices]:
    """Vectors v: the reflections with v . h = 0 (mod prime) are a part of the lattice, one of these for each v."""
    found: list[Indices] = []
    for vector in product(range(prime), repeat=3):
        first = next((x for x in vector if x), 0)
        if first == 1:
            found.append(np.array(vector, dtype=np.int64))
    return found


PARTS = tuple((prime, vector) for prime in (2, 3) for vector in _parts(prime))


def outside_parts(hkl: Indices) -> tuple[int, int, Indices]:
    """The part of the lattice that the fewest of (n, 3) reflections lie outside of: how many, its index, its vector."""
    counts = [
        (int(np.count_nonzero(hkl @ vector % prime)), prime, number) for number, (prime, vector) in enumerate(PARTS)
    ]
    count, prime, number = min(counts)
    return count, prime, PARTS[number][1]


def _smaller(observed: Observed, fit: RotationFit) -> Array | None:
    """(3, 3) the reciprocal lattice without the points that no reflection is seen of; None where all are needed."""
    hkl = fit.hkl[fit.used]
    outside, prime, vector = outside_parts(hkl)
    if outside >= OUTSIDE or (outside and len(hkl) < 10 * OUTSIDE):
        return None
    # A basis of the whole vectors h with v . h = 0 (mod prime).
    grid = np.array([g for g in product(range(-prime, prime + 1), repeat=3) if any(g)])
    inside = grid[grid @ vector % prime == 0]
    length = np.linalg.norm(inside @ fit.ub.T, axis=1)
    inside = inside[np.argsort(length, kind="stable")]
    first = inside[0]
    second = next(h for h in inside if np.any(np.cross(first, h)))
    third = next(h for h in inside if abs(round(float(np.linalg.det(np.array([first, second, h]))))) == prime)
    return np.asarray(fit.ub @ np.array([first, second, third]).T)


def _larger(observed: Observed, fit: RotationFit) -> Array | None:
    """(3, 3) a finer reciprocal lattice that many of the reflections left out lie on; None where there is none."""
    out = ~fit.used
    least = max(LARGER_FEWEST, LARGER_SHARE * len(out))
    if out.sum() < least:
        return None
    points = _some(observed, out).crystal(fit.geometry)
    phases = points @ np.linalg.inv(fit.ub).T
    best, found = 0, None
    for prime, vector in PARTS:
        for times in range(1, prime):
            off = phases - times * vector / prime
            near = np.abs(off - np.rint(off)).max(axis=1) < PHASE
            if near.sum() > best:
                best, found = int(near.sum()), vector / prime
    by_chance = out.sum() * (2 * PHASE) ** 3
    if found is None or best < least + 2 * by_chance:
        return None
    # The shortest three vectors of the lattice and the new point that are not in a plane and generate it.
    grid = np.array(list(product(range(-1, 2), repeat=3)), dtype=np.float64)
    many = np.concatenate([grid[np.any(grid != 0, axis=1)], grid + found, grid - found])
    vectors = many @ fit.ub.T
    order = np.argsort(np.linalg.norm(vectors, axis=1), kind="stable")
    vectors = vectors[order]
    volume = abs(np.linalg.det(fit.ub)) * (0.5 if 0.5 in found else 1 / 3)
    first = vectors[0]
    second = next(
        v for v in vectors if np.linalg.norm(np.cross(first, v)) > 1e-3 * np.linalg.norm(first) * np.linalg.norm(v)
    )
    for third in vectors:
        size = abs(np.linalg.det(np.array([first, second, third])))
        if abs(size / volume - 1) < 0.01:
            return np.array([first, second, third]).T
    return None


def judged(observed: Observed, fit: RotationFit, told: RotationGeometry, known: GeometryKnown) -> FoundCrystal:
    """The lattice of a fit with what speaks against it; geometry as `told`, known to so much."""
    cell, sigma = cell_sigma(fit)
    doubts = []
    count = int(fit.used.sum())
    if count < FEWEST:
        doubts.append(f"only {count} reflections are of it")
    if fit.used.mean() < LEAST_SHARE:
        doubts.append(f"only {fit.used.mean():.0%} of the reflections are of it")
    if fit.noise[0] > LARGEST_NOISE_PX or fit.noise[1] > LARGEST_NOISE_DEG:
        doubts.append(f"reflections are off it by {fit.noise[0]:.2f} px and {fit.noise[1]:.2f} deg")
    longest_A = max(cell.parameters[:3])
    if longest_A > LONGEST_A:
        doubts.append(f"an axis of {longest_A:.0f} A is longer than any that is looked for")
    doubts += _odd_geometry(fit.geometry, told, known)
    by_chance = min(chance(fit, observed), 0.9)
    digits = (count - BOUND) * -math.log10(by_chance) - math.log10(math.comb(len(fit.used), count))
    if count >= FEWEST and digits < CHANCE_DIGITS:
        doubts.append(f"chance may have made it ({count} of {len(fit.used)} reflections)")
    outside, prime, _ = outside_parts(fit.hkl[fit.used])
    expected = by_chance * np.count_nonzero(~fit.used)
    if outside < OUTSIDE + 2 * expected:
        doubts.append(f"its volume may be a {'half' if prime == 2 else 'third'}: {outside} reflections say it is not")
    return FoundCrystal(fit, cell, sigma, tuple(doubts))


def _odd_geometry(fitted: RotationGeometry, told: RotationGeometry, known: GeometryKnown) -> list[str]:
    off_px = math.hypot(fitted.beam_fast_px - told.beam_fast_px, fitted.beam_slow_px - told.beam_slow_px)
    off_deg = abs((fitted.axis_deg - told.axis_deg + 180) % 360 - 180)
    off_length = abs(fitted.camera_length_px / told.camera_length_px - 1)
    parts = (
        (off_px / known.beam_px, f"the beam would be {off_px:.1f} px off"),
        (off_deg / known.axis_deg, f"the axis would be {off_deg:.1f} deg off"),
        (off_length / known.camera_length, f"the camera length would be {off_length:.1%} off"),
    )
    return [words for sigmas, words in parts if sigmas > GEOMETRY_SIGMAS]


def chance(fit: RotationFit, observed: Observed) -> float:
    """The share of reciprocal space in which a reflection is taken for one of the lattice."""
    px, deg, px_factor, deg_factor = fit.noise
    place = 4 * np.hypot(np.maximum(observed.position_sigma_px, 0.02), px) * px_factor * fit.geometry.per_px
    turn = np.linalg.norm(fit.hkl @ fit.ub.T, axis=1)
    angle = 4 * np.radians(np.hypot(np.maximum(observed.angle_sigma_deg, 0.003), deg) * deg_factor) * turn
    volume = np.mean(8 * place * place * angle)
    return float(volume / abs(np.linalg.det(fit.ub)))
