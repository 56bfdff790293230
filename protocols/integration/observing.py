"""Intensities of a rotation by summation: every passage that was predicted, over all the frames in which it passes.

A passage is never seen as a whole: its tails lie beyond the frames that are summed, a camera is blind between two
exposures, a snapshot takes the place of a frame, a cross or a neighbour the place of pixels. The share that was
recorded is reckoned, and the sum divided by it; below `RECORDED` the reflection is rejected. How uncertain the share is
goes into the standard deviation, so that a half reflection counts less than a whole one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.integration.framesums import Camera, smooth_mean, spot_width_px, sum_frame
from protocols.integration.prediction import REACH, Passages, Widths, fractions, predict
from protocols.integration.rocking import fitted_widths
from protocols.integration.series import Series
from protocols.lattice.rotationgeometry import RotationGeometry
from protocols.spots.absent import absent
from protocols.spots.seriespeaks import SeriesPeaks
from protocols.spots.shadow import shadowed

Array = NDArray[np.float64]
Numbers = NDArray[np.intp]
Mask = NDArray[np.bool_]

RECORDED = 0.6
"""Of a reflection that is kept; what is missing is reckoned."""
LARGEST_TAKEN = 0.25
"""Share of a spot in pixels that are another reflection's; beyond that they are not told apart."""
CLAIM = 0.02
"""A reflection that leaves so small a share of itself in a frame claims no pixel of it."""
BEAM_CLEARANCE_PX = 12.0
"""Nearer to the primary beam nothing is measured."""
SOME_FRAMES = 30
WIDTH_FRAMES = 12
"""Frames, evenly over the series, from which the mean and the width of spots are taken."""
BEGIN_SPOT_PX, LARGEST_SPOT_PX = 1.0, 6.0
STRONG = 10.0
"""Intensity over its standard deviation of reflections that tell widths in angle."""
SEEN = 5.0
"""The same of one that is seen at all."""
GENEROUS = 1.5
"""Frames are measured for passages so many times wider than told, for they may be."""
ANGLE_KNOWN_TO_DEG, WIDTH_KNOWN_TO, SHARE_KNOWN_TO = 0.01, 0.1, 0.1
"""Of a predicted angle; of a width, relative; of a share of pixels that is missing, relative."""


class Fate(IntEnum):
    """What became of a predicted reflection."""

    KEPT = 0
    PARTIAL = 1
    OVERLAPPED = 2
    BAD_PIXELS = 3
    SATURATED = 4
    BLIND = 5
    ABSENT = 6


@dataclass(frozen=True, slots=True, eq=False)
class Observations:
    """All predicted passages (n,) with what was measured of them.

    intensity: proportional to |F|^2, with the factor of Lorentz; sigma: of it. recorded: share of the passage that was
    summed. fate: `Fate`. frame: index of the frame in which the middle is. too_slow: passages that were not measured.
    spot_px, widths: with which it was done. gain: counts of an electron.
    """

    passages: Passages
    intensity: Array
    sigma: Array
    recorded: Array
    fate: NDArray[np.int64]
    frame: Numbers
    too_slow: int
    spot_px: float
    widths: Widths
    gain: float

    @property
    def kept(self) -> Mask:
        """(n,) which can be used."""
        return np.asarray(self.fate == Fate.KEPT)


@dataclass(frozen=True, slots=True, eq=False)
class _Sums:
    """(m,) a reflection in a frame: row of the reflection, index of the frame, and `FrameSums`."""

    row: Numbers
    frame: Numbers
    total: Array
    variance: Array
    share: Array
    taken: Array
    saturated: Mask
    blind: Mask


def observe(series: Series, ub: Array, geometry: RotationGeometry, d_min_A: float, told: Widths) -> Observations:
    """Integrate a series with a lattice ub (3, 3) and its geometry, down to d_min_A. 5 to 20 ms a frame.

    told: widths to begin with, which the strong reflections then correct. Frames in a shadow are as frames that are not
    there; what passed while the crystal was not in the beam is not kept.
    """
    light = [float(series.counts(index).sum(dtype=np.float64, where=~series.bad)) for index in range(len(series))]
    lit = np.flatnonzero(~shadowed(light))
    seen = _observe(series if len(lit) == len(series) else series.some(lit), ub, geometry, d_min_A, told)
    measured = np.flatnonzero(seen.kept)
    gone = absent(seen.passages.angle_deg[measured], (seen.intensity > SEEN * seen.sigma)[measured])
    fate = seen.fate.copy()
    fate[measured[gone]] = Fate.ABSENT
    return replace(seen, frame=lit[seen.frame], fate=fate)


def _observe(series: Series, ub: Array, geometry: RotationGeometry, d_min_A: float, told: Widths) -> Observations:
    begun = Widths(told.mosaicity_deg * GENEROUS, told.size_per_A * GENEROUS)
    span = float(series.start_deg[0]), float(series.end_deg[-1])
    passages, too_slow = predict(ub, geometry, series.shape, span, d_min_A, begun)
    camera = _camera(series, geometry, passages, begun)
    sums = _measured(series, passages, begun, camera)
    widths = _widths(series, passages, sums, told)
    wider = widths.deg(passages.d_star, passages.speed_per_A) > begun.deg(passages.d_star, passages.speed_per_A)
    if wider.mean() > 0.5:
        sums = _measured(series, passages, widths, camera)
    return _observations(series, geometry, passages, sums, widths, camera, too_slow)


def _evenly(count: int, wanted: int) -> list[int]:
    found: list[int] = np.unique(np.linspace(0, count - 1, wanted).astype(np.intp)).tolist()
    return found


def _camera(series: Series, geometry: RotationGeometry, passages: Passages, widths: Widths) -> Camera:
    """Background, gain and width of spots, from some frames of the series."""
    some = _evenly(len(series), SOME_FRAMES)
    beam_px = geometry.beam_fast_px, geometry.beam_slow_px
    mean = smooth_mean([series.counts(index) for index in some], series.bad, beam_px)
    find = SeriesPeaks(series.shape, series.bad, beam_px)
    gain = float(np.median([find(series.counts(index)).gain for index in some[:: max(1, len(some) // 5)]]))
    spot_px = BEGIN_SPOT_PX
    reach_px, seen = 4.0, [np.empty(0)]
    for index in _evenly(len(series), WIDTH_FRAMES):
        rows = _passing(series, passages, widths, index)
        here = passages.some(rows[_share(series, passages, widths, index, rows) > 0.2])
        away = np.hypot(here.fast_px - beam_px[0], here.slow_px - beam_px[1])
        here = here.some(away > BEAM_CLEARANCE_PX + reach_px)
        camera = Camera(series.bad, mean, spot_px, series.saturation, gain)
        seen.append(spot_width_px(series.counts(index), here.fast_px, here.slow_px, camera, reach_px))
    widths_px = np.concatenate(seen)
    if len(widths_px) >= 5:
        spot_px = float(np.clip(np.median(widths_px), 0.4, LARGEST_SPOT_PX))
    return Camera(series.bad, mean, spot_px, series.saturation, gain)


def _share(series: Series, passages: Passages, widths: Widths, index: int, rows: Numbers) -> Array:
    here = passages.some(rows)
    return fractions(
        here.angle_deg,
        widths.deg(here.d_star, here.speed_per_A),
        np.full(len(rows), series.start_deg[index]),
        np.full(len(rows), series.end_deg[index]),
    )


def _passing(series: Series, passages: Passages, widths: Widths, index: int) -> Numbers:
    """Rows of the passages that touch a frame."""
    width = REACH * widths.deg(passages.d_star, passages.speed_per_A)
    low, high = sorted((float(series.start_deg[index]), float(series.end_deg[index])))
    return np.flatnonzero((passages.angle_deg + width > low) & (passages.angle_deg - width < high))


def _measured(series: Series, passages: Passages, widths: Widths, camera: Camera) -> _Sums:
    parts = list(_of_frames(series, passages, widths, camera))
    return _Sums(*(np.concatenate([part[k] for part in parts]) for k in range(8)))


def _of_frames(
    series: Series, passages: Passages, widths: Widths, camera: Camera
) -> Iterator[tuple[NDArray[Any], ...]]:
    for index in range(len(series)):
        rows = _passing(series, passages, widths, index)
        claims = _share(series, passages, widths, index, rows) > CLAIM
        here = sum_frame(series.counts(index), passages.fast_px[rows], passages.slow_px[rows], claims, camera)
        yield (
            rows, np.full(len(rows), index, dtype=np.intp), here.total, here.variance, here.share, here.taken,
            here.saturated, here.blind,
        )  # fmt: skip


def _widths(series: Series, passages: Passages, sums: _Sums, told: Widths) -> Widths:
    """From the strong reflections in whose way nothing is. A gap does no harm: the frames that are there tell it."""
    n = len(passages)
    good = (sums.share > 0.9) & ~sums.blind & ~sums.saturated
    counted, frame = sums.row[good], sums.frame[good]
    total, variance = (np.bincount(counted, each[good], n) for each in (sums.total, sums.variance))
    clean = (np.bincount(counted, minlength=n) > 2) & (total > STRONG * np.sqrt(np.maximum(variance, 1)))
    clean[sums.row[sums.saturated]] = False
    inner = min(float(series.start_deg[0]), float(series.end_deg[-1])), max(series.start_deg[0], series.end_deg[-1])
    clean &= (passages.angle_deg > inner[0]) & (passages.angle_deg < inner[1])
    strong = np.flatnonzero(clean)
    number = np.full(n, -1, dtype=np.intp)
    number[strong] = np.arange(len(strong))
    mine = number[counted] >= 0
    row, frame, whole = number[counted[mine]], frame[mine], total[counted[mine]]
    share, sigma = sums.total[good][mine] / whole, np.sqrt(sums.variance[good][mine]) / whole
    return fitted_widths(passages, strong, row, share, sigma, series.start_deg[frame], series.end_deg[frame], told)


def _observations(
    series: Series,
    geometry: RotationGeometry,
    passages: Passages,
    sums: _Sums,
    widths: Widths,
    camera: Camera,
    too_slow: int,
) -> Observations:
    n = len(passages)
    width = widths.deg(passages.d_star, passages.speed_per_A)
    angle, start, end = passages.angle_deg[sums.row], series.start_deg[sums.frame], series.end_deg[sums.frame]
    reach = REACH * width[sums.row]
    inside = (np.maximum(start, end) > angle - reach) & (np.minimum(start, end) < angle + reach)

    def total(values: Array) -> Array:
        return np.bincount(sums.row[inside], values[inside], n).astype(np.float64)

    part = fractions(angle, width[sums.row], start, end)
    passed, recorded = total(part), total(part * sums.share)
    taken = total(part * sums.taken) / np.maximum(passed, 1e-6)
    # The middle may be off by a little, and the width: what that changes of a passage that is not whole.
    by_angle = total(sums.share * fractions(angle + ANGLE_KNOWN_TO_DEG, width[sums.row], start, end)) - recorded
    by_width = total(sums.share * fractions(angle, (1 + WIDTH_KNOWN_TO) * width[sums.row], start, end)) - recorded
    by_pixels = SHARE_KNOWN_TO * (passed - recorded)
    counts, variance = total(sums.total), total(sums.variance)
    safe = np.maximum(recorded, 1e-6)
    value = counts / safe
    doubt = np.maximum(value, 0) * np.sqrt(by_angle**2 + by_width**2 + by_pixels**2) / safe
    sigma = np.sqrt(variance / safe**2 + doubt**2)
    fate = np.full(n, int(Fate.KEPT))
    pixels = recorded / np.maximum(passed, 1e-6)
    fate[recorded < RECORDED] = Fate.BAD_PIXELS
    fate[(recorded < RECORDED) & (passed < RECORDED / 0.95)] = Fate.PARTIAL
    fate[(taken > LARGEST_TAKEN) | ((recorded < RECORDED) & (taken > 0.5 * (1 - pixels)))] = Fate.OVERLAPPED
    for name, flag in (("saturated", Fate.SATURATED), ("blind", Fate.BLIND)):
        marked: Mask = getattr(sums, name) & inside & (part > CLAIM)
        fate[sums.row[marked]] = flag
    away = np.hypot(passages.fast_px - geometry.beam_fast_px, passages.slow_px - geometry.beam_slow_px)
    fate[(passed == 0) | (away < BEAM_CLEARANCE_PX + camera.disc_px)] = Fate.BLIND
    fate[passed < RECORDED / 2] = Fate.PARTIAL
    forward = series.end_deg[-1] >= series.start_deg[0]
    middles = series.start_deg if forward else -series.start_deg
    frame = np.searchsorted(middles, passages.angle_deg if forward else -passages.angle_deg, side="right") - 1
    return Observations(
        passages=passages,
        intensity=value * passages.speed_per_A,
        sigma=np.maximum(sigma, 1e-9) * passages.speed_per_A,
        recorded=recorded,
        fate=fate,
        frame=np.clip(frame, 0, len(series) - 1).astype(np.intp),
        too_slow=too_slow,
        spot_px=camera.spot_px,
        widths=widths,
        gain=camera.gain,
    )
