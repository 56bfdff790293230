"""Several pictures are compared with one, which is made even once; another camera or another picture is another one."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, shift

from protocols.calibrate.height.tilted import _compared, tilted, told

IMAGE = 100.0 + 400.0 * gaussian_filter(np.random.default_rng(4).standard_normal((120, 120)), 2.0)
PICTURES: dict[int, NDArray[np.generic]] = {
    8: np.ones((120, 120), np.float32),
    9: np.tile(np.linspace(0.5, 1.5, 120, dtype=np.float32), (120, 1)),
    0: np.rint(IMAGE).astype(np.uint16),
    1: np.rint(shift(IMAGE, (0, 3), mode="nearest")).astype(np.uint16),
    2: np.rint(shift(IMAGE, (-2, 0), mode="nearest")).astype(np.uint16),
}


def compared(before: int, after: int, flatfield: int) -> dict[str, float]:
    arguments = told(
        before, after, cosine=1.0, stage_px=(1.0, 0.0, 0.0, 1.0), guess_nm=0.0, wide_cross=False, saturation=None,
        flatfield=flatfield,
    )  # fmt: skip
    return tilted(arguments, lambda index: PICTURES[index])


def test_what_was_compared_before_changes_nothing() -> None:
    asked = [(0, 1, 8), (0, 2, 8), (0, 2, 9), (1, 2, 9), (1, 2, 8), (0, 1, 8)]
    told_anew = []
    for one in asked:
        _compared.clear()
        told_anew.append(compared(*one))
    assert [compared(*one) for one in asked] == told_anew
    assert abs(told_anew[0]["x_nm"] - 3.0) < 0.05
    assert told_anew[1] != told_anew[2]
