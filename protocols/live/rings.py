"""Rings in frames: ice, or a powder of anything. What is even about the beam, and not what a single crystal makes.

Summed over frames is the trimmed mean of the counts of each annulus, of which a crystal's spots are a small part. A
ring is where that stands out of the smooth fall about it; ice is where the rings of hexagonal or cubic ice are among
them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.lattice.rotationgeometry import RotationGeometry

Array = NDArray[np.float64]

ICE_A = (3.90, 3.67, 3.44, 2.67, 2.25, 2.07, 1.95, 1.92)
STRONGEST_ICE_A = (3.90, 3.67, 3.44, 2.25)
"""Two of these at least, of the strongest ones, make ice."""
WITHIN = 0.015
"""Relative, of a spacing."""
WIDTH_PX = 2
"""Of an annulus."""
SMOOTH = 15
"""Annuli of whose medians the smooth fall is made; a ring is narrower than half of that."""
RING_SIGMAS = 6.0
LEAST_SHARE = 0.02
"""A ring of less of the background is none that would matter."""
FROM_PX = 20
"""Nearer to the beam its own foot is steeper than any ring."""
FEWEST_PIXELS = 200
"""In an annulus that is looked at, and that are looked at of each."""
KEPT_PIXELS = FEWEST_PIXELS * 9 // 10
"""Without the brightest ones, which may be spots."""
LEAST_VARIANCE = 0.05


@dataclass(frozen=True, slots=True)
class Rings:
    """Spacings of the rings, and whether they are those of ice."""

    spacings_A: tuple[float, ...]
    ice: bool


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """How counts fall off from the beam, of one frame or the sum of some.

    level: (n,) counts of a pixel in each annulus, NaN of one that has too few pixels; variance: of each level.
    """

    level: Array
    variance: Array
    frames: int = 1

    def __add__(self, other: "Profile") -> "Profile":
        """Of both together; they have the same annuli."""
        return Profile(self.level + other.level, self.variance + other.variance, self.frames + other.frames)

    @property
    def mean(self) -> float:
        """Counts of a pixel of one frame, on the average over all annuli; 0 without any."""
        known = np.isfinite(self.level)
        area = np.arange(len(self.level))[known] + 0.5
        return float((self.level[known] * area).sum() / area.sum()) / self.frames if known.any() else 0.0


class Annuli:
    """Finds what is even about the beam. shape, untrusted: as for a finder of spots; beam_px: (fast, slow)."""

    def __init__(
        self, shape: tuple[int, int], untrusted: NDArray[np.bool_] | None, beam_px: tuple[float, float]
    ) -> None:
        slow, fast = np.indices(shape) + 0.5
        number = (np.hypot(fast - beam_px[0], slow - beam_px[1]) / WIDTH_PX).astype(np.intp)
        if untrusted is not None:
            number[untrusted] = -1
        flat = number.reshape(-1)
        order = np.argsort(flat, kind="stable")
        edges = np.searchsorted(flat[order], np.arange(int(flat.max()) + 2))
        self._count = len(edges) - 1
        self._usable = np.flatnonzero(np.diff(edges) >= FEWEST_PIXELS)
        # Two hundred pixels of an annulus tell its level well enough, and fast.
        share = (np.arange(FEWEST_PIXELS) + 0.5) / FEWEST_PIXELS
        begin, size = edges[self._usable], np.diff(edges)[self._usable]
        self._pixels = order[begin[:, None] + (share * size[:, None]).astype(np.intp)]

    def profile(self, counts: NDArray[np.generic]) -> Profile:
        """Of one frame (rows, columns). Trimmed means, for a median of few counts is a whole number: 0.5 ms."""
        some = np.partition(counts.reshape(-1)[self._pixels].astype(np.float32), KEPT_PIXELS, axis=1)[:, :KEPT_PIXELS]
        level, variance = np.full(self._count, np.nan), np.full(self._count, np.nan)
        level[self._usable] = some.mean(axis=1, dtype=np.float64)
        variance[self._usable] = np.maximum(some.var(axis=1, dtype=np.float64), LEAST_VARIANCE) / KEPT_PIXELS
        return Profile(level, variance)


def rings_of(profile: Profile, geometry: RotationGeometry) -> Rings:
    """What stands out of a profile."""
    level, sigma = profile.level / profile.frames, np.sqrt(profile.variance) / profile.frames
    radius_px = (np.arange(len(level)) + 0.5) * WIDTH_PX
    known = np.isfinite(level)
    if not known.any():
        return Rings((), False)
    number = np.arange(len(level))
    level, sigma = (np.interp(number, number[known], each[known]) for each in (level, sigma))
    found = _peaks(level, sigma, known & (radius_px > FROM_PX))
    angle = np.arctan(radius_px[found] / geometry.camera_length_px)
    spacings = (geometry.wavelength_A / (2 * np.sin(angle / 2))).tolist()
    ice = [any(abs(d / each - 1) < WITHIN for d in spacings) for each in STRONGEST_ICE_A]
    return Rings(tuple(round(d, 3) for d in spacings), sum(ice) >= 2)


def _peaks(level: Array, sigma: Array, usable: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Annuli that stand out of those about them."""
    from scipy.ndimage import median_filter

    # The logarithm falls nearly in a straight line, whose median in a window is its middle.
    low = np.log(np.maximum(level, 1e-3))
    smooth = np.exp(median_filter(low, SMOOTH, mode="nearest"))
    off = level / smooth - 1
    # Beside few counts one more is a large share: the noise is that of what would be there without a ring. Where most
    # annuli are farther off than that, it is not the noise alone.
    noise = sigma / smooth
    if usable.any():
        noise *= max(1.0, 1.4826 * float(np.median(np.abs(off[usable] / noise[usable]))))
    stands = usable & (off > np.maximum(RING_SIGMAS * noise, LEAST_SHARE))
    summit = np.zeros(len(level), dtype=bool)
    summit[1:-1] = (off[1:-1] >= off[:-2]) & (off[1:-1] > off[2:])
    return np.flatnonzero(stands & summit)


def names(rings: Rings) -> Sequence[str]:
    """In words, for a person."""
    if not rings.spacings_A:
        return ()
    what = "ice" if rings.ice else "rings of a powder"
    return (f"{what} at {', '.join(f'{d:.2f}' for d in rings.spacings_A)} A",)
