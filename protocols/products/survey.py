"""One look at every corrected picture before any is written: beam, background, spots. A few numbers a frame.

The run's beam centre stands in every header, so it must be known before the first file. The mean spot intensity
against the frame number tells whether the crystal stayed in the aperture, as SCALE of XDS' INIT does (Fig. 7 of
Cichocka et al., 2018).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.products.corrections import MAX_COUNT, Clipped
from protocols.spots.beam_centre import beside_cross, brightest_place, filter_px
from protocols.spots.beam_seen import Unseen, unseen
from protocols.spots.shadow import shadowed

BLOCK_PX = 12
"""Side of the squares whose median is the local background."""

BEAM_RADIUS_PX = 25
"""Around the primary beam nothing is a spot."""

SPOT_SIGMA = 5.0


@dataclass(frozen=True, slots=True)
class FrameSurvey:
    """What one corrected picture shows.

    beam_fast_px, beam_slow_px: primary beam, NaN where there is none; beam_unseen: why that place is not surely the
    beam, None where it is seen; beam_times: how many times brighter it is than the next place. total: all counts.
    background: median count. spot_pixels: pixels that stand SPOT_SIGMA above the local background; spot_mean: their
    mean height above it, in counts (0 without any). maximum, minimum: highest and lowest count. clipped: pixels that
    did not fit into 16 bits.
    """

    slot: int
    beam_fast_px: float
    beam_slow_px: float
    total: int
    background: float
    spot_pixels: int
    spot_mean: float
    maximum: int
    clipped: Clipped
    beam_unseen: Unseen | None = None
    beam_times: float = 0.0
    minimum: int = 0


def survey(
    slot: int,
    counts: NDArray[np.uint16],
    clipped: Clipped,
    nominal_px: tuple[float, float],
    untrusted: NDArray[np.bool_] | None,
    even_level: int | None = None,
    cross: NDArray[np.bool_] | None = None,
    look_for_spots: bool = True,
) -> FrameSurvey:
    """Look at one corrected picture (rows, columns).

    untrusted: pixels that may not be spots. even_level: see `beam_centre.even_level`. cross: the wide cross,
    if any. look_for_spots: False leaves
    spot_pixels and spot_mean 0, for exports without a report.
    """
    beam, times = brightest_place(counts, filter_px(counts.shape), even_level)
    why = Unseen.NOWHERE if beam is None else unseen(counts, beam, even_level)
    if beam is not None and cross is not None and even_level is not None:
        beam = beside_cross(counts, cross, beam, even_level)
    heights, maximum = np.zeros(0), int(counts.max())
    if look_for_spots:
        heights = _spot_heights(counts, beam if beam is not None else nominal_px, untrusted)
    return FrameSurvey(
        slot=slot,
        beam_fast_px=beam[0] if beam is not None else float("nan"),
        beam_slow_px=beam[1] if beam is not None else float("nan"),
        total=_total(counts, maximum),
        background=_median(counts[::4, ::4]),
        spot_pixels=len(heights),
        spot_mean=float(heights.mean()) if len(heights) else 0.0,
        maximum=maximum,
        clipped=clipped,
        beam_unseen=why,
        beam_times=times,
        minimum=int(counts.min()),
    )


def shadowed_slots(surveys: Sequence[FrameSurvey]) -> tuple[int, ...]:
    """Of the frames, in their order, those in a shadow."""
    dark = shadowed([each.total for each in surveys])
    return tuple(each.slot for each, is_dark in zip(surveys, dark, strict=True) if is_dark)


def clipped_in(surveys: Iterable[FrameSurvey]) -> Clipped:
    """What was clipped in all of these pictures together."""
    return sum((survey.clipped for survey in surveys), Clipped())


def _total(counts: NDArray[np.uint16], highest: int) -> int:
    """All counts; as many rows are added in 16 bits as can be, several times as fast. highest: of the counts."""
    rows, columns = counts.shape
    together = min(rows, MAX_COUNT // max(1, highest))
    whole = rows // together * together
    some = counts[:whole].reshape(-1, together, columns).sum(axis=1, dtype=np.uint16)
    return int(some.sum(dtype=np.int64)) + int(counts[whole:].sum(dtype=np.int64))


def _median(counts: NDArray[np.uint16]) -> float:
    """From how often there is each count, in half the time that sorting takes."""
    up_to = np.cumsum(np.bincount(counts.reshape(-1)))
    return (
        sum(int(np.searchsorted(up_to, rank, side="right")) for rank in ((counts.size - 1) // 2, counts.size // 2)) / 2
    )


def _spot_heights(
    counts: NDArray[np.uint16], beam_px: tuple[float, float], untrusted: NDArray[np.bool_] | None
) -> NDArray[np.float64]:
    """(n,) counts above the local background of the pixels that stand out of it, away from the primary beam."""
    rows, columns = counts.shape
    block = min(BLOCK_PX, rows, columns)
    down, across = -(-rows // block), -(-columns // block)
    padded = np.pad(counts, ((0, down * block - rows), (0, across * block - columns)), mode="reflect")
    local = _block_medians(padded.reshape(down, block, across, block))
    limit = np.minimum(np.ceil(local + SPOT_SIGMA * np.sqrt(np.maximum(local, 1))), MAX_COUNT).astype(np.uint16)
    limits = np.repeat(limit, block, axis=1)[:, None, :]
    high = (padded.reshape(down, block, -1) > limits).reshape(padded.shape)[:rows, :columns]
    y, x = np.divmod(np.flatnonzero(high), columns)
    away = np.hypot(x + 0.5 - beam_px[0], y + 0.5 - beam_px[1]) > BEAM_RADIUS_PX
    if untrusted is not None:
        away &= ~untrusted[y, x]
    y, x = y[away], x[away]
    return np.asarray(counts[y, x] - local[y // block, x // block], dtype=np.float64)


def _block_medians(squares: NDArray[np.uint16]) -> NDArray[np.float64]:
    """Median count of each square, of (down, rows, across, columns), by every other pixel in it."""
    down, _, across, _ = squares.shape
    some = squares[..., ::2].swapaxes(1, 2).reshape(down * across, -1)
    middle = some.shape[1] // 2
    return np.asarray(np.partition(some, middle, axis=1)[:, middle].reshape(down, across), dtype=np.float64)
