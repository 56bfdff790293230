"""The net of a pattern's spots: the coarsest two-dimensional lattice on which all, or almost all of them lie.

Differences between spots gather at the vectors of the net. The shortest of them, one for each direction, make nets
in pairs; all these nets are fitted to the spots at once, from the middle of the pattern outwards, because an error
of a short vector grows with the index. A net that is too fine carries the spots just as well, so of those that
carry them the one with the largest area counts. Reciprocal lengths are 1/A without 2 pi.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.zones.sorting.labels import FEWEST_SPOTS

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]

TOLERANCE_PER_A = 0.006
"""A spot farther from its node is off the net. An upper bound: five sigma of the repository of the paper's own noise
(0.0012 1/A). The fit sharpens it to what it finds (SIGMAS); in clean pictures to FLOOR_PER_A."""
FLOOR_PER_A = 0.0025
"""The tolerance is not sharpened below this: 0.3 px of the paper's pictures, half a pixel of a Timepix at 250 mm, where
the faint spots of a pattern are worse than its mean. A foreign spot is that near to a node in 1 of 500 cases."""
SIGMAS = 5.0
"""Of a two-dimensional Gaussian 4e-6 lie farther out."""
MESH_SHARE = 0.3
"""The tolerance is no more than this part of the shortest vector, whatever was asked: half would index anything."""
GRAIN_PER_A = 0.006
"""Differences are gathered in cells of about this size; no two vectors of a net are that near to each other."""
LEAST_SUPPORT = 0.12
"""Differences at a vector of the net, in those at the vector with most. Where all vectors with such support are on one
row, all support counts: a pattern of two rows, one with few spots."""
MOST_SPOTS = 250
"""Only so many spots next to the beam are used to find a net; all are used to fit it."""
AREA_STEP = 5e-4
"""1/A^2. Two meshes whose areas differ by less are worth one trial."""
MOST_VECTORS = 12
REACH_PER_A = 0.7
"""Longest difference looked at, three times that if all within are on one row: few rows, far from each other."""


@dataclass(frozen=True, slots=True, eq=False)
class Net:
    """A net and the n spots it was laid through.

    basis: (2, 2) rows p, q in 1/A, Gauss-reduced.
    index: (n, 2) of the node next to each spot: spot = index @ basis, about.
    on: (n,) whether the spot lies on its node, within `tolerance_per_A`.
    sigma_per_A: standard deviation of the spots from their nodes, each coordinate.
    covariance: (4, 4) of (p_x, p_y, q_x, q_y) in 1/A^2.
    """

    basis: Array
    index: Indices
    on: Mask
    sigma_per_A: float
    tolerance_per_A: float
    covariance: Array

    @property
    def area(self) -> float:
        """Of its mesh, in 1/A^2."""
        return abs(float(np.linalg.det(self.basis)))


def flat_to_sphere(xy: Array, wavelength_A: float = 0.0251) -> Array:
    """(n, 2) G_x, G_y on the Ewald sphere of positions on a flat detector: sin for tan of two theta, by wavelength."""
    squared = np.einsum("ni,ni->n", xy, xy) * wavelength_A**2
    return np.asarray(xy / np.sqrt(1.0 + squared)[:, None])


def reduced(basis: Array) -> Array:
    """Gauss-reduced bases (..., 2, 2) of nets: |p| <= |q|, 0 <= p . q <= |p|^2 / 2."""
    p, q = basis[..., 0, :].copy(), basis[..., 1, :].copy()
    for _ in range(40):
        swap = (p * p).sum(-1) > (q * q).sum(-1)
        p, q = np.where(swap[..., None], q, p), np.where(swap[..., None], p, q)
        times = np.rint((p * q).sum(-1) / (p * p).sum(-1))
        q = q - times[..., None] * p
        if not times.any():
            break
    q = np.where(((p * q).sum(-1) < 0)[..., None], -q, q)
    return np.stack([p, q], axis=-2)


def find_nets(
    xy: Array, tolerance_per_A: float = TOLERANCE_PER_A, most_off: int | None = None, most: int = 3
) -> list[Net]:
    """The nets, best first and at most so many, that carry the (n, 2) spots but `most_off` (by default half of them).

    xy: 1/A, the primary beam at 0, the detector's projection undone (`flat_to_sphere`). Without such a net, or with
    less than FEWEST_SPOTS spots, the list is empty.
    """
    if len(xy) < FEWEST_SPOTS:
        return []
    near = xy[np.argsort(np.einsum("ni,ni->n", xy, xy))]
    grain = min(tolerance_per_A, GRAIN_PER_A)
    vectors = _short_differences(near[:MOST_SPOTS], grain, REACH_PER_A, LEAST_SUPPORT)
    if len(vectors) < 2:
        vectors = _short_differences(near[:MOST_SPOTS], grain, 3 * REACH_PER_A, 0.0)
    first, second = _PAIRS[:, _PAIRS[1] < len(vectors)]
    bases = np.stack([vectors[first], vectors[second]], axis=1)
    bases = reduced(bases[_area(bases) > 0])
    length = np.linalg.norm(bases, axis=2)
    bases = _once(bases[_area(bases) > 2.5 * grain * length[:, 1]])
    if not len(bases):
        return []
    tolerances = np.minimum(tolerance_per_A, MESH_SHARE * np.linalg.norm(bases[:, 0], axis=1))
    bases, on = _fitted_outwards(near, bases, tolerances)
    least = max(FEWEST_SPOTS - 1, len(xy) - (len(xy) // 2 if most_off is None else most_off))
    if on.max() < least:
        return []
    # A spot on the net is worth more, the less likely it is there by chance: the mesh over the disk of tolerance.
    worth = on * np.log(np.maximum(_area(bases) / (np.pi * tolerances**2), 1.0))
    nets: list[Net] = []
    for which in np.argsort(-worth, kind="stable"):
        if on[which] < least:
            continue
        if any(_same(bases[which], net.basis, tolerance_per_A) for net in nets):
            continue
        net = fit_net(xy, bases[which], tolerance_per_A)
        if (
            net is not None
            and net.on.sum() >= least
            and not any(_same(net.basis, other.basis, tolerance_per_A) for other in nets)
        ):
            nets.append(net)
            if len(nets) == most:
                break
    return nets


def fit_net(xy: Array, basis: Array, tolerance_per_A: float = TOLERANCE_PER_A) -> Net | None:
    """Least squares of a net through the (n, 2) spots near its nodes, the tolerance sharpened by what it finds.

    None where fewer than four spots, or those of one row only, are near nodes.
    """
    basis = reduced(basis)
    tolerance_per_A = min(tolerance_per_A, MESH_SHARE * float(np.linalg.norm(basis[0])))
    tolerance = tolerance_per_A
    index, on = _nodes(xy, basis, tolerance)
    sigma = tolerance
    for _ in range(6):
        h = index[on].astype(np.float64)
        normal = h.T @ h
        if len(h) < FEWEST_SPOTS - 1 or np.linalg.det(normal) < 0.5:
            return None
        basis = np.asarray(np.linalg.solve(normal, h.T @ xy[on]), dtype=np.float64)
        off2 = np.square(xy - index @ basis).sum(axis=1)
        # Two vectors were fitted to the spots; each of them has two coordinates.
        sigma = float(np.sqrt(off2[on].sum() / (2 * max(1, len(h) - 2))))
        tolerance = float(np.clip(SIGMAS * sigma, min(FLOOR_PER_A, tolerance_per_A), tolerance_per_A))
        before, was = on, index
        index, on = _nodes(xy, basis, tolerance)
        if np.array_equal(on, before) and np.array_equal(index, was):
            break
    basis, index = _reduced_with_index(basis, index)
    h = index[on].astype(np.float64)
    if len(h) < FEWEST_SPOTS - 1 or np.linalg.det(h.T @ h) < 0.5:
        return None
    inverse = np.linalg.inv(h.T @ h)
    rms2 = np.square(xy[on] - h @ basis).sum() / (2 * max(1, len(h) - 2))
    return Net(basis, index, on, sigma, tolerance, np.kron(inverse, np.eye(2)) * max(rms2, 1e-14))


def centre_shift(xy: Array, limit_per_A: float, tolerance_per_A: float = TOLERANCE_PER_A) -> Array:
    """(2,) how far the net of the (n, 2) spots lies from the assumed primary beam, in 1/A; 0 where it is not found
    or lies farther off than the limit.

    A net is looked for with the tolerance widened by the limit, then fitted with its origin free.
    """
    none = np.zeros(2)
    nets = find_nets(xy, tolerance_per_A + limit_per_A, most=1)
    if not nets:
        return none
    net = nets[0]
    origin, basis, tolerance = none, net.basis, net.tolerance_per_A
    fitted: Array
    for _ in range(5):
        index, on = _nodes(xy - origin, basis, tolerance)
        design = np.column_stack([index[on], np.ones(int(on.sum()))]).astype(np.float64)
        if len(design) < FEWEST_SPOTS or np.linalg.matrix_rank(design) < 3:
            return none
        fitted = np.asarray(np.linalg.lstsq(design, xy[on], rcond=None)[0], dtype=np.float64)
        basis, origin = fitted[:2], fitted[2]
        off2 = np.square(xy[on] - design @ fitted).sum(axis=1)
        sigma = float(np.sqrt(off2.sum() / (2 * max(1, len(design) - 3))))
        tolerance = float(np.clip(SIGMAS * sigma, min(FLOOR_PER_A, tolerance), tolerance))
    return np.asarray(origin) if float(np.hypot(*origin)) <= limit_per_A else none


def _reduced_with_index(basis: Array, index: Indices) -> tuple[Array, Indices]:
    short = reduced(basis)
    change = np.rint(basis @ np.linalg.inv(short)).astype(np.int64)
    return short, index @ change


def _nodes(xy: Array, basis: Array, tolerance: float) -> tuple[Indices, Mask]:
    index = np.rint(xy @ np.linalg.inv(basis)).astype(np.int64)
    on = np.square(xy - index @ basis).sum(axis=1) < tolerance**2
    return index, on & index.any(axis=1)


def _area(bases: Array) -> Array:
    return np.asarray(np.abs(bases[..., 0, 0] * bases[..., 1, 1] - bases[..., 0, 1] * bases[..., 1, 0]))


_PAIRS = np.array(np.triu_indices(MOST_VECTORS, 1))
_SQUARE = np.indices((3, 3)).reshape(2, -1) - 1


def _once(bases: Array) -> Array:
    """Without most of the nets that many pairs of vectors make alike: those that agree in area and in p."""
    p = bases[:, 0] * np.where(bases[:, :1, 1] < 0, -1.0, 1.0)
    key = np.rint(np.column_stack([_area(bases) / AREA_STEP, p / (0.5 * GRAIN_PER_A)])).astype(np.int64)
    _, first = np.unique(key @ np.array([1, 1 << 20, 1 << 40]), return_index=True)
    return bases[np.sort(first)]


def _same(one: Array, other: Array, tolerance: float) -> bool:
    """Whether two bases span the same net: each an integer combination of the other, within the tolerance."""
    index = one @ np.linalg.inv(other)
    whole = np.rint(index)
    close = np.square((index - whole) @ other).sum(axis=1).max() < (2 * tolerance) ** 2
    return bool(close and abs(round(float(np.linalg.det(whole)))) == 1)


def _short_differences(near: Array, tolerance: float, reach: float, support: float) -> Array:
    """(k, 2) vectors at which differences of spots gather, the shortest of each direction, shortest first."""
    points = np.vstack([np.zeros((1, 2)), near])
    x, y = (np.subtract.outer(c, c).reshape(-1) for c in points.T)
    side = tolerance
    half = np.flatnonzero((y > -side) & (x * x + y * y < reach**2) & (x * x + y * y > (2.5 * tolerance) ** 2))
    x, y = x[half], y[half]
    cells = int(reach / side) + 3
    width = 2 * cells
    key = ((y / side).astype(np.int64) + 3) * width + (x / side + cells).astype(np.int64)
    size = (cells + 5) * width
    count = np.bincount(key, minlength=size)
    occupied = np.flatnonzero(count)
    offsets = _SQUARE[0] * width + _SQUARE[1]
    around = occupied[:, None] + offsets
    boxed = np.zeros(size, dtype=np.int64)
    boxed[occupied] = count[around].sum(axis=1) * 10_000 + occupied % 10_000
    best = boxed[occupied] >= boxed[around].max(axis=1)
    around = around[best]
    number = count[around].sum(axis=1)
    keep = number >= max(1.0, support * number.max(initial=0))
    around, number = around[keep], number[keep]
    middle = np.stack(
        [np.bincount(key, weights=c, minlength=size)[around].sum(axis=1) / number for c in (x, y)], axis=1
    )
    length = np.sqrt(np.einsum("ki,ki->k", middle, middle))
    order = np.argsort(length, kind="stable")[:80]
    middle, length = middle[order], length[order]
    # Of a direction only the shortest: drop what lies on the line through a shorter one.
    across = np.abs(np.outer(middle[:, 0], middle[:, 1]) - np.outer(middle[:, 1], middle[:, 0]))
    on_line = np.tril(across < 2.0 * tolerance * length[None, :], -1)
    return np.asarray(middle[~on_line.any(axis=1)][:MOST_VECTORS])


def _fitted_outwards(near: Array, bases: Array, tolerance: Array) -> tuple[Array, Indices]:
    """Bases (N, 2, 2) fitted to spots sorted by distance, and how many spots (N,) lie on each net."""
    count = len(near)
    radius = np.sqrt(np.einsum("ni,ni->n", near, near))
    last = 0
    on = np.zeros((len(bases), count), dtype=bool)
    for share in (0.25, 0.5, 1.0, 1.0):
        upto = count if share == 1.0 else max(min(6, count), int(np.searchsorted(radius, share * radius[-1])))
        if upto == last and share < 1.0:
            continue
        last = upto
        spots = near[:upto]
        index, on = _batch_nodes(spots, bases, tolerance)
        bases = _batch_fit(spots, bases, index, on)
    _, on = _batch_nodes(near, bases, tolerance)
    return bases, on.sum(axis=1)


def _batch_nodes(spots: Array, bases: Array, tolerance: Array) -> tuple[Array, Mask]:
    """Nearest nodes (2, N, n) of the spots on each net, and whether (N, n) the spots lie on them."""
    (px, py), (qx, qy) = bases.transpose(1, 2, 0)[..., None]
    x, y = spots.T
    determinant = px * qy - py * qx
    scale = 1.0 / np.where(np.abs(determinant) < 1e-12, np.inf, determinant)  # two vectors on one line carry nothing
    h = np.rint((x * qy - y * qx) * scale)
    k = np.rint((y * px - x * py) * scale)
    off2 = np.square(h * px + k * qx - x) + np.square(h * py + k * qy - y)
    return np.stack([h, k]), off2 < tolerance[:, None] ** 2


def _batch_fit(spots: Array, bases: Array, index: Array, on: Mask) -> Array:
    h, k = index * on
    hh, kk, hk = (h * h).sum(1), (k * k).sum(1), (h * k).sum(1)
    hxy, kxy = h @ spots, k @ spots
    determinant = hh * kk - hk * hk
    good = determinant > 0.5
    scale = 1.0 / np.where(good, determinant, 1.0)[:, None]
    p = (kk[:, None] * hxy - hk[:, None] * kxy) * scale
    q = (hh[:, None] * kxy - hk[:, None] * hxy) * scale
    return np.where(good[:, None, None], np.stack([p, q], axis=1), bases)
