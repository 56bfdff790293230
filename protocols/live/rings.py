"""Rings in frames: ice, or a powder of anything. What is even about the beam, and not what a single crystal makes.

Summed over frames is the median of the counts of each annulus, of which a crystal's spots are a small part. A ring is
where that stands out of the smooth fall about it; ice is where the rings of hexagonal or cubic ice are among them.
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


@dataclass(frozen=True, slots=True)
class Rings:
    """Spacings of the rings, and whether they are those of ice."""

    spacings_A: tuple[float, ...]
    ice: bool


class Annuli:
    """Sums up what is even about the beam. shape, untrusted: as for a finder of spots; beam_px: (fast, slow)."""

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
        # Some hundred pixels of an annulus tell its median well enough, and fast.
        self._pixels = [
            order[a:b][:: max(1, (b - a) // 400)] for a, b in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
        ]
        self.sums: Array = np.zeros(len(self._pixels))
        self.variances: Array = np.zeros(len(self._pixels))
        self.frames = 0

    def add(self, counts: NDArray[np.generic]) -> None:
        """One frame (rows, columns). A trimmed mean, for a median of few counts is a whole number: 3 ms."""
        flat = counts.reshape(-1)
        for number, pixels in enumerate(self._pixels):
            if len(pixels) < 20:
                continue
            some = np.sort(flat[pixels].astype(np.float64))
            kept = some[: -max(1, len(some) // 10)]
            self.sums[number] += kept.mean()
            self.variances[number] += max(float(kept.var()), 0.05) / len(kept)
        self.frames += 1

    def rings(self, geometry: RotationGeometry) -> Rings:
        """What stands out of all frames so far."""
        if not self.frames:
            return Rings((), False)
        level, sigma = self.sums / self.frames, np.sqrt(self.variances) / self.frames
        radius_px = (np.arange(len(level)) + 0.5) * WIDTH_PX
        usable = (radius_px > FROM_PX) & np.array([len(pixels) >= FEWEST_PIXELS for pixels in self._pixels])
        found = _peaks(level, sigma, usable)
        angle = np.arctan(radius_px[found] / geometry.camera_length_px)
        spacings = (geometry.wavelength_A / (2 * np.sin(angle / 2))).tolist()
        ice = [any(abs(d / each - 1) < WITHIN for d in spacings) for each in STRONGEST_ICE_A]
        return Rings(tuple(round(d, 3) for d in spacings), sum(ice) >= 2)


def _peaks(level: Array, sigma: Array, usable: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Annuli that stand out of those about them."""
    from scipy.ndimage import median_filter

    # The logarithm falls nearly in a straight line, whose median in a window is its middle.
    low = np.log(np.maximum(level, 1e-3))
    off = np.exp(low - median_filter(low, SMOOTH, mode="nearest")) - 1
    noise = np.hypot(
        sigma / np.maximum(level, 1e-3), 1.4826 * float(np.median(np.abs(off[usable]))) if usable.any() else 1
    )
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
