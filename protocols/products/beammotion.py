"""How the primary beam moved during a run: which frames agree on its place, how it drifts, where it jumps.

By medians of few neighbouring frames, which single strays do not change. Called by `runbeam`; pure functions of arrays.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Place = tuple[float, float]

STRAY_PX, STRAY_SHARE = 2.0, 0.004
"""A frame whose beam is farther than that (share: of the shorter side) from that of its neighbours is a stray."""
NEIGHBOURS = 5
"""Frames before, and after, by which strays and jumps are known."""
JUMP_PX, JUMP_SIGMAS = 1.0, 8.0


@dataclass(frozen=True, slots=True)
class Motion:
    """How the beam moved: drift_px (fast, slow) from the first to the last frame by which it is known, evenly with the
    slots and without the jumps; jumps: slot at which a new place begins, and how far that is; scatter_px of single
    frames.
    """

    drift_px: Place = (0.0, 0.0)
    jumps: tuple[tuple[int, float], ...] = ()
    scatter_px: float = 0.0

    @property
    def drift(self) -> float:
        """Its length in px."""
        return float(np.hypot(*self.drift_px))


def stray_px(shape: tuple[int, int]) -> float:
    """From here on a frame is a stray, of pictures of `shape` (rows, columns)."""
    return max(STRAY_PX, STRAY_SHARE * min(shape))


def agreeing(places: Array, reach_px: float) -> NDArray[np.bool_]:
    """Which of (n, 2) places, in order, are where their neighbours before, after or about them are, drift apart."""
    n = len(places)
    if not n:
        return np.zeros(0, dtype=bool)
    level = places - np.outer(np.arange(n), _rate(places))
    away = [
        np.hypot(*(level - _medians(level, width, np.arange(n) - before)).T)
        for width, before in ((NEIGHBOURS + 1, NEIGHBOURS), (NEIGHBOURS + 1, 0), (2 * NEIGHBOURS + 1, NEIGHBOURS))
    ]
    return np.asarray(np.min(away, axis=0) <= reach_px)


def _rate(places: Array) -> Array:
    """(2,) px from one place to the next, by the median, which neither strays nor jumps change."""
    return np.asarray(np.median(np.diff(places, axis=0), axis=0)) if len(places) > 2 else np.zeros(2)


def _medians(places: Array, width: int, begins: NDArray[np.intp]) -> Array:
    """(n, 2) medians of the `width` places from each of `begins` on, moved inwards at both ends."""
    width = min(width, len(places))
    windows = np.lib.stride_tricks.sliding_window_view(places, width, axis=0)
    return np.asarray(np.median(windows, axis=2)[np.clip(begins, 0, len(places) - width)])


def motion_of(slots: NDArray[np.int64], places: Array) -> Motion:
    """Drift, jumps and scatter of (n, 2) places that are strays no more."""
    n = len(slots)
    if n < 3:
        return Motion()
    steps, rate = np.diff(places, axis=0), _rate(places)
    noise = max(0.02, float(1.4826 * np.median(np.abs(steps - rate)) / np.sqrt(2)))
    jumps = _jumps(places, rate, max(JUMP_PX, JUMP_SIGMAS * noise / np.sqrt(NEIGHBOURS)))
    parts = np.zeros((n, len(jumps) + 1))
    parts[np.arange(n), np.searchsorted(jumps, np.arange(n), side="right")] = 1.0
    design = np.column_stack([(slots - slots[0]) / max(1, slots[-1] - slots[0]), parts])
    solved, *_ = np.linalg.lstsq(design, places, rcond=None)
    rest = places - design @ solved
    told = tuple((int(slots[at]), float(np.hypot(*(solved[k + 2] - solved[k + 1])))) for k, at in enumerate(jumps))
    scatter = float(1.4826 * np.median(np.abs(rest)))
    return Motion((float(solved[0, 0]), float(solved[0, 1])), told, scatter)


def _jumps(places: Array, rate: Array, least_px: float) -> list[int]:
    """Indices at which a new place begins: the medians of the frames before and after are that far apart, without the
    drift. Nearer to the ends than a few frames nothing is a jump.
    """
    n, width = len(places), NEIGHBOURS
    height = np.zeros(n)
    if n >= 2 * width:
        inside = np.arange(width, n - width + 1)
        step = _medians(places, width, inside) - _medians(places, width, inside - width) - width * rate
        height[inside] = np.hypot(*step.T)
    found: list[int] = []
    while (height > least_px).any():
        # Within a few frames of a jump the medians see it as well; at the jump itself the single step is largest.
        top = int(height.argmax())
        near = range(max(1, top - 2), min(n, top + 3))
        at = max(near, key=lambda i: float(np.hypot(*(places[i] - places[i - 1] - rate))))
        found.append(at)
        height[max(0, at - width) : at + width + 1] = 0.0
    return sorted(found)
