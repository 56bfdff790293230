"""How far the image of a specimen has moved between two pictures, to a small part of a pixel. Pure functions.

By phase correlation: of the parts that both pictures show, with the strength of each wave taken back by half and short
waves, which are noise, held down. The maximum is found by Newton's method on the correlation itself, which is a sum of
waves, so no grid and no interpolation can shift it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.signal import fftconvolve

Array = NDArray[np.float64]

EVEN_SHARE = 0.12
"""Of the smaller side: what is wider than this is light and not specimen."""
LIT = 0.15
"""Of the brightest part: what gets less light is not looked at."""
LOW_PASS_PX = 1.2
LEAST_OVERLAP = 0.3
LEAST_AGREEMENT = 0.35
"""Correlation of the two parts, noise included: of nothing in common it is below 0.2."""
ROUNDS = 4
STEPS = 12


@dataclass(frozen=True, slots=True)
class Displacement:
    """How far what the first picture shows lies away in the second one, in pixels. agreement: correlation coefficient
    of the parts that both show, both smoothed a little.
    """

    fast_px: float
    slow_px: float
    agreement: float

    @property
    def sure(self) -> bool:
        """Whether both show the same."""
        return self.agreement >= LEAST_AGREEMENT


NOTHING = Displacement(0.0, 0.0, 0.0)


def flattened(picture: Array, shaded: NDArray[np.bool_] | None = None) -> Array:
    """The picture without its light: relative deviation from what is around, 0 where there is no light.

    shaded: (rows, columns), what something else than the specimen covers: 0 as well, and not counted as around.
    """
    width = EVEN_SHARE * min(picture.shape)
    if shaded is None or not shaded.any():
        around = _around(picture, width)
        bright = around > LIT * float(around.max())
    else:
        seen = np.where(shaded, 0.0, 1.0)
        around = _around(picture * seen, width) / np.maximum(_around(seen, width), 1e-3)
        bright = ~shaded & (around > LIT * float(around[~shaded].max(initial=0.0)))
    even = np.where(bright, picture / np.maximum(around, 1e-9) - 1.0, 0.0)
    return np.asarray(np.clip(even, -1.0, 1.0))


def _around(picture: Array, width: float) -> Array:
    """A Gaussian mean, up to 3 widths away, with the edges going on for ever. As wide as this it takes a fifth of the
    time by waves, and differs from `gaussian_filter` by 1e-13.
    """
    reach = round(3.0 * width)
    weight = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    weight /= weight.sum()
    around = picture
    for axis in (0, 1):
        by = [(reach, reach) if each == axis else (0, 0) for each in (0, 1)]
        shape = [-1 if each == axis else 1 for each in (0, 1)]
        around = fftconvolve(np.pad(around, by, mode="edge"), weight.reshape(shape), mode="valid", axes=axis)
    return np.asarray(around)


def displacement(first: Array, second: Array, guess_px: tuple[float, float] = (0.0, 0.0)) -> Displacement:
    """Between two pictures of `flattened`, of one shape. guess_px: about where it is, (fast, slow)."""
    at = [round(guess_px[0]), round(guess_px[1])]
    seen: set[tuple[int, int]] = set()
    least = LEAST_OVERLAP * min(np.count_nonzero(first), np.count_nonzero(second))
    for _ in range(ROUNDS):
        parts = _overlap(first, second, at[0], at[1])
        if parts is None:
            return NOTHING
        waves = _waves(*parts)
        rows, columns = parts[0].shape
        peak = np.fft.irfft2(waves, (rows, columns))
        slow, fast = (int(k) for k in np.unravel_index(int(peak.argmax()), peak.shape))
        fast, slow = fast - columns * (fast > columns // 2), slow - rows * (slow > rows // 2)
        if (abs(fast) <= 1 and abs(slow) <= 1) or (at[0] + fast, at[1] + slow) in seen:
            more = _summit(waves, (rows, columns), fast, slow)
            if more is None:
                return NOTHING
            return Displacement(at[0] + more[0], at[1] + more[1], _agreement(*parts, least))
        seen.add((at[0], at[1]))
        at = [at[0] + fast, at[1] + slow]
    return NOTHING


def _overlap(first: Array, second: Array, fast: int, slow: int) -> tuple[Array, Array] | None:
    """What both pictures show where the second is displaced by whole pixels; None where that is too little."""
    rows, columns = _fast(first.shape[0] - abs(slow)), _fast(first.shape[1] - abs(fast))
    if rows < LEAST_OVERLAP * first.shape[0] or columns < LEAST_OVERLAP * first.shape[1]:
        return None
    top, left = max(0, -slow), max(0, -fast)
    one = first[top : top + rows, left : left + columns]
    other = second[top + slow : top + slow + rows, left + fast : left + fast + columns]
    return one, other


def _fast(pixels: int) -> int:
    """The largest number up to this whose waves are fast to compute."""
    while pixels > 16:
        rest = pixels
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            break
        pixels -= 1
    return pixels


def _waves(one: Array, other: Array) -> NDArray[np.complex128]:
    """The waves of the correlation of two windows."""
    window = np.outer(np.hanning(one.shape[0] + 2)[1:-1], np.hanning(one.shape[1] + 2)[1:-1])
    a, b = (np.fft.rfft2((part - np.average(part, weights=window)) * window) for part in (one, other))
    both = b * np.conj(a)
    slow, fast = np.fft.fftfreq(one.shape[0])[:, None], np.fft.rfftfreq(one.shape[1])[None, :]
    strength = np.sqrt(np.abs(both))
    low = np.exp(-2.0 * (np.pi * LOW_PASS_PX) ** 2 * (slow**2 + fast**2))
    return np.asarray(both / np.maximum(strength, 1e-3 * strength.max() + 1e-300) * low)


def _summit(
    waves: NDArray[np.complex128], shape: tuple[int, int], fast: float, slow: float
) -> tuple[float, float] | None:
    """The maximum near a whole pixel; None where the correlation has none there."""
    k_slow = 2.0 * np.pi * np.fft.fftfreq(shape[0])
    k_fast = 2.0 * np.pi * np.fft.rfftfreq(shape[1])
    twice = np.full(len(k_fast), 2.0)  # of a real picture half of the waves are kept
    twice[0] = 1.0
    if shape[1] % 2 == 0:
        twice[-1] = 1.0
    begin = np.array([fast, slow], np.float64)
    at = begin.copy()
    for _ in range(STEPS):
        down, along = np.exp(1j * k_slow * at[1]), twice * np.exp(1j * k_fast * at[0])
        rows = [down, 1j * k_slow * down, -(k_slow**2) * down]
        columns = [along, 1j * k_fast * along, -(k_fast**2) * along]
        f, f_slow, f_slow2 = ((row[:, None] * waves).sum(axis=0) for row in rows)  # a product would start threads
        gradient = np.array([(f @ columns[1]).real, (f_slow @ columns[0]).real])
        mixed = (f_slow @ columns[1]).real
        hessian = np.array([[(f @ columns[2]).real, mixed], [mixed, (f_slow2 @ columns[0]).real]])
        if not (hessian[0, 0] < 0 and np.linalg.det(hessian) > 0):
            return None
        step = -np.linalg.solve(hessian, gradient)
        at = at + np.clip(step, -0.5, 0.5)
        if np.abs(at - begin).max() > 2.0:
            return None
        if np.abs(step).max() < 1e-4:
            return float(at[0]), float(at[1])
    return None


def _agreement(one: Array, other: Array, least: float) -> float:
    """Correlation coefficient of two parts, of what both show: 0 is where there is no light. 0 where that is less than
    so many pixels: of a few there is always one place where they agree.
    """
    a, b = (gaussian_filter(part, LOW_PASS_PX) for part in (one, other))
    seen = (one != 0.0) & (other != 0.0)
    if np.count_nonzero(seen) < least:
        return 0.0
    if not seen.all():
        a, b = a[seen], b[seen]
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt(np.mean(a * a) * np.mean(b * b)))
    return float(np.mean(a * b)) / size if size > 0 else 0.0
