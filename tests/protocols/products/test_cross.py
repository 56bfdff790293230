"""The wide pixels of a Timepix become three each, and no count is lost or moved."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from protocols.products.cross import cross_mask, expand_cross, pixel_area, spread, wide_range


def test_512_becomes_516_and_a_module_keeps_its_pixels() -> None:
    raw = np.arange(512 * 512, dtype=np.uint32).reshape(512, 512)
    out = expand_cross(raw)
    assert out.shape == (516, 516)
    np.testing.assert_array_equal(out[:255, :255], raw[:255, :255])
    np.testing.assert_array_equal(out[261:, 261:], raw[257:, 257:])


@settings(max_examples=60, deadline=None)
@given(arrays(np.uint16, st.tuples(st.integers(2, 9), st.integers(2, 9)).map(lambda s: (2 * s[0], 2 * s[1]))))
def test_the_total_is_conserved_exactly(raw: np.ndarray) -> None:
    out = expand_cross(raw)
    assert out.shape == (raw.shape[0] + 4, raw.shape[1] + 4)
    assert out.sum(dtype=np.int64) == raw.sum(dtype=np.int64)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 3000, 65535])
def test_a_wide_pixel_is_shared_evenly_and_its_centre_of_mass_stays(count: int) -> None:
    raw = np.zeros((8, 8), dtype=np.uint16)
    raw[3, 0] = count  # a wide row, an ordinary column
    shares = expand_cross(raw)[3:6, 0].astype(int)
    assert shares.sum() == count
    assert shares.max() - shares.min() <= 1
    assert shares[0] == shares[2]


def test_the_middle_pixel_is_shared_over_nine() -> None:
    raw = np.zeros((8, 8), dtype=np.uint16)
    raw[4, 3] = 900
    out = expand_cross(raw)
    np.testing.assert_array_equal(out[6:9, 3:6], np.full((3, 3), 100))
    assert out.sum() == 900


def test_an_even_illumination_stays_even() -> None:
    area = pixel_area((512, 512))
    assert area[255, 0] == 3
    assert area[255, 256] == 9
    out = expand_cross((30 * area).astype(np.uint16))
    assert (out == 30).all()


def test_the_mask_covers_six_rows_and_columns() -> None:
    mask = cross_mask((512, 512))
    assert wide_range(512) == (255, 261)
    assert mask.sum() == 2 * 6 * 516 - 36
    assert mask[255:261].all()
    assert not mask[254, :255].any()


def test_non_square_pictures() -> None:
    raw = np.ones((512, 1024), dtype=np.uint16)
    assert expand_cross(raw).shape == (516, 1028)
    assert cross_mask((512, 1024)).shape == (516, 1028)
    assert spread(raw).shape == (516, 1028)
