"""Whether the reflections of a lattice generate it, or a part of it, or a larger one; and the lattice that they do.

A search takes now and then a lattice of which the reflections fill a part: of half the points, of a third, a fifth, a
seventh; the cell is larger by as much. The part need not hold the origin: where the beam is told or fitted wrong, a
cell that is five times too large has its reflections all beside the whole multiples of five, at the same remainder.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc

from protocols.lattice.rotationfit import Observed, RotationFit
from protocols.lattice.rotationgeometry import RotationGeometry
from protocols.lattice.search import reduced_ub
from protocols.live.geometryknown import GeometryKnown, some

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

PART_WORDS = {2: "half", 3: "third", 5: "fifth", 7: "seventh"}
"""What the volume of a cell may be instead, by the index of the part of its reciprocal lattice that is seen."""
OUTSIDE = 3
"""Fewer reflections outside of a part of the lattice that holds all the others may be wrong ones."""
PHASE = 0.08
"""How near to a whole number the phases of a reflection are that a larger cell would explain."""
LARGER_BY = 2, 3
LARGER_SHARE, LARGER_FEWEST = 0.04, 5
"""Of all reflections, explained by a cell that is larger by 2 or 3 and not by this one: then it is tried."""
GAINED = 0.3
"""Of the reflections that a lattice leaves out a larger cell must explain so many. A second crystal's lie now and then
on thirds and halves of the first one's."""
FAIR, EXPLAINED = 0.15, 0.5
"""Reflections outside of a part are too few for a lattice where they are less than FAIR of what would be outside if all
points were seen alike, unless they are as much as EXPLAINED of all that are not in the part: a search that may choose
of many larger cells finds one that some reflections of a second crystal lie on."""
STEPS = 4
"""By how many factors a lattice is made smaller or larger at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """The lattice points h with vector . h = remainder (mod prime), and how many reflections lie outside of them."""

    outside: int
    prime: int
    vector: Indices
    remainder: int


def generated(observed: Observed, told: RotationGeometry, known: GeometryKnown, fit: RotationFit) -> RotationFit:
    """The fit with the lattice that the reflections generate: of a part of the volume, or of more of it."""
    for _ in range(STEPS):
        count, start, larger = int(fit.used.sum()), fit.geometry, False
        part = least_part(fit.hkl[fit.used])
        if is_part(observed, fit, part) and (not part.outside or count >= 10 * OUTSIDE):
            other: Array | None = _of_part(fit.ub, part)
            least = count - part.outside - OUTSIDE
            if part.remainder:  # the beam that was fitted has gone to a wrong point of the lattice
                start = told
        else:
            larger = True
            other, least = _larger(observed, fit), int(count + GAINED * (~fit.used).sum())
        refitted = None if other is None else known.fit(observed, start, reduced_ub(other), told)
        if refitted is None or refitted.used.sum() < least:
            return fit
        if larger and is_part(observed, refitted, least_part(refitted.hkl[refitted.used])):
            return fit
        fit = refitted
    return fit


def is_part(observed: Observed, fit: RotationFit, part: Part) -> bool:
    """Whether the reflections are rather of that part of the lattice, and those outside of it there by accident."""
    left_out, used = int(np.count_nonzero(~fit.used)), int(fit.used.sum())
    if part.outside < OUTSIDE + 2 * min(chance(fit, observed), 0.9) * left_out:
        return True
    fair = FAIR * (part.prime - 1) * (used - part.outside)
    return part.outside < min(fair, EXPLAINED * (left_out + part.outside))


def chance(fit: RotationFit, observed: Observed) -> float:
    """The share of reciprocal space in which a reflection is taken for one of the lattice."""
    px, deg, px_factor, deg_factor = fit.noise
    place = 4 * np.hypot(np.maximum(observed.position_sigma_px, 0.02), px) * px_factor * fit.geometry.per_px
    turn = np.linalg.norm(fit.hkl @ fit.ub.T, axis=1)
    angle = 4 * np.radians(np.hypot(np.maximum(observed.angle_sigma_deg, 0.003), deg) * deg_factor) * turn
    volume = np.mean(8 * place * place * angle)
    return float(volume / abs(np.linalg.det(fit.ub)))


def _vectors(prime: int) -> list[Indices]:
    """Vectors v: the reflections with v . h = 0 (mod prime) are a part of the lattice, one of these for each v."""
    found: list[Indices] = []
    for vector in product(range(prime), repeat=3):
        first = next((x for x in vector if x), 0)
        if first == 1:
            found.append(np.array(vector, dtype=np.int64))
    return found


PARTS = tuple((prime, vector) for prime in PART_WORDS for vector in _vectors(prime))
_PRIMES, _VECTORS = np.array([prime for prime, _ in PARTS]), np.array([vector for _, vector in PARTS])


def least_part(hkl: Indices) -> Part:
    """The part of the lattice that the fewest of (n, 3) reflections lie outside of."""
    remainders = hkl @ _VECTORS.T % _PRIMES
    inside = np.array([np.count_nonzero(remainders == remainder, axis=0) for remainder in range(max(PART_WORDS))])
    remainder, number = np.unravel_index(int(inside.argmax()), inside.shape)
    prime, vector = PARTS[number]
    return Part(len(hkl) - int(inside.max()), prime, vector, int(remainder))


def _of_part(ub: Array, part: Part) -> Array:
    """(3, 3) the reciprocal lattice of the points of a part; of those with the remainder 0 where it has another."""
    # A basis of the whole vectors h with v . h = 0 (mod prime).
    grid = np.array([g for g in product(range(-part.prime, part.prime + 1), repeat=3) if any(g)])
    inside = grid[grid @ part.vector % part.prime == 0]
    length = np.linalg.norm(inside @ ub.T, axis=1)
    inside = inside[np.argsort(length, kind="stable")]
    first = inside[0]
    second = next(h for h in inside if np.any(np.cross(first, h)))
    size = np.abs(np.rint(inside @ np.cross(first, second)))
    third = inside[np.flatnonzero(size == part.prime)[0]]
    return np.asarray(ub @ np.array([first, second, third]).T)


@dataclass(frozen=True, slots=True, eq=False)
class Between:
    """Reflections that a lattice leaves out and that lie between its points: at a vector (of halves or thirds) from
    them. count: how many; of: of how many that it leaves out.
    """

    count: int
    of: int
    vector: Array

    @property
    def by_chance(self) -> float:
        """How probable so many are at one of all these vectors where reflections lie anywhere."""
        if not self.count:
            return 1.0
        more = float(betainc(self.count, self.of - self.count + 1, (2 * PHASE) ** 3))  # of a binomial distribution
        return min(1.0, more * sum(prime in LARGER_BY for prime, _ in PARTS))


def between(observed: Observed, fit: RotationFit) -> Between:
    """The most reflections that lie between the points of a lattice alike."""
    out = ~fit.used
    best = Between(0, int(out.sum()), np.zeros(3))
    if not best.of:
        return best
    points = some(observed, out).crystal(fit.geometry)
    phases = points @ np.linalg.inv(fit.ub).T
    for prime, vector in PARTS:
        for times in range(1, prime) if prime in LARGER_BY else ():
            off = phases - times * vector / prime
            near = np.abs(off - np.rint(off)).max(axis=1) < PHASE
            if near.sum() > best.count:
                best = Between(int(near.sum()), best.of, np.asarray(vector / prime))
    return best


def _larger(observed: Observed, fit: RotationFit) -> Array | None:
    """(3, 3) a finer reciprocal lattice that many of the reflections left out lie on; None where there is none."""
    least = max(LARGER_FEWEST, LARGER_SHARE * len(fit.used))
    there = between(observed, fit)
    if there.count < least + 2 * there.of * (2 * PHASE) ** 3:
        return None
    found = there.vector
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
