"""Where the spots of a frame of counts are, as a detector gives it.

The mean of each ring about the primary beam is the background; a spot stands out of its Poisson noise. All lengths are
for spots 1 to 2 px wide (sigma); a frame with wider ones is summed in squares until they are (`frameunits`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from protocols.spots.badpixels import bad_pixels, filled
from protocols.spots.beam_centre import find_beam
from protocols.spots.frameunits import counts_per_unit, summed
from protocols.spots.peaklist import Peaks, no_peaks, no_spots

Array = NDArray[np.float64]
Places = NDArray[np.int64]

FRAME_SIGMA_PX = 1.5
"""Of the filter that brings spots out of the noise of a frame; spots are 1 to 2 px wide (sigma)."""
FRAME_SIGNIFICANCE = 7.0
"""How many standard deviations of the background a spot stands out. 512 x 512 pixels have none of 5.5 by chance, but
the place of a spot is uncertain by its width over this: 0.3 px, and among the faintest of many spots some are 1 px off.
"""
FAINT_SIGNIFICANCE = 15.0
"""A spot that stands out less is faint: on a net it counts, off a net it may only be badly placed."""
BEAM_CLEARANCE_PX = 12.0
"""Nearer to the primary beam of a frame nothing is taken for a spot."""
BEAM_TO_BACKGROUND = 8.0
"""The primary beam is that much brighter than the median of a frame; the lights of a photograph are not."""
CUT_PX = 3
"""A spot that near to bad pixels may be what is left of a larger one, and not be where that is."""
HOT_SHARE = 0.85
"""A pixel with more than that of the light of its 5 x 5 neighbourhood is defective; the detector smears a spot."""
MOST_PX = 1100
"""A larger frame is summed in squares before it is first looked at."""
LEAST_PX = 250
"""No frame is made smaller than this."""
WIDE_PX, NARROW_PX = 3.3, 0.45
"""Spots of which the median width (sigma) is beyond these are looked for again, in larger or smaller squares."""
IN_A_RING = 2000
"""Pixels that are enough for the background of a ring; those of 512 x 512 pixels have less."""
OF_BRIGHTEST = 0.3
"""Of the brightest pixel: what is that bright makes the edge of a beam with a hole."""
HOLE_PX = 9
LARGEST_BEAM = 0.1
"""Of the width of a frame."""
BESIDE_BEAM_PX = 25.0
"""From here on is beside the beam, unless that is wider."""


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """width_px: median sigma of the spots that stand out well; 0 where there are none."""

    peaks: Peaks
    width_px: float = 0.0


def frame_peaks(
    picture: NDArray[np.generic],
    saturation: float | None = None,
    beam_px: tuple[float, float] | None = None,
    bad: NDArray[np.bool_] | None = None,
) -> Peaks:
    """Spots of a (rows, columns) diffraction frame: counts, a bright primary beam, Poisson noise.

    The background depends on the distance from the beam only: the mean of each ring without its spots. Where the
    rings themselves are uneven (astigmatic halo, module borders) the threshold rises with their spread. saturation:
    counts above it are taken as that much when the beam is sought. beam_px: (column, row) of the primary beam where a
    beam stop hides it; it is not sought then. Pixels that tell nothing (`bad_pixels` and `bad`) have no spots.
    Takes 0.1 s for 512 x 512 pixels, 1 to 2 s for 4096 x 4096.
    """
    useless = bad_pixels(picture)
    if bad is not None and bad.shape == useless.shape:
        useless = useless | bad
    unit = counts_per_unit(picture, useless)
    counts = np.asarray(picture, dtype=np.float64)
    if useless.any():
        counts = np.where(useless, 0.0, counts)
    if unit != 1.0:
        counts = counts * unit
    most = (saturation or 65535.0) * unit if saturation or unit == 1.0 else np.inf
    px = 2 ** max(0, int(np.ceil(np.log2(max(counts.shape) / MOST_PX))))
    tried: dict[int, _Found] = {}
    while px not in tried:
        at = None if beam_px is None else (beam_px[0] / px, beam_px[1] / px)
        found = tried[px] = _spots(*summed(counts, useless, px), most * px * px, at)
        if found.peaks.reason and not np.isfinite(found.peaks.centre_px).all():
            break
        wide = found.width_px > WIDE_PX or (found.width_px == 0 and found.peaks.vacant)
        if wide and min(counts.shape) // (2 * px) >= LEAST_PX:
            px *= 2
        elif 0 < found.width_px < NARROW_PX and px > 1:
            px //= 2
    # What was tried last is as wide as it can be made, unless that showed nothing.
    best = found if not found.peaks.reason else max(tried.values(), key=lambda one: len(one.peaks.xy_px))
    return _enlarged(best.peaks, next(px for px, one in tried.items() if one is best))


def _enlarged(peaks: Peaks, px: int) -> Peaks:
    """Peaks of a frame summed in squares of so many pixels, as those of the frame itself."""
    return replace(peaks, xy_px=peaks.xy_px * px, centre_px=peaks.centre_px * px, blind_px=peaks.blind_px * px)


def _spots(counts: Array, bad: NDArray[np.bool_], most: float, beam_px: tuple[float, float] | None) -> _Found:
    """Spots of a frame in which they are some pixels wide, and how wide they are. most: counts above it are taken as
    that much when the beam is sought.
    """
    from scipy.ndimage import binary_dilation, gaussian_filter, maximum_filter

    cut = bad
    if bad.any():
        counts, cut = filled(counts, bad), binary_dilation(bad, iterations=CUT_PX)
    counts = np.maximum(counts, 0.0)
    if beam_px is None:
        counts = _without_hole(counts)
    found = beam_px or find_beam(np.minimum(counts, most))
    if found is None:
        return _Found(no_peaks("no primary beam: the picture is brightest at its edge"))
    centre = np.array(found)
    row, column = (np.arange(size) + 0.5 for size in counts.shape)
    radius = np.sqrt(np.square(column - centre[0]) + np.square(row - centre[1])[:, None])
    ring = radius.astype(np.int16)  # of 16 bits, which are sorted ten times faster
    core, reach = _beam(counts, ring)
    around = counts[(radius > reach) & (radius < 1.4 * reach)]
    if beam_px is None and (
        core < BEAM_TO_BACKGROUND * (np.median(counts) + 0.1) or (around.size and core < 2 * np.median(around))
    ):
        return _Found(no_peaks("no diffraction pattern: no primary beam stands out of the picture", centre))
    order = np.argsort(ring, axis=None, kind="stable")
    order = order[~bad.reshape(-1)[order]]
    border = np.searchsorted(ring.reshape(-1)[order], np.arange(int(ring.max()) + 2, dtype=np.int16))
    background = _per_ring(_background, counts, order, border)
    excess = np.where(bad, 0.0, counts - background[ring])
    smooth = gaussian_filter(excess, FRAME_SIGMA_PX)
    # A Gaussian filter is as good as a sum over 4 pi sigma^2 pixels. Counts are few: their square root has the same
    # standard deviation, a half, everywhere and almost no skew (Anscombe, Biometrika 35, 246, 1948).
    pixels = 4 * np.pi * FRAME_SIGMA_PX**2
    below = background * pixels
    uneven = np.maximum(_per_ring(_spread, smooth, order, border) * pixels / np.sqrt(np.maximum(below, 0.5)), 1.0)
    blind_px = BEAM_CLEARANCE_PX + 0.6 * (reach - BESIDE_BEAM_PX)
    peak = (smooth == maximum_filter(smooth, 5)) & (smooth > 0) & (radius > blind_px) & ~cut
    peak[:3] = peak[-3:] = peak[:, :3] = peak[:, -3:] = False
    rows, columns = np.nonzero(peak)
    here = ring[rows, columns]
    collected = smooth[rows, columns] * pixels + below[here]
    significance = 2 * (np.sqrt(collected + 0.375) - np.sqrt(below[here] + 0.375)) / uneven[here]
    clear = significance > FRAME_SIGNIFICANCE
    rows, columns, significance = rows[clear], columns[clear], significance[clear]
    if not len(rows):
        return _Found(no_spots("no spots: nothing stands out of the background", centre))
    # A Gaussian spot in a Gaussian filter is a Gaussian: its logarithm is a parabola through three pixels.
    low = np.maximum(smooth, 1e-6 * smooth[rows, columns].max())
    middle = np.log(low[rows, columns])
    shifts, curvatures = [], []
    for i, j in ((0, 1), (1, 0)):
        before, after = np.log(low[rows - i, columns - j]), np.log(low[rows + i, columns + j])
        curvatures.append(np.minimum(before + after - 2 * middle, -1e-6))
        shifts.append(np.clip(0.5 * (before - after) / curvatures[-1], -0.5, 0.5))
    faint = significance < FAINT_SIGNIFICANCE
    told = ~faint if not faint.all() else faint
    squared = -1 / np.mean(curvatures, axis=0) - FRAME_SIGMA_PX**2
    width_px = float(np.sqrt(max(0.01, np.median(squared[told]))))
    light = np.stack([excess[rows + i, columns + j] for i in range(-2, 3) for j in range(-2, 3)])
    keep = excess[rows, columns] < HOT_SHARE * light.sum(axis=0)
    if not keep.any():
        return _Found(no_spots("no spots: nothing stands out of the background", centre), width_px)
    xy = np.stack([columns + 0.5 + shifts[0], rows + 0.5 + shifts[1]], axis=1)
    return _Found(Peaks(xy[keep], light.sum(axis=0)[keep], centre, "", faint[keep], blind_px), width_px)


def _without_hole(counts: Array) -> Array:
    """The same with a primary beam that is bright throughout. A counting detector that gets too much counts almost
    nothing: of the beam a bright ring is left, which would be the beam where it is brightest.
    """
    from scipy.ndimage import label

    bright = counts >= OF_BRIGHTEST * counts.max()
    areas, _ = label(~bright)
    pixels = np.bincount(areas.reshape(-1))
    pixels[0] = 0
    hole = np.flatnonzero((pixels >= HOLE_PX) & (pixels < np.square(LARGEST_BEAM * min(counts.shape))))
    return np.where(np.isin(areas, hole), counts.max(), counts) if len(hole) else counts


def _beam(counts: Array, ring: Places) -> tuple[float, float]:
    """How bright the primary beam is, and the radius beyond which it is not, for one that may be saturated: flat, or
    dark in its middle, as counting detectors are that count too much.
    """
    pixels = np.bincount(ring.reshape(-1))
    mean = np.bincount(ring.reshape(-1), counts.reshape(-1)) / np.maximum(pixels, 1)
    inner = np.cumsum(mean[:4] * pixels[:4]) / np.maximum(np.cumsum(pixels[:4]), 1)
    core = max(float(inner[-1]), float(mean[4:16].max(initial=0.0)))
    beyond = np.flatnonzero(mean >= core / 2)
    half = int(beyond[beyond < LARGEST_BEAM * min(counts.shape)].max(initial=0))
    return core, max(BESIDE_BEAM_PX, 2.5 * half)


def _per_ring(of: Callable[[Array], float], values: Array, order: Places, border: Places) -> Array:
    """(rings,) a figure of the pixels of each ring, or of some of them; 0 where a ring has none."""
    flat = values.reshape(-1)
    rings = []
    for begin, end in zip(border[:-1].tolist(), border[1:].tolist(), strict=True):
        some = order[begin : end : max(1, (end - begin) // IN_A_RING)]
        rings.append(of(flat[some]) if len(some) else 0.0)
    return np.array(rings)


def _background(ring: Array) -> float:
    """Mean of the pixels without those of spots. From the median alone a ring of few counts would be empty."""
    mean = max(float(np.median(ring)), 0.5)
    for _ in range(3):
        mean = float(ring[ring <= mean + 4 * np.sqrt(mean) + 1].mean())
        mean = max(mean, 0.0)
    return mean


def _spread(ring: Array) -> float:
    """Standard deviation, from the median absolute deviation, which spots do not change."""
    return 1.4826 * float(np.median(np.abs(ring - np.median(ring))))
