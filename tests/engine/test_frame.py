"""Pictures in squares of pixels, for whoever shows or looks at large ones."""

import numpy as np
import pytest

from engine.frame import added_up, squares_px


@pytest.mark.parametrize(("shape", "px", "side"), [((512, 512), 1100, 1), ((1100, 7), 1100, 1), ((7, 1101), 1100, 2)])
def test_squares_are_as_small_as_a_picture_still_fits(shape, px, side):
    assert squares_px(shape, px) == side


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "<i4", "<u4", "<i8", "<u8", ">u8", "<f4", ">f4"])
def test_counts_of_any_type_are_added_up_and_the_rest_at_the_far_edges_is_left_out(dtype):
    counts = np.random.default_rng(1).integers(0, 255, (8, 11)).astype(dtype)
    whole = counts[:6, :9].astype("<i8").reshape(2, 3, 3, 3).sum(axis=(1, 3))
    assert added_up(counts, 3).tolist() == whole.tolist()


def test_the_largest_counts_fit():
    assert added_up(np.full((100, 100), 65535, "<u2"), 100).tolist() == [[65535 * 10_000]]
    assert added_up(np.full((2, 2), 2**31, "<u4"), 2).tolist() == [[2**33]]
