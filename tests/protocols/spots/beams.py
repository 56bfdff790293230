"""Pictures with a primary beam, and with what hides it, on cameras of any size: all lengths grow with the camera."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tests.gaussians import gaussians


@dataclass(frozen=True)
class Scene:
    """What lies on a camera of `size` x `size` pixels; lengths in px of a camera of 512, counts per pixel of that.

    beam: (fast, slow) in shares of the picture. peak: counts in the middle of the beam. sigma: its width; flat: radius
    of a disc instead. halo: (counts, sigma). rod, stop: half-width of a rod from the left to a tip `tip` px right of
    the beam, radius of a disc, both with their middle on the beam but for `aside` (px down), and turned about it by
    `turn_deg`. half: all left of it is dark. spots: how many reflections of about `spot` counts, drawn by a seed. full:
    counts at which the camera is. streak: half-length of a column that runs over. hot: counts of one bad pixel.
    """

    beam: tuple[float, float] = (0.507, 0.494)
    peak: float = 20_000.0
    sigma: float = 1.3
    flat: float = 0.0
    halo: tuple[tuple[float, float], ...] = ((300.0, 9.0), (60.0, 32.0))
    background: float = 2.0
    rod: float = 0.0
    tip: float = 12.0
    stop: float = 0.0
    aside: float = 0.0
    turn_deg: float = 0.0
    half: bool = False
    spots: int = 60
    spot: float = 400.0
    full: int = 11_810
    streak: float = 0.0
    hot: float = 0.0


def draw(scene: Scene, size: int, seed: int = 0) -> tuple[NDArray[np.uint16], tuple[float, float]]:
    """The picture (size, size), and where its beam is (fast, slow, px)."""
    rng, unit = np.random.default_rng(seed), size / 512
    fast, slow = (share * size for share in scene.beam)
    y, x = np.mgrid[:size, :size] + 0.5
    dx, dy = (x - fast) / unit, (y - slow) / unit
    expected = np.full((size, size), scene.background)
    for light, sigma in scene.halo:
        expected += gaussians(expected.shape, [(fast, slow)], sigma * unit, light)
    if scene.flat:
        expected += scene.peak / (1 + np.exp(np.clip((np.hypot(dx, dy) - scene.flat) / 0.4, -50, 50)))
    else:
        expected += gaussians(expected.shape, [(fast, slow)], max(scene.sigma * unit, 0.8), scene.peak)
    width = max(1.0 * unit, 0.8)
    for _ in range(scene.spots):
        at_x, at_y = rng.uniform(0, size, 2)
        if np.hypot(at_x - fast, at_y - slow) > 20 * unit:
            around = np.s_[
                max(0, int(at_y - 6 * width)) : int(at_y + 6 * width) + 1,
                max(0, int(at_x - 6 * width)) : int(at_x + 6 * width) + 1,
            ]
            height = scene.spot * rng.exponential()
            expected[around] += height * np.exp(-((x[around] - at_x) ** 2 + (y[around] - at_y) ** 2) / (2 * width**2))
    if scene.streak:
        expected = np.where(
            (np.abs(dx) < 1.5) & (np.abs(dy + 0.4 * scene.streak) < scene.streak), 10 * scene.full, expected
        )
    turn = np.radians(scene.turn_deg)
    dx, dy = dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn) - scene.aside
    if scene.rod:
        expected = np.where((np.abs(dy) < scene.rod) & (dx < scene.tip), 0.2, expected)
    if scene.stop:
        expected = np.where(np.hypot(dx, dy) < scene.stop, 0.2, expected)
    if scene.half:
        expected = np.where(dx < 0, 0.2, expected)
    counts: NDArray[np.int64] = rng.poisson(expected)
    if scene.hot:
        counts[int(0.3 * size), int(0.7 * size)] = int(scene.hot)
    return np.minimum(counts, scene.full).astype(np.uint16), (fast, slow)


CLEAN = Scene()
SEEN = {
    "a clean beam": CLEAN,
    "without a halo": replace(CLEAN, halo=()),
    "wide": replace(CLEAN, sigma=4.0, peak=5000.0),
    "saturated": replace(CLEAN, peak=500_000.0),
    "a flat disc": replace(CLEAN, flat=14.0, peak=50_000.0),
    "few counts": replace(CLEAN, peak=40.0, sigma=2.0, halo=((0.5, 9.0),), background=0.02, spot=5.0),
    "far from the middle": replace(CLEAN, beam=(0.16, 0.8)),
    "a beam stop beside it": replace(CLEAN, rod=14.0, aside=60.0),
    "reflections as bright as the beam": replace(CLEAN, spot=7_000.0, spots=12),
}
UNSEEN = {
    "behind a rod": replace(CLEAN, rod=14.0),
    "behind a thin rod": replace(CLEAN, rod=6.0, tip=10.0),
    "behind a rod that ends far from it": replace(CLEAN, rod=20.0, tip=40.0),
    "behind a disc": replace(CLEAN, stop=16.0),
    "behind a large disc": replace(CLEAN, stop=40.0),
    "behind a disc, off its middle": replace(CLEAN, stop=22.0, aside=9.0),
    "half behind an edge": replace(CLEAN, half=True, flat=14.0),
    "half behind an edge, small": replace(CLEAN, half=True),
    "halo alone": replace(CLEAN, peak=0.0, halo=((60.0, 45.0),)),
    "cut by the border": replace(CLEAN, beam=(0.502, 0.004), flat=14.0),
    "a column that runs over": replace(CLEAN, streak=30.0),
    "one bad pixel": replace(CLEAN, peak=0.0, halo=(), spots=0, background=0.1, hot=60_000, full=65_535),
    "a handful of counts": replace(CLEAN, peak=2.0, halo=(), spots=0, background=0.001),
    "empty": replace(CLEAN, peak=0.0, halo=(), spots=0, background=0.0),
}
