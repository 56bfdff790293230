"""Reflections from the spots of a rotation series: what stands at one place in frames that follow each other is one.

A reflection passes through the Ewald sphere in a few tenths of a degree, so it is seen in one frame or in some
neighbouring ones; its angle is their mean, weighted by intensity. How well that is known depends on what cannot be
seen: counts in the next frame that are too few for a spot, and, where reflections are narrower than a frame, where in
that frame it was. Where a snapshot or a lost frame left out an angle, or the series begins or ends, part of a
reflection may be missing: it is marked as cut. Of a cut one the mean would lie too far inside, and all of them together
bend what is fitted to a few degrees; so its angle is reckoned from the end that was seen (`_reach`), and less
sure.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.spots.seriespeaks import FrameSpots

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Numbers = NDArray[np.intp]

NEAR_PX = 1.0
"""Spots of neighbouring frames no farther apart than that, and NEAR_SIGMAS of their positions, are one reflection."""
NEAR_SIGMAS = 2.0
LONGEST_GAP_DEG = 1.5
"""Over a gap as long spots are joined still: a reflection near the axis takes that long."""
UNSEEN_SIGMAS = 5.0
"""Counts of a spot that is just not found, in standard deviations of 9 pixels of background."""
STRONG = 20.0
"""A reflection of so many times the unseen counts would show in the next frame if there were anything there."""
FAIRLY_STRONG = 10.0
"""Where strong ones are few these tell it: of them a tail may be hidden, which makes them look narrower."""
FEWEST_BEGUN = 16
"""Reflections that begin in a frame after another: so many tell how far reflections are seen."""
STRONG_ONES = 8
"""So many of them at least tell how wide reflections are; with fewer they are taken to be narrower than any frame."""


@dataclass(frozen=True, slots=True, eq=False)
class Reflections:
    """Reflections of a series, all arrays (n,), in the order in which they end.

    fast_px, slow_px: mean of the centroids, weighted by what each is known to; pixel i covers [i, i + 1).
    position_sigma_px: of either. angle_deg: of the stage. angle_sigma_deg: see the module. intensity: counts of all its
    frames; intensity_sigma. spread_deg: standard deviation of the angles of its frames. first, last: index of these.
    cut: part of it may lie where there is no frame.
    """

    fast_px: Array
    slow_px: Array
    position_sigma_px: Array
    angle_deg: Array
    angle_sigma_deg: Array
    intensity: Array
    intensity_sigma: Array
    spread_deg: Array
    first: Numbers
    last: Numbers
    cut: Mask

    def __len__(self) -> int:
        """How many there are."""
        return len(self.fast_px)

    def some(self, which: Mask | Numbers) -> "Reflections":
        """Those of a mask or of indices."""
        return Reflections(*(getattr(self, name)[which] for name in self.__dataclass_fields__))


def join(spots: Sequence[FrameSpots], slot: NDArray[np.integer], start_deg: Array, end_deg: Array) -> Reflections:
    """The reflections of a series of n frames: spots of each, its slot number, the stage's angle at begin and end.

    Slots ascend; where they leave one out there is a gap. ValueError where the four do not belong together.
    """
    if not len(spots) == len(slot) == len(start_deg) == len(end_deg):
        raise ValueError(f"{len(spots)} frames with spots, {len(slot)} slots, {len(start_deg)}, {len(end_deg)} angles")
    joining = Joining()
    for each in zip(spots, slot.tolist(), np.asarray(start_deg).tolist(), np.asarray(end_deg).tolist(), strict=True):
        joining.add(*each)
    return joining.reflections()


class Joining:
    """Joins frames as they come: each is compared with the one before it, 0.1 ms a frame."""

    def __init__(self) -> None:
        self._spots: list[FrameSpots] = []
        self._number: list[Numbers] = []
        self._slot: list[int] = []
        self._start_deg: list[float] = []
        self._end_deg: list[float] = []
        self._count = 0

    def add(self, spots: FrameSpots, slot: int, start_deg: float, end_deg: float) -> None:
        """The next frame: its spots, its slot, which is after the ones before, the stage's angle at begin and end."""
        mine = np.full(len(spots), -1, dtype=np.intp)
        near = bool(self._slot) and (slot == self._slot[-1] + 1 or abs(start_deg - self._end_deg[-1]) < LONGEST_GAP_DEG)
        if near and len(spots) and len(self._spots[-1]):
            one, other = _pairs(self._spots[-1], spots)
            mine[other] = self._number[-1][one]
        new = mine < 0
        mine[new] = self._count + np.arange(np.count_nonzero(new))
        self._count += int(np.count_nonzero(new))
        self._spots.append(spots)
        self._number.append(mine)
        self._slot.append(slot)
        self._start_deg.append(start_deg)
        self._end_deg.append(end_deg)

    def reflections(self, start_deg: Array | None = None, end_deg: Array | None = None) -> Reflections:
        """All so far; what is in the last frame is cut, for it may go on. A millisecond for a thousand.

        start_deg, end_deg: of all frames, where their angles are known better by now than when they were added.
        """
        gap_before = np.ones(len(self._spots) + 1, dtype=bool)
        gap_before[1:-1] = np.diff(self._slot) != 1
        frame = np.repeat(np.arange(len(self._spots)), [len(one) for one in self._spots])
        number = np.concatenate([*self._number, np.empty(0, dtype=np.intp)])
        start_deg = np.array(self._start_deg, dtype=np.float64) if start_deg is None else start_deg
        end_deg = np.array(self._end_deg, dtype=np.float64) if end_deg is None else end_deg
        return _measured(self._spots, frame, number, gap_before, start_deg, end_deg)


def _pairs(before: FrameSpots, here: FrameSpots) -> tuple[Numbers, Numbers]:
    """Spots of two frames that are each other's nearest and near enough."""
    apart = np.hypot(before.fast_px[:, None] - here.fast_px, before.slow_px[:, None] - here.slow_px)
    limit = NEAR_PX + NEAR_SIGMAS * np.hypot(before.position_sigma_px[:, None], here.position_sigma_px)
    one, other = np.arange(len(before)), apart.argmin(axis=1)
    mutual = (apart.argmin(axis=0)[other] == one) & (apart[one, other] < limit[one, other])
    return one[mutual], other[mutual]


def _measured(
    spots: Sequence[FrameSpots], frame: Numbers, reflection: Numbers, gap_before: Mask, start_deg: Array, end_deg: Array
) -> Reflections:
    n = int(reflection.max(initial=-1)) + 1

    def all_of(name: str) -> Array:
        return np.concatenate([*(getattr(one, name) for one in spots), np.empty(0)])

    def total(values: Array) -> Array:
        return np.asarray(np.bincount(reflection, values, n), dtype=np.float64)

    first, last = np.full(n, len(spots), dtype=np.intp), np.full(n, -1, dtype=np.intp)
    np.minimum.at(first, reflection, frame)
    np.maximum.at(last, reflection, frame)
    counts, counts_sigma = all_of("intensity"), all_of("intensity_sigma")
    sure = 1 / np.maximum(all_of("position_sigma_px"), 1e-3) ** 2
    middle_deg, width_deg = (start_deg + end_deg) / 2, np.abs(end_deg - start_deg)
    intensity = total(counts)
    angle_deg = total(counts * middle_deg[frame]) / intensity
    noise_deg = np.sqrt(total((counts_sigma * (middle_deg[frame] - angle_deg[reflection])) ** 2)) / intensity
    per_frame = np.array([one.gain for one in spots] or [1.0])
    unseen = UNSEEN_SIGMAS * np.sqrt((9 * all_of("background") + 1) * per_frame[frame])
    unseen = total(unseen) / np.maximum(total(np.ones(len(frame))), 1)
    cut = gap_before[first] | gap_before[last + 1]
    gaps_so_far = np.cumsum(gap_before)
    over_gap = gaps_so_far[last] > gaps_so_far[first]
    cut |= over_gap
    wide_deg = width_deg[first] if n else np.empty(0)
    variance = total(counts * (middle_deg[frame] - angle_deg[reflection]) ** 2) / intensity
    strong = _telling(intensity / np.maximum(unseen, 1e-9), last - first, cut)
    # Either of the two next frames may hide so many counts.
    hidden_deg = wide_deg * unseen / (intensity + unseen) * np.sqrt(2 / 3)
    placed_deg = wide_deg * _placed((variance / np.maximum(wide_deg, 1e-9) ** 2)[strong])
    one_end = np.where(over_gap, 0, gap_before[last + 1].astype(np.intp) - gap_before[first])
    lost_deg = np.where(cut, wide_deg / 2, 0.0)
    reach = _reach(frame > first[reflection], ~gap_before[frame])
    if reach is not None:
        reach_deg = reach * wide_deg
        seen_deg = np.abs(middle_deg[last] - middle_deg[first]) + wide_deg
        outwards = one_end * np.sign(end_deg - start_deg)[first]
        angle_deg += outwards * np.maximum(reach_deg + (wide_deg - seen_deg) / 2, 0.0)
        # A weak one is seen less far, a strong one farther: anywhere from nothing to twice the mean.
        lost_deg = np.where(one_end != 0, reach_deg / math.sqrt(3), lost_deg)
    return Reflections(
        fast_px=total(sure * all_of("fast_px")) / total(sure),
        slow_px=total(sure * all_of("slow_px")) / total(sure),
        position_sigma_px=1 / np.sqrt(total(sure)),
        angle_deg=angle_deg,
        angle_sigma_deg=np.sqrt(noise_deg**2 + hidden_deg**2 + placed_deg**2 + lost_deg**2),
        intensity=intensity,
        intensity_sigma=np.sqrt(total(counts_sigma**2)),
        spread_deg=np.sqrt(variance),
        first=first,
        last=last,
        cut=cut,
    )


def _reach(goes_on: Mask, joined: Mask) -> float | None:
    """How far from its middle a reflection is seen, in frames, in the mean of all; None where too few tell.

    goes_on, joined: (m,) of each spot, whether its reflection was in the frame before, and whether there is a frame
    before it without a gap. One that is seen as far as r to either side is in 1 + 2 r frames on the average: 2 r times
    as many go on as begin.
    """
    begun = np.count_nonzero(joined & ~goes_on)
    return np.count_nonzero(joined & goes_on) / (2 * begun) if begun >= FEWEST_BEGUN else None


def _telling(times_unseen: Array, frames: Numbers, cut: Mask) -> Mask:
    """Which of (n,) reflections tell how wide they are: STRONG_ONES at least, or none. frames: last less first."""
    for least in (STRONG, FAIRLY_STRONG):
        strong: Mask = (times_unseen > least) & ~cut
        if strong.any():
            strong &= frames <= np.median(frames[strong]) + 1
        if np.count_nonzero(strong) >= STRONG_ONES:
            return strong
    return np.zeros(len(frames), dtype=bool)


def _placed(variance: Array) -> float:
    """How uncertain it is where in its frames a reflection was, in frames, from the (n,) variances of strong ones.

    A narrow one is seen in one frame wherever in that it was: 1 / sqrt(12). Of a passage as a Gaussian of sigma w
    frames, anywhere against the frames, the mean of the frames errs by e, with e^2 the sum of exp(-4 pi^2 n^2 w^2) /
    (2 pi^2 n^2) over n = 1, 2, ..., and the variance about it is w^2 + 1 / 12 - e^2 on the average: that gives w.
    """
    if not len(variance):
        return math.sqrt(1 / 12)
    order = np.arange(1, 30, dtype=np.float64)[:, None]
    width = np.linspace(0, 1, 200)
    error = (np.exp(-((2 * np.pi * order * width) ** 2)) / (2 * np.pi**2 * order**2)).sum(axis=0)
    seen = width**2 + 1 / 12 - error
    return math.sqrt(float(np.interp(float(variance.mean()), seen - seen[0], error)))
