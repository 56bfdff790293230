"""Where the silhouette of the crystal lies in each of many pictures of one disc: by what moved with the stage. Pure.

What stands still (the light, the response of the camera, dirt, bad pixels) is what most pictures have alike at a place;
each picture divided by it shows what moved.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, gaussian_filter, label

from engine.errors import DataError
from protocols.calibrate.disc.discfit import Disc

Array = NDArray[np.float64]

STILL_PERCENT = 85.0
"""Of the pictures, at each place: a crystal that moves about darkens a place in not so many of them."""
LEAST_CONTRAST, CONTRAST_SIGMAS = 0.04, 5.0
LEAST_LIGHT = 0.3
"""Of the light of the disc: a pixel that answers with less does not count."""
AWAY_PX = 3
LEAST_PX = 12
EDGE_PX = 2.5
"""So near to the edge of the disc a silhouette may be cut off by it."""
ALIKE_AREA = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class Shadows:
    """places_px: (n, 2), (fast, slow) of the middle of the silhouette; NaN where it was not seen whole. why: for each
    of them. still: what stands still. shown: each picture divided by it, 1 outside of the disc. area_px: of the
    silhouette.
    """

    places_px: Array
    why: tuple[str, ...]
    still: Array
    shown: Array
    area_px: float


def still_of(pictures: Sequence[Array]) -> Array:
    """What most pictures of one disc have alike, roughly: a little too bright."""
    return np.asarray(np.percentile(np.array(pictures), STILL_PERCENT, axis=0))


def shadows(pictures: Sequence[Array], disc: Disc) -> Shadows:
    """The silhouette in each picture. Raises DataError where nothing moved within the disc."""
    distance, taken = disc.distance_px(pictures[0].shape), np.array(pictures)
    within = distance < disc.radius_px - disc.soft_px
    _, masks = _masks(taken, still_of(pictures), within, disc)
    # Once more, by what is seen where the crystal is not.
    away = ~np.array([binary_dilation(mask, iterations=AWAY_PX) for mask in masks])
    times = away.sum(axis=0)
    still = np.where(times > 0, (taken * away).sum(axis=0) / np.maximum(times, 1), 0.0)
    shown, masks = _masks(taken, still, within, disc)
    areas = np.array([np.count_nonzero(mask) for mask in masks])
    area = float(np.median(areas))
    places, why = [], []
    for mask, picture, size in zip(masks, shown, areas, strict=True):
        said = _wrong(mask, int(size), area, distance, disc)
        places.append((np.nan, np.nan) if said else _middle(mask, picture, within))
        why.append(said)
    return Shadows(np.array(places), tuple(why), still, shown, area)


def _masks(taken: Array, still: Array, within: NDArray[np.bool_], disc: Disc) -> tuple[Array, list[NDArray[np.bool_]]]:
    """Each picture divided by what stands still, and where in it the crystal is."""
    seen = within & (still > LEAST_LIGHT * disc.light)
    shown = np.where(seen, taken / np.where(seen, still, 1.0), 1.0)
    # Pixels that do not answer show what is around them.
    near = np.maximum(gaussian_filter(seen.astype(np.float64), 1.5), 1e-6)
    around = np.array([gaussian_filter(np.where(seen, each, 0.0), 1.5) / near for each in shown])
    shown = np.where(within & ~seen, around, shown)
    smooth = np.array([gaussian_filter(each, 1.0) for each in shown])
    noise = 1.4826 * float(np.median(np.abs(smooth[:, seen] - 1.0)))
    depth = float(np.median([1.0 - np.percentile(each[seen], 0.5) for each in smooth]))
    if depth < max(LEAST_CONTRAST, CONTRAST_SIGMAS * noise):
        raise DataError(
            "nothing in the disc moved with the stage: it is empty, the crystal is no darker than what is around it, "
            "or the stage did not move. Bring a crystal of a third of the disc into its middle"
        )
    return shown, [_largest(each < 1.0 - depth / 2) for each in smooth]


def _middle(mask: NDArray[np.bool_], picture: Array, within: NDArray[np.bool_]) -> tuple[float, float]:
    """(fast, slow) of the middle of what is dark."""
    weight = np.where(binary_dilation(mask, iterations=2) & within, 1.0 - picture, 0.0)
    rows, columns = np.indices(mask.shape) + 0.5
    total = float(weight.sum())
    return float((weight * columns).sum()) / total, float((weight * rows).sum()) / total


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest connected part."""
    labels, number = label(mask)
    if not number:
        return np.zeros_like(mask)
    return np.asarray(labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:])))


def _wrong(mask: NDArray[np.bool_], size: int, area: float, distance: Array, disc: Disc) -> str:
    if size < LEAST_PX:
        return "is not seen"
    if float(distance[mask].max()) > disc.radius_px - disc.soft_px - EDGE_PX:
        return "leaves the disc"
    if abs(size - area) > ALIKE_AREA * area:
        return "changes its size"
    return ""
