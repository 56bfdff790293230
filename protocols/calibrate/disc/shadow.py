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
Picture = NDArray[np.floating]

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
    of them. still: what stands still. darkest: of all pictures divided by it, 1 outside of the disc. reach_px: how
    far the silhouette goes from its middle.
    """

    places_px: Array
    why: tuple[str, ...]
    still: Array
    darkest: Array
    reach_px: float


def still_of(pictures: Sequence[Picture]) -> Array:
    """What most pictures of one disc have alike, roughly: a little too bright."""
    return np.asarray(np.percentile(np.array(pictures), STILL_PERCENT, axis=0, overwrite_input=True), np.float64)


def shadows(pictures: Sequence[Picture], still: Array, disc: Disc) -> Shadows:
    """The silhouette in each picture. still: `still_of` them. Raises DataError where nothing moved within the disc."""
    distance = disc.distance_px((still.shape[0], still.shape[1]))
    within = distance < disc.radius_px - disc.soft_px
    # Once more, by what is seen where the crystal is not.
    total, times = np.zeros(still.shape), np.zeros(still.shape)
    for picture, mask in zip(pictures, _masks(pictures, _Still(still, within, disc)), strict=True):
        away = ~binary_dilation(mask, iterations=AWAY_PX)
        total += picture * away
        times += away
    surer = _Still(np.where(times > 0, total / np.maximum(times, 1), 0.0), within, disc)
    masks = _masks(pictures, surer)
    areas = np.array([np.count_nonzero(mask) for mask in masks])
    area = float(np.median(areas))
    places, why, reaches = [], [], []
    darkest = np.ones(still.shape)
    for mask, picture, size in zip(masks, pictures, areas, strict=True):
        shown = surer.shown(picture)
        darkest = np.minimum(darkest, shown)
        said = _wrong(mask, int(size), area, distance, disc)
        middle = (np.nan, np.nan) if said else _middle(mask, shown, within)
        places.append(middle)
        why.append(said)
        if not said:
            rows, columns = np.nonzero(mask)
            reaches.append(float(np.hypot(columns + 0.5 - middle[0], rows + 0.5 - middle[1]).max()))
    reach = float(np.median(reaches)) if reaches else 0.0
    return Shadows(np.array(places), tuple(why), surer.still, darkest, reach)


class _Still:
    """What stands still in a disc, and pictures divided by it."""

    def __init__(self, still: Array, within: NDArray[np.bool_], disc: Disc) -> None:
        self.still, self._within = still, within
        self.seen = within & (still > LEAST_LIGHT * disc.light)
        self._divisor = np.where(self.seen, still, 1.0)
        self._near = np.maximum(gaussian_filter(self.seen.astype(np.float64), 1.5), 1e-6)

    def shown(self, picture: Picture) -> Array:
        """What moved, 1 where nothing did."""
        shown = np.where(self.seen, picture / self._divisor, 1.0)
        # Pixels that do not answer show what is around them.
        around = gaussian_filter(np.where(self.seen, shown, 0.0), 1.5) / self._near
        return np.asarray(np.where(self._within & ~self.seen, around, shown))

    def smooth(self, picture: Picture) -> Array:
        """The same without most of its noise."""
        return np.asarray(gaussian_filter(self.shown(picture), 1.0))


def _masks(pictures: Sequence[Picture], still: _Still) -> list[NDArray[np.bool_]]:
    """Where in each picture the crystal is."""
    noises, depths = [], []
    for picture in pictures:
        smooth = still.smooth(picture)[still.seen]
        noises.append(1.4826 * float(np.median(np.abs(smooth - 1.0))))
        depths.append(1.0 - float(np.percentile(smooth, 0.5)))
    depth = float(np.median(depths))
    if depth < max(LEAST_CONTRAST, CONTRAST_SIGMAS * float(np.median(noises))):
        raise DataError(
            "nothing in the disc moved with the stage: it is empty, the crystal is no darker than what is around it, "
            "or the stage did not move. Bring a crystal of a third of the disc into its middle"
        )
    return [_largest(still.smooth(picture) < 1.0 - depth / 2) for picture in pictures]


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
