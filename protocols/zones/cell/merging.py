"""Zones of equal net merged: the same plane of the lattice met in several patterns, or planes equal by symmetry.

A net is compared by the three sides of its acute triangle: with p, q a shortest basis, the vectors p, q and p - q or
p + q, whichever is shorter (Selling's reduction in two dimensions). Their lengths fix the net, and unlike p, q and
the angle between them they change smoothly where a net is nearly square, centred or hexagonal.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.zones.sorting.zone import Zone

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

SIGMAS = 4.0
"""Sides that differ by less than this many standard deviations are equal."""

SMALLEST_TOLERANCE, LARGEST_TOLERANCE = 0.001, 0.012
"""Relative difference of two sides that are always, or never, taken as equal."""

NEAR = 2.5 * LARGEST_TOLERANCE
"""Squared sides that differ by more are never equal."""

RELATIVE_FLOOR = 1e-4
"""Relative uncertainty of a length that no fit knows of (flat detector, lens), added to every side."""

TILT_FLOOR, TILT_SHARE = 0.002, 0.05
"""Uncertainty of a tilt from the Laue circle: so many rad and so large a share of it. Simulated, clean:
0.0007 rad below 0.05 and 0.003 above 0.1; these are larger, as nothing else stands for what spoils intensities."""


ORDERS = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))


@dataclass(frozen=True, slots=True, eq=False)
class Triangle:
    """The acute triangle of one zone's net.

    combination: (3, 2) integers: the sides in terms of the zone's basis p, q; the third is the first minus the second.
    vectors: (3, 2) the sides in the picture, 1/A.  heights: (3,) their components along the beam, 1/A.
    squares: (3,) squared lengths in space, 1/A^2.  covariance: (3, 3) of the squares, 1/A^4.
    """

    combination: Indices
    vectors: Array
    heights: Array
    squares: Array
    covariance: Array


@dataclass(frozen=True, slots=True, eq=False)
class Net:
    """Zones with the same net.

    squares: (3,) weighted mean of the squared sides, 1/A^2; covariance: (3, 3).
    members: numbers of the zones; order: for each of them, which of its sides are the net's first, second and third.
    """

    squares: Array
    covariance: Array
    members: tuple[int, ...]
    order: tuple[tuple[int, int, int], ...]

    @property
    def sides(self) -> Array:
        """(3,) lengths in 1/A."""
        return np.sqrt(self.squares)

    @property
    def relative_sigma(self) -> Array:
        """(3,) relative standard deviations of the sides."""
        return np.sqrt(np.diag(self.covariance)) / (2 * self.squares)


def triangle(zone: Zone) -> Triangle:
    """The sides of a zone's net and how well they are known: from the fit of the basis, the tilt and a floor."""
    combination = np.eye(2, dtype=np.int64)
    basis = np.column_stack([zone.basis, zone.basis @ zone.tilt])
    while True:  # Gauss
        p, q = combination @ basis
        if p @ p > q @ q * (1 + 1e-12):
            combination = combination[::-1]
            continue
        share = float(p @ q / (p @ p))
        if abs(share) < 0.5 + 1e-9:  # a half, as in a hexagonal net, goes either way, and would for ever
            break
        combination = np.stack([combination[0], combination[1] - round(share) * combination[0]])
    if p @ q < 0:
        combination = combination * np.array([[1], [-1]])
    combination = np.vstack([combination, combination[0] - combination[1]])
    vectors = combination @ zone.basis
    heights = vectors @ zone.tilt
    squares = np.sum(vectors**2, axis=1) + heights**2
    slope = 2 * (vectors + heights[:, None] * zone.tilt)  # of a squared side along its own vector
    by_basis = np.concatenate([combination[:, :1] * slope, combination[:, 1:] * slope], axis=1)
    by_tilt = 2 * heights[:, None] * vectors
    tilt_sigma = TILT_FLOOR + TILT_SHARE * float(np.hypot(*zone.tilt))
    covariance = by_basis @ zone.covariance @ by_basis.T + tilt_sigma**2 * by_tilt @ by_tilt.T
    covariance += np.diag((2 * RELATIVE_FLOOR * squares) ** 2)
    return Triangle(combination, vectors, heights, squares, covariance)


def merged(triangles: Sequence[Triangle]) -> list[Net]:
    """The distinct nets, each a weighted mean; well known zones first, so that poor ones join them."""
    nets: list[Net] = []
    lengths = np.zeros((len(triangles), 3))  # squared sides of each net, by length
    quality = [float(np.max(np.sqrt(np.diag(t.covariance)) / t.squares)) for t in triangles]
    for number in np.argsort(quality, kind="stable"):
        one = triangles[number]
        # Sides that are equal in any order are equal in the order of their lengths.
        own = np.sort(one.squares)
        for place in np.flatnonzero(np.all(np.abs(lengths[: len(nets)] / own - 1) < NEAR, axis=1)):
            order = _same(nets[place], one)
            if order is not None:
                nets[place] = _joined(nets[place], int(number), one, order)
                lengths[place] = np.sort(nets[place].squares)
                break
        else:
            lengths[len(nets)] = own
            nets.append(Net(one.squares, one.covariance, (int(number),), ((0, 1, 2),)))
    return nets


def _same(net: Net, one: Triangle) -> tuple[int, int, int] | None:
    """The order of the zone's sides that makes them equal to the net's, or None."""
    sigma = np.sqrt(np.diag(one.covariance)) / (2 * one.squares)
    best, best_order = np.inf, None
    for order in ORDERS:
        taken = list(order)
        difference = np.abs(np.log(one.squares[taken] / net.squares)) / 2
        allowed = np.clip(SIGMAS * np.hypot(sigma[taken], net.relative_sigma), SMALLEST_TOLERANCE, LARGEST_TOLERANCE)
        worst = float(np.max(difference / allowed))
        if worst < min(best, 1.0):
            best, best_order = worst, order
    return best_order


def _joined(net: Net, number: int, one: Triangle, order: tuple[int, int, int]) -> Net:
    taken = list(order)
    weights = [np.linalg.inv(net.covariance), np.linalg.inv(one.covariance[np.ix_(taken, taken)])]
    covariance = np.linalg.inv(weights[0] + weights[1])
    squares = covariance @ (weights[0] @ net.squares + weights[1] @ one.squares[taken])
    return Net(squares, covariance, (*net.members, number), (*net.order, order))
