"""Counts of the reflections of one frame: a disc about each predicted place, less the background of a ring about it.

Pixels of a disc that are nearer to another reflection of the frame are that one's; those and bad ones are left out, and
what share of a spot the others hold is reckoned from its width. The background is that of the ring, without what stands
out of it and without all discs. Its shape, for beside the primary beam it is steep and bent, is that of the mean of
many frames; the ring tells how many times as high it is.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

DISC_SIGMAS = 3.0
"""Radius of the disc in widths of a spot; 98.9 % of a Gaussian are within."""
SMALLEST_DISC_PX = 2.0
RING_FROM_PX, RING_PX = 1.0, 3.5
"""The ring begins so far outside of the disc, and is so wide."""
RING_FEWEST = 16
"""Pixels of a ring that tell a background."""
CUT_SIGMAS = 4.0
LEAST_MEAN = 1e-3
"""Counts of a pixel of the mean; where it has none the background is even."""


@dataclass(frozen=True, slots=True, eq=False)
class Camera:
    """What does not change from frame to frame.

    bad: (rows, columns) True where counts mean nothing. mean: (rows, columns) of many frames, smooth, without spots.
    spot_px: width (sigma) of spots. saturation: counts from which a pixel is saturated; None: not known. gain: counts
    that one electron makes.
    """

    bad: Mask
    mean: Array
    spot_px: float
    saturation: float | None
    gain: float

    @property
    def disc_px(self) -> float:
        """Radius of the disc."""
        return max(SMALLEST_DISC_PX, DISC_SIGMAS * self.spot_px)


@dataclass(frozen=True, slots=True, eq=False)
class FrameSums:
    """Of (m,) reflections of a frame. total: counts less background; variance, by counting. share: of a whole spot that
    the pixels hold that were summed; taken: share that is in pixels of another reflection. saturated: one pixel at
    least. blind: no background could be told, or the place is off the camera; nothing else counts then.
    """

    total: Array
    variance: Array
    share: Array
    taken: Array
    saturated: Mask
    blind: Mask


def sum_frame(counts: NDArray[Any], fast_px: Array, slow_px: Array, claims: Mask, camera: Camera) -> FrameSums:
    """Sum the reflections at these places (m,) of a corrected frame. claims: (m,) whether its pixels are its own."""
    rows, columns = camera.bad.shape
    radius = camera.disc_px
    outer = radius + RING_FROM_PX + RING_PX
    reach = int(np.ceil(outer))
    side = np.arange(-reach, reach + 1)
    dy, dx = (axis.reshape(-1) for axis in np.meshgrid(side, side, indexing="ij"))
    column, row = np.floor(fast_px).astype(np.intp), np.floor(slow_px).astype(np.intp)
    x, y = column[:, None] + dx, row[:, None] + dy
    on_camera = (x >= 0) & (x < columns) & (y >= 0) & (y < rows)
    place = np.clip(y, 0, rows - 1) * columns + np.clip(x, 0, columns - 1)
    away2 = (x + 0.5 - fast_px[:, None]) ** 2 + (y + 0.5 - slow_px[:, None]) ** 2
    disc = away2 < radius**2
    nearest = np.full(rows * columns, np.inf)
    claimed = disc & on_camera & claims[:, None]
    np.minimum.at(nearest, place[claimed], away2[claimed])
    others = nearest[place] < away2 - 1e-9
    known = on_camera & ~camera.bad.reshape(-1)[place]
    spot = np.exp(-away2 / (2 * camera.spot_px**2)) / (2 * np.pi * camera.spot_px**2)
    mine = disc & known & ~others
    light = np.where(known, np.asarray(counts, dtype=np.float64).reshape(-1)[place], 0.0)
    ring = (away2 > (radius + RING_FROM_PX) ** 2) & (away2 < outer**2) & known & np.isinf(nearest[place])
    shape = np.maximum(camera.mean.reshape(-1)[place], LEAST_MEAN)
    times, pixels = _times(light, shape, ring, camera.gain)
    level, size = times * _mean(shape, mine), mine.sum(axis=1)
    total = np.where(mine, light, 0.0).sum(axis=1) - size * level
    noise = np.maximum(level, 1 / np.maximum(pixels, 1))
    variance = camera.gain * (np.maximum(total, 0.0) + size * noise + size**2 * noise / np.maximum(pixels, 1))
    full = np.inf if camera.saturation is None else camera.saturation
    return FrameSums(
        total=total,
        variance=variance,
        share=np.where(mine, spot, 0.0).sum(axis=1),
        taken=np.where(disc & known & others, spot, 0.0).sum(axis=1),
        saturated=(mine & (light >= full)).any(axis=1),
        blind=(pixels < RING_FEWEST) | (size == 0),
    )


def _mean(values: Array, which: Mask) -> Array:
    return np.asarray(np.where(which, values, 0.0).sum(axis=1) / np.maximum(which.sum(axis=1), 1))


def _times(light: Array, shape: Array, ring: Mask, gain: float) -> tuple[Array, NDArray[np.intp]]:
    """(m,) how many times the mean's background a ring has, without pixels that stand out, and how many were taken."""
    # Of square roots what stands out is a small part. Their mean squared is a little low: enough to cut off by.
    root = np.sqrt(np.maximum(light, 0))
    times = (np.where(ring, root, 0).sum(axis=1) / np.maximum(np.where(ring, np.sqrt(shape), 0).sum(axis=1), 1e-9)) ** 2
    kept = ring
    for _ in range(3):
        expected = times[:, None] * shape
        kept = ring & (light <= expected + CUT_SIGMAS * np.sqrt(gain * expected) + 2 * gain)
        times = np.where(kept, light, 0).sum(axis=1) / np.maximum(np.where(kept, shape, 0).sum(axis=1), 1e-9)
    return np.asarray(times), np.asarray(kept.sum(axis=1), dtype=np.intp)


def smooth_mean(frames: list[NDArray[Any]], bad: Mask, beam_px: tuple[float, float]) -> Array:
    """(rows, columns) what frames of a series are about the primary beam: the median of each ring of their mean."""
    mean = np.mean([np.asarray(frame, dtype=np.float64) for frame in frames], axis=0)
    slow, fast = np.ogrid[: bad.shape[0], : bad.shape[1]]
    radius = np.hypot(fast + 0.5 - beam_px[0], slow + 0.5 - beam_px[1])
    ring = np.rint(radius[~bad]).astype(np.intp)
    order = np.argsort(ring, kind="stable")
    values, edges = mean[~bad][order], np.searchsorted(ring[order], np.arange(int(ring.max(initial=0)) + 2))
    middles = [float(np.median(values[a:b])) if b > a else np.nan for a, b in pairwise(edges.tolist())]
    profile = np.array(middles)
    there = np.isfinite(profile)
    if not there.any():
        return np.zeros(bad.shape)
    return np.asarray(np.interp(radius, np.flatnonzero(there), profile[there]))


def spot_width_px(counts: NDArray[Any], fast_px: Array, slow_px: Array, camera: Camera, reach_px: float) -> Array:
    """(k,) widths (sigma) of the bright, lone spots among the predicted ones, about where they are predicted."""
    rows, columns = camera.bad.shape
    reach = int(np.ceil(reach_px))
    edge = reach + 2
    apart = np.hypot(fast_px[:, None] - fast_px, slow_px[:, None] - slow_px)
    np.fill_diagonal(apart, np.inf)
    lone = (apart.min(axis=1, initial=np.inf) > 2.5 * reach_px) & (fast_px > edge) & (fast_px < columns - edge)
    lone &= (slow_px > edge) & (slow_px < rows - edge)
    side = np.arange(-reach, reach + 1)
    widths = []
    for x, y in zip(fast_px[lone].tolist(), slow_px[lone].tolist(), strict=True):
        window = np.s_[int(y) - reach : int(y) + reach + 1, int(x) - reach : int(x) + reach + 1]
        if camera.bad[window].any():
            continue
        light = np.asarray(counts[window], dtype=np.float64) - camera.mean[window]
        away2 = (int(x) + side + 0.5 - x) ** 2 + ((int(y) + side + 0.5 - y) ** 2)[:, None]
        disc = away2 < reach_px**2
        light = light - np.median(light[~disc])
        total = float(light[disc].sum())
        if total > 300 * camera.gain:
            widths.append(float(np.sqrt(max((light * away2)[disc].sum() / total / 2, 0.05))))
    return np.array(widths)
