"""How the images of a run lie on the specimen: from pixels of an image to nm along the stage's x and y.

A run that knows the stage's matrix places every pattern by it, so the patterns tell it: a linear fit to where their
crystals are in the image and on the specimen. Where there are too few, images are taken as seen from the source, fast
along x and slow against y, and that is said.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FEWEST = 4
LEAST_SPREAD_PX = 20.0
"""Crystals nearer to one line than this tell no matrix."""
SURE_NM = 200.0
"""A fit that leaves more than this is none."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A crystal in an image (px) and on the specimen, from where the stage stood (nm); nm a px of that image."""

    fast_px: float
    slow_px: float
    x_nm: float
    y_nm: float
    nm_per_px: float


@dataclass(frozen=True, slots=True)
class Placing:
    """matrix: (x of fast, x of slow, y of fast, y of slow), what a pixel is along the stage's axes in pixels' own
    lengths, so that an image that is not turned has (1, 0, 0, -1). middle_px: (fast, slow) which place of an image is
    where the stage stands; None where nobody knows. how: in words.
    """

    matrix: tuple[float, float, float, float]
    middle_px: tuple[float, float] | None
    how: str

    def place(
        self, stage_x_nm: float, stage_y_nm: float, nm_per_px: float, fast_px: float, slow_px: float
    ) -> tuple[float, float]:
        """Where a pixel of an image is on the specimen, in nm of the stage; NaN where that is not known."""
        if self.middle_px is None:
            return math.nan, math.nan
        a, b, c, d = self.matrix
        fast, slow = (fast_px - self.middle_px[0]) * nm_per_px, (slow_px - self.middle_px[1]) * nm_per_px
        return stage_x_nm + a * fast + b * slow, stage_y_nm + c * fast + d * slow

    def pixel(
        self, stage_x_nm: float, stage_y_nm: float, nm_per_px: float, x_nm: float, y_nm: float
    ) -> tuple[float, float]:
        """The way back: (fast, slow) of a place on the specimen; NaN where that is not known."""
        if self.middle_px is None:
            return math.nan, math.nan
        inverse = np.linalg.inv(np.reshape(self.matrix, (2, 2)))
        fast, slow = inverse @ (x_nm - stage_x_nm, y_nm - stage_y_nm) / nm_per_px
        return self.middle_px[0] + float(fast), self.middle_px[1] + float(slow)


TAKEN = "taken as seen from the source, fast along the stage's x and slow against its y: no pattern tells otherwise"
FITTED = "from the places of {count} crystals that were visited"
TOLD = "as the stage was calibrated"
Four = tuple[float, float, float, float]


def placing(seen: Sequence[Seen], shape: tuple[int, int] | None, stage_px: Four | None = None) -> Placing:
    """Of a run. shape: rows and columns of an image on equal pixels, where that is known. stage_px: px along (fast,
    slow) that a nm of the stage's x and y moves the image, by rows, where the run knew it.
    """
    middle = None if shape is None else (shape[1] / 2, shape[0] / 2)
    if stage_px is not None and middle is not None and abs(size := float(np.linalg.det(np.reshape(stage_px, (2, 2))))):
        back = -np.linalg.inv(np.reshape(stage_px, (2, 2))) * math.sqrt(abs(size))
        (a, b), (c, d) = back.tolist()
        return Placing((a, b, c, d), middle, TOLD)
    fitted = _fitted(seen)
    if fitted is not None:
        return fitted
    return Placing((1.0, 0.0, 0.0, -1.0), middle, TAKEN)


def _fitted(seen: Sequence[Seen]) -> Placing | None:
    if len(seen) < FEWEST:
        return None
    px = np.array([[each.fast_px, each.slow_px] for each in seen])
    nm = np.array([[each.x_nm, each.y_nm] for each in seen]) / np.array([[each.nm_per_px] for each in seen])
    if not np.isfinite(nm).all() or np.linalg.svd(px - px.mean(axis=0), compute_uv=False)[1] < LEAST_SPREAD_PX:
        return None
    used = np.ones(len(px), bool)
    for _ in range(3):
        design = np.column_stack([px[used], np.ones(int(used.sum()))])
        answer: NDArray[np.float64] = np.linalg.lstsq(design, nm[used], rcond=None)[0]
        off = np.hypot(*(np.column_stack([px, np.ones(len(px))]) @ answer - nm).T)
        limit = max(4.0 * 1.4826 * float(np.median(off)), 1.0)
        if (off <= limit).sum() < FEWEST or (used == (off <= limit)).all():
            break
        used = off <= limit
    matrix = answer[:2].T
    left_nm = float(np.median(off)) * float(np.median([each.nm_per_px for each in seen]))
    if abs(np.linalg.det(matrix)) < 0.1 or left_nm > SURE_NM:
        return None
    middle = np.linalg.solve(matrix, -answer[2])
    (a, b), (c, d) = matrix.tolist()
    return Placing((a, b, c, d), (float(middle[0]), float(middle[1])), FITTED.format(count=int(used.sum())))
