"""A crystal's lattice from the reflections of a rotation so far, and whether it is determined, or why not.

A lattice is looked for without knowledge (`protocols.lattice.search`), or goes on from the one before; it is fitted
with the geometry (`protocols.lattice.rotationfit`), and then doubted: may chance have made it; do the reflections that
are seen generate it, or one of a part of its volume, or a larger one (`generation`); are its numbers known well enough.
Where a doubt is left it is not determined, and the doubt is said.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from protocols.lattice.cell import Cell
from protocols.lattice.rotationfit import Observed, RotationFit
from protocols.lattice.rotationgeometry import RotationGeometry
from protocols.lattice.search import LONGEST_A, explained, find_lattice
from protocols.live.cellsigma import CellSigma, cell_sigma
from protocols.live.generation import PART_WORDS, between, chance, generated, is_part, least_part
from protocols.live.geometryknown import GeometryKnown, some

Array = NDArray[np.float64]

FEWEST = 10
"""Reflections of a lattice that is said."""
FEWEST_SURE = 24
"""Reflections of a lattice that is determined. Those that only a larger cell has are weak now and then: where an eighth
of all that are seen is of these, 24 have shown one with a chance of 0.96."""
FEWEST_FOR_STARTS = 30
"""With fewer no other axis or beam is tried: nearly any of them would explain so few."""
CHANCE_DIGITS = 8.0
"""Wrong lattices that index as much are rarer than one in 10 to the power of that."""
BOUND = 4
"""So many reflections are spent to fix lattice and geometry; the others must agree by themselves."""
FEWEST_BETWEEN, SHARE_BETWEEN, LARGER_CHANCE = 3, 0.15, 1e-4
"""Where so many reflections that a lattice leaves out lie halfway between its points, or at thirds, and chance would
put them there more seldom than this, the cell may be twice or three times as large. But of the many of a second
crystal some lie so: they are to be a fair share of what is left out."""
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
AXES_OFF_DEG = (-1.5, 1.5, -3.0, 3.0)
BEAM_OFF_PX = 2.5
SLOW_TIMES, PART_DEG = 3.0, 0.15
"""A reflection that passes so many times slower than one at right angles to the axis may be a part of one, which is as
far from its middle as that, times as many."""
SMALL_ANGLE_DEG = 10.0
"""A wrong axis does little harm to reflections over so small a range: in it other starts look for the lattice."""


@dataclass(frozen=True, slots=True, eq=False)
class FoundCrystal:
    """A lattice with its fit.

    doubts: why it may be another lattice, in words. explained: how much better the reflections are explained by it than
    by none, as a logarithm; it weighs how many are of it against how many chance would have put there.
    """

    fit: RotationFit
    cell: Cell
    sigma: CellSigma
    doubts: tuple[str, ...]
    explained: float

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
        if number == 0 and before is not None:  # it keeps to what is told already
            fit = known.anew(observed, geometry, before)
        else:
            fit = _with_start(observed, geometry, known, start, ub)
        if fit is None:
            continue
        found = judged(observed, generated(observed, geometry, known, fit), geometry, known)
        if best is None or _better(found, best):
            best = found
        if not best.doubts and (best.share > GOOD_SHARE or number > 0 or before is None):
            break
    return best


def crystal_at(
    observed: Observed, geometry: RotationGeometry, known: GeometryKnown, start: RotationFit
) -> FoundCrystal | None:
    """The lattice of a fit to some of the reflections, fitted to all of them; None where it does not hold."""
    observed = less_of_slow(observed, geometry)
    fit = _with_start(observed, geometry, known, start.geometry, start.ub)
    return None if fit is None else judged(observed, generated(observed, geometry, known, fit), geometry, known)


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
    few = some(observed, near) if near.sum() >= 3 * FEWEST else observed
    tried = [replace(geometry, axis_deg=geometry.axis_deg + off) for off in AXES_OFF_DEG]
    tried += [
        replace(geometry, beam_fast_px=geometry.beam_fast_px + x, beam_slow_px=geometry.beam_slow_px + y)
        for x, y in ((BEAM_OFF_PX, 0), (-BEAM_OFF_PX, 0), (0, BEAM_OFF_PX), (0, -BEAM_OFF_PX))
    ]
    for each in tried:
        lattice = find_lattice(few.crystal(each))
        if lattice is not None:
            yield each, lattice.ub


def _with_start(
    observed: Observed, geometry: RotationGeometry, known: GeometryKnown, start: RotationGeometry, ub: Array
) -> RotationFit | None:
    """The fit from a start that may lie off what is told; then once more with what is told as that."""
    fit = known.fit(observed, start, ub)
    if fit is None or start == geometry:
        return fit
    return known.anew(observed, geometry, fit)


def _better(one: FoundCrystal, other: FoundCrystal) -> bool:
    if bool(one.doubts) != bool(other.doubts):
        return not one.doubts
    return one.explained > other.explained


def judged(observed: Observed, fit: RotationFit, told: RotationGeometry, known: GeometryKnown) -> FoundCrystal:
    """The lattice of a fit with what speaks against it; geometry as `told`, known to so much."""
    cell, sigma = cell_sigma(fit)
    doubts = []
    count = int(fit.used.sum())
    if count < FEWEST:
        doubts.append(f"only {count} reflections are of it")
    elif count < FEWEST_SURE:
        doubts.append(f"only {count} reflections are of it: weak ones of a larger cell may not be among them")
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
    part = least_part(fit.hkl[fit.used])
    if is_part(observed, fit, part):
        doubts.append(f"its volume may be a {PART_WORDS[part.prime]}: {part.outside} reflections say it is not")
    left = between(observed, fit)
    if left.count >= max(FEWEST_BETWEEN, SHARE_BETWEEN * left.of) and left.by_chance < LARGER_CHANCE:
        doubts.append(f"its cell may be larger: {left.count} of {left.of} reflections that it leaves out lie between")
    explains = float(explained(np.array(count), len(fit.used), np.array(by_chance)))
    return FoundCrystal(fit, cell, sigma, tuple(doubts), explains)


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
