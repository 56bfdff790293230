"""The planes of a trial lattice that look like the nets of zones: every net indexed, and what chance would index.

A net with sides s1, s2, s3 is indexed by two reciprocal lattice vectors v, w with |v| = s1, |w| = s2, |v - w| = s3
within a tolerance. A lattice with a large cell has so many vectors that it indexes anything, so each net also gets
the number of such pairs that a lattice of this volume has by chance.
"""

from dataclasses import dataclass
from math import pi

import numpy as np
from numpy.typing import NDArray

from protocols.lattice.cell import Cell

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

VECTORS_AT_MOST = 20_000
"""Reciprocal lattice vectors listed for one trial lattice."""

PAIRS_AT_MOST = 400_000
"""Pairs tried for one trial lattice; beyond, it is too large to be told from chance."""


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """Ways in which nets occur as planes of a lattice, m of them, the closest of each net first.

    net: (m,) number of the net.  v, w: (m, 3) hkl of its first two sides.
    deviation: (m, 3) relative differences of the three sides, lattice minus net.
    content: (m,) how many times larger the net is than the lattice's own in that plane; 1 without absences.
    """

    net: Indices
    v: Indices
    w: Indices
    deviation: Array
    content: Indices

    def best(self) -> "Planes":
        """Only the closest plane of each net."""
        return self.take(np.unique(self.net, return_index=True)[1].astype(np.int64))

    def take(self, which: Indices | NDArray[np.bool_]) -> "Planes":
        """Some of the planes."""
        return Planes(self.net[which], self.v[which], self.w[which], self.deviation[which], self.content[which])


def nothing() -> Planes:
    """No planes."""
    none = np.empty((0, 3), np.int64)
    return Planes(np.empty(0, np.int64), none, none, np.empty((0, 3)), np.empty(0, np.int64))


def lattice_vectors(metric: Array, longest_per_A: float) -> tuple[Indices, Array]:
    """One of each pair +-hkl with length up to `longest_per_A`, and the lengths; shortest first.

    metric: (3, 3) reciprocal metric of a reduced cell.
    """
    axes = np.sqrt(np.diag(np.linalg.inv(metric)))
    bounds = [int(longest_per_A * axis) for axis in axes]
    if np.prod([2.0 * b + 1 for b in bounds]) > 8 * VECTORS_AT_MOST:
        return np.empty((0, 3), np.int64), np.empty(0)
    h, k, l = (np.arange(-b, b + 1) for b in bounds)  # noqa: E741 (Miller index)
    grid = np.stack(np.meshgrid(h[bounds[0] :], k, l, indexing="ij"), axis=-1).reshape(-1, 3)
    half = (grid[:, 0] > 0) | (grid[:, 1] > 0) | ((grid[:, 1] == 0) & (grid[:, 2] > 0))
    grid = grid[half & ~((grid[:, 0] == 0) & (grid[:, 1] < 0))]
    squared = np.einsum("mi,ij,mj->m", grid, metric, grid)
    order = np.argsort(squared, kind="stable")
    order = order[squared[order] <= longest_per_A**2]
    return grid[order], np.sqrt(squared[order])


def planes(metric: Array, sides: Array, tolerance: Array) -> Planes:
    """Every plane of the lattice that looks like one of the nets.

    metric: (3, 3) reciprocal metric of a reduced cell, 1/A^2.  sides: (n, 3) of the nets, 1/A.  tolerance: (n,) or
    (n, 3) largest relative deviation.
    """
    tolerance = np.broadcast_to(np.asarray(tolerance).reshape(len(sides), -1), sides.shape)
    longest = float(np.max(sides[:, :2] * (1 + tolerance[:, :2])))
    hkl, length = lattice_vectors(metric, longest)
    begin, end = (np.searchsorted(length, sides[:, :2] * (1 + sign * tolerance[:, :2])) for sign in (-1, 1))
    count = end - begin
    pairs = count[:, 0] * count[:, 1]
    if not 0 < pairs.sum() <= PAIRS_AT_MOST:
        return nothing()
    net = np.repeat(np.arange(len(sides)), pairs)
    within = np.arange(len(net)) - np.repeat(np.cumsum(pairs) - pairs, pairs)
    i = begin[net, 0] + within // count[net, 1]
    j = begin[net, 1] + within % count[net, 1]
    # The acute triangle has v.w >= 0, which picks the sign of w.
    product = np.einsum("mi,mi->m", (hkl @ metric)[i], hkl[j])
    third = np.sqrt(np.maximum(length[i] ** 2 + length[j] ** 2 - 2 * np.abs(product), 0.0))
    close = np.abs(third / sides[net, 2] - 1) < tolerance[net, 2]
    net, i, j, third, product = net[close], i[close], j[close], third[close], product[close]
    v = hkl[i]
    w = hkl[j] * np.where(product < 0, -1, 1)[:, None]
    deviation = np.stack([length[i], length[j], third], axis=1) / sides[net] - 1
    content = np.gcd.reduce(np.cross(v, w), axis=1)
    # A plane whose own net is the observed one is preferred to an equally close sub-net.
    rank = np.sum((deviation / tolerance[net]) ** 2, axis=1) + 0.3 * (content > 1)
    order = np.lexsort((rank, net))
    return Planes(net[order], v[order], w[order], deviation[order], content[order])


def chance(volume_A3: float, sides: Array, tolerance: Array) -> Array:
    """(n,) how many pairs v, w a lattice of that volume has by chance for each net: the density of its vectors is V.

    v is one of V 2 pi s1^2 (2 t s1) vectors in half a shell, w likewise; |cos| of their angle is uniform in 0..1, and
    s3 (2 t s3) / (s1 s2) of it is in the window of the third side.
    """
    t = np.broadcast_to(np.asarray(tolerance).reshape(len(sides), -1), sides.shape)
    # Near a right or zero angle the window is cut by the end of the range of |cos|: never more than the whole.
    window = np.minimum(1.0, 2 * t[:, 2] * sides[:, 2] ** 2 / (sides[:, 0] * sides[:, 1]))
    shells = [volume_A3 * 2 * pi * sides[:, n] ** 3 * 2 * t[:, n] for n in (0, 1)]
    return np.asarray(shells[0] * shells[1] * window)


def reduced_metric(metric: Array) -> Array | None:
    """The reciprocal metric of the Niggli cell of the same lattice, or None where it is none in three dimensions."""
    try:
        if np.linalg.eigvalsh(metric)[0] < 1e-9 * np.trace(metric):
            return None
        return Cell.from_reciprocal_metric(metric).reduced().reciprocal_metric
    except (np.linalg.LinAlgError, RuntimeError, ValueError):
        return None
