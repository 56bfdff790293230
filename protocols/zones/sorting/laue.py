"""The Laue circle: how a zone is tilted, and whether a net of spots is a plane of a crystal at all.

The Ewald sphere cuts the plane of a zone in a circle through the primary beam; what is excited lies in a band about
it. So the spots of a zone tell its tilt, and given the tilt, which nodes of the net ought to be seen. Spots of a
three-dimensional pattern can lie on a net by accident (the beam along a short row of the reciprocal lattice throws
the whole lattice onto one); they do not fill such a band.

Frame: beam along +z, the sphere's surface at z = -wavelength |xy|^2 / 2, about. A node at height z = tilt . (x, y)
has the excitation error s = |K z + G| - K.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]

STEEPER = np.geomspace(0.9, 4.5, 18)
"""The slopes tried first, in units of that of least squares, which is too small for steep planes."""
STEP = 0.0012
"""Of the raster across the slope; a node at 1 1/A moves by an eighth of the paper's excitation error."""
STEP_ALONG = 0.03
"""Along the slope the raster is wider by this part of it: that direction is less well determined."""
FINE, COARSE = (1.0, 0.5, 0.25), (3.0, 1.5)
"""Rounds of the raster, in units of the steps."""
RASTER = np.stack(np.meshgrid(np.arange(-3, 4), np.arange(-3, 4)), axis=-1).reshape(-1, 2).astype(np.float64)
STRAY = 0.003
"""Share of the seen nodes that the sphere does not excite: foreign spots on the net, rarer than nodes unseen."""
LEAST_MISSING = 0.02
"""Least share of the excited nodes that are not seen (absences)."""
SLACK = 1.15
"""A spot this much beyond the excitation error is no node of the plane, though it falls on one."""


@dataclass(frozen=True, slots=True, eq=False)
class LaueCircle:
    """tilt: (2,) slopes of the plane. observed, predicted, both: numbers of nodes seen, of nodes that the tilt
    predicts, and of those in common. outside: (n,) spots on the net that the tilt does not excite.
    """

    tilt: Array
    observed: int
    predicted: int
    both: int
    outside: Mask

    @property
    def jaccard(self) -> float:
        """Common nodes in all nodes, 0..1."""
        return self.both / max(1, self.observed + self.predicted - self.both)

    def agreement(self, missing: float = 0.0) -> float:
        """The same where a share of all spots, 0..1, is expected to be too weak to be seen."""
        expected = max(float(self.both), (1.0 - missing) * self.predicted)
        return min(1.0, self.both / max(1.0, self.observed + expected - self.both))


def excitation_error(xy: Array, tilt: Array, wavelength_A: float = 0.0251) -> Array:
    """(n,) s in 1/A of the (n, 2) points of a plane with slopes (2,)."""
    k = 1.0 / wavelength_A
    return np.asarray(np.sqrt(np.square(xy).sum(axis=1) + np.square(k + xy @ tilt)) - k)


def least_squares_tilt(xy: Array, wavelength_A: float = 0.0251) -> Array:
    """(2,) slopes that bring the (n, 2) spots nearest to the Ewald sphere.

    Right for a small tilt. Of a large one only the direction is right and the slope too small, by half and more: of
    a steep plane the sphere excites a narrow band, and least squares take the width of the band for errors in z,
    while it is an error across the band.
    """
    height = (np.sqrt(1.0 - wavelength_A**2 * np.square(xy).sum(axis=1)) - 1.0) / wavelength_A
    return np.asarray(np.linalg.lstsq(xy, height, rcond=None)[0])


def laue_circle(
    xy: Array,
    index: Indices,
    basis: Array,
    wavelength_A: float = 0.0251,
    d_star_max_per_A: float = 1.0,
    excitation_error_per_A: float = 0.01,
    absences: bool = False,
    d_star_min_per_A: float = 0.0,
    thorough: bool = True,
) -> LaueCircle:
    """The tilt of a net, and how well the nodes seen are those excited.

    xy: (n, 2) spots on the net in 1/A (on the sphere, `nets.flat_to_sphere`); index: (n, 2) theirs; basis: (2, 2) of
    the projected net. The tilt is the middle of the most likely ones, given that some of the excited nodes are not
    seen and that hardly any other is. The search begins with the direction of least squares, goes to steeper and
    steeper slopes, and then on rasters about the best. absences: of a row through the beam on which only every other
    node is seen, the rest is not asked for (screw axes, glide planes), nor are unseen nodes below d*_min.
    thorough: look farther away where not all agrees; without it a rough answer, in a fifth of the time.
    """
    nodes, seen = _nodes(index, basis, d_star_max_per_A, d_star_min_per_A)
    if absences:
        keep = ~_absent(nodes, seen)
        nodes, seen = nodes[keep], seen[keep]
    node = nodes @ basis
    # (K - s)^2 < |K z + G|^2 < (K + s)^2, without K^2
    k, s = 1.0 / wavelength_A, excitation_error_per_A
    low, high = s * s - 2 * k * s, s * s + 2 * k * s
    flat2 = np.square(node).sum(axis=1)

    def excited(tilts: Array) -> Mask:
        z = tilts @ node.T
        rest = flat2 + z * (2 * k + z)
        return np.asarray((rest > low) & (rest < high) & (flat2 + z * z < d_star_max_per_A**2))

    observed = int(seen.sum())

    def best(tilts: Array, missing: float) -> tuple[Array, float]:
        """The middle of the most likely tilts, and the share of the predicted nodes that are not seen there."""
        predicted = excited(tilts)
        both, count = predicted[:, seen].sum(axis=1), predicted.sum(axis=1)
        cost = both * np.log(1 - missing) + (count - both) * np.log(missing) + (observed - both) * np.log(STRAY)
        top = cost > cost.max() - 1e-9
        missing = 1.0 - float(both[top].mean() / max(1.0, count[top].mean()))
        return np.asarray(tilts[top].mean(axis=0)), missing

    def climbed(tilt: Array, missing: float, rounds: tuple[float, ...]) -> tuple[Array, float]:
        for finer in rounds:
            slope = float(np.hypot(*tilt))
            up = tilt / slope if slope > 0 else np.array([1.0, 0.0])
            steps = np.array([up * (STEP_ALONG * slope + STEP), np.array([-up[1], up[0]]) * STEP])
            tilt, missing = best(tilt + finer * RASTER @ steps, min(max(missing, LEAST_MISSING), 0.5))
        return tilt, missing

    tilt, missing = best(least_squares_tilt(xy, wavelength_A) * STEEPER[:, None], LEAST_MISSING)
    tilt, missing = climbed(tilt, missing, FINE)
    if thorough and (missing > 0.0 or not excited(tilt[None])[0, seen].all()):
        # Not all agrees: look farther away, and among the tilts that excite all spots.
        starts = [
            tilt,
            best(_between_worst_and_steepest(xy, tilt, wavelength_A, s), min(max(missing, LEAST_MISSING), 0.5))[0],
        ]
        farther = [climbed(start, missing, COARSE + FINE)[0] for start in starts]
        tilt = best(np.array(farther), min(max(missing, LEAST_MISSING), 0.5))[0]
    hit = excited(tilt[None])[0]
    outside = np.abs(excitation_error(xy, tilt, wavelength_A)) > SLACK * excitation_error_per_A
    return LaueCircle(tilt, observed, int(hit.sum()), int((hit & seen).sum()), outside)


def _between_worst_and_steepest(xy: Array, tilt: Array, wavelength_A: float, excitation_error_per_A: float) -> Array:
    """(7, 2) tilts: from the one with the smallest worst |s| to the steepest one that excites all (n, 2) spots, where
    there is such a tilt. The steeper the plane, the fewer other nodes are excited.
    """
    from scipy.optimize import linprog

    middle = _smallest_worst(xy, tilt, wavelength_A)
    s = excitation_error(xy, middle, wavelength_A)
    # s + xy . change within the excitation error, for small angles.
    limit = np.concatenate([excitation_error_per_A - s, excitation_error_per_A + s])
    if (limit < 0).any():
        return middle[None]
    steepest = linprog(-middle, A_ub=np.vstack([xy, -xy]), b_ub=limit, bounds=(None, None), method="highs")
    if not steepest.success:
        return middle[None]
    return np.asarray(middle + np.linspace(0.0, 1.0, 7)[:, None] * np.asarray(steepest.x))


def _smallest_worst(xy: Array, tilt: Array, wavelength_A: float) -> Array:
    """(2,) the tilt with the smallest largest |s| of the (n, 2) points, by Lawson's weights: least squares again and
    again, each time with more weight on what is far off.
    """
    weight = np.full(len(xy), 1.0 / len(xy))
    for _ in range(30):
        s = excitation_error(xy, tilt, wavelength_A)
        weighted = xy * weight[:, None]
        # ds / d tilt is the position itself, for small angles. The addition keeps a row of spots solvable.
        tilt = tilt - np.linalg.solve(weighted.T @ xy + 1e-9 * np.eye(2), weighted.T @ s)
        weight *= np.abs(excitation_error(xy, tilt, wavelength_A)) + 1e-9
        weight /= weight.sum()
    return tilt


def _nodes(index: Indices, basis: Array, d_star_max: float, d_star_min: float) -> tuple[Indices, Mask]:
    """All nodes (m, 2) of the net from d*_min to d*_max, but the beam, and which of them have spots."""
    area = abs(float(np.linalg.det(basis)))
    reach = [int(d_star_max * float(np.linalg.norm(basis[1 - i])) / area) for i in (0, 1)]
    bound = np.maximum(reach, np.abs(index).max(axis=0, initial=0))
    grid = np.indices((2 * bound[0] + 1, 2 * bound[1] + 1)).reshape(2, -1).T - bound
    seen = np.zeros((2 * bound[0] + 1, 2 * bound[1] + 1), dtype=bool)
    seen[index[:, 0] + bound[0], index[:, 1] + bound[1]] = True
    seen = seen.reshape(-1)
    squared = np.square(grid @ basis).sum(axis=1)
    inside = (((squared >= d_star_min**2) & (squared <= d_star_max**2)) | seen) & grid.any(axis=1)
    return grid[inside], seen[inside]


def _absent(nodes: Indices, seen: Mask) -> Mask:
    """(m,) nodes on rows through the beam of which every other is never seen."""
    absent = np.zeros(len(nodes), dtype=bool)
    for row in ((1, 0), (0, 1), (1, 1), (1, -1)):
        on_row = nodes[:, 0] * row[1] == nodes[:, 1] * row[0]
        order = nodes[:, 0] if row[0] else nodes[:, 1]
        odd = on_row & (order % 2 != 0)
        if (seen & on_row).sum() >= 2 and not (seen & odd).any():
            absent |= odd
    return absent
