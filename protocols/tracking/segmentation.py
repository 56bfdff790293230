"""Dark things in a snapshot, each with its outline, its middle and how sure it is. Pure functions of a view.

Where something dark lies is found with the picture smoothed more and less, at many levels: of the shapes that hold
each other, that counts which stands out most from what is around it, so an edge of the film, which has nothing around
it, is none.
Its outline is then drawn in the sharpest picture in which it shows, at a part of its own depth.
"""

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from protocols.tracking.snapshotview import SCALES, Array, Mask, SnapshotView

DEPTHS = (0.05, 0.08, 0.12, 0.18, 0.27, 0.4, 0.6)
"""Levels at which dark cells are looked for, below the brightest light."""
DEEP_SIGMAS = 2.5
"""In each of the smoothed pictures, those levels that are this far above its noise."""
UNEVEN, UNEVEN_CELLS = 0.03, 300.0
"""Of a film: standard deviation of its light, and over how many cells that goes together where the disc has `CELLS`."""
MOST_SEEDS, MOST_AT_A_LEVEL = 6, 4
CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], dtype=bool)
"""Cells that touch by a side."""
LEAST_CELLS = 7
LARGEST_SHARE = 0.6
"""Of what is lit: what is larger is the film and no crystal on it."""
WORTH_SIGMAS = 3.0
"""Above the noise of its cells: what stands out less is not looked at."""
AROUND = (2, 6)
"""What is around a thing: so many cells from it."""
LEAST_AROUND = 0.5
"""Of the cells around a thing there must be so many that are lit and not dark themselves."""
OUTLINE = 0.25
"""The outline stands where this part of the depth is reached."""
CLEAR_SIGMAS = 3.0
"""The picture is smoothed until the outline's level is this far above the noise."""
FAINT = 0.08
"""The same for parts of it that are paler than the rest."""
LEFT_CELLS = 0.3
"""Uncertainty of a middle whatever the counts."""
IRREGULAR = 1.5
"""Middles of one thing, taken in several ways, differ by less than the uncertainty that comes of its shape."""
DARKEST = 0.02
"""Light is not taken to be less: a thickness has an end."""


@dataclass(frozen=True, eq=False)
class Thing:
    """Something dark. mask: its cells. depth: of its darkness, as ln of the light around over its own, in the mean.
    sigmas: how far it stands out above the noise and what films do. fast, slow: its middle by what it takes from the
    light, in cells from the middle of the array. covariance: (2, 2) of that, in cells. rim: which share of its border
    is the rim of what is lit.
    """

    mask: Mask
    depth: float
    sigmas: float
    fast: float
    slow: float
    covariance: Array
    rim: float

    @property
    def cells(self) -> int:
        """How many it covers."""
        return int(np.count_nonzero(self.mask))

    @property
    def radius(self) -> float:
        """Of a circle of its size, in cells."""
        return float(np.sqrt(self.cells / np.pi))


@dataclass(frozen=True, eq=False)
class _Seed:
    where: Mask
    score: float
    around: float
    inside: float


def things(seen: SnapshotView) -> list[Thing]:
    """What is dark in a view, the surest first."""
    seeds = sorted((seed for k in range(len(SCALES)) for seed in _seeds(seen, k)), key=lambda seed: -seed.score)
    found: list[Thing] = []
    taken = np.zeros_like(seen.lit)
    for seed in seeds:
        if len(found) == MOST_SEEDS:
            break
        if np.count_nonzero(seed.where & taken) > 0.2 * np.count_nonzero(seed.where):
            continue
        thing = _outlined(seen, seed)
        if thing is None or np.count_nonzero(thing.mask & taken) > 0.3 * thing.cells:
            continue
        taken |= scipy.ndimage.binary_dilation(thing.mask, CROSS, iterations=2) | seed.where
        found.append(thing)
    return sorted(found, key=lambda thing: -thing.sigmas)


def _seeds(seen: SnapshotView, which: int) -> list[_Seed]:
    """Connected dark cells at all levels, that are darker than what is around them."""
    picture, lit = seen.smooth[which], seen.lit
    most = LARGEST_SHARE * np.count_nonzero(lit)
    found = []
    for depth in DEPTHS:
        if depth < DEEP_SIGMAS * seen.noise(which):
            continue
        labels, count = scipy.ndimage.label(lit & (picture < 1.0 - depth), CROSS)
        if not count:
            continue
        sizes = np.bincount(labels.ravel(), minlength=count + 1).astype(np.float64)
        sums = np.bincount(labels.ravel(), weights=seen.share.ravel(), minlength=count + 1)
        # No more than this can it stand out, whatever is around.
        worth = standing_out(seen, 1.02 - sums / np.maximum(sizes, 1), sizes, 1.0)
        fits = (sizes >= LEAST_CELLS) & (sizes <= most) & (worth >= WORTH_SIGMAS)
        fits[0] = False
        numbers = np.flatnonzero(fits)
        if not len(numbers):
            continue
        boxes = scipy.ndimage.find_objects(labels)
        for number in numbers[np.argsort(-worth[numbers])][:MOST_AT_A_LEVEL].tolist():
            seed = _judged(seen, labels, number, boxes[number - 1])
            if seed is not None:
                found.append(seed)
    return found


def standing_out(seen: SnapshotView, drop: Array | float, cells: Array | float, around: float) -> Array:
    """How many sigmas the mean of so many cells lies below what is around, by noise and by what films do."""
    cells = np.maximum(cells, 1.0)
    variance = max(around, 0.05) / (seen.electrons * cells)
    variance = variance + (UNEVEN * around) ** 2 * np.minimum(1.0, UNEVEN_CELLS * seen.fineness**2 / cells)
    return np.asarray(drop / np.sqrt(variance))


def _judged(seen: SnapshotView, labels: NDArray[np.integer], number: int, box: tuple[slice, slice]) -> _Seed | None:
    """How far some cells stand out from those around them."""
    wider = _wider(box, AROUND[1] + 1, len(labels))
    part = labels[wider] == number
    ring = _ring(part, seen.lit[wider], seen.fineness)
    cells = int(np.count_nonzero(part))
    if ring is None:
        return None
    around = float(np.median(seen.smooth[0][wider][ring]))
    inside = float(seen.share[wider][part].mean())
    score = standing_out(seen, around - inside, cells, around)
    if score < WORTH_SIGMAS:
        return None
    where = np.zeros_like(seen.lit)
    where[wider] = part
    return _Seed(where, float(score), around, inside)


def _ring(part: Mask, lit: Mask, fineness: float) -> Mask | None:
    """The lit cells around a part; None where too few of those around it are lit."""
    inner = max(1, round(AROUND[0] * fineness))
    outer = inner + max(2, round((AROUND[1] - AROUND[0]) * fineness))
    steps = scipy.ndimage.distance_transform_cdt(~part, "taxicab")
    far = (steps > inner) & (steps <= outer)
    ring = far & lit
    if np.count_nonzero(ring) < LEAST_AROUND * np.count_nonzero(far) or not ring.any():
        return None
    return np.asarray(ring)


def _wider(box: tuple[slice, slice], cells: int, size: int) -> tuple[slice, slice]:
    rows, columns = (slice(max(0, side.start - cells), min(size, side.stop + cells)) for side in box)
    return rows, columns


def _outlined(seen: SnapshotView, seed: _Seed) -> Thing | None:
    """The outline of what a seed lies in, and its middle."""
    drop = seed.around - seed.inside
    which = next((k for k in range(len(SCALES)) if OUTLINE * drop > CLEAR_SIGMAS * seen.noise(k)), len(SCALES) - 1)
    mask = _holding(seed.where, seen.lit & (seen.smooth[which] < seed.around - OUTLINE * drop))
    cells = int(np.count_nonzero(mask))
    if not LEAST_CELLS <= cells <= LARGEST_SHARE * np.count_nonzero(seen.lit):
        return None
    wider = scipy.ndimage.binary_dilation(mask, CROSS) & seen.lit
    middle = _middle(seen, seed.around, wider)
    # A pale part of it that the outline leaves out would be seen in a wider one; what that changes is not known.
    lower = seed.around - max(FAINT * drop, CLEAR_SIGMAS * seen.noise(1))
    faint = _holding(mask, (seen.lit & (seen.smooth[1] < lower)) | mask)
    covariance = _noise(seen, seed.around, mask, middle) + LEFT_CELLS**2 * np.eye(2)
    fast, slow = seen.places
    outline = np.array([(mask * fast).sum(), (mask * slow).sum()]) / cells
    for other in (outline, _middle(seen, seed.around, faint)):
        covariance = covariance + IRREGULAR**2 * np.outer(other - middle, other - middle)
    inside = float(seen.share[mask].mean())
    score = standing_out(seen, seed.around - inside, cells, seed.around)
    border = float(np.count_nonzero(scipy.ndimage.binary_dilation(mask, CROSS) & ~mask))
    rim = float(np.count_nonzero(mask & seen.rim)) / max(border, 1.0)
    depth = float(np.log(seed.around / max(inside, 1e-3)))
    return Thing(mask, depth, float(score), float(middle[0]), float(middle[1]), covariance, rim)


def _holding(part: Mask, dark: Mask) -> Mask:
    """Of the connected dark cells those that hold most of a part."""
    labels, _ = scipy.ndimage.label(dark, CROSS)
    inside = labels[part]
    numbers = np.bincount(inside[inside > 0], minlength=2)
    return np.asarray((labels == int(np.argmax(numbers))) & dark)


def _middle(seen: SnapshotView, around: float, mask: Mask) -> Array:
    """(2,) fast and slow of the middle of what is taken from the light, which goes with the thickness."""
    taken = np.log(around / np.clip(seen.smooth[0][mask], DARKEST, around))
    fast, slow = (np.broadcast_to(along, mask.shape)[mask] for along in seen.places)
    return np.array([taken @ fast, taken @ slow]) / max(float(taken.sum()), 1e-9)


def _noise(seen: SnapshotView, around: float, mask: Mask, middle: Array) -> Array:
    """(2, 2) covariance of a middle by the counts."""
    share = np.clip(seen.smooth[0][mask], DARKEST, None)
    whole = float(np.log(around / np.minimum(share, 0.999 * around)).sum())
    fast, slow = (np.broadcast_to(along, mask.shape)[mask] for along in seen.places)
    away = np.stack([fast - middle[0], slow - middle[1]])
    return np.asarray((away / (seen.electrons * share)) @ away.T / whole**2)
