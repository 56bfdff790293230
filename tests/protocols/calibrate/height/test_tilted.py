"""Several pictures are compared with one, which is made even once; another camera or another picture is another one."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, shift

from protocols.calibrate.height.tilted import _compared, bars_in, tilted, told

IMAGE = 400.0 + 400.0 * gaussian_filter(np.random.default_rng(4).standard_normal((120, 120)), 2.0)
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


def test_a_bar_is_dark_to_the_edge_and_large_and_a_crystal_is_none() -> None:
    film = np.random.default_rng(2).poisson(80.0, (200, 240)).astype(float)
    film[90:120, 60:100] *= 0.02  # a thick crystal, within
    film[195:, 200:204] *= 0.1  # another one, small, at the edge
    assert not bars_in(film).any()
    film[:40] = 1.0
    film[:, 225:] = 0.0
    seen = bars_in(film)
    assert seen[:42].all()
    assert seen[:, 223:].all()
    assert not seen[50:, :215].any()


def test_film_is_followed_and_not_the_bar_that_moves_otherwise() -> None:
    first, second = IMAGE.copy(), shift(IMAGE, (0, 3), mode="nearest")
    first[:30], second[:45] = 2.0, 2.0
    pictures = {0: np.rint(first).astype(np.uint16), 1: np.rint(second).astype(np.uint16)}
    arguments = told(
        0, 1, cosine=1.0, stage_px=(1.0, 0.0, 0.0, 1.0), guess_nm=0.0, wide_cross=False, saturation=None
    )  # fmt: skip
    found = tilted(arguments, lambda index: pictures[index])
    assert found["sure"]
    assert abs(found["x_nm"] - 3.0) < 0.25  # the bar goes down by 15
    assert abs(found["y_nm"]) < 0.25
