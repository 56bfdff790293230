"""What the electrons that no crystal diffracts look like: a function of the distance from the beam, and shadows on it.

Primary beam, inelastic halo, carbon and ice, smooth powder rings. All are shares of the electrons of the primary beam
for each pixel, as a table over the distance in pixels before the ellipse of the lens.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from drivers.simulated.film import CARBON

Array = NDArray[np.float64]
Picture = NDArray[np.float32]

PER_PX = 8
"""Entries of the table a pixel."""
ICE_D_A = (3.90, 3.67, 3.44, 2.67, 2.25, 2.07, 1.95, 1.92)
ICE_SHARE = (1.0, 0.6, 0.7, 0.25, 0.45, 0.4, 0.25, 0.2)
"""Hexagonal ice: spacings, and how strong its rings are."""
GLASSY_ICE = ((0.27, 0.03, 1.0), (0.47, 0.05, 0.35))
"""Rings of vitreous ice: 1/A from the beam, width (sigma), share."""


@dataclass(slots=True)
class Radial:
    """Shares of the primary beam a pixel over the distance from it; `add` sees to it that each part has its share.

    px_per_A: pixels for 1/A. reach_px: of the table.
    """

    reach_px: float
    px_per_A: float
    table: Array = field(init=False)
    at_px: Array = field(init=False)

    def __post_init__(self) -> None:
        self.at_px = (np.arange(int(self.reach_px * PER_PX) + 2) + 0.5) / PER_PX
        self.table = np.zeros_like(self.at_px)

    def add(self, share: float, profile: Array) -> None:
        """A part of any height; on the whole plane it has this share of the beam (what the table does not reach is
        left out).
        """
        whole = float((profile * self.at_px).sum()) * 2 * np.pi / PER_PX
        if whole > 0:
            self.table += profile * (share / whole)

    def beam(self, share: float, sigma_px: float, flat_px: float) -> None:
        """The primary beam: a disc of this radius with soft edges; a Gaussian where that is 0."""
        self.add(share, np.exp(-0.5 * (np.maximum(self.at_px - flat_px, 0.0) / sigma_px) ** 2))

    def halo(self, share: float, length_px: float) -> None:
        """Scattered inelastically: falls with exp(-r / length)."""
        self.add(share, np.exp(-self.at_px / length_px))

    def rings(self, rings: Array, share: float) -> None:
        """Rings (n, 3) of 1/A from the beam, width (sigma) in 1/A and weight."""
        at = self.at_px / self.px_per_A
        profile = np.zeros_like(at)
        for middle, width, weight in np.asarray(rings).tolist():
            low, high = np.searchsorted(at, (middle - 5 * width, middle + 5 * width))
            profile[low:high] += weight / (middle * width) * np.exp(-0.5 * ((at[low:high] - middle) / width) ** 2)
        self.add(share, profile)

    def powder(self, d_star_per_A: Array, weight: Array, width_per_A: float, share: float) -> None:
        """Smooth rings of many reflections, all of one width (sigma)."""
        from scipy.ndimage import gaussian_filter1d

        place = (d_star_per_A * self.px_per_A * PER_PX).astype(np.int64)
        inside = place < len(self.table)
        lines = np.bincount(place[inside], weight[inside], len(self.table))
        self.add(share, gaussian_filter1d(lines, width_per_A * self.px_per_A * PER_PX, mode="constant") / self.at_px)

    def below(self, away_px: Array) -> Array:
        """(n,) share a pixel at these distances."""
        return self.table[np.minimum((away_px * PER_PX).astype(np.int64), len(self.table) - 1)]

    def picture(self, shape: tuple[int, int], beam_px: tuple[float, float], ellipse: Array) -> Picture:
        """(rows, columns) share on each pixel. ellipse: (2, 2) from ideal to seen (fast, slow) about the beam."""
        ideal = np.linalg.inv(ellipse).astype(np.float32)
        rows, columns = shape
        fast = np.arange(columns, dtype=np.float32) + np.float32(0.5 - beam_px[0])
        slow = np.arange(rows, dtype=np.float32) + np.float32(0.5 - beam_px[1])
        x = ideal[0, 0] * fast + (ideal[0, 1] * slow)[:, None]
        y = ideal[1, 0] * fast + (ideal[1, 1] * slow)[:, None]
        x *= x
        y *= y
        x += y
        np.sqrt(x, out=x)
        x *= np.float32(PER_PX)
        place = x.astype(np.int32)
        np.minimum(place, len(self.table) - 1, out=place)
        return np.asarray(self.table.astype(np.float32).take(place))


def carbon(strength: float, rng: np.random.Generator) -> Array:
    """Rings of an amorphous film, each some percent off."""
    rings = np.array(CARBON)
    rings[:, :2] *= 1 + 0.05 * rng.standard_normal((len(rings), 2))
    rings[:, 2] *= strength / rings[:, 2].sum()
    return rings


def ice(width: float, rng: np.random.Generator) -> Array:
    """Rings of hexagonal ice, some of them weak by chance, for the grains lie as they like."""
    weight = np.array(ICE_SHARE) * rng.exponential(1.0, len(ICE_SHARE))
    return np.column_stack([1 / np.array(ICE_D_A), np.full(len(weight), width), weight])
