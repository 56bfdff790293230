"""How far the crystal has moved since an earlier snapshot, by what it and the film around it look like.

For snapshots in which an outline tells too little: a pale crystal, or one that the aperture cuts; or by the film alone,
for one that does not stand out at all. The earlier snapshot,
foreshortened by the tilt since, is laid over the new one, only where both are lit, and the place where they are most
alike is taken. Pure functions of views.
"""

from dataclasses import dataclass

import numpy as np
import scipy

from protocols.tracking.snapshotview import Array, SnapshotView

SMOOTHED, FILM_SMOOTHED = 1, 0
"""Which of the smoothed pictures of a view are compared; of films, whose texture is fine, the second."""
LEAST_OVERLAP = 0.5
"""Of what is looked for must be lit in the new snapshot."""
LEAST_ALIKE, LEAST_SIGMAS = 0.55, 6.0
"""Correlation coefficient, and how far it is above that of noise."""
RIVAL, RIVAL_CELLS, RIVAL_RADII = 0.8, 4.0, 1.5
"""Another place that is alike by this part of the best makes both doubtful, if it is so many cells away, or radii of
the crystal, which is like itself when it is a little displaced."""
FILM_SIGMAS, FILM_AHEAD = 4.0, 1.0
"""Films are pale: how far a likeness is above that of noise, and above the next one elsewhere, in standard deviations.
"""
LEVELLED = 8.0
"""Cells over which light is levelled before films are compared: what lights them goes with the beam, not with them."""
WINDOW_MORE = 1.4
"""Looked for is this many times the crystal's radius around it, with soft edges."""


@dataclass(frozen=True, slots=True, eq=False)
class Moved:
    """fast, slow: from the crystal's place in the earlier view to that in the new one, in cells, beside what the tilt
    does to that place. covariance: (2, 2). alike: correlation coefficient.
    """

    fast: float
    slow: float
    covariance: Array
    alike: float


def moved(
    earlier: SnapshotView,
    at: Array,
    radius: float | None,
    turned: Array,
    seen: SnapshotView,
    about: Array,
    reach: float,
) -> Moved | None:
    """at: (2,) fast and slow of the crystal in the earlier view, in cells from the middle of its array; radius: of the
    crystal, None to compare all that is lit, whatever it looks like. turned: (2, 2) what the tilt between both does to
    (fast, slow). about, reach: where the crystal should be in the new view, and how far from there it is looked for.
    None where nothing is surely alike. Both views have cells of one size.
    """
    size = len(seen.share)
    middle = (size - 1) / 2
    # The crystal's place in the earlier view comes to the middle of the template.
    back = np.linalg.inv(turned)[::-1, ::-1]  # (slow, fast), as arrays are
    offset = np.array([at[1], at[0]]) + (len(earlier.share) - 1) / 2 - back @ np.array([middle, middle])
    which = FILM_SMOOTHED if radius is None else SMOOTHED
    before, now = (_levelled(each) if radius is None else each.smooth[which] for each in (earlier, seen))
    template = scipy.ndimage.affine_transform(before, back, offset, output_shape=(size, size), order=1, cval=1.0)
    known = scipy.ndimage.affine_transform(
        earlier.lit.astype(np.float64), back, offset, output_shape=(size, size), order=1
    )
    fast, slow = seen.places
    weight = (known > 0.99).astype(np.float64)
    if radius is not None:
        weight *= np.clip((WINDOW_MORE * radius + 4.0 - np.hypot(fast, slow)) / 3.0, 0.0, 1.0)
    alike, overlap = _alike(template, weight, now, seen.lit.astype(np.float64))
    shift = np.arange(-(size // 2), size // 2)
    away = np.hypot(shift[None, :] - about[0], shift[:, None] - about[1])
    alike = np.where((overlap > LEAST_OVERLAP * weight.sum()) & (away <= reach), alike, -1.0)
    row, column = (int(k) for k in np.unravel_index(int(alike.argmax()), alike.shape))
    best = float(alike[row, column])
    independent = float(overlap[row, column]) / max(1.0, 4.0 * np.pi * seen.scales[which] ** 2)
    elsewhere = np.hypot(shift[None, :] - shift[column], shift[:, None] - shift[row]) > max(
        RIVAL_CELLS, RIVAL_RADII * (radius or 0.0)
    )
    rival = float(alike[elsewhere].max(initial=-1.0))
    if not (_is_sure_of_film if radius is None else _is_sure)(best, rival, independent):
        return None
    if (
        not (0 < row < size - 1 and 0 < column < size - 1)
        or alike[row - 1 : row + 2, column - 1 : column + 2].min() < 0
    ):
        return None
    found = _summit(alike[row - 1 : row + 2, column - 1 : column + 2])
    if found is None:
        return None
    step, curvature = found
    # Of a correlation r of N independent values, from the curvature of its maximum.
    covariance = np.linalg.inv(-curvature) * (1.0 - best**2) / (best * independent)
    return Moved(float(shift[column]) + step[0], float(shift[row]) + step[1], covariance + 0.04 * np.eye(2), best)


def _is_sure(best: float, rival: float, independent: float) -> bool:
    """Whether a correlation coefficient of so many independent values is more than chance, and the only one."""
    return best >= LEAST_ALIKE and _deviate(best, independent) >= LEAST_SIGMAS and rival <= RIVAL * best


def _is_sure_of_film(best: float, rival: float, independent: float) -> bool:
    """The same of films."""
    ahead = _deviate(best, independent) - _deviate(rival, independent)
    return _deviate(best, independent) >= FILM_SIGMAS and ahead >= FILM_AHEAD


def _deviate(alike: float, independent: float) -> float:
    """Fisher's: of noise it would be a normal deviate."""
    return float(np.arctanh(np.clip(alike, -0.999, 0.999)) * np.sqrt(max(independent - 3.0, 0.0)))


def _levelled(seen: SnapshotView) -> Array:
    """The smoothed picture without what changes slowly in it."""
    known = seen.lit.astype(np.float64)
    wide = LEVELLED * seen.fineness
    slowly = scipy.ndimage.gaussian_filter(np.where(seen.lit, seen.share, 0.0), wide) / np.maximum(
        scipy.ndimage.gaussian_filter(known, wide), 1e-6
    )
    return np.asarray(np.where(seen.lit, seen.smooth[FILM_SMOOTHED] / np.maximum(slowly, 1e-6), 1.0))


def _alike(template: Array, weight: Array, picture: Array, lit: Array) -> tuple[Array, Array]:
    """(n, n) weighted correlation coefficients of a template with a picture displaced by -n/2 .. n/2 - 1, and the
    weight of what is lit of it.
    """
    size = len(template)
    padded = 2 * size

    def waves(part: Array) -> Array:
        return np.asarray(np.fft.rfft2(part, (padded, padded)))

    ones = [waves(weight * power) for power in (1.0, template, template * template)]
    others = [waves(lit * power) for power in (1.0, picture, picture * picture)]

    def summed(k: int, m: int) -> Array:
        whole = np.fft.irfft2(np.conj(ones[k]) * others[m], (padded, padded))
        return np.roll(whole, (size // 2, size // 2), axis=(0, 1))[: 2 * (size // 2), : 2 * (size // 2)]

    total = np.maximum(summed(0, 0), 1e-6)
    t, p = summed(1, 0) / total, summed(0, 1) / total
    both = summed(1, 1) / total - t * p
    spread = (summed(2, 0) / total - t * t) * (summed(0, 2) / total - p * p)
    return both / np.sqrt(np.maximum(spread, 1e-12)), total


def _summit(near: Array) -> tuple[Array, Array] | None:
    """Of (3, 3) values about a maximum: (fast, slow) of the maximum of a paraboloid, and its second derivatives."""
    fast = (near[1, 2] - near[1, 0]) / 2
    slow = (near[2, 1] - near[0, 1]) / 2
    across = (near[2, 2] - near[2, 0] - near[0, 2] + near[0, 0]) / 4
    curvature = np.array(
        [[near[1, 2] + near[1, 0] - 2 * near[1, 1], across], [across, near[2, 1] + near[0, 1] - 2 * near[1, 1]]]
    )
    if not (curvature[0, 0] < 0 and np.linalg.det(curvature) > 1e-9):
        return None
    return np.clip(-np.linalg.solve(curvature, np.array([fast, slow])), -1.0, 1.0), curvature
