"""Pictures of a film with crystals as tests draw them, without the simulated instrument: all on them is known."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Array = NDArray[np.float64]

NM_PER_PX = 11.6
OVERSAMPLED = 2


@dataclass(frozen=True)
class Drawn:
    """A rectangle: middle in px (pixel i covers [i, i + 1)), both sides in px, how far turned, what it lets through."""

    fast_px: float
    slow_px: float
    length_px: float
    width_px: float
    turned_deg: float = 0.0
    transmission: float = 0.6


@dataclass(frozen=True)
class DrawnField:
    """film: continuous | holey | lacey. electrons: a pixel, without a specimen. vignetting: how much darker corners
    are. unevenness: standard deviation of what the film lets through.
    """

    size_px: int = 512
    film: str = "continuous"
    crystals: tuple[Drawn, ...] = ()
    electrons: float = 200.0
    vignetting: float = 0.0
    unevenness: float = 0.02
    seed: int = 1
    nm_per_px: float = NM_PER_PX
    strand_transmission: float = field(default=0.7)

    def light(self) -> Array:
        """(rows, columns) expected electrons on each pixel."""
        n = self.size_px * OVERSAMPLED
        rng = np.random.default_rng(self.seed)
        place = (np.arange(n) + 0.5) / OVERSAMPLED
        x, y = place[None, :], place[:, None]
        picture = np.kron(self._film(rng, self.size_px, self.nm_per_px), np.ones((OVERSAMPLED, OVERSAMPLED)))
        for crystal in self.crystals:
            turned = np.radians(crystal.turned_deg)
            u = np.cos(turned) * (x - crystal.fast_px) + np.sin(turned) * (y - crystal.slow_px)
            v = np.cos(turned) * (y - crystal.slow_px) - np.sin(turned) * (x - crystal.fast_px)
            picture[(abs(u) < crystal.length_px / 2) & (abs(v) < crystal.width_px / 2)] *= crystal.transmission
        middle = self.size_px / 2
        picture *= 1.0 - self.vignetting * ((x - middle) ** 2 + (y - 0.8 * middle) ** 2) / (2 * middle**2)
        binned = picture.reshape(self.size_px, OVERSAMPLED, self.size_px, OVERSAMPLED).mean(axis=(1, 3))
        return np.asarray(self.electrons * binned)

    def counts(self) -> NDArray[np.uint16]:
        """(rows, columns) counts, with their noise."""
        drawn = np.random.default_rng(self.seed + 1000).poisson(self.light())
        return np.minimum(drawn, 65535).astype(np.uint16)

    def _film(self, rng: np.random.Generator, n: int, per_nm: float) -> Array:
        waves = gaussian_filter(rng.standard_normal((n, n)), 250.0 / per_nm, mode="wrap")
        film = np.full((n, n), 0.85) * (1.0 + self.unevenness * waves / waves.std())
        if self.film == "continuous":
            return film
        x, y = np.arange(n)[None, :] * per_nm, np.arange(n)[:, None] * per_nm
        if self.film == "holey":
            inside = np.hypot((x % 3600.0) - 1400.0, (y % 3600.0) - 1400.0) < 1000.0
            return np.where(inside, 1.0, film)
        middles = rng.uniform(0, n * per_nm, (int((n * per_nm / 1100.0) ** 2), 2))
        nearest = np.partition([np.hypot(x - a, y - b) for a, b in middles], 1, axis=0)
        between = gaussian_filter(nearest[1] - nearest[0], 4)
        return np.where(between < 260.0, self.strand_transmission * film, 1.0)


def scattered(
    seed: int, number: int, sizes_px: tuple[float, float], transmission: float, size_px: int = 512
) -> tuple[Drawn, ...]:
    """Crystals anywhere in a picture that do not touch each other or its edge."""
    rng = np.random.default_rng(seed)
    made: list[Drawn] = []
    for _ in range(50 * number):
        length = rng.uniform(*sizes_px)
        fast, slow = rng.uniform(length, size_px - length, 2).tolist()
        one = Drawn(fast, slow, length, length * rng.uniform(0.4, 1.0), rng.uniform(0, 180), transmission)
        if all(
            np.hypot(one.fast_px - other.fast_px, one.slow_px - other.slow_px)
            > 0.75 * (one.length_px + other.length_px) + 6
            for other in made
        ):
            made.append(one)
        if len(made) == number:
            break
    return tuple(made)
