"""Which patterns are of a crystal with a known cell, in whatever orientation: zones, hybrids and all others.

Every spot lies near the Ewald sphere, so all three of its coordinates are known. Two spots whose lengths and angle are
those of two vectors of the reciprocal lattice say how the crystal lies; if it lies so, the others are near points of
the lattice too. A point anywhere is that near by chance in about one of a thousand cases for 500 A^3, so few spots are
enough. A mirror image need not be tried: a lattice is its own inverse, and so its mirror image turned.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from protocols.lattice.cell import Cell
from protocols.lattice.search import explained
from protocols.zones.cell.phases import NONE
from protocols.zones.cell.planes import lattice_vectors
from protocols.zones.sorting.nets import flat_to_sphere

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]

PLACED_PER_A = 0.005
"""A spot that is farther from its lattice point, across the beam, is not on it."""
LENGTH_PER_A = 0.004
"""How well the lengths of two spots must be those of lattice vectors."""
ALONG_SLACK_PER_A = 0.002
"""Added to the excitation error, along the beam."""
ANCHORS = 16
"""Spots nearest to the beam, of which pairs are made."""
PAIRS = 6
MOST_LIKELY = 150.0
"""Pairs of spots tried, and to how many pairs of lattice points each may be like."""
LEAST_SINE = 0.2
REFINED = 8
"""Orientations with most spots that are refined."""
HELD = 0.05
"""1/A^2. Weight of the orientation before against the squared lengths of the spots: spots on one row leave it free."""
OUTWARDS = (0.4, 0.7, 1.0, 1.0)
"""Shares of the spots, from the beam outwards, that an orientation is refined by, one step after the other."""
HYPOTHESES = 6000
"""Orientations tried for one pattern at most."""
LEAST_SHARE = 0.7
"""Of the spots on the lattice, for the pattern to be of that crystal."""
FEWEST_ON = 5
MOST_KNOWN = 50_000
"""Answers that are kept, 600 bytes each."""
LEAST_EVIDENCE = 7.0
"""Natural logarithm of the odds against chance, all orientations that were tried counted: one pattern of a thousand."""


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """How a pattern fits a lattice. orientation: (3, 3) from the frame of the reduced cell (a* along x, b* in the xy
    plane) into the lab. on: (n,) spots that are on it. evidence: ln of the odds against chance.
    """

    orientation: Array
    on: Mask
    evidence: float

    @property
    def fits(self) -> bool:
        """Whether the pattern is of a crystal with this lattice."""
        enough = self.on.sum() >= FEWEST_ON and self.on.mean() >= LEAST_SHARE
        return bool(enough and self.evidence >= LEAST_EVIDENCE)


_known: OrderedDict[bytes, Member | None] = OrderedDict()
"""What was told before, by the digest of what was asked; the latest."""


class Lattice:
    """A cell with the vectors of its reciprocal lattice listed, to try many patterns on."""

    def __init__(self, cell: Cell, d_star_max_per_A: float = 1.0) -> None:
        reduced = cell.reduced()
        self.volume_A3 = reduced.volume_A3
        self._to_points = reduced.reciprocal_basis
        self._to_indices = np.linalg.inv(self._to_points)
        half, length = lattice_vectors(reduced.reciprocal_metric, d_star_max_per_A)
        self._points = np.concatenate([half, -half]) @ self._to_points.T
        order = np.argsort(np.concatenate([length, length]), kind="stable")
        self._points, self._length = self._points[order], np.concatenate([length, length])[order]
        self._is = blake2b(self._to_points.tobytes() + self._points.tobytes()).digest()

    def member(self, xy: Array, wavelength_A: float = 0.0251, excitation_error_per_A: float = 0.01) -> Member | None:
        """How (n, 2) spots, as a flat detector sees them in 1/A, fit this lattice best. None for fewer than FEWEST_ON,
        and where no two of them are like vectors of the lattice. Some milliseconds; nothing where the same was asked
        before, as who judges many patterns anew with each new cell does.
        """
        if len(xy) < FEWEST_ON or not len(self._length):
            return None
        told = self._is, xy.tobytes(), repr((wavelength_A, excitation_error_per_A)).encode()
        key = blake2b(b"".join(told), digest_size=16).digest()
        if key in _known:
            _known.move_to_end(key)
        else:
            _known[key] = self._member(xy, wavelength_A, excitation_error_per_A)
            if len(_known) > MOST_KNOWN:
                _known.popitem(last=False)
        return _known[key]

    def _member(self, xy: Array, wavelength_A: float, excitation_error_per_A: float) -> Member | None:
        flat = flat_to_sphere(xy, wavelength_A)
        k = 1 / wavelength_A
        spots = np.column_stack([flat, np.sqrt(k**2 - np.einsum("ni,ni->n", flat, flat)) - k])
        along = excitation_error_per_A + ALONG_SLACK_PER_A
        turned = self._hypotheses(spots)
        if not len(turned):
            return None
        # Two short vectors, each somewhere on its rod, give the orientation to a few degrees; so it is refined before
        # it is judged, outwards from the beam.
        seen = self._on(spots, turned, 2 * along).sum(axis=1)
        likely = turned[np.argsort(-seen, kind="stable")[:REFINED]]
        tried = np.concatenate([self._refined(spots, likely, along), likely])
        on = self._on(spots, tried, along)
        place = int(on.sum(axis=1).argmax())
        best, on = tried[place], on[place]
        chance = min(0.5, self.volume_A3 * np.pi * PLACED_PER_A**2 * 2 * along)
        # Two spots of those that fit made the orientation.
        odds = float(explained(np.array([max(0, on.sum() - 2)]), len(xy) - 2, np.array([chance]))[0])
        return Member(best, on, odds - float(np.log(len(turned))))

    def _hypotheses(self, spots: Array) -> Array:
        """(m, 3, 3) orientations in which two of the spots nearest to the beam are points of the lattice."""
        length = _length(spots)
        near = np.argsort(length, kind="stable")[:ANCHORS]
        begin, end = (np.searchsorted(self._length, length + sign * LENGTH_PER_A) for sign in (-1, 1))
        count = end - begin
        one, two = near[np.array(np.triu_indices(len(near), 1))]
        product = length[one] * length[two]
        aside = _length(_cross(spots[one], spots[two])) > LEAST_SINE * product
        likely = count[one] * count[two] * np.minimum(1.0, LENGTH_PER_A * (length[one] + length[two]) / product)
        usable = aside & (likely > 0)
        if not usable.any():
            return np.empty((0, 3, 3))
        usable &= likely <= max(MOST_LIKELY, float(likely[usable].min()))
        # The longer two spots are, the less does it matter where on its rod each is.
        pairs: list[tuple[int, int]] = []
        uses = np.zeros(len(spots), dtype=np.int64)
        for pair in np.argsort(-np.where(usable, np.minimum(length[one], length[two]), -1.0), kind="stable"):
            i, j = int(one[pair]), int(two[pair])
            if not usable[pair] or len(pairs) == PAIRS:
                break
            if max(uses[i], uses[j]) < 2:
                uses[[i, j]] += 1
                pairs.append((i, j))
        found: list[Array] = []
        for i, j in pairs:
            found.append(self._turned(spots[i], spots[j], slice(begin[i], end[i]), slice(begin[j], end[j])))
        return np.concatenate(found)[:HYPOTHESES] if found else np.empty((0, 3, 3))

    def _turned(self, one: Array, two: Array, ones: slice, twos: slice) -> Array:
        """(m, 3, 3) orientations that turn pairs of lattice points onto two spots."""
        a, b = self._points[ones], self._points[twos]
        tolerance = LENGTH_PER_A * (np.linalg.norm(one) + np.linalg.norm(two))
        i, j = np.nonzero(np.abs(a @ b.T - one @ two) < tolerance)
        apart = _length(_cross(a[i], b[j])) > 0.5 * LEAST_SINE * self._length[ones][i] * self._length[twos][j]
        i, j = i[apart], j[apart]
        return np.asarray(_triads(one[None], two[None]).transpose(0, 2, 1) @ _triads(a[i], b[j]))

    def _on(self, spots: Array, orientation: Array, along_per_A: float) -> Mask:
        """(m, n) which spots are on points of the lattice in each (m, 3, 3) orientation."""
        indices = self._indices(spots, orientation)
        off = (indices - np.rint(indices)) @ self._to_points.T
        lab = off @ orientation.transpose(0, 2, 1)
        near = np.square(lab[..., :2]).sum(axis=2) < PLACED_PER_A**2
        return np.asarray(near & (np.abs(lab[..., 2]) < along_per_A))

    def _indices(self, spots: Array, orientation: Array) -> Array:
        """(m, n, 3) indices of spots in each (m, 3, 3) orientation."""
        return np.asarray(spots @ (orientation @ self._to_indices.T))

    def _refined(self, spots: Array, orientation: Array, along_per_A: float) -> Array:
        """The (m, 3, 3) orientations that bring the lattice nearest to the spots on it (Kabsch), outwards by steps."""
        length = _length(spots)
        least = np.sort(length)[min(4, len(length) - 1)]
        for reach, within in zip(OUTWARDS, np.quantile(length, OUTWARDS).tolist(), strict=True):
            near = length <= max(within, least)
            used = self._on(spots, orientation, 2 * along_per_A if reach < 1 else along_per_A) & near
            points = np.rint(self._indices(spots, orientation)) @ self._to_points.T
            overlap = np.einsum("ni,mn,mnj->mij", spots, used.astype(float), points, optimize=True)
            u, _, v = np.linalg.svd(overlap + HELD * orientation)
            u[..., 2] *= np.sign(np.linalg.det(u @ v))[:, None]
            orientation = np.where((used.sum(axis=1) >= 3)[:, None, None], u @ v, orientation)
        return orientation


def _triads(a: Array, b: Array) -> Array:
    """(m, 3, 3) right-handed frames: rows along (m, 3) a, across a and b, and across both."""
    first = a / _length(a)[:, None]
    second = _cross(a, b)
    second /= _length(second)[:, None]
    return np.stack([first, second, _cross(first, second)], axis=1)


def _length(vectors: Array) -> Array:
    """(m,) as `numpy.linalg.norm`, which for a few vectors takes three times as long."""
    return np.asarray(np.sqrt(np.add.reduce(vectors * vectors, axis=1)))


def _cross(a: Array, b: Array) -> Array:
    """(m, 3) as `numpy.cross`, which for a few vectors takes five times as long."""
    product = np.empty(a.shape)
    for k, (i, j) in enumerate(((1, 2), (2, 0), (0, 1))):
        product[:, k] = a[:, i] * b[:, j] - a[:, j] * b[:, i]
    return product


def members(
    patterns: Sequence[Array | None],
    cells: Sequence[Cell],
    wavelength_A: float = 0.0251,
    excitation_error_per_A: float = 0.01,
) -> Indices:
    """(n,) the cell that each pattern's (k, 2) spots fit best, NONE for those that fit none or have hardly a spot."""
    lattices = [Lattice(cell) for cell in cells]
    phase = np.full(len(patterns), NONE, dtype=np.int64)
    for number, xy in enumerate(patterns):
        if xy is None:
            continue
        found = [lattice.member(xy, wavelength_A, excitation_error_per_A) for lattice in lattices]
        evidence = [one.evidence if one is not None and one.fits else -np.inf for one in found]
        if evidence and max(evidence) > -np.inf:
            phase[number] = int(np.argmax(evidence))
    return phase
