"""Which reflections a rotation measures: of all that the lattice has, when each passes the Ewald sphere, and where.

Reckoned once for a lattice; then the completeness of any range is a look into a table. Equivalent are reflections by
the Laue class that the lattice can have at most: a crystal of less symmetry needs more, and is less complete.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from protocols.lattice.indexkeys import met_last
from protocols.lattice.passages import inside, passage_angles
from protocols.lattice.rotationgeometry import RotationGeometry
from protocols.lattice.symmetry import Bravais
from protocols.spots.absent import absences
from protocols.spots.shadow import Part

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

EDGE_PX = 4
SAME_DEG = 2.0
"""A reflection is found so near to the angle at which it should pass."""


@dataclass(frozen=True, slots=True, eq=False)
class Coverage:
    """All reflections of a lattice down to d_min_A, (n,) each.

    hkl: (n, 3) in the axes of `ub`. d_star: 1/A. unique: number of the class of equivalents, 0 to `classes` - 1.
    angle_deg: (n, 2) stage angles, -180 to 180, at which it is in the sphere; NaN where never, or off the camera.
    """

    hkl: Indices
    d_star: Array
    unique: NDArray[np.intp]
    angle_deg: Array

    def turned(self, ub: Array, geometry: RotationGeometry, shape: tuple[int, int]) -> "Coverage":
        """The same lattice as it lies with another ub (3, 3): the angles alone are reckoned anew."""
        return replace(self, angle_deg=_angles(self.hkl @ ub.T, geometry, shape))

    def seen(self, *parts: Part) -> NDArray[np.bool_]:
        """(n,) which are in the sphere during these parts of a rotation."""
        seen = np.zeros(len(self.d_star), dtype=bool)
        for low, high in map(sorted, parts):
            seen |= ((self.angle_deg - low) % 360 <= high - low).any(axis=1)
        return seen

    def completeness(self, *parts: Part, d_min_A: float | None = None) -> float:
        """Share of the classes of which one reflection at least is seen; down to d_min_A where it is given."""
        near = self.d_star <= (np.inf if d_min_A is None else 1 / d_min_A)
        if not near.any():
            return 0.0
        return self._classes(near & self.seen(*parts)) / self._classes(near)

    def _classes(self, which: NDArray[np.bool_]) -> int:
        """How many there are among these (n,)."""
        there = np.zeros(int(self.unique.max(initial=-1)) + 1, dtype=np.bool_)
        there[self.unique[which]] = True
        return int(there.sum())

    def absences(self, parts: Sequence[Part], found_hkl: Indices, found_deg: Array) -> list[Part]:
        """Within these parts of a rotation, those in which the crystal was not in the beam, from lower to higher
        angles. found_hkl: (m, 3), found_deg: (m,) of the reflections that were found.
        """
        low, high = min(map(min, parts), default=0.0), max(map(max, parts), default=0.0)
        passed = np.zeros(self.angle_deg.shape, dtype=bool)
        for begin, end in map(sorted, parts):
            passed |= (self.angle_deg >= begin) & (self.angle_deg <= end)
        row, column = np.nonzero(passed)
        angle_deg = self.angle_deg[row, column]
        found = np.sort(_line(found_hkl, found_deg))
        aim = _line(self.hkl[row], angle_deg)
        place = np.searchsorted(found, aim)
        beside = np.concatenate([[-np.inf], found, [np.inf]])
        seen = np.minimum(aim - beside[place], beside[place + 1] - aim) < SAME_DEG
        told = absences(angle_deg, seen)
        # To the ends: beyond the first reflection that passed there was no crystal, either.
        first, last = angle_deg.min(initial=np.inf), angle_deg.max(initial=-np.inf)
        return [(low if a == first else a, high if b == last else b) for a, b in told]


def _line(hkl: Indices, angle_deg: Array) -> Array:
    """(n,) a number for a reflection at an angle: another index is 500 and more away, another angle its degrees."""
    h, k, l = hkl.T + 1000  # noqa: E741
    return np.asarray(1000.0 * ((h * 2000 + k) * 2000 + l) + angle_deg)


def coverage(
    ub: Array, bravais: Bravais, geometry: RotationGeometry, shape: tuple[int, int], d_min_A: float
) -> Coverage:
    """All reflections of the lattice ub (3, 3), of type `bravais`, on a camera of this shape. 50 ms for 30 000."""
    hkl = inside(ub, 1 / d_min_A)
    points = hkl @ ub.T
    return Coverage(
        hkl=hkl,
        d_star=np.linalg.norm(points, axis=1),
        unique=_classes(hkl @ bravais.reduction.T, bravais),
        angle_deg=_angles(points, geometry, shape),
    )


def _classes(hkl: Indices, bravais: Bravais) -> NDArray[np.intp]:
    """(n,) numbers of the classes of equivalents of indices in the Niggli cell, Friedel mates in one."""
    key = np.full(len(hkl), np.iinfo(np.int64).min)
    for rotation in bravais.group:
        for sign in (1, -1):
            h, k, l = (sign * hkl @ rotation).T + 1000  # noqa: E741
            np.maximum(key, (h * 4000 + k) * 4000 + l, out=key)
    return np.asarray(np.unique(key, return_inverse=True)[1].reshape(-1), dtype=np.intp)


def _angles(points: Array, geometry: RotationGeometry, shape: tuple[int, int]) -> Array:
    angles = passage_angles(points, geometry)
    for column in range(2):
        angle = np.nan_to_num(angles[:, column])
        turned = geometry.turned(points, angle)
        fast, slow = geometry.seen(turned)
        off = (fast < EDGE_PX) | (fast > shape[1] - EDGE_PX) | (slow < EDGE_PX) | (slow > shape[0] - EDGE_PX)
        angles[off, column] = np.nan
    return np.asarray((angles + 180) % 360 - 180)


@dataclass(frozen=True, slots=True)
class Shell:
    """Reflections between two spacings: how many were passed, share of them that was found, mean I / sigma of these."""

    from_A: float
    to_A: float
    passed: int
    found: float
    i_over_sigma: float


SHELLS = 10
FOUND_SHARE = 0.2
"""Of the reflections passed in a shell that still counts as resolved."""
FEWEST_PASSED = 8


def shells(covered: Coverage, parts: Sequence[Part], found_hkl: Indices, i_over_sigma: Array) -> list[Shell]:
    """Shells of equal volume. parts: of the rotation. found_hkl: (m, 3) of the reflections that are of the lattice;
    i_over_sigma: (m,).
    """
    passed = covered.seen(*parts)
    if not passed.any():
        return []
    edge = np.linspace(0, float(covered.d_star[passed].max()) ** 3 * 1.000001, SHELLS + 1) ** (1 / 3)
    found, inside = met_last(found_hkl, covered.hkl)
    strength = i_over_sigma[found]
    told = []
    for low, high in zip(edge[:-1].tolist(), edge[1:].tolist(), strict=True):
        here = passed & (covered.d_star > low) & (covered.d_star <= high)
        mine = here[inside]
        count, seen = int(here.sum()), len(np.unique(inside[mine]))
        mean = float(strength[mine].mean()) if mine.any() else 0.0
        told.append(Shell(1 / max(low, 1e-3), 1 / high, count, seen / max(count, 1), mean))
    return told


def resolution_A(told: list[Shell]) -> float | None:
    """Spacing to which a share of the reflections is found; None where no shell says it."""
    good = [each.to_A for each in told if each.passed >= FEWEST_PASSED and each.found >= FOUND_SHARE]
    return min(good) if good else None
