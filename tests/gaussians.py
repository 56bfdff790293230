"""Round spots for pictures of tests."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def gaussians(
    shape: tuple[int, int], places: ArrayLike, sigma_px: float, heights: ArrayLike = 1.0
) -> NDArray[np.float64]:
    """(rows, columns), the sum of spots (n, 2) at (fast, slow), in pixels from the first one's outer corner, of a
    height each.

    As a product of lines: a hundred spots of a large frame cost what one does drawn over the whole of it.
    """
    fast, slow = np.reshape(np.asarray(places, dtype=float), (-1, 2)).T
    columns, rows = (
        np.exp(-((np.arange(size) + 0.5 - at[:, None]) ** 2) / (2 * sigma_px**2))
        for size, at in ((shape[1], fast), (shape[0], slow))
    )
    light: NDArray[np.float64] = (np.broadcast_to(heights, len(fast))[:, None] * rows).T @ columns
    return light
