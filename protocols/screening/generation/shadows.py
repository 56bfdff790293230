"""What keeps electrons or counts from pixels: beam stop, edge of an aperture, bar of the grid, dead pixels, gaps."""

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float32]
Mask = NDArray[np.bool_]

BEAM_STOP, CLIPPED, DEAD = 0.15, 0.04, 0.5
"""Shares of the patterns with a beam stop, an aperture's edge in the frame, and pixels that tell nothing."""
DEAD_LINES, GAPS = 0.08, 0.04


def beam_stop(shape: tuple[int, int], beam_px: tuple[float, float], rng: np.random.Generator) -> Picture:
    """(rows, columns) transmission of a bar with a round end before the beam."""
    rows, columns = shape
    size = min(shape) / 516
    angle = rng.uniform(0, 2 * np.pi) if rng.random() < 0.5 else rng.integers(4) * np.pi / 2
    end_px, half_px = rng.uniform(7, 20) * size, rng.uniform(3, 9) * size
    x = np.arange(columns, dtype=np.float32) + np.float32(0.5 - beam_px[0] - 3 * size * rng.standard_normal())
    y = (np.arange(rows, dtype=np.float32) + np.float32(0.5 - beam_px[1] - 3 * size * rng.standard_normal()))[:, None]
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    behind = (np.abs(y * cosine - x * sine) < half_px) & (x * cosine + y * sine > 0)
    behind |= x * x + y * y < end_px**2
    return np.where(behind, np.float32(rng.choice([0.0, 1e-3, 0.02])), np.float32(1.0))


def clipped(shape: tuple[int, int], beam_px: tuple[float, float], rng: np.random.Generator) -> Picture:
    """(rows, columns) transmission of a round aperture that ends within the frame."""
    rows, columns = shape
    size = min(shape)
    radius_px = rng.uniform(0.40, 0.62) * size
    x = np.arange(columns, dtype=np.float32) - np.float32(beam_px[0] + 0.05 * size * rng.standard_normal())
    y = (np.arange(rows, dtype=np.float32) - np.float32(beam_px[1] + 0.05 * size * rng.standard_normal()))[:, None]
    return np.where(x * x + y * y < radius_px**2, np.float32(1.0), np.float32(rng.uniform(0, 0.05)))


def bar_edge(shape: tuple[int, int], beam_px: tuple[float, float], rng: np.random.Generator) -> Picture:
    """(rows, columns) transmission of the edge of a grid bar, out of focus, across the frame or over all of it."""
    rows, columns = shape
    size = min(shape)
    angle = rng.uniform(0, 2 * np.pi)
    x = np.arange(columns, dtype=np.float32) - np.float32(beam_px[0])
    y = (np.arange(rows, dtype=np.float32) - np.float32(beam_px[1]))[:, None]
    away = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle)) - np.float32(rng.uniform(-0.05, 0.2) * size)
    through = 1 / (1 + np.exp(np.clip(away / np.float32(rng.uniform(0.004, 0.05) * size), -30, 30)))
    least = np.float32(10 ** rng.uniform(-4, -1))
    return np.asarray(least + (1 - least) * through, dtype=np.float32)


def dead_pixels(shape: tuple[int, int], rng: np.random.Generator) -> Mask:
    """(rows, columns) True for pixels that tell nothing: single ones, lines, gaps between modules."""
    rows, columns = shape
    mask = np.zeros(shape, dtype=bool)
    some = rng.integers(1, 80)
    mask[rng.integers(0, rows, some), rng.integers(0, columns, some)] = True
    if rng.random() < DEAD_LINES / DEAD:
        for _ in range(rng.integers(1, 4)):
            if rng.random() < 0.5:
                mask[rng.integers(rows)] = True
            else:
                mask[:, rng.integers(columns)] = True
    if rng.random() < GAPS / DEAD:
        wide = max(2, round(min(shape) * rng.uniform(0.004, 0.02)))
        mask[rows // 2 - wide // 2 : rows // 2 + wide // 2] = True
        mask[:, columns // 2 - wide // 2 : columns // 2 + wide // 2] = True
    return mask
