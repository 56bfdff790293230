"""Where the primary beam is: the maximum of the Gaussian-filtered picture, between the pixels and without bias.

The filtered picture is a smooth function of position: a sum of Gaussians, one on the centre of every pixel. Its
maximum is bracketed on a coarse grid and found by Newton's method, so no grid and no interpolation can shift it.
"""

import numpy as np
from numpy.typing import NDArray

SIGMA_PX = 10.0
"""Width of the filter that finds the beam, as wide as the halo around it."""


MIRROR_SIGMA_PX, MIRROR_REACH_PX = 12.0, 36
MIRROR_STEPS = tuple(range(-3, 4))
NEAR_PX = 8
"""A beam farther from the cross than this is not touched by it."""


def even_level(saturation: int, wide_cross: bool) -> int:
    """The count per pixel of the corrected grid up to which every pixel of the detector can tell.

    The middle of a wide cross collects for nine pixels and saturates at a ninth of what the others bear; above that
    a bright beam near the cross looks lopsided. A tenth leaves room for the flatfield.
    """
    return saturation // 10 if wide_cross else saturation


def find_beam(
    counts: NDArray[np.uint16] | NDArray[np.float64], sigma_px: float = SIGMA_PX, cap: int | None = None
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


def beside_cross(
    counts: NDArray[np.uint16], cross: NDArray[np.bool_], beam_px: tuple[float, float], cap: int
) -> tuple[float, float]:
    """Improve a position near a wide cross by the symmetry of the halo, without the cross.

    Wide pixels smear the border of a bright beam, and saturate as a whole, which draws the maximum towards or away
    from them by up to 0.3 px. Here only pixels count whose mirror image about the centre is off the cross (`cross`,
    (rows, columns), is True on it) as well; about the true centre their first moment is zero, so it is taken about
    neighbouring half pixels, where mirroring needs no interpolation, and its zero is read from a straight line. Counts
    are capped at a sixth of `cap`, that is in the halo. Returns `beam_px` where that leads nowhere.
    """
    fast, slow = (int(c) for c in beam_px)
    if not cross[max(0, slow - NEAR_PX) : slow + NEAR_PX + 1, max(0, fast - NEAR_PX) : fast + NEAR_PX + 1].any():
        return beam_px
    position = beam_px
    for _ in range(2):
        twice = [round(2 * (c - 0.5)) for c in position]
        found = []
        for axis in (0, 1):
            moments = []
            for step in MIRROR_STEPS:
                centre = (twice[0] + step, twice[1]) if axis == 0 else (twice[0], twice[1] + step)
                both = _moments(counts, cross, centre, max(1, cap // 6))
                if both is None:
                    return beam_px
                moments.append(both[axis])
            slope, at_zero = np.polyfit(MIRROR_STEPS, moments, 1)
            if slope >= 0:
                return beam_px
            found.append(float((twice[axis] - at_zero / slope) / 2 + 0.5))
        position = (found[0], found[1])
        if np.hypot(position[0] - beam_px[0], position[1] - beam_px[1]) > 2:
            return beam_px
    return position


def _moments(
    counts: NDArray[np.uint16], cross: NDArray[np.bool_], twice: tuple[int, int], cap: int
) -> tuple[float, float] | None:
    """First moments along fast and slow of the pixels that have a mirror image about index twice / 2."""
    left, top = twice[0] // 2 - MIRROR_REACH_PX, twice[1] // 2 - MIRROR_REACH_PX
    right, bottom = twice[0] - left, twice[1] - top
    if left < 0 or top < 0 or right >= counts.shape[1] or bottom >= counts.shape[0]:
        return None
    window = np.s_[top : bottom + 1, left : right + 1]
    valid = ~cross[window]
    paired = np.minimum(counts[window], cap) * (valid & valid[::-1, ::-1])
    x = np.arange(left, right + 1) - twice[0] / 2
    y = np.arange(top, bottom + 1) - twice[1] / 2
    gx, gy = (np.exp(-0.5 * (v / MIRROR_SIGMA_PX) ** 2) for v in (x, y))
    return float(gy @ paired @ (gx * x)), float((gy * y) @ paired @ gx)


def run_beam(centres: NDArray[np.float64], nominal: tuple[float, float]) -> tuple[float, float]:
    """The run's beam: the median of (n, 2) positions (fast_px, slow_px), NaN ignored; `nominal` without any."""
    found = centres[np.isfinite(centres).all(axis=1)]
    if not len(found):
        return nominal
    fast, slow = np.median(found, axis=0)
    return float(fast), float(slow)


def _blur(image: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Gaussian filter, zero outside. Not by matrix products: their threads and the worker processes would fight."""
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(image, sigma, mode="constant", truncate=3.0), dtype=np.float32)


def _climb(
    counts: NDArray[np.uint16] | NDArray[np.float64], fast: float, slow: float, sigma: float
) -> tuple[float, float] | None:
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
