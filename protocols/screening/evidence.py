"""What the geometry of a pattern's spots says, in numbers: on one lattice or not, drawn out or not, how far out.

The lattice of most spots is sought (`protocols.lattice.still`), then another one in those that are left. Nothing is
decided here: that does `judge`, together with what the network sees, and `geometric` by rules.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.lattice.search import explained
from protocols.lattice.still import FEWEST, StillLattice, still_lattice
from protocols.screening.seenspots import SeenSpots
from protocols.spots.median import median

Array = NDArray[np.float64]

NAMES = (
    "spots", "strong", "broad", "hot", "double", "on first", "on none", "strong on none", "light on none", "on second",
    "first explained", "second explained", "area", "longest", "by chance", "share on first", "share on second",
    "reach", "reach on first", "drawn out", "drawn out surely", "radially", "radially surely", "tails", "tails surely",
    "radial tails", "radial tails surely", "width", "widths differ", "signal", "in one ring",
    "to 0.35", "to 0.65", "to 0.9", "beyond",
)  # fmt: skip
"""Of the numbers. Those that count spots are roots, those that grow without limit logarithms or roots."""
STRONG = 8.0
RING_PER_A = 0.006
ZONES_PER_A = (0.35, 0.65, 0.9)
NO_REACH_PER_A = 0.3
"""For fewer than three spots."""
LIMIT = 1.5
"""No spot is more drawn out than that."""


@dataclass(frozen=True, slots=True, eq=False)
class Lattices:
    """first: of most of the spots; second: of those that are not on it. None where there is none."""

    first: StillLattice | None
    second: StillLattice | None
    on: NDArray[np.bool_]
    """(n,) spots on the first."""


def lattices(xy_per_A: Array) -> Lattices:
    """Of (n, 2) spots."""
    first = still_lattice(xy_per_A)
    on = np.zeros(len(xy_per_A), dtype=bool) if first is None else first.on
    left = xy_per_A[~on]
    second = None if first is None or len(left) < FEWEST else still_lattice(left)
    return Lattices(first, second, on)


def told(spots: SeenSpots, found: Lattices | None = None) -> NDArray[np.float32]:
    """(len(NAMES),) numbers of these spots. found: their lattices, where they are known already."""
    count = len(spots)
    found = found or lattices(spots.xy_per_A)
    first, second, on = found.first, found.second, found.on
    strong = spots.snr > STRONG
    light = np.sqrt(np.maximum(spots.light, 0.0))
    away = np.hypot(*spots.xy_per_A.T)
    on_second = 0 if second is None else int(second.on.sum())
    off = count - int(on.sum())
    area = longest = chance = 0.0
    if first is not None:
        (a, b), chance = first.vectors_A[:, :2], first.by_chance
        area, longest = np.log1p(abs(a[0] * b[1] - a[1] * b[0])), max(np.hypot(*a), np.hypot(*b))
    rings = np.searchsorted(np.sort(away), np.sort(away) + RING_PER_A) - np.arange(count)
    zones = np.bincount(np.searchsorted(ZONES_PER_A, away), minlength=4)
    numbers = [
        *np.sqrt([count, strong.sum(), spots.broad, spots.hot, spots.double, on.sum(), off, (strong & ~on).sum()]),
        light[~on].sum() / max(light.sum(), 1e-9),
        np.sqrt(on_second),
        _surplus(first, count),
        _surplus(second, off),
        area, longest, chance,
        (on.sum() + 1) / (count + 2),
        (on_second + 1) / (off + 3),
        _reach(away), _reach(away[on]),
        *_elongation(spots.xy_per_A, spots.drawn_out),
        *_elongation(spots.xy_per_A, spots.tails),
        median(spots.width) if count else 0.0,
        spots.width.std() if count else 0.0,
        np.log(median(spots.snr)) if count else 0.0,
        *np.sqrt([rings.max(initial=0), *zones]),
    ]  # fmt: skip
    return np.array(numbers, dtype=np.float32)


def _surplus(lattice: StillLattice | None, count: int) -> float:
    """Root of how much better spots are explained by a lattice than by chance."""
    if lattice is None:
        return 0.0
    worth = float(explained(np.array([lattice.on.sum()]), count, np.array([lattice.by_chance]))[0])
    return float(np.sign(worth) * np.sqrt(abs(worth)))


def _reach(away: Array) -> float:
    return float(np.sort(away)[-3]) if len(away) >= 3 else NO_REACH_PER_A


def _elongation(xy: Array, drawn_out: Array) -> tuple[float, float, float, float]:
    """How much all spots are drawn out along one direction, how sure that is, and the same along their radii."""
    if len(xy) < 3:
        return 0.0, 0.0, 0.0, 0.0
    drawn_out = np.clip(drawn_out, -LIMIT, LIMIT)
    twice = 2 * np.arctan2(xy[:, 1], xy[:, 0])
    cos, sin = np.cos(twice), np.sin(twice)
    along, aside = drawn_out.T
    radial = np.stack([along * cos + aside * sin, aside * cos - along * sin])
    mean, surely = _mean(drawn_out.T)
    radial_mean, radially_surely = _mean(radial)
    return float(np.hypot(*mean)), surely, float(radial_mean[0]), radially_surely


def _mean(drawn_out: Array) -> tuple[Array, float]:
    """(2,) mean of (2, n), and how sure it is that it is not 0. Without `var`, which is slow for some dozens."""
    count = drawn_out.shape[1]
    mean = drawn_out.sum(axis=1) / count
    variance = np.square(drawn_out - mean[:, None]).sum() / count
    return mean, float(np.log1p(np.hypot(*mean) / (np.sqrt(variance / count) + 0.02)))
