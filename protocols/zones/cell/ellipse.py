"""The elliptical distortion of the lens, estimated from the zones of one crystal.

A lens that stretches the picture by 1 + h along an azimuth and by 1 - h across it changes the length of a row that
lies at the angle t to the picture's x axis by the factor 1 + e1 cos 2t + e2 sin 2t, with (e1, e2) of length h. The
crystal lies at another azimuth in every pattern, so rows that are equal, being the same reciprocal row or related by
symmetry, are seen with different lengths, and all such pairs agree on one (e1, e2). Pairs equal by accident do not.
(Derived here.)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from protocols.products.distortion import distortion_matrix
from protocols.zones.cell.dihedral import rows_of
from protocols.zones.cell.merging import Net, Triangle, triangle
from protocols.zones.sorting.zone import Zone

Array = NDArray[np.float64]

LARGEST_STRAIN = 0.025
"""Of the search: axes that differ by 5 %."""

STEP = 0.0005
ROWS = 8
"""Shortest rows of a zone that are compared with those of others."""

SMALLEST_LEVER = 0.3
"""Pairs of rows at nearly equal azimuth say nothing: |difference of (cos 2t, sin 2t)| must be larger than this."""


@dataclass(frozen=True, slots=True)
class Distortion:
    """As in `protocols.products.distortion`."""

    amplitude_percent: float
    azimuth_deg: float


def strain_of(amplitude_percent: float, azimuth_deg: float) -> Array:
    """(2,) e1, e2: the distortion's matrix is 1 + [[e1, e2], [e2, -e1]]."""
    m = distortion_matrix(amplitude_percent, azimuth_deg)
    return np.array([m[0, 0] - 1, m[0, 1]])


def distortion_of(strain: Array) -> Distortion:
    """The inverse of `strain_of`; the azimuth lies between -90 and 90 deg."""
    e1, e2 = (float(e) for e in strain)
    return Distortion(200 * math.hypot(e1, e2), math.degrees(math.atan2(-e2, e1)) / 2)


def undistorted(zone: Zone, strain: Array) -> Zone:
    """The zone as it would have been seen without the distortion."""
    e1, e2 = strain
    undo = np.linalg.inv(np.array([[1 + e1, e2], [e2, 1 - e1]]))
    spread = np.kron(np.eye(2), undo)
    return replace(zone, basis=zone.basis @ undo.T, covariance=spread @ zone.covariance @ spread.T)


def strain_slope(one: Triangle) -> Array:
    """(3, 2) change of the squared sides of a zone with e1, e2."""
    x, y = one.vectors.T
    return np.stack([2 * (x * x - y * y), 4 * x * y], axis=1)


def vote_strain(zones: Sequence[Zone]) -> tuple[Array, bool]:
    """The strain (2,) e1, e2 on which most pairs of rows agree, and whether it is clear.

    Clear: the pairs agree distinctly better there than elsewhere. Otherwise the strain returned is 0.
    """
    unclear = np.zeros(2), False
    if len(zones) < 2:
        return unclear
    log_length, azimuth, sigma, owner = _rows(zones)
    i, j = np.triu_indices(len(log_length), 1)
    ratio = log_length[i] - log_length[j]
    lever = azimuth[i] - azimuth[j]
    size = np.hypot(*lever.T)
    width = 2.0 * np.hypot(sigma[i], sigma[j]) + 0.0004
    useful = (
        (owner[i] != owner[j])
        & (size > SMALLEST_LEVER)
        & (np.abs(ratio) < LARGEST_STRAIN * 1.2 * size)
        & (width < 0.01)
    )
    ratio, lever, width = ratio[useful], lever[useful], width[useful]
    if len(ratio) < 12:
        return unclear
    score = _scores(ratio, lever, width)
    axis = np.arange(-LARGEST_STRAIN, LARGEST_STRAIN + STEP / 2, STEP)
    a, b = np.unravel_index(int(np.argmax(score)), score.shape)
    strain = np.array([axis[a], axis[b]])
    for _ in range(6):  # least squares of the pairs that agree
        off = (ratio - lever @ strain) / width
        agree = np.abs(off) < 1.5
        if agree.sum() < 6:
            return unclear
        weight = (1 - (off[agree] / 1.5) ** 2) / width[agree] ** 2
        normal = lever[agree].T @ (lever[agree] * weight[:, None])
        strain = np.linalg.solve(normal, lever[agree].T @ (ratio[agree] * weight))
    background, noise = float(np.median(score)), float(np.std(score[score < np.percentile(score, 90)]))
    clear = bool(score[a, b] > background + 6 * noise)
    return (strain, True) if clear else unclear


def _scores(ratio: Array, lever: Array, width: Array) -> Array:
    """How many pairs agree with each (e1, e2) of the grid, wide ones counting less.

    A pair is a strip in the plane of e1 and e2. Steep strips are taken row by row, flat ones column by column.
    """
    axis = np.arange(-LARGEST_STRAIN, LARGEST_STRAIN + STEP / 2, STEP)
    score = np.zeros((len(axis), len(axis)))
    steep = np.abs(lever[:, 0]) > np.abs(lever[:, 1])
    for chosen, across, along in ((~steep, 1, 0), (steep, 0, 1)):
        slope = lever[chosen, across][:, None]
        middle = (ratio[chosen][:, None] - lever[chosen, along][:, None] * axis) / slope
        half = np.maximum(width[chosen][:, None] / np.abs(slope), STEP)  # no narrower than the grid
        first, last = (np.ceil((middle + side * half + LARGEST_STRAIN) / STEP) for side in (-1, 1))
        first, last = (np.clip(end, 0, len(axis)).astype(np.int64) for end in (first, last))
        weight = np.broadcast_to(STEP / half, first.shape)
        line = np.broadcast_to(np.arange(len(axis)), first.shape) * (len(axis) + 1)
        size = len(axis) * (len(axis) + 1)
        change = np.bincount((line + first).ravel(), weight.ravel(), size)
        change -= np.bincount((line + last).ravel(), weight.ravel(), size)
        counts = np.cumsum(change.reshape(len(axis), -1), axis=1)[:, :-1]
        score += counts if across == 1 else counts.T
    return score


def _rows(zones: Sequence[Zone]) -> tuple[Array, Array, Array, NDArray[np.int64]]:
    """Logarithm of length, (cos 2t, sin 2t), relative sigma, and zone of the shortest rows of every zone."""
    triangles = [triangle(zone) for zone in zones]
    nets = [Net(t.squares, t.covariance, (n,), ((0, 1, 2),)) for n, t in enumerate(triangles)]
    rows = rows_of(nets, ROWS)
    sides = np.stack([t.vectors[:2] for t in triangles])[rows.net]
    seen = np.einsum("ri,rij->rj", rows.index.astype(np.float64), sides)
    t = 2 * np.arctan2(seen[:, 1], seen[:, 0])
    return np.log(rows.length), np.stack([np.cos(t), np.sin(t)], axis=1), rows.sigma, rows.net
