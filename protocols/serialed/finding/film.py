"""What of a field is film: bars and what they hide, holes, and the edges of both. Pure functions of a view."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, label, uniform_filter

from protocols.serialed.finding.fieldview import OPAQUE, FieldView

Cells = NDArray[np.float32]
Mask = NDArray[np.bool_]

BAR_EDGE_CELLS, EDGE_CELLS = 3, 2
HOLE_STEP = 0.07
"""Least difference of ln light between film and hole."""
HOLE_OF_OPEN = 0.96
"""Of the open beam: an even field that lets more through has no film."""
BINS, EVERY, OVER = 64, 2, 5
APART = 3.5
"""Two halves of one bell lie 1.6 of its sigmas apart, and their own spreads are 0.6 each: 2.65 of these."""


@dataclass(frozen=True, eq=False)
class Carbon:
    """bars: cells behind bars, with their edges. film: share of the cells that are film, or lie on it; holes count
    as film where they do not stand out clearly. note: what a
    person should know of it; empty if nothing.
    """

    bars: Mask
    film: float
    note: str


def bars_in(seen: FieldView, largest_nm: float) -> Mask:
    """(n, m) cells behind a bar: dark ones that reach the edge of the picture and are larger than a crystal."""
    dark = seen.usable & (seen.share < OPAQUE)
    bars = np.zeros_like(dark)
    if not dark.any():
        return bars
    labels, count = label(dark)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    rim = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    tall = [k for k in rim.tolist() if k and _reach(labels == k) * seen.nm > largest_nm and sizes[k]]
    if tall:
        bars = binary_dilation(np.isin(labels, tall), iterations=BAR_EDGE_CELLS)
    return bars


def _reach(mask: Mask) -> int:
    """Cells of the longer side of its box."""
    return int(max(np.ptp(np.flatnonzero(mask.any(axis=k))) + 1 for k in (0, 1)))


def carbon(seen: FieldView, dark: Cells, bars: Mask, things: Mask, open_counts: float) -> Carbon:
    """dark: smoothed darkness. things: cells of crystals, which lie on film or cling to it."""
    free = seen.usable & ~bars & ~binary_dilation(things, iterations=EDGE_CELLS)
    whole = np.count_nonzero(seen.usable)
    on_film = np.count_nonzero(things & ~bars) / whole
    share = np.count_nonzero(seen.usable & ~bars & ~things) / whole
    if np.count_nonzero(free) < 100:
        return Carbon(bars, on_film, "the field lies behind a bar" if bars.any() else "")
    thin = (slice(None, None, EVERY), slice(None, None, EVERY))
    even = np.where(free[thin], dark[thin], np.median(dark[free]))
    values = uniform_filter(flat(even, free[thin]), OVER)[free[thin]]
    split = _parted_at(values)
    if split is not None:
        return Carbon(bars, float(on_film + share * np.mean(values > split)), "")
    level = seen.bright_counts * float(np.exp(-np.median(dark[free])))
    if open_counts > 0:
        is_hole = level > HOLE_OF_OPEN * open_counts
        return Carbon(bars, on_film if is_hole else on_film + share, "no film: the field is a hole" if is_hole else "")
    return Carbon(bars, on_film + share, "")


def flat(dark: Cells, free: Mask) -> Cells:
    """Darkness without what changes slowly over the field, fitted to its brighter half: a plane and a bowl."""
    rows, columns = dark.shape
    y, x = np.linspace(-1, 1, rows, dtype=np.float32)[:, None], np.linspace(-1, 1, columns, dtype=np.float32)[None, :]
    one = np.ones_like(dark)
    terms = np.stack([one, x * one, y * one, x * x + y * y])
    some = np.flatnonzero(free)[::11]
    table = terms.reshape(len(terms), -1)[:, some].astype(np.float64)
    told = dark.ravel()[some].astype(np.float64)
    keep = np.ones(len(some), bool)
    fit = np.zeros(len(terms), np.float64)
    for _ in range(4):
        part = table[:, keep]
        fit[:] = np.linalg.solve(part @ part.T + 1e-9 * np.eye(len(terms)), part @ told[keep])
        off = told - fit @ table
        keep = off < np.median(off)
    return np.asarray(dark - np.tensordot(fit.astype(np.float32), terms, 1))


def _parted_at(values: NDArray[np.floating]) -> float | None:
    """The darkness between hole and film where there are two (Otsu); None where there is one level only."""
    low, high = np.percentile(values, (0.5, 99.0))
    if not high - low > HOLE_STEP:
        return None
    counts, edges = np.histogram(values, BINS, (low, high))
    middles = 0.5 * (edges[1:] + edges[:-1])
    below = np.cumsum(counts)
    above = below[-1] - below
    sums = np.cumsum(counts * middles)
    with np.errstate(invalid="ignore", divide="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    best = int(np.nanargmax(between))
    split = float(edges[best + 1])
    bright, dim = values[values <= split], values[values > split]
    if min(len(bright), len(dim)) < 0.1 * len(values):
        return None
    apart = float(dim.mean() - bright.mean())
    spread = 0.5 * float(bright.std() + dim.std())
    return split if apart > max(HOLE_STEP, APART * spread) else None
