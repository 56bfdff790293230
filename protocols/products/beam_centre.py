"""Where the primary beam is: the maximum of the Gaussian-filtered picture, between the pixels and without bias.

The filtered picture is a smooth function of position: a sum of Gaussians, one on the centre of every pixel. Its
maximum is bracketed on a coarse grid and found by Newton's method, so no grid and no interpolation can shift it.
"""

import numpy as np
from numpy.typing import NDArray

SIGMA_PX = 10.0
"""Width of the filter that finds the beam, as wide as the halo around it."""


def even_level(saturation: int, wide_cross: bool) -> int:
    """The count per pixel of the corrected grid up to which every pixel of the detector can tell.

    The middle of a wide cross collects for nine pixels and saturates at a ninth of what the others bear; above that
    a bright beam near the cross looks lopsided. A tenth leaves room for the flatfield.
    """
    return saturation // 10 if wide_cross else saturation


def find_beam(
    counts: NDArray[np.uint16], sigma_px: float = SIGMA_PX, cap: int | None = None
) -> tuple[float, float] | None:
    """Primary beam (fast_px, slow_px) in a picture (rows, columns); pixel i covers [i, i + 1).

    cap: counts above it are taken as that much (`even_level`). None where there is no maximum: an empty picture, or
    one that rises to its edge.
    """
    if cap is not None:
        counts = np.minimum(counts, np.uint16(min(cap, 65535)))
    bin_px = max(1, int(sigma_px / 2.5))
    rows, columns = (n // bin_px * bin_px for n in counts.shape)
    coarse: NDArray[np.float32] = (
        counts[:rows, :columns]
        .reshape(rows // bin_px, bin_px, columns // bin_px, bin_px)
        .sum(axis=(1, 3), dtype=np.float32)
    )
    if not coarse.any():
        return None
    smooth = _blur(coarse, sigma_px / bin_px)
    y, x = np.unravel_index(int(smooth.argmax()), smooth.shape)
    return _climb(counts, (float(x) + 0.5) * bin_px, (float(y) + 0.5) * bin_px, sigma_px)


def run_beam(centres: NDArray[np.float64], nominal: tuple[float, float]) -> tuple[float, float]:
    """The run's beam: the median of (n, 2) positions (fast_px, slow_px), NaN ignored; `nominal` without any."""
    found = centres[np.isfinite(centres).all(axis=1)]
    if not len(found):
        return nominal
    fast, slow = np.median(found, axis=0)
    return float(fast), float(slow)


def _blur(image: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    down, across = _kernel_matrix(image.shape[0], sigma), _kernel_matrix(image.shape[1], sigma)
    return np.asarray(down @ image @ across.T, dtype=np.float32)


def _kernel_matrix(size: int, sigma: float) -> NDArray[np.float32]:
    i = np.arange(size, dtype=np.float32)
    return np.asarray(np.exp(-0.5 * ((i[:, None] - i[None, :]) / sigma) ** 2), dtype=np.float32)


def _climb(counts: NDArray[np.uint16], fast: float, slow: float, sigma: float) -> tuple[float, float] | None:
    """Newton's method on the filtered picture from a start within a bin of its maximum."""
    reach = int(np.ceil(5 * sigma))
    rows, columns = counts.shape
    top, left = max(0, int(slow) - reach), max(0, int(fast) - reach)
    window = counts[top : int(slow) + reach + 1, left : int(fast) + reach + 1].astype(np.float64)
    y: NDArray[np.float64] = np.arange(window.shape[0], dtype=np.float64) + (top + 0.5)
    x: NDArray[np.float64] = np.arange(window.shape[1], dtype=np.float64) + (left + 0.5)
    for _ in range(50):
        gx, gy = _derivatives(np.asarray(fast - x), sigma), _derivatives(np.asarray(slow - y), sigma)
        # f[i, j]: the i-th derivative along slow and the j-th along fast.
        f = gy @ window @ gx.T
        hessian = np.array([[f[0, 2], f[1, 1]], [f[1, 1], f[2, 0]]])
        gradient = np.array([f[0, 1], f[1, 0]])
        if not (hessian[0, 0] < 0 and np.linalg.det(hessian) > 0):
            step = gradient * sigma**2 / max(f[0, 0], 1e-300)  # not yet at a summit: the mean-shift step climbs
        else:
            step = -np.linalg.solve(hessian, gradient)
        length = float(np.hypot(*step))
        if length > sigma / 2:
            step *= sigma / 2 / length
        fast, slow = fast + float(step[0]), slow + float(step[1])
        if not (0 <= fast <= columns and 0 <= slow <= rows):
            return None
        if length < 1e-4:
            return fast, slow
    return None


def _derivatives(distance: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """A Gaussian and its first two derivatives at (n,) distances: (3, n)."""
    u = distance / sigma
    g = np.exp(-0.5 * u**2)
    return np.stack([g, -u / sigma * g, (u**2 - 1) / sigma**2 * g])
