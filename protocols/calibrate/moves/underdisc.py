"""What stands still under a lit disc that moves: film, bars and the camera's response, seen where discs overlap. Pure.

The edge of the disc is where the light has fallen to half; where the film changes across it the edge seems to lie
elsewhere, in all discs whose edge comes near that place. What a pixel shows while it is well inside of some discs tells
how bright it is: each picture is divided by that, and the edge is looked at there alone. What lies under the outer
edges of the outermost discs is inside of none; so radius and shape of all are those of the discs that are seen best.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from protocols.calibrate.moves.disc import Disc, Usual, find_disc

Array = NDArray[np.float64]

WITHIN_PX = 3.0
"""So far from the edge a pixel has all of its light."""
FAR_PX = 6.0
"""What no disc shows is as what is seen near by."""
LEAST_SHARE = 0.2
"""Of the usual brightness: pixels with less (a bar of the grid, dead ones) tell no edge."""
BEST = 1 / 3
"""Of the discs, those whose edges are seen best tell the shape of all."""


def refined(pictures: Callable[[], Iterable[Array]], discs: Sequence[Disc | None]) -> list[Disc | None]:
    """The discs of all pictures once more. pictures: read anew at each call."""
    still = _still(pictures(), discs)
    if still is None:
        return list(discs)
    shown, known = still
    seen = [None if disc is None else _share_known(disc, known) for disc in discs]
    again = [find_disc(picture / shown) for picture in pictures()]
    found = sorted(
        (-share, disc.radius_px, disc.wave_px)
        for share, disc in zip(seen, again, strict=True)
        if share is not None and disc is not None
    )
    if not found:
        return list(discs)
    best = found[: max(1, round(BEST * len(found)))]
    radius_px = float(np.median([radius for _, radius, _ in best]))
    wave_px = np.median([wave for *_, wave in best], axis=0)
    usual = Usual(radius_px, (float(wave_px[0]), float(wave_px[1])), known)
    return [find_disc(picture / shown, usual) for picture in pictures()]


def _still(pictures: Iterable[Array], discs: Sequence[Disc | None]) -> tuple[Array, NDArray[np.bool_]] | None:
    """(rows, columns) how bright each place is, 1 as usual, and where that is known; None where no disc was seen."""
    total: Array | None = None
    times: Array | None = None
    for picture, disc in zip(pictures, discs, strict=True):
        if disc is None or disc.radius_px <= WITHIN_PX:
            continue
        if total is None or times is None:
            total, times = np.zeros_like(picture), np.zeros_like(picture)
        inside = _away(disc, picture.shape) < disc.radius_px - WITHIN_PX
        total += np.where(inside, (picture - disc.dark) / (disc.light - disc.dark), 0.0)
        times += inside
    if total is None or times is None:
        return None
    seen = times > 0
    shown = np.where(seen, total / np.maximum(times, 1.0), 0.0)
    near, number = gaussian_filter(shown, FAR_PX), gaussian_filter(seen.astype(np.float64), FAR_PX)
    shown = np.where(seen, shown, np.where(number > 1e-3, near / np.maximum(number, 1e-3), 1.0))
    bright = shown > LEAST_SHARE
    return np.where(bright, shown, 1.0), np.asarray(seen & bright)


def _share_known(disc: Disc, known: NDArray[np.bool_]) -> float:
    """Of the edge of a disc."""
    edge = np.abs(_away(disc, known.shape) - disc.radius_px) < 1.0
    return float(np.mean(known[edge])) if edge.any() else 0.0


def _away(disc: Disc, shape: tuple[int, ...]) -> Array:
    rows, columns = (np.arange(size) + 0.5 for size in shape)
    return np.asarray(np.hypot(columns[None, :] - disc.fast_px, rows[:, None] - disc.slow_px))
